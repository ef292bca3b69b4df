"""subPath: one part of a volume, bound so that nobody can swap it for something outside.

Enters: a volume's directory and a path below it that a pod chose.
Leaves: a bind mount under the pod's own directory.
Holds: what is mounted was reached from the volume's root without following a link out of it, and stays what it was when checked:
the mount goes through an open descriptor, not through the name.
Next: agent.container_config.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path, PurePosixPath

from edgekube.agent.problems import ConfigProblem
from edgekube.agent.volumes import mounts


def _inside(root: str, path: str) -> bool:
    return path == root or path.startswith(root.rstrip("/") + "/")


def _open_beneath(root: str, relative: PurePosixPath, *, create_mode: int) -> int:
    """An O_PATH descriptor of root/relative, no component of it a link; missing directories are made."""
    descriptor = os.open(root, os.O_PATH | os.O_DIRECTORY)
    try:
        for part in relative.parts:
            try:
                following = os.open(part, os.O_PATH | os.O_NOFOLLOW, dir_fd=descriptor)
            except FileNotFoundError:
                os.mkdir(part, create_mode, dir_fd=descriptor)
                following = os.open(part, os.O_PATH | os.O_NOFOLLOW, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = following
            if stat.S_ISLNK(os.fstat(descriptor).st_mode):
                raise ConfigProblem(f'subPath "{relative}" changed into a link while it was looked at')
        opened, descriptor = descriptor, -1
        return opened
    finally:
        if descriptor >= 0:
            os.close(descriptor)


def bind_subpath(volume: Path, subpath: str, target: Path, *, create_mode: int = 0o750) -> None:
    """Mount volume/subpath on target (made as file or directory, whichever fits). ConfigProblem when it leads outside."""
    relative = PurePosixPath(subpath)
    if relative.is_absolute() or ".." in relative.parts:
        raise ConfigProblem(f'subPath "{subpath}" must be a relative path without ".."')
    root = os.path.realpath(volume)
    resolved = os.path.realpath(os.path.join(root, subpath))
    if not _inside(root, resolved):
        raise ConfigProblem(f'subPath "{subpath}" leads outside of its volume')
    descriptor = _open_beneath(root, PurePosixPath(resolved).relative_to(root), create_mode=create_mode)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        mounts.unmount(target) if target.exists() else None
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            target.mkdir(exist_ok=True)
        else:
            target.touch(exist_ok=True)
        mounts.bind(f"/proc/self/fd/{descriptor}", target)
    finally:
        os.close(descriptor)
