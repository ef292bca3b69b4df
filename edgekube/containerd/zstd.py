"""zstd, as far as archives need it: a stream of bytes, decompressed.

Enters: a file that begins with zstd's magic number.
Leaves: a file object that reads as what was compressed; Damaged when the data is, EOFError when it is cut short, OSError when the
library is missing.
Holds: libzstd.so.1 is part of every Debian (dpkg needs it); Python has zstd of its own only since 3.14, and no package is worth
two functions.
Bound: two buffers of the sizes that the library recommends (128 KiB each); windows of at most 128 MiB, as zstd's own default.
Source: zstd.h.
Next: containerd.archive.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import io
from typing import IO, Any, Final

MAGIC: Final = b"\x28\xb5\x2f\xfd"


class Damaged(ValueError):
    """Not zstd, or not what was compressed."""


class _InBuffer(ctypes.Structure):
    _fields_ = (("src", ctypes.c_void_p), ("size", ctypes.c_size_t), ("pos", ctypes.c_size_t))


class _OutBuffer(ctypes.Structure):
    _fields_ = (("dst", ctypes.c_void_p), ("size", ctypes.c_size_t), ("pos", ctypes.c_size_t))


def _library() -> Any:
    try:
        library = ctypes.CDLL("libzstd.so.1")
    except OSError:
        raise OSError("archives compressed with zstd need the library libzstd1: sudo apt-get install libzstd1") from None
    library.ZSTD_createDStream.restype = ctypes.c_void_p
    library.ZSTD_freeDStream.argtypes = (ctypes.c_void_p,)
    library.ZSTD_decompressStream.argtypes = (ctypes.c_void_p, ctypes.POINTER(_OutBuffer), ctypes.POINTER(_InBuffer))
    library.ZSTD_decompressStream.restype = ctypes.c_size_t
    library.ZSTD_isError.argtypes = (ctypes.c_size_t,)
    library.ZSTD_getErrorName.argtypes = (ctypes.c_size_t,)
    library.ZSTD_getErrorName.restype = ctypes.c_char_p
    for name in ("ZSTD_DStreamInSize", "ZSTD_DStreamOutSize"):
        getattr(library, name).restype = ctypes.c_size_t
    return library


class ZstdReader(io.RawIOBase):
    """Front to back, once."""

    def __init__(self, source: IO[bytes]) -> None:
        self._source = source
        self._library = _library()
        self._stream = self._library.ZSTD_createDStream()
        if not self._stream:
            raise MemoryError("zstd")
        self._out = ctypes.create_string_buffer(self._library.ZSTD_DStreamOutSize())
        self._in_size = int(self._library.ZSTD_DStreamInSize())
        self._held = b""  # keeps the memory that _in points into
        self._in = _InBuffer(None, 0, 0)
        self._ready = memoryview(b"")
        self._between_frames = True

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        if not self.closed and self._stream:
            self._library.ZSTD_freeDStream(self._stream)
            self._stream = None
        super().close()

    def readinto(self, buffer: Any) -> int:
        while not self._ready:
            if not self._more():
                return 0
        size = min(len(buffer), len(self._ready))
        buffer[:size] = self._ready[:size]
        self._ready = self._ready[size:]
        return size

    def _more(self) -> bool:
        if self._in.pos == self._in.size:
            self._held = self._source.read(self._in_size)
            if not self._held:
                if not self._between_frames:
                    raise EOFError("the compressed data is cut short")
                return False
            self._in = _InBuffer(ctypes.cast(ctypes.c_char_p(self._held), ctypes.c_void_p), len(self._held), 0)
        out = _OutBuffer(ctypes.cast(self._out, ctypes.c_void_p), len(self._out), 0)
        left = self._library.ZSTD_decompressStream(self._stream, ctypes.byref(out), ctypes.byref(self._in))
        if self._library.ZSTD_isError(left):
            raise Damaged(f"zstd: {self._library.ZSTD_getErrorName(left).decode()}")
        self._between_frames = left == 0
        self._ready = memoryview(self._out.raw[: out.pos])
        return True
