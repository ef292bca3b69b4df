"""nft's own library in this process: a small change costs less than a millisecond, a process of its own fifteen.

Enters: nft's own text, small.
Leaves: what the library said when it refused, "" when the kernel took the whole script.
Holds: one script is one transaction, as with the command. A call blocks; the library keeps the memory of its largest script
(2 MB for small ones), so large scripts are the command's.
Source: libnftables(3); Debian's package nftables brings the library.
Next: network.nft.
"""

from __future__ import annotations

import ctypes
import functools
import logging

log = logging.getLogger("edgekube.network")


class Library:
    """One context, made once; it reads the kernel's state again whenever that has changed."""

    def __init__(self) -> None:
        """OSError when the library is not there."""
        library = ctypes.CDLL("libnftables.so.1")
        library.nft_ctx_new.restype = ctypes.c_void_p
        library.nft_ctx_new.argtypes = [ctypes.c_uint32]
        library.nft_ctx_get_error_buffer.restype = ctypes.c_char_p
        for name in ("nft_ctx_buffer_output", "nft_ctx_buffer_error", "nft_ctx_get_error_buffer"):
            getattr(library, name).argtypes = [ctypes.c_void_p]
        library.nft_run_cmd_from_buffer.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
        context = library.nft_ctx_new(0)
        if not context:
            raise OSError("libnftables gave no context")
        # Not to our own standard output.
        library.nft_ctx_buffer_output(context)
        library.nft_ctx_buffer_error(context)
        self._library = library
        self._context = context

    def apply(self, script: str) -> str:
        if self._library.nft_run_cmd_from_buffer(self._context, script.encode()) == 0:
            return ""
        said: bytes = self._library.nft_ctx_get_error_buffer(self._context) or b"refused without a word"
        return said.decode(errors="replace").strip()


@functools.cache
def library() -> Library | None:
    """None: the command will do."""
    try:
        return Library()
    except (OSError, AttributeError) as error:
        log.info("libnftables cannot be used, every change starts nft: %s", error)
        return None
