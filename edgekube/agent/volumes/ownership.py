"""fsGroup: a volume belongs to the pod's group.

Enters: a directory and a group id.
Leaves: group ownership, group permissions and the setgid bit, for everything in it.
Holds: links are changed themselves, never what they point to.
Source: Kubernetes documentation, "Configure a Security Context", fsGroup and fsGroupChangePolicy.
Next: volumes.setup.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path


def _fits(path: Path, gid: int) -> bool:
    found = path.lstat()
    return found.st_gid == gid and found.st_mode & 0o2770 == 0o2770


def apply_fs_group(root: Path, gid: int, *, on_root_mismatch: bool = False) -> None:
    if on_root_mismatch and _fits(root, gid):
        return
    for folder, _, names in os.walk(root, topdown=False):
        for path in (*(os.path.join(folder, name) for name in names), folder):
            _apply(path, gid)


def _apply(path: str, gid: int) -> None:
    os.chown(path, -1, gid, follow_symlinks=False)
    mode = os.lstat(path).st_mode
    if stat.S_ISLNK(mode):
        return
    bits = stat.S_IMODE(mode) | 0o660
    if stat.S_ISDIR(mode):
        bits |= 0o2110
    os.chmod(path, bits)
