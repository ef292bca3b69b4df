"""Encode response headers for HTTP/2 without a dynamic table.

Enters: a status and headers.
Leaves: an HPACK field block (RFC 7541) of static indices and literals without indexing.
Holds: the connection announces a table of size 0 in its first block, so no setting of the peer can make us wrong; no value ends
its line (ValueError), so a handler's data never becomes another header.
Bound: BLOCKS_REMEMBERED_MAX encoded blocks for the whole process.
Next: wire.http2_outgoing.

Most answers have the same headers but for Date and Content-Length: looking up their bytes costs a fraction of what a table, its
search and Huffman coding cost, and a cluster's network does not miss the bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from edgekube.wire.answers import http_date

BLOCKS_REMEMBERED_MAX: Final = 256
#: Larger ones (a continue token, warnings) are not worth remembering.
_BLOCK_REMEMBERED_BYTES_MAX: Final = 512
#: Dynamic table size update to 0 (RFC 7541, 6.3): goes before a connection's first block.
NO_TABLE: Final = b"\x20"
CONTINUE_BLOCK: Final = b"\x08\x03100"
#: The static table's complete fields (RFC 7541, appendix A).
_STATUS: Final = {200: 8, 204: 9, 206: 10, 304: 11, 400: 12, 404: 13, 500: 14}
#: Literal without indexing, its name from the static table: content-length is entry 28, date 33.
_CONTENT_LENGTH: Final = b"\x0f\x0d"
_DATE: Final = b"\x0f\x12"
#: What framing decides, whatever a handler says, and what has no place in HTTP/2 (RFC 9113, 8.2.2).
_FRAMING: Final = frozenset({"connection", "transfer-encoding", "keep-alive", "upgrade", "proxy-connection", "content-length"})


def response_block(status: int, headers: Mapping[str, str], content_length: str | None) -> bytes:
    """Everything of a response's head; Date is added."""
    fields = tuple(headers.items())
    if sum(map(len, headers.values())) <= _BLOCK_REMEMBERED_BYTES_MAX:
        block = _remembered(status, fields)
    else:
        block = _encode(status, fields)
    date = _dated(http_date())
    if content_length is None:
        return block + date
    length = b"%d" % int(content_length)
    return b"%b%b%b%c%b" % (block, date, _CONTENT_LENGTH, len(length), length)


def _encode(status: int, fields: tuple[tuple[str, str], ...]) -> bytes:
    index = _STATUS.get(status)
    parts = [bytes((0x80 | index,)) if index else b"\x08" + _string(b"%d" % status)]
    for name, value in fields:
        if name not in _FRAMING:
            if "\n" in value or "\r" in value or "\0" in value:
                raise ValueError("a header holds a line break")
            parts += (b"\x00", _string(name.encode("latin-1")), _string(value.encode("latin-1", "replace")))
    return b"".join(parts)


_remembered = lru_cache(BLOCKS_REMEMBERED_MAX)(_encode)


@lru_cache(1)
def _dated(date: str) -> bytes:
    return _DATE + _string(date.encode("ascii"))


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
