"""What an HTTP/2 connection says: its streams' answers in frames, under both flow-control windows, and credit for what was read.

Enters: heads, bodies and their ends, from the streams; the windows and the frame size that the peer allows, from its frames.
Leaves: frames, to wire.http2_outbox.
Holds: no DATA leaves that a window has no room for; nothing is said for a stream that was reset.
Bound: limits.WIRE_UNSENT_BYTES_MAX are queued before a body waits; a peer that opens no window has its stream reset after the
transport's write_stall_seconds.
Next: wire.http2_outbox; wire.http2_stream calls it as its Carrier.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

import trio

from edgekube import limits
from edgekube.wire import frames
from edgekube.wire.field_block import NO_TABLE
from edgekube.wire.http2_floods import Allowance
from edgekube.wire.http2_outbox import Outbox
from edgekube.wire.http2_stream import Carrier, Http2Stream
from edgekube.wire.protocol import Disconnected
from edgekube.wire.transport import Transport

#: One stream's share of a turn; no frame of ours is larger, whatever the peer takes.
_TURN_BYTES: Final = 65536
#: Streams that we reset and whose late frames are no fault of the peer.
_RESETS_REMEMBERED_MAX: Final = 1024


class Outgoing:
    """The connection as its streams see it."""

    __slots__ = (
        "_control",
        "_frame_bytes_max",
        "_outbox",
        "_send_window",
        "_table_announced",
        "_uncredited",
        "receive_window",
        "reset_by_us",
        "stream_send_window",
        "transport",
        "values",
    )

    def __init__(self, transport: Transport, outbox: Outbox, control: Allowance) -> None:
        """``control`` is what the peer may ask of us: an answer that it gets lets it say more (credit for windows)."""
        self.transport = transport
        self.values: dict[str, object] = {}
        self._outbox = outbox
        self._control = control
        self._table_announced = False
        self._frame_bytes_max = frames.FRAME_BYTES_DEFAULT
        #: What we may still send, what a new stream may, and what the peer may; what was read but the peer has not been told of.
        self._send_window = frames.WINDOW_BYTES_DEFAULT
        self.stream_send_window = frames.WINDOW_BYTES_DEFAULT
        self.receive_window = limits.WIRE_CONNECTION_WINDOW_BYTES
        self._uncredited = 0
        self.reset_by_us: OrderedDict[int, None] = OrderedDict()

    # --- what the peer allows ----------------------------------------------------------------------------------------

    def greet(self) -> None:
        settings = {
            frames.MAX_CONCURRENT_STREAMS: limits.WIRE_STREAMS_MAX,
            frames.INITIAL_WINDOW_SIZE: limits.WIRE_STREAM_WINDOW_BYTES,
            frames.MAX_HEADER_LIST_SIZE: limits.WIRE_HEAD_BYTES_MAX,
        }
        self._outbox.queue(frames.settings(settings))
        self._outbox.queue(frames.window_update(0, limits.WIRE_CONNECTION_WINDOW_BYTES - frames.WINDOW_BYTES_DEFAULT))

    def frames_may_have(self, frame_bytes_max: int) -> None:
        self._frame_bytes_max = min(frame_bytes_max, _TURN_BYTES)

    def widen(self, increment: int) -> None:
        """The connection's window. Raises frames.Violation."""
        self._send_window += increment
        if self._send_window > frames.WINDOW_BYTES_MAX:
            raise frames.Violation(frames.FLOW_CONTROL_ERROR, "the connection's window is too large")

    # --- Carrier -----------------------------------------------------------------------------------------------------

    def send_head(self, stream: Http2Stream, block: bytes, *, end: bool) -> None:
        if stream.reset:
            raise Disconnected
        self._outbox.queue(frames.headers(stream.id, self._block_for(block), self._frame_bytes_max, end_stream=end))
        self._outbox.said()

    def _block_for(self, block: bytes) -> bytes:
        if self._table_announced:
            return block
        self._table_announced = True
        return NO_TABLE + block

    def send_whole(self, stream: Http2Stream, block: bytes, body: bytes) -> bool:
        """What nearly every answer does."""
        if stream.reset:
            raise Disconnected
        length = len(body)
        outbox = self._outbox
        if (
            length > self._frame_bytes_max
            or length > stream.send_window
            or length > self._send_window
            or outbox.unsent_bytes + length > limits.WIRE_UNSENT_BYTES_MAX
        ):
            return False
        self._send_window -= length
        stream.send_window -= length
        self._control.earn(1 + length / 1024)
        queued = outbox.queued
        queued.append(frames.headers(stream.id, self._block_for(block), self._frame_bytes_max, end_stream=False))
        queued.append(frames.head(length, frames.DATA, frames.END_STREAM, stream.id))
        queued.append(body)
        outbox.unsent_bytes += len(queued[-3]) + frames.HEAD_BYTES + length
        outbox.said()
        return True

    async def send_data(self, stream: Http2Stream, data: bytes, *, end: bool) -> None:
        view = memoryview(data)
        turn = _TURN_BYTES
        outbox = self._outbox
        while view:
            while outbox.unsent_bytes > limits.WIRE_UNSENT_BYTES_MAX and not stream.reset:
                await outbox.room.park()  # whoever sends has a stall limit
            if stream.reset:
                raise Disconnected
            size = min(self._send_window, stream.send_window, self._frame_bytes_max, len(view))
            if size <= 0:
                await self._wait_for_window(stream)
                continue
            self._send_window -= size
            stream.send_window -= size
            self._control.earn(1 + size / 1024)
            last = end and size == len(view)
            outbox.queue(frames.head(size, frames.DATA, frames.END_STREAM if last else 0, stream.id) + view[:size])
            view = view[size:]
            outbox.said()
            turn -= size
            if turn <= 0:
                turn = _TURN_BYTES
                await trio.lowlevel.checkpoint()

    async def _wait_for_window(self, stream: Http2Stream) -> None:
        with trio.move_on_after(self.transport.write_stall_seconds) as scope:
            await stream.wait_for_window()
        if scope.cancelled_caught:
            self.reset(stream.id, frames.FLOW_CONTROL_ERROR)
            stream.reset = True
            self._outbox.said()
            raise Disconnected("the peer has stopped reading")

    def end_stream(self, stream: Http2Stream) -> None:
        if stream.reset:
            raise Disconnected
        self._outbox.queue(frames.head(0, frames.DATA, frames.END_STREAM, stream.id))
        self._outbox.said()

    def consumed(self, stream: Http2Stream, flow_bytes: int) -> None:
        """Tell the peer that it may send as much again, when it is worth a frame."""
        if not flow_bytes or self._outbox.closing:
            return
        self.credit(flow_bytes)
        stream.uncredited += flow_bytes
        if stream.uncredited >= limits.WIRE_STREAM_WINDOW_BYTES // 2 and not stream.body_complete and not stream.reset:
            self._outbox.queue(frames.window_update(stream.id, stream.uncredited))
            stream.receive_window += stream.uncredited
            stream.uncredited = 0
            self._outbox.said()

    # --- the connection's own words ----------------------------------------------------------------------------------

    def credit(self, flow_bytes: int) -> None:
        """So much of the connection's window is free again."""
        self._uncredited += flow_bytes
        if self._uncredited >= limits.WIRE_CONNECTION_WINDOW_BYTES // 2:
            self._outbox.queue(frames.window_update(0, self._uncredited))
            self.receive_window += self._uncredited
            self._uncredited = 0
            self._outbox.said()

    def reset(self, stream_id: int, code: int) -> None:
        self._outbox.queue(frames.reset(stream_id, code))
        self.reset_by_us[stream_id] = None
        if len(self.reset_by_us) > _RESETS_REMEMBERED_MAX:
            self.reset_by_us.popitem(last=False)

    def leave(self, stream: Http2Stream) -> None:
        """A stream's handler has ended: the peer gets credit for what nobody read, and a reset where one side is still open."""
        unread = stream.unread_flow_bytes()
        if unread:
            self.credit(unread)
        if not stream.reset:
            if not stream.ended:
                self.reset(stream.id, frames.INTERNAL_ERROR)
                self._outbox.said()
            elif not stream.body_complete:
                self.reset(stream.id, frames.NO_ERROR)
                self._outbox.said()


_: type[Carrier] = Outgoing
