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


def inside(root: str, path: str) -> bool:
    return path == root or path.startswith(root.rstrip("/") + "/")


def open_beneath(root: str, relative: PurePosixPath, *, make: bool = True) -> int:
    """An O_PATH descriptor of root/relative, no component of it a link; missing directories are made, as open as the root is.

    Without ``make``: FileNotFoundError.
    """
    descriptor = os.open(root, os.O_PATH | os.O_DIRECTORY)
    try:
        mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
        for part in relative.parts:
            try:
                following = os.open(part, os.O_PATH | os.O_NOFOLLOW, dir_fd=descriptor)
            except FileNotFoundError:
                if not make:
                    raise
                os.mkdir(part, 0o700, dir_fd=descriptor)
                following = os.open(part, os.O_PATH | os.O_NOFOLLOW, dir_fd=descriptor)
                if stat.S_ISDIR(os.fstat(following).st_mode):
                    os.chmod(f"/proc/self/fd/{following}", mode)
            os.close(descriptor)
            descriptor = following
            if stat.S_ISLNK(os.fstat(descriptor).st_mode):
                raise ConfigProblem(f'subPath "{relative}" changed into a link while it was looked at')
        opened, descriptor = descriptor, -1
        return opened
    finally:
        if descriptor >= 0:
            os.close(descriptor)


def bind_subpath(volume: Path | str, subpath: str, target: Path) -> None:
    """Mount volume/subpath on target (made as file or directory, whichever fits). ConfigProblem when it leads outside."""
    relative = PurePosixPath(subpath)
    if relative.is_absolute() or ".." in relative.parts:
        raise ConfigProblem(f'subPath "{subpath}" must be a relative path without ".."')
    root = os.path.realpath(volume)
    resolved = os.path.realpath(os.path.join(root, subpath))
    if not inside(root, resolved):
        raise ConfigProblem(f'subPath "{subpath}" leads outside of its volume')
    descriptor = open_beneath(root, PurePosixPath(resolved).relative_to(root))
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
