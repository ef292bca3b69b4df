"""Join two raw connections until both directions have ended.

Enters: two ByteStreams (exec, attach and port-forward: the client's and the container runtime's).
Leaves: the same bytes on the other side, in order, with end-of-data passed on as end-of-data.
Holds: one direction's end leaves the other running; when a side dies, both streams are closed; at most one piece is in memory for
each direction, so a slow reader slows the writer.
Next: server.tunnel, agent.streams.
"""

from __future__ import annotations

import trio

from edgekube.wire.protocol import ByteStream, Disconnected


async def splice(a: ByteStream, b: ByteStream) -> None:
    """Returns when both directions ended or either side died. Both streams are closed then."""
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_pump, a, b, nursery.cancel_scope)
            nursery.start_soon(_pump, b, a, nursery.cancel_scope)
    finally:
        with trio.CancelScope(shield=True):
            await a.aclose()
            await b.aclose()


async def _pump(source: ByteStream, target: ByteStream, both: trio.CancelScope) -> None:
    try:
        while data := await source.receive_some():
            await target.send_all(data)
        await target.send_eof()
    except (Disconnected, OSError, trio.BrokenResourceError, trio.ClosedResourceError):
        both.cancel()
