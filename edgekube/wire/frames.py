"""HTTP/2 frames as bytes (RFC 9113, sections 4 and 6): the numbers, and the few frames that a server writes.

Enters: numbers and payloads.
Leaves: bytes; the Violation that ends a connection.
Holds: pure.
Next: wire.http2_reading, wire.http2_outgoing.
"""

from __future__ import annotations

import struct
from typing import Final

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

# Types.
DATA: Final = 0
HEADERS: Final = 1
PRIORITY: Final = 2
RST_STREAM: Final = 3
SETTINGS: Final = 4
PUSH_PROMISE: Final = 5
PING: Final = 6
GOAWAY: Final = 7
WINDOW_UPDATE: Final = 8
CONTINUATION: Final = 9

# Flags.
END_STREAM: Final = 0x1
ACK: Final = 0x1
END_HEADERS: Final = 0x4
PADDED: Final = 0x8
PRIORITIZED: Final = 0x20

# Error codes (section 7).
NO_ERROR: Final = 0
PROTOCOL_ERROR: Final = 1
INTERNAL_ERROR: Final = 2
FLOW_CONTROL_ERROR: Final = 3
STREAM_CLOSED: Final = 5
FRAME_SIZE_ERROR: Final = 6
REFUSED_STREAM: Final = 7
COMPRESSION_ERROR: Final = 9
ENHANCE_YOUR_CALM: Final = 11

# Settings (section 6.5.2).
ENABLE_PUSH: Final = 2
MAX_CONCURRENT_STREAMS: Final = 3
INITIAL_WINDOW_SIZE: Final = 4
MAX_FRAME_SIZE: Final = 5
MAX_HEADER_LIST_SIZE: Final = 6

HEAD_BYTES: Final = 9
#: SETTINGS_MAX_FRAME_SIZE, ours and the peer's first.
FRAME_BYTES_DEFAULT: Final = 16384
FRAME_BYTES_MAX: Final = 2**24 - 1
WINDOW_BYTES_DEFAULT: Final = 65535
WINDOW_BYTES_MAX: Final = 2**31 - 1

#: Length (its upper 16 bits, its lower 8), type, flags, stream.
HEAD: Final = struct.Struct(">HBBBL")
_WORD: Final = struct.Struct(">L")
_SETTING: Final = struct.Struct(">HL")


class Violation(Exception):
    """The peer did what ends the connection, with this error code."""

    def __init__(self, code: int, why: str) -> None:
        super().__init__(why)
        self.code = code


def head(length: int, kind: int, flags: int, stream_id: int) -> bytes:
    return HEAD.pack(length >> 8, length & 0xFF, kind, flags, stream_id)


def headers(stream_id: int, block: bytes, frame_bytes_max: int, *, end_stream: bool) -> bytes:
    """HEADERS, and CONTINUATION for what is too much for one frame."""
    flags = END_STREAM if end_stream else 0
    if len(block) <= frame_bytes_max:
        return head(len(block), HEADERS, flags | END_HEADERS, stream_id) + block
    parts = [head(frame_bytes_max, HEADERS, flags, stream_id), block[:frame_bytes_max]]
    for start in range(frame_bytes_max, len(block), frame_bytes_max):
        piece = block[start : start + frame_bytes_max]
        last = start + frame_bytes_max >= len(block)
        parts += [head(len(piece), CONTINUATION, END_HEADERS if last else 0, stream_id), piece]
    return b"".join(parts)


def settings(values: dict[int, int]) -> bytes:
    payload = b"".join([_SETTING.pack(name, value) for name, value in values.items()])
    return head(len(payload), SETTINGS, 0, 0) + payload


SETTINGS_ACK: Final = head(0, SETTINGS, ACK, 0)


def read_settings(payload: bytes) -> list[tuple[int, int]]:
    """``payload`` has a multiple of six bytes."""
    return [(name, value) for name, value in _SETTING.iter_unpack(payload)]


def read_word(payload: bytes) -> int:
    """31 bits; the first is reserved."""
    word: int = _WORD.unpack_from(payload)[0]
    return word & 0x7FFFFFFF


def ping_ack(payload: bytes) -> bytes:
    return head(8, PING, ACK, 0) + payload


def reset(stream_id: int, code: int) -> bytes:
    return head(4, RST_STREAM, 0, stream_id) + _WORD.pack(code)


def window_update(stream_id: int, increment: int) -> bytes:
    return head(4, WINDOW_UPDATE, 0, stream_id) + _WORD.pack(increment)


def goaway(last_stream_id: int, code: int) -> bytes:
    return head(8, GOAWAY, 0, 0) + _WORD.pack(last_stream_id) + _WORD.pack(code)
