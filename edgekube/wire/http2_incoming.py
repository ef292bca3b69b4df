"""What the peer's frames do to the streams of an HTTP/2 connection (RFC 9113, sections 5, 6 and 8).

Enters: frames of the right form, from wire.http2_reading.
Leaves: requests, ready for their handlers; their bodies; windows; resets.
Holds: what is against the protocol ends the stream or (frames.Violation) the connection, as the RFC says which; late frames of a
stream that we reset are no fault; the peer gets credit for bytes that no handler will read.
Bound: limits.WIRE_STREAMS_MAX streams; the allowances of resets and of control frames.
Next: wire.http2 runs the handlers.
"""

from __future__ import annotations

import logging
from collections import deque

from edgekube import limits
from edgekube.wire import frames
from edgekube.wire.field_decoder import Field
from edgekube.wire.frames import Violation
from edgekube.wire.http2_floods import Allowance
from edgekube.wire.http2_outbox import Outbox
from edgekube.wire.http2_outgoing import Outgoing
from edgekube.wire.http2_request import Malformed, check_trailers, request_head
from edgekube.wire.http2_stream import Http2Stream

log = logging.getLogger("edgekube.wire")


class Incoming:
    __slots__ = ("_control", "_outbox", "_outgoing", "_resets", "draining", "last_stream_id", "ready", "streams")

    def __init__(self, streams: dict[int, Http2Stream], outgoing: Outgoing, outbox: Outbox, control: Allowance) -> None:
        #: Those whose handlers have not ended. A request is also in ``ready`` until its handler begins.
        self.streams = streams
        self.ready: deque[Http2Stream] = deque()
        self.last_stream_id = 0
        #: One side has said GOAWAY: no stream is opened any more.
        self.draining = False
        self._outgoing = outgoing
        self._outbox = outbox
        self._control = control
        self._resets = Allowance("resets", limits.WIRE_RESETS_BURST, limits.WIRE_RESETS_PER_SECOND)

    def abandon(self) -> None:
        """Nobody is left to answer."""
        for stream in list(self.streams.values()):
            stream.cancel()
        while self.ready:
            del self.streams[self.ready.popleft().id]

    # --- requests ----------------------------------------------------------------------------------------------------

    def fields(self, stream_id: int, end_stream: bool, fields: list[Field]) -> None:
        if stream_id > self.last_stream_id:
            self.last_stream_id = stream_id
            self._request(stream_id, end_stream, fields)
            return
        self._control.spend(1)
        stream = self.streams.get(stream_id)
        if stream is None or stream.reset:
            if stream_id not in self._outgoing.reset_by_us and stream is None:
                raise Violation(frames.STREAM_CLOSED, "HEADERS on a stream that has ended")
        elif stream.body_complete:
            self._fault(stream_id, frames.STREAM_CLOSED)
        else:
            self._trailers(stream, end_stream, fields)

    def _request(self, stream_id: int, end_stream: bool, fields: list[Field]) -> None:
        if len(self.streams) >= limits.WIRE_STREAMS_MAX or self.draining:
            # Streams that were reset still count until their handlers have ended.
            self._outgoing.reset(stream_id, frames.REFUSED_STREAM)
            if not self.draining:
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
        stream = Http2Stream(self._outgoing, stream_id, head, self._outgoing.stream_send_window)
        stream.body_complete = end_stream
        self.streams[stream_id] = stream
        self.ready.append(stream)

    def _trailers(self, stream: Http2Stream, end_stream: bool, fields: list[Field]) -> None:
        try:
            check_trailers(fields)
            if not end_stream:
                raise Malformed("a second HEADERS does not end the stream")
        except Malformed as error:
            self._malformed(stream.id, str(error))
            return
        self._body_ended(stream)

    def _malformed(self, stream_id: int, why: str) -> None:
        log.info("HTTP/2 request malformed why=%r peer=%s", why, self._outgoing.transport.peer)
        self._fault(stream_id, frames.PROTOCOL_ERROR)

    def _fault(self, stream_id: int, code: int) -> None:
        self._outgoing.reset(stream_id, code)
        stream = self.streams.get(stream_id)
        if stream is not None:
            stream.cancel()
        self._resets.spend(1)  # a peer can make us reset as fast as it can reset itself (CVE-2025-8671)

    # --- bodies ------------------------------------------------------------------------------------------------------

    def data(self, stream_id: int, payload: bytes, flow_bytes: int, end_stream: bool) -> None:
        """``flow_bytes``: the payload as it came, with its padding."""
        if not stream_id or stream_id > self.last_stream_id:
            raise Violation(frames.PROTOCOL_ERROR, "DATA on a stream that is not open")
        outgoing = self._outgoing
        outgoing.receive_window -= flow_bytes
        if outgoing.receive_window < 0:
            raise Violation(frames.FLOW_CONTROL_ERROR, "more DATA than the connection's window")
        if not payload and not end_stream:
            self._control.spend(1)
        stream = self.streams.get(stream_id)
        if stream is None or stream.reset or stream.body_complete:
            outgoing.credit(flow_bytes)
            if not stream.reset if stream is not None else stream_id not in outgoing.reset_by_us:
                self._fault(stream_id, frames.STREAM_CLOSED)
            return
        stream.receive_window -= flow_bytes
        if stream.receive_window < 0:
            raise Violation(frames.FLOW_CONTROL_ERROR, "more DATA than the stream's window")
        if stream.ended:
            outgoing.credit(flow_bytes)
        else:
            stream.feed(payload, flow_bytes)
            length = stream.content_length
            if length is not None and stream.received_bytes > length:
                self._malformed(stream_id, "more came than content-length announced")
                return
        if end_stream:
            self._body_ended(stream)

    def _body_ended(self, stream: Http2Stream) -> None:
        length = stream.content_length
        if length is not None and stream.received_bytes != length and not stream.ended:
            self._malformed(stream.id, "less came than content-length announced")
        else:
            stream.body_ended()

    def reset(self, stream_id: int) -> None:
        if not stream_id or stream_id > self.last_stream_id:
            raise Violation(frames.PROTOCOL_ERROR, "RST_STREAM of a stream that is not open")
        stream = self.streams.get(stream_id)
        if stream is not None:
            stream.cancel()
        self._resets.spend(1)

    # --- windows -----------------------------------------------------------------------------------------------------

    def connection_window(self, increment: int) -> None:
        if not increment:
            raise Violation(frames.PROTOCOL_ERROR, "WINDOW_UPDATE of nothing")
        self._outgoing.widen(increment)
        for stream in self.streams.values():
            stream.window_opened()

    def stream_window(self, stream_id: int, increment: int) -> None:
        if stream_id > self.last_stream_id:
            raise Violation(frames.PROTOCOL_ERROR, "WINDOW_UPDATE of a stream that is not open")
        stream = self.streams.get(stream_id)
        if stream is None or stream.reset:
            return
        stream.send_window += increment
        if not increment:
            self._fault(stream_id, frames.PROTOCOL_ERROR)
        elif stream.send_window > frames.WINDOW_BYTES_MAX:
            self._fault(stream_id, frames.FLOW_CONTROL_ERROR)
        else:
            stream.window_opened()

    def _resize_windows(self, size: int) -> None:
        """Windows of streams that stand move by the difference, below 0 if need be (section 6.9.2)."""
        if size > frames.WINDOW_BYTES_MAX:
            raise Violation(frames.FLOW_CONTROL_ERROR, "SETTINGS_INITIAL_WINDOW_SIZE is too large")
        difference = size - self._outgoing.stream_send_window
        self._outgoing.stream_send_window = size
        for stream in self.streams.values():
            stream.send_window += difference
            if stream.send_window > frames.WINDOW_BYTES_MAX:
                raise Violation(frames.FLOW_CONTROL_ERROR, "a stream's window is too large")
            stream.window_opened()

    # --- the connection ----------------------------------------------------------------------------------------------

    def settings(self, values: list[tuple[int, int]]) -> None:
        for name, value in values:
            if name == frames.INITIAL_WINDOW_SIZE:
                self._resize_windows(value)
            elif name == frames.MAX_FRAME_SIZE:
                if not frames.FRAME_BYTES_DEFAULT <= value <= frames.FRAME_BYTES_MAX:
                    raise Violation(frames.PROTOCOL_ERROR, "SETTINGS_MAX_FRAME_SIZE is out of range")
                self._outgoing.frames_may_have(value)
            elif name == frames.ENABLE_PUSH and value > 1:
                raise Violation(frames.PROTOCOL_ERROR, "SETTINGS_ENABLE_PUSH is neither 0 nor 1")
        self._outbox.queue(frames.SETTINGS_ACK)

    def ping(self, payload: bytes) -> None:
        self._outbox.queue(frames.ping_ack(payload))

    def goaway(self) -> None:
        """The peer opens no more streams; those that stand are still answered."""
        self.draining = True
        if not self.streams:
            self._outbox.close()
