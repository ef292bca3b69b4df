"""Project quotas: a directory holds no more than it may, where its file system counts by project.

Enters: directories of one parent, sizes.
Leaves: a project id that everything made below a directory gets; a bound for it in the kernel.
Holds: nothing is done on a file system that is not mounted with project quotas (``prjquota``: ext4, XFS). Ids are ours alone,
from FIRST_PROJECT on; a directory with somebody else's id is left as it is. Whoever writes beyond the bound gets EDQUOT, and
df in the volume shows its size.
Source: quotactl(2), ioctl_xfs_fsgetxattr(2), linux/fs.h, linux/quota.h.
Next: agent.local_volumes.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from edgekube.agent.volumes import mounts

FIRST_PROJECT: Final = 0x454B0000
_LAST_PROJECT: Final = FIRST_PROJECT + 0xFFFF
_OPTIONS: Final = frozenset({"prjquota", "pquota"})
#: struct fsxattr: flags, extent size, extents, project, copy-on-write extent size, padding.
_FSXATTR: Final = struct.Struct("=IIIII8x")
_GET_FSXATTR: Final = 0x801C581F
_SET_FSXATTR: Final = 0x401C5820
_INHERIT: Final = 0x200
#: struct if_dqblk: hard and soft bound (blocks of 1 KiB), used; the same of inodes; two times; which fields count.
_DQBLK: Final = struct.Struct("=8QI4x")
_SET_QUOTA: Final = (0x800008 << 8) | 2  # of projects
_BLOCK_LIMITS: Final = 1

_libc = ctypes.CDLL(None, use_errno=True)


def device_of(directory: Path) -> str:
    """The device that the directory is on, if that counts by project; else ""."""
    found = mounts.mounted_at(str(directory))
    return found.source if found is not None and not _OPTIONS.isdisjoint(found.options) else ""


def mark(directory: Path, siblings: Iterable[Path]) -> None:
    """Give an empty directory an id that none of the others has. OSError when the file system will not."""
    if is_ours(project_of(directory)):
        return
    taken = {found for found in map(project_of, siblings) if is_ours(found)}
    project = next(number for number in range(FIRST_PROJECT, _LAST_PROJECT + 1) if number not in taken)
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        flags, size, extents, _, copied = _FSXATTR.unpack(fcntl.ioctl(descriptor, _GET_FSXATTR, bytes(_FSXATTR.size)))
        fcntl.ioctl(descriptor, _SET_FSXATTR, _FSXATTR.pack(flags | _INHERIT, size, extents, project, copied))
    finally:
        os.close(descriptor)


def limit(directory: Path, device: str, size_bytes: int) -> None:
    """0: none. Nothing happens to a directory without an id of ours. OSError when the kernel will not."""
    project = project_of(directory)
    if not is_ours(project):
        return
    blocks = -(-size_bytes // 1024)
    given = ctypes.create_string_buffer(_DQBLK.pack(blocks, 0, 0, 0, 0, 0, 0, 0, _BLOCK_LIMITS))
    if _libc.quotactl(ctypes.c_int(_SET_QUOTA), device.encode(), ctypes.c_int(project), given) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"quotactl: {os.strerror(number)}", device)


def is_ours(project: int) -> bool:
    return FIRST_PROJECT <= project <= _LAST_PROJECT


def project_of(directory: Path) -> int:
    """0: none, or a file system that has none."""
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return 0
    try:
        return int(_FSXATTR.unpack(fcntl.ioctl(descriptor, _GET_FSXATTR, bytes(_FSXATTR.size)))[3])
    except OSError:
        return 0
    finally:
        os.close(descriptor)
