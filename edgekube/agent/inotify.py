"""Be told when something appears in, or goes from, a directory.

Enters: directories.
Leaves: a wait that ends at the next change in any of them; what changed is for the caller to look at.
Holds: no thread and no polling; a change between two waits ends the next one at once.
Bound: the kernel keeps 16,384 events; when more come it says so by one more, which ends the wait as well.
Next: agent.plugins_registry, daemon.authentication_reload.
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from types import TracebackType
from typing import Final

import trio

_IN_NONBLOCK: Final = os.O_NONBLOCK
_IN_CLOEXEC: Final = os.O_CLOEXEC
#: CREATE, DELETE, MOVED_FROM, MOVED_TO, DELETE_SELF
_CHANGES: Final = 0x100 | 0x200 | 0x40 | 0x80 | 0x400
_CLOSE_WRITE: Final = 0x8
_READ_BYTES: Final = 65536

_libc = ctypes.CDLL(None, use_errno=True)


class DirectoryWatch:
    def __init__(self, *, contents: bool = False) -> None:
        """``contents``: also when a file that is there has been written. OSError when the kernel gives no more instances."""
        self._changes = _CHANGES | (_CLOSE_WRITE if contents else 0)
        self._descriptor = _libc.inotify_init1(_IN_NONBLOCK | _IN_CLOEXEC)
        if self._descriptor < 0:
            raise OSError(ctypes.get_errno(), "inotify_init1")

    def add(self, directory: Path) -> None:
        """Once more is as good as once."""
        if _libc.inotify_add_watch(self._descriptor, os.fsencode(directory), ctypes.c_uint32(self._changes)) < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(directory))

    async def changed(self) -> None:
        await trio.lowlevel.wait_readable(self._descriptor)
        try:
            while os.read(self._descriptor, _READ_BYTES):
                pass
        except BlockingIOError:
            pass

    def __enter__(self) -> DirectoryWatch:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        trio.lowlevel.notify_closing(self._descriptor)
        os.close(self._descriptor)
