"""One connection's bytes, in the clear or under TLS, with both directions closable apart.

Enters: a connected non-blocking socket and, for TLS, an SSLContext.
Leaves: plain bytes in order; ``b""`` when the peer has closed its side, cleanly or not.
Holds: one sender at a time and one receiver at a time; receive_some is a checkpoint always, send_all only when it waits;
a send that was cut short (cancelled, stalled) makes every later send raise Disconnected, so a peer never sees a gap.
Bound: limits.WIRE_WRITE_STALL_SECONDS without progress, limits.WIRE_HANDSHAKE_SECONDS for TLS to come up.
Next: wire.http1, wire.http2, wire.client.

TLS runs over ssl.MemoryBIO, not SSLSocket: SSL_shutdown on a socket reads, and throws away, application data that arrives behind
our close_notify; over a BIO we choose what it may read (nothing), which is what makes a half-close byte-exact. It also needs one
recv(2) for many records, where OpenSSL on a socket needs two for each.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from typing import Final, Protocol

import trio
from trio.lowlevel import checkpoint, wait_readable, wait_writable

from edgekube import limits
from edgekube.wire.protocol import Disconnected
from edgekube.wire.tls import Peer, peer_of
from edgekube.wire.validity import Verdict

#: Bytes for one recv(2), and for one turn of encryption: large enough to amortise a system call, small enough for fair turns.
_PIECE_BYTES: Final = 65536
#: The plain bytes of the largest TLS record.
_RECORD_BYTES: Final = 16384


_CLOSE_PROBES: Final = 2


class Transport(Protocol):
    """A ByteStream that HTTP is spoken on."""

    peer: str
    local_address: str
    alpn: str | None
    write_stall_seconds: float

    @property
    def peer_certificate(self) -> bytes | None:
        """DER, verified as the context says, and in time at this moment: looked at again whenever it is asked for."""
        ...

    @property
    def expired_certificate(self) -> bytes | None:
        """DER of a certificate that is good in everything but that its time has run out."""
        ...

    async def send_all(self, data: bytes | memoryview) -> None: ...

    def send_some(self, data: bytes) -> bool:
        """Send without waiting. True: the socket has taken everything. False: the rest is held, and send_all (of b"", if there
        is nothing more to say) must be awaited to send it. Raises Disconnected."""
        ...

    async def receive_some(self, max_bytes: int = _PIECE_BYTES) -> bytes: ...

    def receive_now(self) -> bytes | None:
        """What is there already, without waiting; b"" at the end, None when there is nothing yet. For what is sure to come at
        once: nobody else gets a turn."""
        ...

    async def send_eof(self) -> None: ...

    async def aclose(self) -> None: ...

    def close(self) -> None:
        """Close at once, without waiting; safe to call twice."""
        ...

    def readable_now(self) -> bool:
        """True when the peer has sent something, or has closed: an idle connection in a pool must be neither."""
        ...

    def watch_closely(self) -> None:
        """From now on notice a vanished peer on an idle connection within limits.WIRE_CLOSE_WATCH_SECONDS."""
        ...


def peer_name(sock: socket.socket) -> str:
    """``192.0.2.7:51234``, ``[2001:db8::1]:51234``, or ``unix``."""
    try:
        address = sock.getpeername()
    except OSError:
        return "gone"
    if sock.family == socket.AF_INET6:
        return f"[{address[0]}]:{address[1]}"
    if sock.family == socket.AF_INET:
        return f"{address[0]}:{address[1]}"
    return "unix"


def local_address(sock: socket.socket) -> str:
    try:
        return str(sock.getsockname()[0]) if sock.family in (socket.AF_INET, socket.AF_INET6) else ""
    except OSError:
        return ""


class PlainTransport:
    __slots__ = ("_broken", "_eof_sent", "_held", "_sending", "_sock", "alpn", "local_address", "peer", "write_stall_seconds")

    def __init__(self, sock: socket.socket, *, write_stall_seconds: float = limits.WIRE_WRITE_STALL_SECONDS) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._sending = False
        self._broken = False
        self._eof_sent = False
        #: What send_some could not send.
        self._held = b""
        self.peer = peer_name(sock)
        #: This end's IP address, "" where there is none.
        self.local_address = local_address(sock)
        self.alpn: str | None = None
        self.write_stall_seconds = write_stall_seconds

    @property
    def peer_certificate(self) -> bytes | None:
        return None

    @property
    def expired_certificate(self) -> bytes | None:
        return None

    async def receive_some(self, max_bytes: int = _PIECE_BYTES) -> bytes:
        while True:
            await self._wait_readable()
            try:
                return self._sock.recv(max_bytes)
            except (BlockingIOError, InterruptedError):
                continue
            except OSError:
                return b""

    def receive_now(self) -> bytes | None:
        try:
            return self._sock.recv(_PIECE_BYTES)
        except (BlockingIOError, InterruptedError):
            return None
        except OSError:
            return b""

    async def _wait_readable(self) -> None:
        try:
            await wait_readable(self._sock)
        except (ValueError, OSError, trio.ClosedResourceError) as error:
            raise Disconnected from error

    async def send_all(self, data: bytes | memoryview) -> None:
        if self._sending:
            raise trio.BusyResourceError("another task is sending on this connection")
        self._sending = True
        try:
            await self._send_raw(data)
        finally:
            self._sending = False

    def send_some(self, data: bytes) -> bool:
        if self._sending:
            raise trio.BusyResourceError("another task is sending on this connection")
        return self._send_raw_some(data)

    def _send_raw_some(self, data: bytes | memoryview) -> bool:
        if self._held:
            self._held += data
            return False
        sent = self._try_to_send(data)
        if sent == len(data):
            return True
        self._held = bytes(data[sent:])
        return False

    def _try_to_send(self, data: bytes | memoryview) -> int:
        if self._broken or self._eof_sent:
            raise Disconnected
        try:
            return self._sock.send(data)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError as error:
            self._broken = True
            raise Disconnected from error

    async def _send_raw(self, data: bytes | memoryview) -> None:
        if self._held:
            data, self._held = self._held + data, b""
        sent = self._try_to_send(data)
        if sent == len(data):
            return
        view = memoryview(data)[sent:]
        whole = False
        try:
            while view:
                with trio.move_on_after(self.write_stall_seconds) as scope:
                    await wait_writable(self._sock)
                if scope.cancelled_caught:
                    raise Disconnected("the peer has stopped reading")
                try:
                    sent = self._sock.send(view)
                except (BlockingIOError, InterruptedError):
                    continue
                view = view[sent:]
            whole = True
        except (OSError, ValueError, trio.ClosedResourceError) as error:
            raise Disconnected from error
        finally:
            self._broken = self._broken or not whole

    async def send_eof(self) -> None:
        if not self._eof_sent:
            if self._held:
                await self._send_raw(b"")
            self._eof_sent = True
            with contextlib.suppress(OSError):
                self._sock.shutdown(socket.SHUT_WR)
        await checkpoint()

    async def aclose(self) -> None:
        self.close()
        await checkpoint()

    def close(self) -> None:
        self._broken = True
        if self._sock.fileno() >= 0:
            trio.lowlevel.notify_closing(self._sock)
            self._sock.close()

    def watch_closely(self) -> None:
        if self._sock.family in (socket.AF_INET, socket.AF_INET6) and self._sock.fileno() >= 0:
            pause_seconds = limits.WIRE_CLOSE_WATCH_SECONDS // (_CLOSE_PROBES + 1)
            keep_alive(self._sock, pause_seconds, _CLOSE_PROBES)

    def readable_now(self) -> bool:
        try:
            self._sock.recv(1, socket.MSG_PEEK)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError:
            return True
        return True


class TlsTransport(PlainTransport):
    __slots__ = ("_context", "_early", "_from_peer", "_peer", "_received_eof", "_server_side", "_tls", "_to_peer")

    def __init__(
        self,
        sock: socket.socket,
        context: ssl.SSLContext,
        *,
        server_side: bool,
        server_hostname: str | None = None,
        write_stall_seconds: float = limits.WIRE_WRITE_STALL_SECONDS,
    ) -> None:
        super().__init__(sock, write_stall_seconds=write_stall_seconds)
        self._context = context
        self._server_side = server_side
        self._peer: Peer | None = None
        self._from_peer = ssl.MemoryBIO()
        self._to_peer = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._from_peer, self._to_peer, server_side=server_side, server_hostname=server_hostname)
        #: Plain bytes that were decrypted before close_notify was sent.
        self._early = b""
        self._received_eof = False

    async def handshake(self) -> None:
        """Raises ssl.SSLError (SSLCertVerificationError) or Disconnected; the caller bounds the time.

        A client refuses a server whose certificate has run out. A server lets such a client in as a stranger: it may renew.
        """
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                if self._to_peer.pending:
                    await self._send_raw(self._to_peer.read())
                data = await PlainTransport.receive_some(self)
                if not data:
                    raise Disconnected from None
                self._from_peer.write(data)
            except ssl.SSLError:
                if self._to_peer.pending:  # the alert that tells the peer why
                    with contextlib.suppress(Disconnected):
                        await self._send_raw(self._to_peer.read())
                raise
            else:
                break
        if self._to_peer.pending:
            await self._send_raw(self._to_peer.read())
        peer = self._peer = peer_of(self._context, self._tls)
        if peer.certificate is not None and self._context.verify_mode != ssl.CERT_NONE:
            if peer.verdict in (Verdict.STRANGER, Verdict.AUTHORITY_EXPIRED):
                raise ssl.SSLCertVerificationError(peer.verdict.value)
            if peer.verdict is Verdict.EXPIRED and not self._server_side:
                raise ssl.SSLCertVerificationError(f"{peer.verdict.value} ({self._tls.server_hostname})")
        self.alpn = self._tls.selected_alpn_protocol()

    @property
    def peer_certificate(self) -> bytes | None:
        peer = self._trusted_peer()
        return peer.certificate if peer is not None and peer.in_time(self._context) else None

    @property
    def expired_certificate(self) -> bytes | None:
        peer = self._trusted_peer()
        return None if peer is None or peer.in_time(self._context) else peer.certificate

    def _trusted_peer(self) -> Peer | None:
        return self._peer if self._peer is not None and self._peer.trusted(self._context) else None

    async def receive_some(self, max_bytes: int = _PIECE_BYTES) -> bytes:
        if self._early or self._received_eof or self._from_peer.pending or self._tls.pending():
            await checkpoint()
            # Looked at after the checkpoint: send_eof, in another task, may have moved the next bytes there.
            if self._early:
                data, self._early = self._early[:max_bytes], self._early[max_bytes:]
                return data
            if self._received_eof:
                return b""
            plain = self._decrypt(max_bytes)
            if plain is not None:
                return plain
        while True:
            await self._wait_readable()
            try:
                data = self._sock.recv(_PIECE_BYTES)
            except (BlockingIOError, InterruptedError):
                continue
            except OSError:
                data = b""
            if data:
                self._from_peer.write(data)
            else:
                self._from_peer.write_eof()
            plain = self._decrypt(max_bytes)
            if plain is not None:
                return plain
            if self._to_peer.pending and not self._sending:  # an answer that TLS itself owes, e.g. to a key update
                await self.send_all(b"")

    def receive_now(self) -> bytes | None:
        if self._early or self._received_eof or self._from_peer.pending or self._tls.pending():
            return None  # receive_some knows what comes first
        data = super().receive_now()
        if data is None:
            return None
        if data:
            self._from_peer.write(data)
        else:
            self._from_peer.write_eof()
        return self._decrypt(_PIECE_BYTES)

    def _decrypt(self, max_bytes: int) -> bytes | None:
        """Plain bytes, b"" at the end (of either kind: HTTP's own framing tells a cut from an end), None: feed me more."""
        try:
            return self._tls.read(max_bytes)
        except ssl.SSLWantReadError:
            return None
        except ssl.SSLError:
            self._received_eof = True
            return b""

    async def send_all(self, data: bytes | memoryview) -> None:
        if self._sending:
            raise trio.BusyResourceError("another task is sending on this connection")
        if self._broken or self._eof_sent:
            raise Disconnected
        self._sending = True
        try:
            if len(data) <= _PIECE_BYTES:
                await self._encrypt_and_send(data)
                return
            view = memoryview(data)
            for start in range(0, len(view), _PIECE_BYTES):
                await self._encrypt_and_send(view[start : start + _PIECE_BYTES])
        finally:
            self._sending = False

    def send_some(self, data: bytes) -> bool:
        if self._sending:
            raise trio.BusyResourceError("another task is sending on this connection")
        if self._broken or self._eof_sent:
            raise Disconnected
        return self._send_raw_some(self._encrypt(data))

    async def _encrypt_and_send(self, data: bytes | memoryview) -> None:
        await self._send_raw(self._encrypt(data))

    def _encrypt(self, data: bytes | memoryview) -> bytes:
        """One record's worth at a time: an outgoing BIO keeps the largest buffer that it ever needed."""
        try:
            if len(data) <= _RECORD_BYTES:
                if data:
                    self._tls.write(data)
                return self._to_peer.read()
            records = []
            for start in range(0, len(data), _RECORD_BYTES):
                self._tls.write(data[start : start + _RECORD_BYTES])
                records.append(self._to_peer.read())
        except ssl.SSLError as error:
            self._broken = True
            raise Disconnected from error
        return b"".join(records)

    async def send_eof(self) -> None:
        if self._eof_sent or self._broken:
            await checkpoint()
            return
        self._say_goodbye()
        try:
            await self._send_raw(self._to_peer.read())
        finally:
            self._eof_sent = True

    def _say_goodbye(self) -> None:
        """Put close_notify into the outgoing BIO. SSL_shutdown also reads: what has arrived is taken out first, so that it
        finds nothing and leaves the receiving side intact (RFC 8446, 6.1: the peer may go on sending)."""
        while not self._received_eof and (piece := self._decrypt(_PIECE_BYTES)):
            self._early += piece
        with contextlib.suppress(ssl.SSLError, ValueError):
            self._tls.unwrap()

    async def aclose(self) -> None:
        self.close()
        await checkpoint()

    def close(self) -> None:
        if not (self._broken or self._eof_sent or self._sending or self._held) and self._sock.fileno() >= 0:
            self._say_goodbye()
            with contextlib.suppress(OSError):
                self._sock.send(self._to_peer.read())
        super().close()

    def readable_now(self) -> bool:
        # Session tickets make an idle TLS connection readable without being stale: let TLS eat them, without waiting.
        if self._early or self._received_eof:
            return True
        while super().readable_now():
            try:
                data = self._sock.recv(_PIECE_BYTES)
            except OSError:
                return True
            if not data:
                self._received_eof = True
                return True
            self._from_peer.write(data)
            piece = self._decrypt(_PIECE_BYTES)
            if piece is not None:
                self._early += piece
                return True
        return False


async def connect(
    host: str,
    port: int,
    *,
    context: ssl.SSLContext | None = None,
    server_hostname: str | None = None,
    timeout_seconds: float = limits.WIRE_CONNECT_SECONDS,
) -> Transport:
    """TCP, then TLS if a context is given. ``server_hostname`` is the name that the certificate must carry, whatever the address.

    OSError when nobody answers (TimeoutError in time), ssl.SSLError when TLS does not come up."""
    with trio.move_on_after(timeout_seconds):
        stream = await trio.open_tcp_stream(host, port)
        # The descriptor changes hands: trio's wrapper must neither close it nor watch it.
        sock = socket.socket(fileno=stream.socket.detach())
        return await _start_client(sock, context, server_hostname or host)
    raise TimeoutError(f"connect {host}:{port}: no answer within {timeout_seconds:g} s")


async def connect_unix(path: str, *, timeout_seconds: float = limits.WIRE_CONNECT_SECONDS) -> Transport:
    with trio.move_on_after(timeout_seconds):
        stream = await trio.open_unix_socket(path)
        return await _start_client(socket.socket(fileno=stream.socket.detach()), None, None)
    raise TimeoutError(f"connect {path}: no answer within {timeout_seconds:g} s")


async def connect_over(
    sock: socket.socket, *, context: ssl.SSLContext | None = None, server_hostname: str | None = None
) -> Transport:
    """As ``connect``, over a socket that is connected already and belongs to the transport from here on. The caller bounds the
    time."""
    return await _start_client(sock, context, server_hostname)


async def _start_client(sock: socket.socket, context: ssl.SSLContext | None, server_hostname: str | None) -> Transport:
    if sock.family != socket.AF_UNIX:
        keep_alive(sock)
        # A server that went elsewhere, or a lease of ours that did, is noticed before its patience with this node ends.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, limits.WIRE_UNACKNOWLEDGED_SECONDS * 1000)
    if context is None:
        return PlainTransport(sock)
    transport = TlsTransport(sock, context, server_side=False, server_hostname=server_hostname)
    try:
        await transport.handshake()
    except Disconnected as error:
        transport.close()
        raise ConnectionError(f"{transport.peer}: closed during the TLS handshake") from error
    except BaseException:
        transport.close()
        raise
    return transport


def keep_alive(
    sock: socket.socket, pause_seconds: int = limits.WIRE_KEEPALIVE_SECONDS, probes: int = limits.WIRE_KEEPALIVE_PROBES
) -> None:
    """No Nagle, and notice a peer that vanished without a word. On a listener, accepted sockets inherit it."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, pause_seconds)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, pause_seconds)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, probes)
