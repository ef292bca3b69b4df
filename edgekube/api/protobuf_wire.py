"""Protobuf's wire format, as far as answers need it.

Enters: numbers of fields, integers, bytes.
Leaves: varints; a field of bytes with its tag and length.
Holds: pure; negative integers are those of 64 bits.
Source: protobuf.dev, "Encoding".
Next: api.protobuf_answers, api.openapi.swagger.
"""

from __future__ import annotations

from typing import Final

VARINT: Final = 0
FIXED64: Final = 1
BYTES: Final = 2


def varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    made = bytearray()
    while value > 0x7F:
        made.append(value & 0x7F | 0x80)
        value >>= 7
    made.append(value)
    return bytes(made)


def piece(number: int, data: bytes) -> bytes:
    return varint(number << 3 | BYTES) + varint(len(data)) + data
