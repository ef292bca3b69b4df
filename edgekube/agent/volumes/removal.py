"""Remove a directory with whatever pods have put into it.

Enters: a path.
Leaves: nothing there; OSError when something keeps it.
Holds: however deep it is, two directories are open at a time and nothing recurses (shutil.rmtree ends at a depth of a thousand,
which any pod can make): what is below a directory is moved up, until all is at hand. No link is followed, and nothing that is
mounted in it is emptied.
Next: nothing.
"""

from __future__ import annotations

import errno
import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_OPEN: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NOT_EMPTY: Final = (errno.ENOTEMPTY, errno.EEXIST)


def remove_tree(root: Path) -> None:
    """FileNotFoundError when it is not there; a link to a directory is refused."""
    descriptor = os.open(root, _OPEN)
    try:
        numbers = itertools.count()
        while _thin_out(descriptor, numbers):
            pass
    finally:
        os.close(descriptor)
    root.rmdir()


def _thin_out(root: int, numbers: Iterator[int]) -> bool:
    """One round; False when there was nothing left to do."""
    found = False
    with os.scandir(root) as entries:
        for entry in entries:
            found = True
            if not _removed(entry, root):
                _move_up(entry.name, root, numbers)
    return found


def _removed(entry: os.DirEntry[str], parent: int) -> bool:
    """False for a directory that has something in it."""
    if not entry.is_dir(follow_symlinks=False):
        os.unlink(entry.name, dir_fd=parent)
        return True
    try:
        os.rmdir(entry.name, dir_fd=parent)
    except OSError as error:
        if error.errno not in _NOT_EMPTY:
            raise
        return False
    return True


def _move_up(name: str, root: int, numbers: Iterator[int]) -> None:
    """What is in it is removed, or becomes its neighbour, to be seen in this round or the next."""
    directory = os.open(name, _OPEN, dir_fd=root)
    try:
        if os.fstat(directory).st_dev != os.fstat(root).st_dev:
            raise OSError(errno.EBUSY, "something is mounted there", name)
        with os.scandir(directory) as entries:
            for entry in entries:
                if not _removed(entry, directory):
                    _rename(entry.name, directory, root, numbers)
    finally:
        os.close(directory)


def _rename(name: str, parent: int, root: int, numbers: Iterator[int]) -> None:
    while True:
        try:
            os.rename(name, f".{next(numbers)}", src_dir_fd=parent, dst_dir_fd=root)
        except OSError as error:
            if error.errno not in (*_NOT_EMPTY, errno.ENOTDIR):
                raise  # else somebody has the name
        else:
            return
