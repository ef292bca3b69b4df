"""When the bytes of an HTTP/2 connection leave.

Enters: frames, one after the other; whether a leader is at work.
Leaves: the same bytes, in order, through the transport.
Holds: what is queued in one turn of the leader leaves together, in one TLS record if it fits; what the socket does not take at
once is sent by a task that only then begins; when the last word is said and no stream is left, the connection ends.
Bound: none of its own: who queues much waits in ``room`` while unsent_bytes is above limits.WIRE_UNSENT_BYTES_MAX.
Next: wire.transport.
"""

from __future__ import annotations

from collections.abc import Sized

import trio

from edgekube import limits
from edgekube.wire.protocol import Disconnected
from edgekube.wire.transport import Transport


class Outbox:
    __slots__ = (
        "_flusher",
        "_flushing",
        "_scope",
        "_streams",
        "_transport",
        "closing",
        "leading",
        "nursery",
        "queued",
        "room",
        "unsent_bytes",
    )

    nursery: trio.Nursery

    def __init__(self, transport: Transport, streams: Sized, scope: trio.CancelScope) -> None:
        """``scope`` is the connection's: cancelled when there is nobody to send to. ``nursery`` is set once it runs."""
        self._transport = transport
        self._streams = streams
        self._scope = scope
        self.queued: list[bytes] = []
        self.unsent_bytes = 0
        #: Those who wait for unsent_bytes to fall.
        self.room = trio.lowlevel.ParkingLot()
        #: The leader is at work: whatever is queued now it sends at the end of its turn.
        self.leading = False
        #: No stream will be opened or answered any more.
        self.closing = False
        self._flushing = False
        self._flusher: trio.lowlevel.ParkingLot | None = None

    def queue(self, data: bytes) -> None:
        self.queued.append(data)
        self.unsent_bytes += len(data)

    def said(self) -> None:
        """Something was queued. A single stream's words leave at once, those of many in one turn leave together."""
        if not self.leading:
            if len(self._streams) == 1:
                self.flush()
            else:
                self.wake_flusher()

    def flush(self) -> None:
        if not self.queued or self._flushing:
            return
        data = b"".join(self.queued)
        self.queued.clear()
        try:
            sent = self._transport.send_some(data)
        except Disconnected:
            self._scope.cancel()
            return
        if sent:
            self.unsent_bytes -= len(data)
            if self.room:
                self.room.unpark_all()
        else:
            self._flushing = True
            self.wake_flusher()

    def close(self) -> None:
        """What is queued goes out, the streams that stand end, then the connection does."""
        self.closing = True
        self.wake_flusher()

    def wake_flusher(self) -> None:
        """RuntimeError: the nursery has seen its last task, and the connection is about to end by itself."""
        if self._flusher is None:
            self._flusher = trio.lowlevel.ParkingLot()
            self.nursery.start_soon(self._flush_whatever_comes, self._flusher)
        elif self._flusher:
            self._flusher.unpark()

    async def _flush_whatever_comes(self, news: trio.lowlevel.ParkingLot) -> None:
        while True:
            while not self.queued and not self._flushing:
                if self.closing and not self._streams:
                    # A reset, sent for data that nobody reads, could overtake our last words: reading goes on a little.
                    with trio.move_on_after(limits.WIRE_LINGER_SECONDS):
                        await self._transport.send_eof()
                        await trio.sleep_forever()
                    self._scope.cancel()
                    return
                await news.park()
            self._flushing = True
            data = b"".join(self.queued)
            self.queued.clear()
            await self._transport.send_all(data)
            self._flushing = False
            self.unsent_bytes = sum(map(len, self.queued))
            if self.room:
                self.room.unpark_all()
