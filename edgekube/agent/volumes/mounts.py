"""mount(2) and umount2(2), as far as pods need them: tmpfs, bind mounts, and finding both again.

Enters: paths.
Leaves: mounts; OSError when the kernel refuses.
Holds: unmounting what is not mounted succeeds; a mount is detached even while something uses it, so that teardown ends.
Next: volumes.setup, volumes.subpath.
"""

from __future__ import annotations

import ctypes
import errno
import os
from pathlib import Path
from typing import Final

MS_RDONLY: Final = 1
MS_NOSUID: Final = 2
MS_NODEV: Final = 4
MS_NOEXEC: Final = 8
MS_REMOUNT: Final = 32
MS_BIND: Final = 4096
MNT_DETACH: Final = 2

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def _mount(source: str, target: str, kind: str, flags: int, data: str) -> None:
    result = _libc.mount(source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), data.encode())
    _check(result, f"mount {kind or 'bind'} on {target}")


def mount_tmpfs(target: Path, size_bytes: int = 0, mode: int = 0o755) -> None:
    """``size_bytes`` 0 leaves the kernel's default, half of the memory."""
    options = f"mode={mode:o}" + (f",size={size_bytes}" if size_bytes else "")
    _mount("tmpfs", str(target), "tmpfs", 0, options)


def bind(source: str, target: Path) -> None:
    _mount(source, str(target), "", MS_BIND, "")


def unmount(target: Path) -> None:
    if _libc.umount2(str(target).encode(), MNT_DETACH) != 0:
        number = ctypes.get_errno()
        if number not in (errno.EINVAL, errno.ENOENT):
            raise OSError(number, f"umount {target}: {os.strerror(number)}")


def _unescape(text: str) -> str:
    """mountinfo writes space, tab, newline and backslash as octal."""
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, character)
    return text


def mounted_under(root: Path) -> list[Path]:
    """Mount points at or below the path, the deepest first."""
    prefix = os.path.realpath(root)
    found = []
    with open("/proc/self/mountinfo") as mounts:
        for line in mounts:
            point = _unescape(line.split(" ", 5)[4])
            if point == prefix or point.startswith(prefix + "/"):
                found.append(Path(point))
    return sorted(found, key=lambda path: len(path.parts), reverse=True)


def unmount_under(root: Path) -> None:
    for point in mounted_under(root):
        unmount(point)
