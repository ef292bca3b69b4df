"""Encode response headers for HTTP/2 without a dynamic table.

Enters: (name, value) pairs of bytes.
Leaves: an HPACK field block (RFC 7541) of static indices and literals without indexing.
Holds: the table size is announced as 0 in the first block, so no setting of the peer can make us wrong.
Bound: FIELDS_REMEMBERED_MAX encoded fields for the whole process.
Next: wire.http2.

Most of our fields are the same in every answer: looking up their bytes costs a fraction of what the library's table, search and
Huffman coding cost, and a cluster's network does not miss the bytes.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Final

FIELDS_REMEMBERED_MAX: Final = 512
#: Longer values (a continue token) are not worth remembering.
_VALUE_REMEMBERED_BYTES_MAX: Final = 128
#: Dynamic table size update to 0 (RFC 7541, 6.3).
_NO_TABLE: Final = b"\x20"
#: The static table's complete fields (RFC 7541, appendix A).
_STATUS: Final = {b"200": 8, b"204": 9, b"206": 10, b"304": 11, b"400": 12, b"404": 13, b"500": 14}


class FieldEncoder:
    """Stands where h2 has its hpack.Encoder."""

    __slots__ = ("_announced", "header_table_size")

    def __init__(self) -> None:
        self._announced = False
        #: h2 sets what the peer allows; 0 is always allowed.
        self.header_table_size = 0

    def encode(self, headers: Iterable[tuple[bytes, bytes]], huffman: bool = False) -> bytes:
        block = b"".join(
            [
                _remembered(name, value) if len(value) <= _VALUE_REMEMBERED_BYTES_MAX else _field(name, value)
                for name, value in headers
            ]
        )
        if self._announced:
            return block
        self._announced = True
        return _NO_TABLE + block


def _field(name: bytes, value: bytes) -> bytes:
    if name == b":status":
        index = _STATUS.get(value)
        return bytes((0x80 | index,)) if index else b"\x08" + _string(value)
    return b"\x00" + _string(name) + _string(value)


_remembered = lru_cache(FIELDS_REMEMBERED_MAX)(_field)


def _string(text: bytes) -> bytes:
    """A literal string, not Huffman coded: length as an integer with a 7-bit prefix (RFC 7541, 5.1 and 5.2)."""
    length = len(text)
    if length < 127:
        return bytes((length,)) + text
    encoded = bytearray((127,))
    length -= 127
    while length >= 128:
        encoded.append(length & 127 | 128)
        length >>= 7
    encoded.append(length)
    return bytes(encoded) + text
