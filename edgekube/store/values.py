"""Documents as they lie on disk.

Enters: JSON objects as bytes.
Leaves: the same bytes, zlib level 1 where they would not fit a page.
Holds: unpack(pack(value)) == value; the first byte tells the two forms apart ("{" opens JSON, 0x78 a zlib stream).
Next: store.writer packs, store.reads unpacks.
"""

from __future__ import annotations

import zlib
from typing import Final

#: A shorter value lies in one 4 KiB page with its row anyway: compressing it would spare the disk nothing and cost a list
#: 4 microseconds a KB.
COMPRESS_BYTES_MIN: Final = 3584
_ZLIB_FIRST_BYTE: Final = 0x78


def pack(value: bytes) -> bytes:
    """ValueError when ``value`` cannot be a JSON object: its first byte would be taken for something else."""
    if value[:1] != b"{":
        raise ValueError("a stored document must be a JSON object without leading blanks")
    return value if len(value) < COMPRESS_BYTES_MIN else zlib.compress(value, 1)


def unpack(stored: bytes) -> bytes:
    """zlib.error when a compressed value was damaged (its checksum is verified)."""
    if stored[0] == _ZLIB_FIRST_BYTE:
        return zlib.decompress(stored, bufsize=len(stored) * 4)
    return stored
