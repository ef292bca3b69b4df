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
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from msgspec import Struct

MS_RDONLY: Final = 1
MS_NOSUID: Final = 2
MS_NODEV: Final = 4
MS_NOEXEC: Final = 8
MS_REMOUNT: Final = 32
MS_BIND: Final = 4096
MS_REC: Final = 16384
MS_PRIVATE: Final = 1 << 18
_MOUNT_SETATTR: Final = 442  # the same on every architecture
_AT_FDCWD: Final = -100
_AT_RECURSIVE: Final = 0x8000
_MOUNT_ATTR_RDONLY: Final = 1
MNT_DETACH: Final = 2

_FLAGS: Final = {"ro": MS_RDONLY, "rw": 0, "bind": MS_BIND, "rbind": MS_BIND | MS_REC, "nosuid": MS_NOSUID, "nodev": MS_NODEV}

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def _mount(source: str, target: str, kind: str, flags: int, data: str) -> None:
    result = _libc.mount(*map(os.fsencode, (source, target, kind)), ctypes.c_ulong(flags), os.fsencode(data))
    _check(result, f"mount {kind or 'bind'} on {target}")


def mount_tmpfs(target: Path, size_bytes: int = 0, mode: int = 0o755) -> None:
    """``size_bytes`` 0 leaves the kernel's default, half of the memory."""
    options = f"mode={mode:o}" + (f",size={size_bytes}" if size_bytes else "")
    _mount("tmpfs", str(target), "tmpfs", 0, options)


def mount_hugetlbfs(target: Path, page_bytes: int) -> None:
    _mount("nodev", str(target), "hugetlbfs", 0, f"pagesize={page_bytes}")


def mount_given(kind: str, source: str, target: Path, options: Sequence[str]) -> None:
    """As a snapshotter says: ``overlay`` with its directories, or ``bind``."""
    flags, data = 0, []
    for option in options:
        flag = _FLAGS.get(option)
        if flag is None:
            data.append(option)
        flags |= flag or 0
    if flags & MS_BIND:
        _mount(source, str(target), "", flags & (MS_BIND | MS_REC), "")
        _mount("none", str(target), "", MS_REMOUNT | MS_BIND | MS_RDONLY, "")
        return
    text = ",".join(data)
    if len(text) >= os.sysconf("SC_PAGE_SIZE"):
        raise OSError(errno.E2BIG, "the image has too many layers to be mounted by itself")
    _mount(source, str(target), kind, flags | MS_RDONLY, text)


def bind_read_only_all_down(source: str, target: Path) -> None:
    """A bind of the whole tree, each mount in it read-only, that tells nobody of itself."""
    _mount(source, str(target), "", MS_BIND | MS_REC, "")
    attributes = (ctypes.c_uint64 * 4)(_MOUNT_ATTR_RDONLY, 0, MS_PRIVATE, 0)
    try:
        _setattr(os.fsencode(target), _AT_RECURSIVE, attributes)
    except OSError:
        unmount(target)
        raise


def has_mount_setattr() -> bool:
    try:
        _setattr(b"/nonexistent", 0, (ctypes.c_uint64 * 4)())
    except OSError as error:
        return error.errno != errno.ENOSYS
    return True


def _setattr(path: bytes, flags: int, attributes: ctypes.Array[ctypes.c_uint64]) -> None:
    size = ctypes.c_size_t(ctypes.sizeof(attributes))
    _check(_libc.syscall(_MOUNT_SETATTR, _AT_FDCWD, path, flags, ctypes.byref(attributes), size), "mount_setattr")


def bind(source: str, target: Path, *, read_only: bool = False) -> None:
    _mount(source, str(target), "", MS_BIND, "")
    if read_only:
        _mount("none", str(target), "", MS_BIND | MS_REMOUNT | MS_RDONLY, "")


def unmount(target: Path) -> None:
    if _libc.umount2(os.fsencode(target), MNT_DETACH) != 0:
        number = ctypes.get_errno()
        if number not in (errno.EINVAL, errno.ENOENT):
            raise OSError(number, f"umount {target}: {os.strerror(number)}")


def _unescape(text: str) -> str:
    """mountinfo writes space, tab, newline and backslash as octal."""
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, character)
    return text


class MountPoint(Struct, frozen=True):
    path: str
    type: str
    source: str
    #: Of the file system.
    options: frozenset[str]


def mount_points() -> Iterator[MountPoint]:
    """In the order in which they were mounted."""
    # Names are bytes that whoever made a directory chose, other line ends among them.
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape", newline="\n") as mounts:
        for line in mounts:
            words = line.rstrip("\n").split(" ")
            kind, source, options = words[words.index("-") + 1 :][:3]
            yield MountPoint(_unescape(words[4]), kind, _unescape(source), frozenset(options.split(",")))


def mounted_under(root: Path) -> list[Path]:
    """Mount points at or below the path, the deepest first."""
    prefix = os.path.realpath(root)
    found = [Path(each.path) for each in mount_points() if each.path == prefix or each.path.startswith(prefix + "/")]
    return sorted(found, key=lambda path: len(path.parts), reverse=True)


def is_mounted(target: Path) -> bool:
    """Without a look at what is mounted there: a file server that does not answer would hold whoever looks."""
    wanted = really(target)
    return any(each.path == wanted for each in mount_points())


def types_by_point() -> dict[str, str]:
    return {each.path: each.type for each in mount_points()}


def mounted_at(path: str) -> MountPoint | None:
    """What the path is on."""
    points = {each.path: each for each in mount_points()}
    place = os.path.realpath(path)
    while place not in points and place != "/":
        place = os.path.dirname(place)
    return points.get(place)


def type_at(path: str, types: Mapping[str, str]) -> str:
    """The type of the file system that the path is on, without a look at it: links in the path are not followed."""
    while path not in types and path != "/":
        path = os.path.dirname(path)
    return types.get(path, "")


def really(target: Path) -> str:
    return os.path.join(os.path.realpath(target.parent), target.name)


def unmount_under(root: Path) -> None:
    for point in mounted_under(root):
        unmount(point)
