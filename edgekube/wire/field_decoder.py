"""Decode request headers of HTTP/2: HPACK (RFC 7541), the receiving side.

Enters: one complete field block at a time, in the order in which they came.
Leaves: (name, value) pairs of text (latin-1), in order.
Holds: the dynamic table is what the peer's encoder believes it is; every block that was begun is decoded or the connection ends.
Bound: TABLE_BYTES_MAX of table; the caller's bound on one block's fields; STRINGS_REMEMBERED_MAX short Huffman strings for the
whole process.
Next: wire.http2_request.

The hpack package's tables do the Huffman decoding. Its decoder is not used, because it takes 35 µs for a block of seven indexed
fields, and this one 3 µs (docs/adr/0001-own-http2-framing.md); it is the oracle of the tests.
"""

from __future__ import annotations

from collections import deque
from functools import lru_cache
from typing import Final

from hpack.exceptions import HPACKDecodingError
from hpack.huffman_table import decode_huffman
from hpack.table import HeaderTable

#: SETTINGS_HEADER_TABLE_SIZE, which we leave at its default (RFC 9113, 6.5.2).
TABLE_BYTES_MAX: Final = 4096
STRINGS_REMEMBERED_MAX: Final = 1024
_STRING_REMEMBERED_BYTES_MAX: Final = 96
#: What an entry counts beyond its text (RFC 7541, 4.1).
_ENTRY_BYTES: Final = 32
_INTEGER_BYTES_MAX: Final = 5

Field = tuple[str, str]

_STATIC: Final[tuple[Field, ...]] = (
    ("", ""),
    *((name.decode("latin-1"), value.decode("latin-1")) for name, value in HeaderTable.STATIC_TABLE),
)
_FIRST_DYNAMIC: Final = len(_STATIC)


class BadBlock(Exception):
    """Not HPACK: the table can no longer be trusted (COMPRESSION_ERROR)."""


class TooManyFields(Exception):
    """The fields are larger than the caller takes."""


class FieldDecoder:
    __slots__ = ("_entries", "_entries_bytes", "_fields_bytes_max", "_table_bytes_max")

    def __init__(self, fields_bytes_max: int) -> None:
        """``fields_bytes_max`` counts as SETTINGS_MAX_HEADER_LIST_SIZE does: text plus 32 a field."""
        self._fields_bytes_max = fields_bytes_max
        self._table_bytes_max = TABLE_BYTES_MAX
        self._entries: deque[Field] = deque()  # newest first
        self._entries_bytes = 0

    def decode(self, block: bytes) -> list[Field]:
        """Raises BadBlock or TooManyFields; the connection cannot go on after either."""
        try:
            return self._decode(block)
        except IndexError as error:
            raise BadBlock("the block ends within a field, or names an entry that is not there") from error
        except HPACKDecodingError as error:
            raise BadBlock(str(error)) from error

    def _decode(self, block: bytes) -> list[Field]:
        fields: list[Field] = []
        left = self._fields_bytes_max
        at, end = 0, len(block)
        while at < end:
            first = block[at]
            if first & 0x80:  # an indexed field
                if first == 0xFF:
                    index, at = _integer(block, at, 0x7F)
                else:
                    index, at = first & 0x7F, at + 1
                field = self._field(index)
            elif first & 0x60 == 0x20:
                if fields:
                    raise BadBlock("the table's size changes behind a field")
                size, at = _integer(block, at, 0x1F)
                if size > TABLE_BYTES_MAX:
                    raise BadBlock("the table would be larger than allowed")
                self._table_bytes_max = size
                self._evict()
                continue
            else:  # a literal: remembered (01), not remembered (0000), never to be remembered (0001)
                remembered = first & 0x40
                index, at = _integer(block, at, 0x3F if remembered else 0x0F)
                if index:
                    name = self._field(index)[0]
                else:
                    name, at = _string(block, at)
                value, at = _string(block, at)
                field = (name, value)
                if remembered:
                    self._remember(field)
            left -= len(field[0]) + len(field[1]) + _ENTRY_BYTES
            if left < 0:
                raise TooManyFields(f"the fields are larger than {self._fields_bytes_max} bytes")
            fields.append(field)
        return fields

    def _field(self, index: int) -> Field:
        if index >= _FIRST_DYNAMIC:
            return self._entries[index - _FIRST_DYNAMIC]
        if not index:
            raise BadBlock("index 0")
        return _STATIC[index]

    def _remember(self, field: Field) -> None:
        self._entries.appendleft(field)
        self._entries_bytes += len(field[0]) + len(field[1]) + _ENTRY_BYTES
        if self._entries_bytes > self._table_bytes_max:
            self._evict()

    def _evict(self) -> None:
        """An entry larger than the whole table empties it (RFC 7541, 4.4)."""
        while self._entries_bytes > self._table_bytes_max:
            name, value = self._entries.pop()
            self._entries_bytes -= len(name) + len(value) + _ENTRY_BYTES


def _integer(block: bytes, at: int, prefix: int) -> tuple[int, int]:
    """An integer whose prefix has these bits (RFC 7541, 5.1), and where what follows it begins."""
    value = block[at] & prefix
    at += 1
    if value < prefix:
        return value, at
    for shift in range(0, 7 * _INTEGER_BYTES_MAX, 7):
        byte = block[at]
        at += 1
        value += (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise BadBlock("an integer is too long")


def _string(block: bytes, at: int) -> tuple[str, int]:
    huffman = block[at] & 0x80
    length, at = _integer(block, at, 0x7F)
    stop = at + length
    if stop > len(block):
        raise BadBlock("a string reaches beyond the block")
    text = block[at:stop]
    if not huffman:
        return text.decode("latin-1"), stop
    if length <= _STRING_REMEMBERED_BYTES_MAX:
        return _remembered_huffman(text), stop
    return _huffman(text), stop


def _huffman(text: bytes) -> str:
    return bytes(decode_huffman(text)).decode("latin-1")


_remembered_huffman = lru_cache(STRINGS_REMEMBERED_MAX)(_huffman)
