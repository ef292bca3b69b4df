"""Listen, shake hands, and give each connection to the HTTP it speaks.

Enters: listening sockets, a ServerTls (or none, for plain TCP), a handler.
Leaves: handler calls.
Holds: neither a peer nor a handler can end the server; when told to drain it takes no new connection and lets those that
stand finish, within a grace.
Bound: WIRE_CONNECTIONS_MAX, WIRE_CONNECTIONS_PER_PEER_MAX, WIRE_HANDSHAKE_SECONDS.
Next: wire.http1, wire.http2.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import logging
import socket
import ssl
from collections import Counter
from collections.abc import Sequence
from typing import Final

import trio
from trio.lowlevel import wait_readable

from edgekube import limits
from edgekube.wire.answers import ErrorBody, plain_error, response_head
from edgekube.wire.connection import Connection, Shell
from edgekube.wire.http1 import Http1Connection
from edgekube.wire.protocol import Disconnected, Handler
from edgekube.wire.refusals import Allowance
from edgekube.wire.tls import ALPN_HTTP2, ServerTls
from edgekube.wire.transport import PlainTransport, TlsTransport, Transport, keep_alive

log = logging.getLogger("edgekube.wire")

_BACKLOG: Final = 1024
#: Connections taken in one turn, so that a flood of them does not starve those that stand.
_ACCEPTS_PER_TURN: Final = 16
_ACCEPT_RETRY_SECONDS: Final = 0.1
_SWEEP_SECONDS: Final = 1.0


def open_listeners(port: int, host: str | None = None) -> list[socket.socket]:
    """Listening sockets on ``host``, or on every IPv4 and (where the kernel has it) IPv6 address. Port 0: one free port, the same
    for both. OSError when the port is taken."""
    if host is not None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return [_listen(family, host, port)]
    listeners = [_listen(socket.AF_INET, "0.0.0.0", port)]
    try:
        listeners.append(_listen(socket.AF_INET6, "::", listeners[0].getsockname()[1]))
    except OSError as error:
        if error.errno == errno.EADDRINUSE and port:
            listeners[0].close()
            raise
        log.info("no IPv6 listener port=%d why=%r", port, str(error))
    return listeners


def _listen(family: socket.AddressFamily, host: str, port: int) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setblocking(False)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        keep_alive(listener)
        listener.bind((host, port))
        listener.listen(_BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener


class Server:
    """One handler behind any number of listeners. ``await serve()`` runs until cancelled or drained."""

    def __init__(
        self,
        handler: Handler,
        *,
        tls: ServerTls | None,
        error_body: ErrorBody = plain_error,
        connections_max: int | None = None,
        connections_per_peer_max: int | None = None,
    ) -> None:
        """Both bounds are those of the limits unless a smaller service asks for less."""
        self._connections_max = connections_max or limits.WIRE_CONNECTIONS_MAX
        self._connections_per_peer_max = connections_per_peer_max or limits.WIRE_CONNECTIONS_PER_PEER_MAX
        self._handler = handler
        self._tls = tls
        self._error_body = error_body
        self._connections: set[Connection] = set()
        self._per_peer: Counter[str] = Counter()
        self._open = 0
        self._refused_logged = 0.0
        self._failed_handshakes = Allowance()
        self._shell: Shell | None = None
        self._accepting = trio.CancelScope()
        self._someone_came = trio.Event()
        #: Set when draining begins: a handler that streams for ever (a watch) ends its stream then.
        self.draining = trio.Event()
        self._ended = trio.Event()

    @property
    def connections_open(self) -> int:
        return self._open

    async def serve(
        self,
        listeners: Sequence[socket.socket],
        *,
        task_status: trio.TaskStatus[list[int]] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Takes over (and closes) the listeners. ``task_status`` gets their ports."""
        try:
            async with trio.open_nursery() as nursery:
                self._shell = Shell(self._handler, self._error_body, nursery)
                self._shell.draining = self.draining.is_set()
                async with trio.open_nursery() as accepting:
                    with self._accepting:
                        accepting.start_soon(self._sweep)
                        for listener in listeners:
                            accepting.start_soon(self._accept, listener, nursery, self._shell)
                        task_status.started([listener.getsockname()[1] for listener in listeners])
                        await trio.sleep_forever()
                    accepting.cancel_scope.cancel()
        finally:
            for listener in listeners:
                listener.close()
            self._ended.set()

    async def drain(self, grace_seconds: float) -> None:
        """Stop accepting, tell the peers, let running requests finish for so long, then cut. Returns when all is closed."""
        self.draining.set()
        self._accepting.cancel()
        if self._shell is None:
            return
        self._shell.draining = True
        for connection in list(self._connections):
            connection.start_draining()
        with trio.move_on_after(grace_seconds):
            await self._ended.wait()
        for connection in list(self._connections):
            connection.cut()
        self._shell.nursery.cancel_scope.cancel()
        await self._ended.wait()

    async def _accept(self, listener: socket.socket, nursery: trio.Nursery, shell: Shell) -> None:
        while True:
            await wait_readable(listener)
            for _ in range(_ACCEPTS_PER_TURN):
                try:
                    sock, address = listener.accept()
                except (BlockingIOError, InterruptedError):
                    break
                except ConnectionError:
                    continue  # it left before we took it
                except OSError as error:  # EMFILE, ENFILE, ENOBUFS, ENOMEM: those that stand will free something
                    log.warning("cannot accept error=%r open=%d", str(error), self._open)
                    await trio.sleep(_ACCEPT_RETRY_SECONDS)
                    break
                group = _peer_group(address)
                if self._open >= self._connections_max or self._per_peer[group] >= self._connections_per_peer_max:
                    sock.close()
                    self._log_refusal(group)
                    continue
                self._open += 1
                self._per_peer[group] += 1
                self._someone_came.set()
                nursery.start_soon(self._connection, sock, group, shell)

    def _tell_of_handshake(self, transport: Transport, why: str) -> None:
        unsaid = self._failed_handshakes.take()
        if unsaid is not None:
            log.info("TLS handshake failed peer=%s why=%r unsaid=%d", transport.peer, why, unsaid)

    def _log_refusal(self, group: str) -> None:
        now = trio.current_time()
        if now - self._refused_logged > 10:
            self._refused_logged = now
            log.warning("too many connections peer=%s open=%d of_peer=%d", group, self._open, self._per_peer[group])

    async def _connection(self, sock: socket.socket, group: str, shell: Shell) -> None:
        try:
            transport = await self._handshake(sock)
            if transport is None:
                return
            connection = self._speak(shell, transport)
            self._connections.add(connection)
            try:
                await connection.run()
            finally:
                self._connections.discard(connection)
        except Disconnected:
            pass
        except Exception:
            log.exception("connection failed peer=%s", group)
        finally:
            with contextlib.suppress(OSError):
                sock.close()
            self._open -= 1
            self._per_peer[group] -= 1
            if not self._per_peer[group]:
                del self._per_peer[group]

    async def _handshake(self, sock: socket.socket) -> Transport | None:
        if self._tls is None:
            return PlainTransport(sock)
        transport = TlsTransport(sock, self._tls.context, server_side=True)
        try:
            with trio.move_on_after(limits.WIRE_HANDSHAKE_SECONDS) as scope:
                await transport.handshake()
            if not scope.cancelled_caught:
                return transport
            self._tell_of_handshake(transport, "timed out")
        except ssl.SSLError as error:
            self._tell_of_handshake(transport, error.reason or str(error))
            if error.reason == "HTTP_REQUEST":
                content_type, body = self._error_body(400, "Client sent an HTTP request to an HTTPS server.")
                framing = f"content-length: {len(body)}\r\nconnection: close\r\n"
                with contextlib.suppress(OSError):
                    sock.send(response_head(400, {"content-type": content_type}, framing) + body)
        transport.close()
        return None

    def _speak(self, shell: Shell, transport: Transport) -> Connection:
        if transport.alpn == ALPN_HTTP2:
            from edgekube.wire.http2 import Http2Connection  # h2 costs memory that a node without its clients need not pay

            return Http2Connection(shell, transport)
        return Http1Connection(shell, transport)

    async def _sweep(self) -> None:
        """One timer for all connections instead of several each; none while there is no connection."""
        while True:
            await self._someone_came.wait()
            self._someone_came = trio.Event()
            while self._connections or self._open:
                await trio.sleep(_SWEEP_SECONDS)
                now = trio.current_time()
                for connection in list(self._connections):
                    connection.sweep(now)


def _peer_group(peer: object) -> str:
    """``peer`` as accept(2) gives it. An IPv6 host owns a /64 at least: one limit for all of it."""
    if not isinstance(peer, tuple):
        return "unix"
    address = str(peer[0])
    if ":" not in address:
        return address
    return str(ipaddress.IPv6Network((address.partition("%")[0], 64), strict=False).network_address)


async def serve(
    handler: Handler,
    *,
    port: int,
    host: str | None = None,
    tls: ServerTls | None,
    error_body: ErrorBody = plain_error,
    task_status: trio.TaskStatus[list[int]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Listen and serve until cancelled; a Server of your own when you want to drain it."""
    await Server(handler, tls=tls, error_body=error_body).serve(open_listeners(port, host), task_status=task_status)
