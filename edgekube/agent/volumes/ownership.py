"""Hand a volume over to a group, as ``fsGroup`` asks for.

Enters: a directory and a group id.
Leaves: group ownership, group permissions and the setgid bit, for everything in it; the directory itself comes last.
Holds: links are changed themselves, never what they point to; a container that has the volume already and puts a link in the
place of a directory or a file meanwhile leads nowhere, for everything is reached through open descriptors. However deep it is,
two directories are open at a time and nothing recurses.
Source: Kubernetes documentation, "Configure a Security Context", fsGroup and fsGroupChangePolicy.
Next: volumes.setup.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Final

_OPEN: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
#: What stood there is gone, or is something else by now.
_CHANGED: Final = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


def _fits(path: Path, gid: int) -> bool:
    found = path.lstat()
    return found.st_gid == gid and found.st_mode & 0o2770 == 0o2770


def apply_fs_group(root: Path, gid: int, *, on_root_mismatch: bool = False) -> None:
    if on_root_mismatch and _fits(root, gid):
        return
    directory = os.open(root, _OPEN & ~os.O_NOFOLLOW)
    try:
        #: From the root down to where we are: which directory, and what is in it that was not looked into.
        path = [(_identity(directory), _apply_in(directory, gid))]
        while path:
            _, below = path[-1]
            if below:
                found = _enter(below.pop(), directory)
                if found >= 0:
                    os.close(directory)
                    directory = found
                    path.append((_identity(directory), _apply_in(directory, gid)))
                continue
            os.fchown(directory, -1, gid)
            os.fchmod(directory, stat.S_IMODE(os.fstat(directory).st_mode) | 0o2770)
            path.pop()
            if path:
                above = os.open("..", _OPEN, dir_fd=directory)
                os.close(directory)
                directory = above
                if _identity(directory) != path[-1][0]:
                    raise OSError(errno.EAGAIN, "a directory was moved while the volume was handed to its group")
    finally:
        os.close(directory)


def _identity(directory: int) -> tuple[int, int]:
    found = os.fstat(directory)
    return found.st_dev, found.st_ino


def _enter(name: str, parent: int) -> int:
    """A descriptor; -1 when there is no such directory any more."""
    try:
        return os.open(name, _OPEN, dir_fd=parent)
    except OSError as error:
        if error.errno not in _CHANGED:
            raise
        return -1


def _apply_in(directory: int, gid: int) -> list[str]:
    """Hand over what is in it; returns the directories, which are looked into first."""
    below = []
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                below.append(entry.name)
            else:
                _apply(entry.name, directory, gid)
    return below


def _apply(name: str, directory: int, gid: int) -> None:
    try:
        found = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    except FileNotFoundError:
        return  # somebody else has the volume as well
    try:
        os.chown(name, -1, gid, dir_fd=directory, follow_symlinks=False)
        mode = os.fstat(found).st_mode
        if not stat.S_ISLNK(mode):
            os.chmod(f"/proc/self/fd/{found}", stat.S_IMODE(mode) | 0o660)
    except FileNotFoundError:
        pass
    finally:
        os.close(found)
