"""Connections that this agent leaves at the API server, so that the server can ask it things without a route to it.

Enters: how to open a connection to the server; the handler that answers what is asked on it.
Leaves: limits.TUNNELS_IDLE_MAX idle connections at the server, for ever: one that is taken is replaced at once.
Holds: whoever asks on such a connection is the API server, for its certificate was verified when the connection was opened; a
connection serves one request and what follows from it (an exec session). A server that is away is tried again with growing,
drawn pauses, at whatever address it has by then.
Bound: limits.TUNNELS_PER_NODE_MAX connections; a vanished server is noticed within limits.WIRE_CLOSE_WATCH_SECONDS.
Next: server.parked takes them; agent.server answers.
"""

from __future__ import annotations

import logging
import random
from typing import Final

import trio

from edgekube import limits
from edgekube.wire.answers import plain_error
from edgekube.wire.client import Dial, HttpConnection, ProtocolError
from edgekube.wire.connection import Shell
from edgekube.wire.http1 import Http1Connection
from edgekube.wire.protocol import BodyTooLarge, Disconnected, Handler, Request, Responder
from edgekube.wire.raw import RawConnection

log = logging.getLogger("edgekube.agent")

PATH: Final = "/edgekube/v1/tunnel"
PROTOCOL: Final = "edgekube-tunnel"
_REFUSAL_BYTES_MAX: Final = 64 * 1024
_REFUSAL_TOLD_BYTES: Final = 300
_SWEEP_SECONDS: Final = 1.0


class _Refused(Exception):
    """The server answered, and not with an upgrade."""


class _Tunnel:
    """One connection, from the upgrade to its end."""

    def __init__(self, stream: RawConnection, handler: Handler, nursery: trio.Nursery) -> None:
        transport, early = stream.release()
        transport.watch_closely()
        self._handler = handler
        self._connection = Http1Connection(Shell(self._answer, plain_error, nursery), transport, early)
        #: Set with the first request, or at the end without one.
        self.taken = trio.Event()
        self.used = False

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._sweep)
            try:
                await self._connection.run()
            finally:
                self.taken.set()
            nursery.cancel_scope.cancel()

    async def _answer(self, request: Request, responder: Responder) -> None:
        self.used = True
        self.taken.set()
        await self._handler(request, responder)

    async def _sweep(self) -> None:
        """Not before it is taken: a connection that lies ready is meant to be idle."""
        await self.taken.wait()
        while True:
            await trio.sleep(_SWEEP_SECONDS)
            self._connection.sweep(trio.current_time())


class _Keeper:
    def __init__(self, dial: Dial, handler: Handler, nursery: trio.Nursery) -> None:
        self._dial = dial
        self._handler = handler
        self._nursery = nursery
        self._room = trio.Semaphore(limits.TUNNELS_PER_NODE_MAX)
        self._told = ""

    async def keep_one(self) -> None:
        """One idle connection, again and again."""
        pause_seconds = limits.TUNNEL_RETRY_FIRST_SECONDS
        while True:
            await self._room.acquire()
            try:
                tunnel = await self._open()
            except (OSError, Disconnected, ProtocolError, _Refused) as error:  # ssl.SSLError is an OSError
                self._room.release()
                self._tell(str(error) or type(error).__name__)
            else:
                self._tell("")
                self._nursery.start_soon(self._run, tunnel)
                opened_at = trio.current_time()
                await tunnel.taken.wait()
                lasted = trio.current_time() - opened_at > limits.TUNNEL_RETRY_LAST_SECONDS
                if tunnel.used or lasted:
                    pause_seconds = limits.TUNNEL_RETRY_FIRST_SECONDS
                if tunnel.used:
                    continue
            await trio.sleep(random.uniform(pause_seconds / 2, pause_seconds))
            pause_seconds = min(pause_seconds * 2, limits.TUNNEL_RETRY_LAST_SECONDS)

    async def _open(self) -> _Tunnel:
        with trio.move_on_after(limits.WIRE_CONNECT_SECONDS):
            connection = HttpConnection(await self._dial(), "tunnel")
            try:
                headers = {"connection": "Upgrade", "upgrade": PROTOCOL}
                response, stream = await connection.upgrade("GET", PATH, headers)
                if stream is None:
                    body = await response.read(_REFUSAL_BYTES_MAX)
                    raise _Refused(f"{response.status} {body[:_REFUSAL_TOLD_BYTES].decode('utf-8', 'replace')}")
            except BodyTooLarge as error:
                raise _Refused(str(error)) from error
            except BaseException:
                connection.close()
                raise
            assert isinstance(stream, RawConnection)
            return _Tunnel(stream, self._handler, self._nursery)
        raise TimeoutError(f"no answer within {limits.WIRE_CONNECT_SECONDS:g} s")

    async def _run(self, tunnel: _Tunnel) -> None:
        try:
            await tunnel.run()
        except Exception:
            log.exception("a tunnel failed")
        finally:
            self._room.release()

    def _tell(self, trouble: str) -> None:
        """Each kind of trouble once, and its end."""
        if trouble and trouble != self._told:
            log.warning("the API server cannot reach this node through a tunnel: %s", trouble)
        elif not trouble and self._told:
            log.info("the API server can reach this node again")
        self._told = trouble


async def keep_tunnels(dial: Dial, handler: Handler) -> None:
    """Never returns. ``dial`` opens a connection on which the API server's certificate has been verified."""
    async with trio.open_nursery() as nursery:
        keeper = _Keeper(dial, handler, nursery)
        for _ in range(limits.TUNNELS_IDLE_MAX):
            nursery.start_soon(keeper.keep_one)
