"""Documents as they lie on disk and as they are kept in memory.

Enters: JSON objects as bytes.
Leaves: the same bytes; for the disk zlib level 1 where they would take more than two pages, for memory no larger than they are.
Holds: unpack(pack(value)) == value; the first byte tells the two forms apart ("{" opens JSON, 0x78 a zlib stream).
Next: store.writer packs, store.reads unpacks.
"""

from __future__ import annotations

import zlib
from typing import Final

#: Inflating costs a list about 5 microseconds a KB: a thousand pods would take 24 ms more. A value below 4,000 bytes lies in one
#: 4 KiB page with its row either way; up to here, as most pods are, it takes one page more, which is the price of fast lists.
COMPRESS_BYTES_MIN: Final = 8000
_ZLIB_FIRST_BYTE: Final = 0x78


def pack(value: bytes) -> bytes:
    """ValueError when ``value`` cannot be a JSON object: its first byte would be taken for something else."""
    if value[:1] != b"{":
        raise ValueError("a stored document must be a JSON object without leading blanks")
    return value if len(value) < COMPRESS_BYTES_MIN else zlib.compress(value, 1)


def trimmed(value: bytes) -> bytes:
    """The same bytes in a block of their own size. What orjson.dumps returns lies in the buffer that it wrote into: 4 KB for 300
    bytes, 64 KB for 5,000 (orjson 3.13). That is nothing while it is sent, and most of the process once thousands are kept."""
    return b"".join((value, b""))


def unpack(stored: bytes) -> bytes:
    """zlib.error when a compressed value was damaged (its checksum is verified)."""
    if stored[0] == _ZLIB_FIRST_BYTE:
        return zlib.decompress(stored, bufsize=len(stored) * 4)
    return stored
