"""Join two raw connections until they have ended: a client's, and the one that serves it.

Enters: two ByteStreams (exec, attach and port-forward: the client's and the container runtime's).
Leaves: the same bytes on the other side, in order, with end-of-data passed on as end-of-data.
Holds: the server's end leaves the client time to read and to close. The client's end gives the server LINGER_SECONDS of silence:
the streams of an exec are closed inside the connection, so the end of the connection is the client's leaving, and a command that
never ends would hold everything open for ever (kube-apiserver's upgrade proxy closes both at once). When a side dies, both are
closed. At most one piece is in memory for each direction, so a slow reader slows the writer.
Next: server.tunnel, agent.streams.
"""

from __future__ import annotations

import math
from typing import Final

import trio

from edgekube.wire.protocol import ByteStream, Disconnected

#: Long enough for what is under way to arrive.
LINGER_SECONDS: Final = 2.0


async def splice(client: ByteStream, server: ByteStream) -> None:
    """Returns when both directions ended, the client left and the server fell silent, or a side died. Both are closed then."""
    try:
        async with trio.open_nursery() as nursery:
            lingering = _Lingering(nursery.cancel_scope)
            nursery.start_soon(_pump_up, client, server, lingering)
            nursery.start_soon(_pump_down, server, client, lingering)
    finally:
        with trio.CancelScope(shield=True):
            await client.aclose()
            await server.aclose()


class _Lingering:
    """After the client's end: how long the server may be silent. The time a slow client takes to read does not count."""

    def __init__(self, both: trio.CancelScope) -> None:
        self.both = both
        self.client_ended = False
        self.sending = False

    def changed(self) -> None:
        counts = self.client_ended and not self.sending
        self.both.deadline = trio.current_time() + LINGER_SECONDS if counts else math.inf


async def _pump_up(client: ByteStream, server: ByteStream, lingering: _Lingering) -> None:
    try:
        while data := await client.receive_some():
            await server.send_all(data)
        await server.send_eof()
    except (Disconnected, OSError, trio.BrokenResourceError, trio.ClosedResourceError):
        lingering.both.cancel()
    lingering.client_ended = True
    lingering.changed()


async def _pump_down(server: ByteStream, client: ByteStream, lingering: _Lingering) -> None:
    try:
        while data := await server.receive_some():
            lingering.sending = True
            lingering.changed()
            await client.send_all(data)
            lingering.sending = False
            lingering.changed()
        await client.send_eof()
    except (Disconnected, OSError, trio.BrokenResourceError, trio.ClosedResourceError):
        lingering.both.cancel()
