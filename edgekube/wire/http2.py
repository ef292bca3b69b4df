"""HTTP/2, the server's side of one connection (RFC 9113).

Enters: bytes of a Transport that negotiated ``h2``.
Leaves: one handler call per stream; responses interleaved under both flow-control windows.
Holds: no stream is owed more than WIRE_UNSENT_BYTES_MAX of memory by a peer that does not read; a reset or a lost peer cancels
the handlers; what is against the protocol ends the stream or the connection, as the RFC says which.
Bound: WIRE_STREAMS_MAX handlers; floods of resets and of control frames end in GOAWAY ENHANCE_YOUR_CALM.
Next: the handler (server.app).

One task leads: it reads, takes frames apart, and runs each complete request's handler itself. Most handlers end without waiting,
and then their answers leave together in one TLS record, without a second task and a second turn of the event loop for any of
them. A handler that waits (a watch, a write that waits for the disk) keeps its task, and another task takes the lead at that
moment. Why there is no library here: docs/adr/0001-own-http2-framing.md.
"""

from __future__ import annotations

import logging
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Final

import trio

from edgekube import limits
from edgekube.wire import frames
from edgekube.wire.answers import Refused
from edgekube.wire.connection import Shell, only
from edgekube.wire.field_block import NO_TABLE
from edgekube.wire.field_decoder import BadBlock, Field, FieldDecoder, TooManyFields
from edgekube.wire.http2_request import Malformed, RequestHead, check_trailers, request_head
from edgekube.wire.http2_stream import Carrier, Http2Stream
from edgekube.wire.protocol import BodyTooLarge, Disconnected
from edgekube.wire.stepping import notice_waiting
from edgekube.wire.transport import Transport

log = logging.getLogger("edgekube.wire")

#: One stream's share of a turn.
_TURN_BYTES: Final = 65536
#: Requests answered before other connections get their turn.
_TURN_REQUESTS: Final = 16
#: Streams that we reset and whose late frames are no fault of the peer.
_RESETS_REMEMBERED_MAX: Final = 1024


class _Violation(Exception):
    """Ends the connection with this error code."""

    def __init__(self, code: int, why: str) -> None:
        super().__init__(why)
        self.code = code


class _Allowance:
    """So many at once, refilled with time: what exceeds it is a flood."""

    __slots__ = ("_burst", "_left", "_per_second", "_since", "_what")

    def __init__(self, what: str, burst: float, per_second: float) -> None:
        self._what = what
        self._burst = self._left = burst
        self._per_second = per_second
        self._since = trio.current_time()

    def spend(self, count: int) -> None:
        """Raises _Violation."""
        self._left -= count
        if self._left < 0:
            now = trio.current_time()
            self._left = min(self._burst, self._left + (now - self._since) * self._per_second)
            self._since = now
            if self._left < 0:
                raise _Violation(frames.ENHANCE_YOUR_CALM, f"a flood of {self._what}")

    def earn(self, count: float) -> None:
        self._left = min(self._burst, self._left + count)


