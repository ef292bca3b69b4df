"""Bytes of an HTTP/2 connection, taken apart into frames that have the right form (RFC 9113, sections 3.4, 4 and 6).

Enters: bytes as they come.
Leaves: a call of wire.http2_incoming for each whole frame; field sections decoded.
Holds: the preface comes first, then SETTINGS; nothing interrupts a field block; what has a wrong form raises frames.Violation.
Bound: a frame of FRAME_BYTES_DEFAULT, a field block of limits.WIRE_HEAD_BYTES_MAX; the allowance of control frames.
Next: wire.http2_incoming says what the frames mean.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from edgekube import limits
from edgekube.wire import frames
from edgekube.wire.field_decoder import BadBlock, FieldDecoder, TooManyFields
from edgekube.wire.frames import Violation
from edgekube.wire.http2_floods import Allowance
from edgekube.wire.http2_incoming import Incoming


class FrameReader:
    __slots__ = ("_block", "_control", "_decoder", "_incoming", "_preface_seen", "_unparsed", "settings_seen")

    def __init__(self, incoming: Incoming, control: Allowance) -> None:
        self._incoming = incoming
        self._control = control
        self._unparsed = b""
        self._preface_seen = False
        self.settings_seen = False
        self._decoder = FieldDecoder(limits.WIRE_HEAD_BYTES_MAX)
        #: A field block that CONTINUATION must complete: stream, END_STREAM, fragments.
        self._block: tuple[int, bool, bytearray] | None = None

    def read(self, data: bytes) -> None:
        """Every whole frame; the rest is kept. Raises Violation."""
        if self._unparsed:
            data = self._unparsed + data
        at, end = 0, len(data)
        if not self._preface_seen:
            preface = data[: len(frames.PREFACE)]
            if not frames.PREFACE.startswith(preface):
                raise Violation(frames.PROTOCOL_ERROR, "no connection preface")
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
                raise Violation(frames.FRAME_SIZE_ERROR, f"a frame of {length} bytes")
            start = at + frames.HEAD_BYTES
            if start + length > end:
                break
            at = start + length
            self._frame(kind, flags, stream_id & 0x7FFFFFFF, data[start:at])
        self._unparsed = data[at:]

    def _frame(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        if self._block is not None:
            if kind != frames.CONTINUATION or stream_id != self._block[0]:
                raise Violation(frames.PROTOCOL_ERROR, "a field block is interrupted")
        elif not self.settings_seen and (kind != frames.SETTINGS or flags & frames.ACK):
            raise Violation(frames.PROTOCOL_ERROR, "the first frame is not SETTINGS")
        handle = _FRAMES.get(kind)
        if handle is None:
            self._control.spend(1)  # unknown types are ignored (section 4.1)
        else:
            handle(self, flags, stream_id, payload)

    def _on_headers(self, flags: int, stream_id: int, payload: bytes) -> None:
        if not stream_id & 1:
            raise Violation(frames.PROTOCOL_ERROR, "not the number of a stream that a client opens")
        if flags & (frames.PADDED | frames.PRIORITIZED):
            payload = _unpadded(flags, payload)
            if flags & frames.PRIORITIZED:
                if len(payload) < 5:
                    raise Violation(frames.FRAME_SIZE_ERROR, "HEADERS end within their priority")
                payload = payload[5:]
        if flags & frames.END_HEADERS:
            self._block_ended(stream_id, bool(flags & frames.END_STREAM), payload)
        else:
            self._block = (stream_id, bool(flags & frames.END_STREAM), bytearray(payload))

    def _on_continuation(self, flags: int, stream_id: int, payload: bytes) -> None:
        if self._block is None:
            raise Violation(frames.PROTOCOL_ERROR, "CONTINUATION of nothing")
        self._control.spend(1)
        _, end_stream, block = self._block
        block += payload
        if len(block) > limits.WIRE_HEAD_BYTES_MAX:
            raise Violation(frames.ENHANCE_YOUR_CALM, "a field block without end")
        if flags & frames.END_HEADERS:
            self._block = None
            self._block_ended(stream_id, end_stream, bytes(block))

    def _block_ended(self, stream_id: int, end_stream: bool, block: bytes) -> None:
        try:
            fields = self._decoder.decode(block)
        except BadBlock as error:
            raise Violation(frames.COMPRESSION_ERROR, str(error)) from error
        except TooManyFields as error:
            raise Violation(frames.ENHANCE_YOUR_CALM, str(error)) from error
        self._incoming.fields(stream_id, end_stream, fields)

    def _on_data(self, flags: int, stream_id: int, payload: bytes) -> None:
        flow_bytes = len(payload)
        if flags & frames.PADDED:
            payload = _unpadded(flags, payload)
        self._incoming.data(stream_id, payload, flow_bytes, bool(flags & frames.END_STREAM))

    def _on_priority(self, flags: int, stream_id: int, payload: bytes) -> None:
        """Deprecated (section 5.3): checked and ignored."""
        self._control.spend(1)
        if not stream_id:
            raise Violation(frames.PROTOCOL_ERROR, "PRIORITY of stream 0")
        if len(payload) != 5:
            raise Violation(frames.FRAME_SIZE_ERROR, "PRIORITY has five bytes")

    def _on_reset(self, flags: int, stream_id: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise Violation(frames.FRAME_SIZE_ERROR, "RST_STREAM has four bytes")
        self._incoming.reset(stream_id)

    def _on_settings(self, flags: int, stream_id: int, payload: bytes) -> None:
        self._control.spend(10)
        if stream_id:
            raise Violation(frames.PROTOCOL_ERROR, "SETTINGS of a stream")
        if len(payload) % 6 or (flags & frames.ACK and payload):
            raise Violation(frames.FRAME_SIZE_ERROR, "SETTINGS have six bytes each, their acknowledgement none")
        if flags & frames.ACK:
            return
        self.settings_seen = True
        self._incoming.settings(frames.read_settings(payload))

    def _on_push_promise(self, flags: int, stream_id: int, payload: bytes) -> None:
        raise Violation(frames.PROTOCOL_ERROR, "a client cannot promise")

    def _on_ping(self, flags: int, stream_id: int, payload: bytes) -> None:
        self._control.spend(1)
        if stream_id:
            raise Violation(frames.PROTOCOL_ERROR, "PING of a stream")
        if len(payload) != 8:
            raise Violation(frames.FRAME_SIZE_ERROR, "PING has eight bytes")
        if not flags & frames.ACK:
            self._incoming.ping(payload)

    def _on_goaway(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id:
            raise Violation(frames.PROTOCOL_ERROR, "GOAWAY of a stream")
        if len(payload) < 8:
            raise Violation(frames.FRAME_SIZE_ERROR, "GOAWAY has eight bytes at least")
        self._incoming.goaway()

    def _on_window_update(self, flags: int, stream_id: int, payload: bytes) -> None:
        self._control.spend(1)
        if len(payload) != 4:
            raise Violation(frames.FRAME_SIZE_ERROR, "WINDOW_UPDATE has four bytes")
        increment = frames.read_word(payload)
        if stream_id:
            self._incoming.stream_window(stream_id, increment)
        else:
            self._incoming.connection_window(increment)


def _unpadded(flags: int, payload: bytes) -> bytes:
    if not flags & frames.PADDED:
        return payload
    if not payload or payload[0] >= len(payload):
        raise Violation(frames.PROTOCOL_ERROR, "more padding than frame")
    return payload[1 : len(payload) - payload[0]]


_FRAMES: Final[dict[int, Callable[[FrameReader, int, int, bytes], None]]] = {
    frames.DATA: FrameReader._on_data,
    frames.HEADERS: FrameReader._on_headers,
    frames.PRIORITY: FrameReader._on_priority,
    frames.RST_STREAM: FrameReader._on_reset,
    frames.SETTINGS: FrameReader._on_settings,
    frames.PUSH_PROMISE: FrameReader._on_push_promise,
    frames.PING: FrameReader._on_ping,
    frames.GOAWAY: FrameReader._on_goaway,
    frames.WINDOW_UPDATE: FrameReader._on_window_update,
    frames.CONTINUATION: FrameReader._on_continuation,
}
