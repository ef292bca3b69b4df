"""Files of a configMap, secret, projected or downwardAPI volume: all of the old, or all of the new.

Enters: the files a volume should hold.
Leaves: a directory of symbolic links through ``..data``, as readers of Kubernetes volumes expect.
Holds: ``..data`` is swapped by one rename; a crash leaves at most a directory that the next write removes.
Source: the layout is the one that kubelet documents for its AtomicWriter.
Next: volumes.payload makes the files.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Final

from msgspec import Struct

from edgekube.limits import VOLUME_PATH_LEVELS_MAX

DATA: Final = "..data"
_NEW: Final = "..data_tmp"


class VolumeFile(Struct, frozen=True):
    data: bytes
    mode: int = 0o644
    uid: int = -1  # -1: root


def check_path(path: str) -> str:
    """A relative path that stays inside, is not too deep and does not look like ours. ValueError else."""
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or ".." in parts or parts[0].startswith(".."):
        raise ValueError(f"invalid path {path!r} in a volume")
    if len(parts) > VOLUME_PATH_LEVELS_MAX:
        raise ValueError(f"a path in a volume has more than {VOLUME_PATH_LEVELS_MAX} levels")
    return path


def is_written(target: Path) -> bool:
    """Whether a write came to its end here, since the last boot if the volume lives in memory."""
    return (target / DATA).is_dir()


def _unchanged(current: Path, files: Mapping[str, VolumeFile], gid: int | None) -> bool:
    present = {
        str(Path(folder, name).relative_to(current)) for folder, _, names in os.walk(current) for name in names
    }  # fmt: skip
    if present != set(files):
        return False
    for name, file in files.items():
        path = current / name
        stat = path.stat()
        if stat.st_size != len(file.data) or stat.st_mode & 0o7777 != _mode(file, gid) or path.read_bytes() != file.data:
            return False
    return True


def _mode(file: VolumeFile, gid: int | None) -> int:
    return file.mode if gid is None else file.mode | 0o440


def write_volume(target: Path, files: Mapping[str, VolumeFile], gid: int | None = None) -> bool:
    """Make the volume hold exactly these files; True when something changed. ``gid`` is the pod's fsGroup."""
    for name in files:
        check_path(name)
    target.mkdir(mode=0o755, parents=True, exist_ok=True)
    data = target / DATA
    old = target / os.readlink(data) if data.is_symlink() else None
    if old is not None and old.is_dir() and _unchanged(old, files, gid):
        _link(target, files)
        return False
    new = Path(tempfile.mkdtemp(prefix="..edgekube_", dir=target))
    try:
        _fill(new, files, gid)
        link = target / _NEW
        link.unlink(missing_ok=True)
        link.symlink_to(new.name)
        link.rename(data)
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)
        raise
    _link(target, files)
    for leftover in target.glob("..edgekube_*"):
        if leftover != new:
            shutil.rmtree(leftover, ignore_errors=True)
    return True


def _fill(new: Path, files: Mapping[str, VolumeFile], gid: int | None) -> None:
    for name, file in files.items():
        path = new / name
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(file.data)
        os.chown(path, file.uid, -1 if gid is None else gid)
        path.chmod(_mode(file, gid))
    for folder, _, _ in os.walk(new):
        if gid is None:
            os.chmod(folder, 0o755)
        else:
            os.chown(folder, -1, gid)
            os.chmod(folder, 0o2775)


def _link(target: Path, files: Mapping[str, VolumeFile]) -> None:
    """User-visible names at the top, and none that no longer has a file."""
    wanted = {PurePosixPath(name).parts[0] for name in files}
    for entry in target.iterdir():
        if entry.name.startswith(".."):
            continue
        if entry.name not in wanted:
            entry.unlink()
    for name in wanted:
        path, destination = target / name, f"{DATA}/{name}"
        if not path.is_symlink():
            path.symlink_to(destination)