class Http2Connection:
    """Runs until the peer or the server closes, or misbehaviour ends it."""

    def __init__(self, shell: Shell, transport: Transport) -> None:
        self.shell = shell
        self.transport = transport
        self.values: dict[str, object] = {}
        self._scope = trio.CancelScope()
        self._nursery: trio.Nursery
        # Bytes in.
        self._unparsed = b""
        self._preface_seen = False
        self._settings_seen = False
        self._decoder = FieldDecoder(limits.WIRE_HEAD_BYTES_MAX)
        #: A field block that CONTINUATION must complete: stream, END_STREAM, fragments.
        self._block: tuple[int, bool, bytearray] | None = None
        self._last_stream_id = 0
        self._streams: dict[int, Http2Stream] = {}
        #: Requests whose handlers have not begun.
        self._ready: deque[Http2Stream] = deque()
        self._reset_by_us: OrderedDict[int, None] = OrderedDict()
        self._receive_window = limits.WIRE_CONNECTION_WINDOW_BYTES
        self._uncredited = 0
        self._resets = _Allowance("resets", limits.WIRE_RESETS_BURST, limits.WIRE_RESETS_PER_SECOND)
        self._control = _Allowance("control frames", limits.WIRE_CONTROL_FRAMES_BURST, limits.WIRE_CONTROL_FRAMES_PER_SECOND)
        # Bytes out.
        self._send_window = frames.WINDOW_BYTES_DEFAULT
        self._stream_send_window = frames.WINDOW_BYTES_DEFAULT
        self._frame_bytes_max = frames.FRAME_BYTES_DEFAULT
        self._table_announced = False
        self._queued: list[bytes] = []
        self._unsent_bytes = 0
        self._flushing = False
        self._flusher: trio.lowlevel.ParkingLot | None = None
        self._room = trio.lowlevel.ParkingLot()
        # Tasks.
        #: The leader is at work: whatever is queued now it sends at the end of its turn.
        self._leading = False
        self._spare = trio.lowlevel.ParkingLot()
        # The end.
        self._closing = False
        self._linger_bytes = limits.WIRE_LINGER_BYTES_MAX
        self._draining = False
        # What the sweep looks at: no clock is read for a request.
        self._began = trio.current_time()
        self._swept = (-1, 0)
        self._swept_since = self._began

    # --- life --------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        settings = {
            frames.MAX_CONCURRENT_STREAMS: limits.WIRE_STREAMS_MAX,
            frames.INITIAL_WINDOW_SIZE: limits.WIRE_STREAM_WINDOW_BYTES,
            frames.MAX_HEADER_LIST_SIZE: limits.WIRE_HEAD_BYTES_MAX,
        }
        self._queue(frames.settings(settings))
        self._queue(frames.window_update(0, limits.WIRE_CONNECTION_WINDOW_BYTES - frames.WINDOW_BYTES_DEFAULT))
        try:
            with self._scope:
                async with trio.open_nursery() as self._nursery:
                    await self._lead()
        except BaseExceptionGroup as group:
            _, rest = group.split(Disconnected)
            if rest is not None:  # the server's own cancellation may be in it
                raise rest from None
        finally:
            self.transport.close()

    async def _lead(self) -> None:
        """A task's life: it leads until a handler that it runs waits, then serves that alone, then stands by to lead again."""
        with trio.CancelScope() as scope:
            while True:
                if not await self._turn(scope):
                    if self._spare or scope.cancel_called:
                        return
                    await self._spare.park()

    def _give_lead(self) -> None:
        """The handler that the leader runs is about to wait."""
        self._leading = False
        if self._spare:
            self._spare.unpark()
        else:
            self._nursery.start_soon(self._lead)

    async def _turn(self, scope: trio.CancelScope) -> bool:
        """Answer what is ready, send, read. False: somebody else leads now."""
        self._leading = True
        left = _TURN_REQUESTS
        while self._ready:
            if not left:
                self._flush()
                await trio.lowlevel.checkpoint()
                left = _TURN_REQUESTS
            left -= 1
            stream = self._ready.popleft()
            stream.scope = scope
            if await notice_waiting(self._serve(stream), self._give_lead):
                return False
        self._leading = False
        self._flush()
        while self._unsent_bytes > limits.WIRE_UNSENT_BYTES_MAX:
            await self._room.park()  # answers to pings pile up: read no more until the peer does
        data = await self.transport.receive_some()
        if data:
            self._leading = True
            self._take(data)
        else:
            self._scope.cancel()
        return True

    def _take(self, data: bytes) -> None:
        if self._closing:
            self._linger_bytes -= len(data)
            if self._linger_bytes < 0:
                self._scope.cancel()
            return
        try:
            self._parse(self._unparsed + data if self._unparsed else data)
        except _Violation as violation:
            log.info("HTTP/2 violation code=%d why=%r peer=%s", violation.code, str(violation), self.transport.peer)
            self._queue(frames.goaway(self._last_stream_id, violation.code))
            self._close()

    def _close(self) -> None:
        """Nobody is left to answer; what is queued (GOAWAY) goes out, then the connection ends."""
        self._closing = True
        for stream in list(self._streams.values()):
            stream.cancel()
        self._ready_dropped()
        self._wake_flusher()

    def _ready_dropped(self) -> None:
        while self._ready:
            del self._streams[self._ready.popleft().id]

    # --- bytes out ---------------------------------------------------------------------------------------------------

    def _queue(self, data: bytes) -> None:
        self._queued.append(data)
        self._unsent_bytes += len(data)

    def _said(self) -> None:
        """Something was queued. A single stream's words leave at once, those of many in one turn leave together."""
        if not self._leading:
            if len(self._streams) == 1:
                self._flush()
            else:
                self._wake_flusher()

    def _flush(self) -> None:
        if not self._queued or self._flushing:
            return
        data = b"".join(self._queued)
        self._queued.clear()
        try:
            sent = self.transport.send_some(data)
        except Disconnected:
            self._scope.cancel()
            return
        if sent:
            self._unsent_bytes -= len(data)
            if self._room:
                self._room.unpark_all()
        else:
            self._flushing = True
            self._wake_flusher()

    def _wake_flusher(self) -> None:
        if self._flusher is None:
            self._flusher = trio.lowlevel.ParkingLot()
            self._nursery.start_soon(self._flush_whatever_comes, self._flusher)
        elif self._flusher:
            self._flusher.unpark()

    async def _flush_whatever_comes(self, news: trio.lowlevel.ParkingLot) -> None:
        while True:
            while not self._queued and not self._flushing:
                if self._closing and not self._streams:
                    # A reset, sent for data that nobody reads, could overtake our last words: reading goes on a little.
                    with trio.move_on_after(limits.WIRE_LINGER_SECONDS):
                        await self.transport.send_eof()
                        await trio.sleep_forever()
                    self._scope.cancel()
                    return
                await news.park()
            self._flushing = True
            data = b"".join(self._queued)
            self._queued.clear()
            await self.transport.send_all(data)
            self._flushing = False
            self._unsent_bytes = sum(map(len, self._queued))
            if self._room:
                self._room.unpark_all()

    def _block_for(self, block: bytes) -> bytes:
        if self._table_announced:
            return block
        self._table_announced = True
        return NO_TABLE + block

    def send_head(self, stream: Http2Stream, block: bytes, *, end: bool) -> None:
        if stream.reset:
            raise Disconnected
        self._queue(frames.headers(stream.id, self._block_for(block), self._frame_bytes_max, end_stream=end))
        self._said()

    def send_whole(self, stream: Http2Stream, block: bytes, body: bytes) -> bool:
        """What nearly every answer does."""
        if stream.reset:
            raise Disconnected
        length = len(body)
        if (
            length > self._frame_bytes_max
            or length > stream.send_window
            or length > self._send_window
            or self._unsent_bytes + length > limits.WIRE_UNSENT_BYTES_MAX
        ):
            return False
        self._send_window -= length
        stream.send_window -= length
        self._control.earn(1 + length / 1024)
        queued = self._queued
        queued.append(frames.headers(stream.id, self._block_for(block), self._frame_bytes_max, end_stream=False))
        queued.append(frames.head(length, frames.DATA, frames.END_STREAM, stream.id))
        queued.append(body)
        self._unsent_bytes += len(queued[-3]) + frames.HEAD_BYTES + length
        self._said()
        return True

    async def send_data(self, stream: Http2Stream, data: bytes, *, end: bool) -> None:
        view = memoryview(data)
        turn = _TURN_BYTES
        while view:
            while self._unsent_bytes > limits.WIRE_UNSENT_BYTES_MAX and not stream.reset:
                await self._room.park()  # whoever sends has a stall limit
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
            self._queue(frames.head(size, frames.DATA, frames.END_STREAM if last else 0, stream.id) + view[:size])
            view = view[size:]
            self._said()
            turn -= size
            if turn <= 0:
                turn = _TURN_BYTES
                await trio.lowlevel.checkpoint()

    async def _wait_for_window(self, stream: Http2Stream) -> None:
        with trio.move_on_after(self.transport.write_stall_seconds) as scope:
            await stream.wait_for_window()
        if scope.cancelled_caught:
            self._reset(stream.id, frames.FLOW_CONTROL_ERROR)
            stream.reset = True
            self._said()
            raise Disconnected("the peer has stopped reading")

    def end_stream(self, stream: Http2Stream) -> None:
        if stream.reset:
            raise Disconnected
        self._queue(frames.head(0, frames.DATA, frames.END_STREAM, stream.id))
        self._said()

    def consumed(self, stream: Http2Stream, flow_bytes: int) -> None:
        """Tell the peer that it may send as much again, when it is worth a frame."""
        if not flow_bytes or self._closing:
            return
        self._credit(flow_bytes)
        stream.uncredited += flow_bytes
        if stream.uncredited >= limits.WIRE_STREAM_WINDOW_BYTES // 2 and not stream.body_complete and not stream.reset:
            self._queue(frames.window_update(stream.id, stream.uncredited))
            stream.receive_window += stream.uncredited
            stream.uncredited = 0
            self._said()

    def _credit(self, flow_bytes: int) -> None:
        self._uncredited += flow_bytes
        if self._uncredited >= limits.WIRE_CONNECTION_WINDOW_BYTES // 2:
            self._queue(frames.window_update(0, self._uncredited))
            self._receive_window += self._uncredited
            self._uncredited = 0
            self._said()

    def _reset(self, stream_id: int, code: int) -> None:
        self._queue(frames.reset(stream_id, code))
        self._reset_by_us[stream_id] = None
        if len(self._reset_by_us) > _RESETS_REMEMBERED_MAX:
            self._reset_by_us.popitem(last=False)

    # --- bytes in ----------------------------------------------------------------------------------------------------

    def _parse(self, data: bytes) -> None:
        """Every whole frame; the rest is kept. Raises _Violation."""
        at, end = 0, len(data)
        if not self._preface_seen:
            preface = data[: len(frames.PREFACE)]
            if not frames.PREFACE.startswith(preface):
                raise _Violation(frames.PROTOCOL_ERROR, "no connection preface")
            if len(preface) < len(frames.PREFACE):
                self._unparsed = data
                return
            self._preface_seen = True
            at = len(preface)
        unpack = frames.HEAD.unpack_from
        while end - at >= frames.HEAD_BYTES:
            high, low, kind, flags, stream_id = unpack(data, at)
            length = high << 8 | low
            if length > frames.FRAME_BYTES_DEFAULT:
                raise _Violation(frames.FRAME_SIZE_ERROR, f"a frame of {length} bytes")
            start = at + frames.HEAD_BYTES
            if start + length > end:
                break
            at = start + length
            self._frame(kind, flags, stream_id & 0x7FFFFFFF, data[start:at])
        self._unparsed = data[at:]

    def _frame(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        if self._block is not None:
            if kind != frames.CONTINUATION or stream_id != self._block[0]:
                raise _Violation(frames.PROTOCOL_ERROR, "a field block is interrupted")
        elif not self._settings_seen and (kind != frames.SETTINGS or flags & frames.ACK):
            raise _Violation(frames.PROTOCOL_ERROR, "the first frame is not SETTINGS")
        handle = _FRAMES.get(kind)
        if handle is None:
            self._control.spend(1)  # unknown types are ignored (section 4.1)
        else:
            handle(self, flags, stream_id, payload)

    def _on_headers(self, flags: int, stream_id: int, payload: bytes) -> None:
        if not stream_id & 1:
            raise _Violation(frames.PROTOCOL_ERROR, "not the number of a stream that a client opens")
        if flags & (frames.PADDED | frames.PRIORITIZED):
            payload = _unpadded(flags, payload)
            if flags & frames.PRIORITIZED:
                if len(payload) < 5:
                    raise _Violation(frames.FRAME_SIZE_ERROR, "HEADERS end within their priority")
                payload = payload[5:]
        if flags & frames.END_HEADERS:
            self._fields_arrived(stream_id, bool(flags & frames.END_STREAM), payload)
        else:
            self._block = (stream_id, bool(flags & frames.END_STREAM), bytearray(payload))

    def _on_continuation(self, flags: int, stream_id: int, payload: bytes) -> None:
        if self._block is None:
            raise _Violation(frames.PROTOCOL_ERROR, "CONTINUATION of nothing")
        self._control.spend(1)
        _, end_stream, block = self._block
        block += payload
        if len(block) > limits.WIRE_HEAD_BYTES_MAX:
            raise _Violation(frames.ENHANCE_YOUR_CALM, "a field block without end")
        if flags & frames.END_HEADERS:
            self._block = None
            self._fields_arrived(stream_id, end_stream, bytes(block))

    def _fields_arrived(self, stream_id: int, end_stream: bool, block: bytes) -> None:
        try:
            fields = self._decoder.decode(block)
        except BadBlock as error:
            raise _Violation(frames.COMPRESSION_ERROR, str(error)) from error
        except TooManyFields as error:
            raise _Violation(frames.ENHANCE_YOUR_CALM, str(error)) from error
        if stream_id > self._last_stream_id:
            self._last_stream_id = stream_id
            self._request_arrived(stream_id, end_stream, fields)
            return
        self._control.spend(1)
        stream = self._streams.get(stream_id)
        if stream is None or stream.reset:
            if stream_id not in self._reset_by_us and stream is None:
                raise _Violation(frames.STREAM_CLOSED, "HEADERS on a stream that has ended")
        elif stream.body_complete:
            self._stream_fault(stream_id, frames.STREAM_CLOSED)
        else:
            self._trailers_arrived(stream, end_stream, fields)

    def _request_arrived(self, stream_id: int, end_stream: bool, fields: list[Field]) -> None:
        if len(self._streams) >= limits.WIRE_STREAMS_MAX or self._draining:
            # Streams that were reset still count until their handlers have ended.
            self._reset(stream_id, frames.REFUSED_STREAM)
            if not self._draining:
                self._resets.spend(1)
            return
        try:
            head = request_head(fields)
        except Malformed as error:
            self._malformed(stream_id, str(error))
            return
        if end_stream and head.content_length and head.refused is None:
            self._malformed(stream_id, "no body follows, although content-length announces one")
            return
        self._open(stream_id, end_stream, head)

    def _open(self, stream_id: int, end_stream: bool, head: RequestHead) -> None:
        stream = Http2Stream(self, stream_id, head, self._stream_send_window)
        stream.body_complete = end_stream
        self._streams[stream_id] = stream
        self._ready.append(stream)

    def _trailers_arrived(self, stream: Http2Stream, end_stream: bool, fields: list[Field]) -> None:
        try:
            check_trailers(fields)
            if not end_stream:
                raise Malformed("a second HEADERS does not end the stream")
        except Malformed as error:
            self._malformed(stream.id, str(error))
            return
        self._body_ended(stream)

    def _malformed(self, stream_id: int, why: str) -> None:
        log.info("HTTP/2 request malformed why=%r peer=%s", why, self.transport.peer)
        self._stream_fault(stream_id, frames.PROTOCOL_ERROR)

    def _stream_fault(self, stream_id: int, code: int) -> None:
        self._reset(stream_id, code)
        stream = self._streams.get(stream_id)
        if stream is not None:
            stream.cancel()
        self._resets.spend(1)  # a peer can make us reset as fast as it can reset itself (CVE-2025-8671)

    def _on_data(self, flags: int, stream_id: int, payload: bytes) -> None:
        if not stream_id or stream_id > self._last_stream_id:
            raise _Violation(frames.PROTOCOL_ERROR, "DATA on a stream that is not open")
        flow_bytes = len(payload)
        if flags & frames.PADDED:
            payload = _unpadded(flags, payload)
        self._receive_window -= flow_bytes
        if self._receive_window < 0:
            raise _Violation(frames.FLOW_CONTROL_ERROR, "more DATA than the connection's window")
        if not payload and not flags & frames.END_STREAM:
            self._control.spend(1)
        stream = self._streams.get(stream_id)
        if stream is None or stream.reset or stream.body_complete:
            self._credit(flow_bytes)
            if not stream.reset if stream is not None else stream_id not in self._reset_by_us:
                self._stream_fault(stream_id, frames.STREAM_CLOSED)
            return
        stream.receive_window -= flow_bytes
        if stream.receive_window < 0:
            raise _Violation(frames.FLOW_CONTROL_ERROR, "more DATA than the stream's window")
        if stream.ended:
            self._credit(flow_bytes)
        else:
            stream.feed(payload, flow_bytes)
            length = stream.content_length
            if length is not None and stream.received_bytes > length:
                self._malformed(stream_id, "more came than content-length announced")
                return
        if flags & frames.END_STREAM:
            self._body_ended(stream)

    def _body_ended(self, stream: Http2Stream) -> None:
        length = stream.content_length
        if length is not None and stream.received_bytes != length and not stream.ended:
            self._malformed(stream.id, "less came than content-length announced")
        else:
            stream.body_ended()

    def _on_priority(self, flags: int, stream_id: int, payload: bytes) -> None:
        """Deprecated (section 5.3): checked and ignored."""
        self._control.spend(1)
        if not stream_id:
            raise _Violation(frames.PROTOCOL_ERROR, "PRIORITY of stream 0")
        if len(payload) != 5:
            raise _Violation(frames.FRAME_SIZE_ERROR, "PRIORITY has five bytes")

    def _on_reset(self, flags: int, stream_id: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise _Violation(frames.FRAME_SIZE_ERROR, "RST_STREAM has four bytes")
        if not stream_id or stream_id > self._last_stream_id:
            raise _Violation(frames.PROTOCOL_ERROR, "RST_STREAM of a stream that is not open")
        stream = self._streams.get(stream_id)
        if stream is not None:
            stream.cancel()
        self._resets.spend(1)

    def _on_settings(self, flags: int, stream_id: int, payload: bytes) -> None:
        self._control.spend(10)
        if stream_id:
            raise _Violation(frames.PROTOCOL_ERROR, "SETTINGS of a stream")
        if len(payload) % 6 or (flags & frames.ACK and payload):
            raise _Violation(frames.FRAME_SIZE_ERROR, "SETTINGS have six bytes each, their acknowledgement none")
        if flags & frames.ACK:
            return
        self._settings_seen = True
        for name, value in frames.read_settings(payload):
            if name == frames.INITIAL_WINDOW_SIZE:
                self._resize_windows(value)
            elif name == frames.MAX_FRAME_SIZE:
                if not frames.FRAME_BYTES_DEFAULT <= value <= frames.FRAME_BYTES_MAX:
                    raise _Violation(frames.PROTOCOL_ERROR, "SETTINGS_MAX_FRAME_SIZE is out of range")
                self._frame_bytes_max = min(value, _TURN_BYTES)
            elif name == frames.ENABLE_PUSH and value > 1:
                raise _Violation(frames.PROTOCOL_ERROR, "SETTINGS_ENABLE_PUSH is neither 0 nor 1")
        self._queue(frames.SETTINGS_ACK)

    def _resize_windows(self, size: int) -> None:
        """Windows of streams that stand move by the difference, below 0 if need be (section 6.9.2)."""
        if size > frames.WINDOW_BYTES_MAX:
            raise _Violation(frames.FLOW_CONTROL_ERROR, "SETTINGS_INITIAL_WINDOW_SIZE is too large")
        difference = size - self._stream_send_window
        self._stream_send_window = size
        for stream in self._streams.values():
            stream.send_window += difference
            if stream.send_window > frames.WINDOW_BYTES_MAX:
                raise _Violation(frames.FLOW_CONTROL_ERROR, "a stream's window is too large")
            stream.window_opened()

    def _on_push_promise(self, flags: int, stream_id: int, payload: bytes) -> None:
        raise _Violation(frames.PROTOCOL_ERROR, "a client cannot promise")

    def _on_ping(self, flags: int, stream_id: int, payload: bytes) -> None:
        self._control.spend(1)
        if stream_id:
            raise _Violation(frames.PROTOCOL_ERROR, "PING of a stream")
        if len(payload) != 8:
            raise _Violation(frames.FRAME_SIZE_ERROR, "PING has eight bytes")
        if not flags & frames.ACK:
            self._queue(frames.ping_ack(payload))

    def _on_goaway(self, flags: int, stream_id: int, payload: bytes) -> None:
        """The peer opens no more streams; those that stand are still answered."""
        if stream_id:
            raise _Violation(frames.PROTOCOL_ERROR, "GOAWAY of a stream")
        if len(payload) < 8:
            raise _Violation(frames.FRAME_SIZE_ERROR, "GOAWAY has eight bytes at least")
        self._draining = True
        if not self._streams:
            self._closing = True
            self._wake_flusher()

    def _on_window_update(self, flags: int, stream_id: int, payload: bytes) -> None:
        self._control.spend(1)
        if len(payload) != 4:
            raise _Violation(frames.FRAME_SIZE_ERROR, "WINDOW_UPDATE has four bytes")
        increment = frames.read_word(payload)
        if not stream_id:
            self._send_window += increment
            if not increment:
                raise _Violation(frames.PROTOCOL_ERROR, "WINDOW_UPDATE of nothing")
            if self._send_window > frames.WINDOW_BYTES_MAX:
                raise _Violation(frames.FLOW_CONTROL_ERROR, "the connection's window is too large")
            for stream in self._streams.values():
                stream.window_opened()
            return
        if stream_id > self._last_stream_id:
            raise _Violation(frames.PROTOCOL_ERROR, "WINDOW_UPDATE of a stream that is not open")
        found = self._streams.get(stream_id)
        if found is None or found.reset:
            return
        found.send_window += increment
        if not increment:
            self._stream_fault(stream_id, frames.PROTOCOL_ERROR)
        elif found.send_window > frames.WINDOW_BYTES_MAX:
            self._stream_fault(stream_id, frames.FLOW_CONTROL_ERROR)
        else:
            found.window_opened()

    # --- one stream --------------------------------------------------------------------------------------------------

    async def _serve(self, stream: Http2Stream) -> None:
        try:
            if stream.reset:
                return
            if stream.refused is not None:
                await self._answer(stream, stream.refused)
                return
            try:
                await self.shell.handler(stream.request, stream)
                if not stream.started:
                    raise RuntimeError("the handler did not answer")
                if not stream.ended:
                    await stream.end()
            except Exception as error:
                await self._failed(stream, error)
        except Disconnected:
            pass
        except Exception:  # in the error's answer itself: this stream is reset, the others live
            log.exception("answer failed path=%s peer=%s", stream.request.path, self.transport.peer)
        finally:
            self._done(stream)

    async def _failed(self, stream: Http2Stream, error: Exception) -> None:
        if only(error, Disconnected) is not None:
            return
        refused = only(error, Refused)
        too_large = only(error, BodyTooLarge)
        if too_large is not None:
            refused = Refused(413, str(too_large))
        if refused is None:
            request = stream.request
            log.error("handler failed method=%s path=%s peer=%s", request.method, request.path, request.peer, exc_info=error)
            refused = Refused(500, "the server failed to answer; its log says why")
        if not stream.started:
            await self._answer(stream, refused)

    async def _answer(self, stream: Http2Stream, refused: Refused) -> None:
        content_type, body = self.shell.error_body(refused.status, refused.message)
        await stream.send(refused.status, {"content-type": content_type}, body)

    def _done(self, stream: Http2Stream) -> None:
        del self._streams[stream.id]
        if not self._closing:
            unread = stream.unread_flow_bytes()
            if unread:
                self._credit(unread)
            if not stream.reset:
                if not stream.ended:
                    self._reset(stream.id, frames.INTERNAL_ERROR)
                    self._said()
                elif not stream.body_complete:
                    self._reset(stream.id, frames.NO_ERROR)
                    self._said()
        if not self._streams and (self._draining or self._closing):
            self._closing = True
            self._wake_flusher()

    # --- the server's side -------------------------------------------------------------------------------------------

    def sweep(self, now: float) -> None:
        state = (self._last_stream_id, len(self._streams))
        if not self._settings_seen:
            if now - self._began >= limits.WIRE_HEAD_SECONDS:
                self._scope.cancel()
        elif state != self._swept:
            self._swept = state
            self._swept_since = now
        elif not self._streams and now - self._swept_since >= limits.WIRE_IDLE_SECONDS:
            self.start_draining()

    def start_draining(self) -> None:
        """GOAWAY: what was begun is finished, what comes is refused."""
        if self._draining:
            return
        self._draining = True
        self._queue(frames.goaway(self._last_stream_id, frames.NO_ERROR))
        if not self._streams:
            self._closing = True
        try:
            self._wake_flusher()
        except RuntimeError:  # the nursery has seen its last task, and the connection is about to end by itself
            self._scope.cancel()

    def cut(self) -> None:
        self._scope.cancel()


def _unpadded(flags: int, payload: bytes) -> bytes:
    if not flags & frames.PADDED:
        return payload
    if not payload or payload[0] >= len(payload):
        raise _Violation(frames.PROTOCOL_ERROR, "more padding than frame")
    return payload[1 : len(payload) - payload[0]]


_FRAMES: Final[dict[int, Callable[[Http2Connection, int, int, bytes], None]]] = {
    frames.DATA: Http2Connection._on_data,
    frames.HEADERS: Http2Connection._on_headers,
    frames.PRIORITY: Http2Connection._on_priority,
    frames.RST_STREAM: Http2Connection._on_reset,
    frames.SETTINGS: Http2Connection._on_settings,
    frames.PUSH_PROMISE: Http2Connection._on_push_promise,
    frames.PING: Http2Connection._on_ping,
    frames.GOAWAY: Http2Connection._on_goaway,
    frames.WINDOW_UPDATE: Http2Connection._on_window_update,
    frames.CONTINUATION: Http2Connection._on_continuation,
}

_: type[Carrier] = Http2Connection
