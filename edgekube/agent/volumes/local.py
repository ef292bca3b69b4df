"""A persistent volume that is a directory, or a disk, of this node.

Enters: its path, and where the pod's volumes are.
Leaves: a mount in the pod's directory, which belongs to the pod's group.
Holds: mounted once per pod; a path that is not there is made for nobody.
Source: Kubernetes documentation, "Volumes", local.
Next: volumes.setup.
"""

from __future__ import annotations

from pathlib import Path

from edgekube.agent.problems import VolumeProblem
from edgekube.agent.volumes import mounts
from edgekube.agent.volumes.disk import mount_disk
from edgekube.agent.volumes.ownership import apply_fs_group
from edgekube.agent.volumes.source import VolumeSource


def mount_local(source: VolumeSource, target: Path, fs_group: int | None, change_policy: str) -> None:
    path = Path(source.spec["path"])
    if not path.exists():
        raise VolumeProblem(f'path "{path}" does not exist')
    if not path.is_dir() and not path.is_block_device():
        raise VolumeProblem(f"path {path} is neither a directory nor a block device")
    target.mkdir(mode=0o750, parents=True, exist_ok=True)
    if path.is_block_device():
        kind = source.spec.get("fsType") or ""
        mount_disk(str(path), target, kind, source.mount_options, read_only=source.read_only)
    elif not mounts.is_mounted(target):
        mounts.bind(str(path), target, read_only=source.read_only)
    if fs_group is not None and not source.read_only:
        apply_fs_group(target, fs_group, on_root_mismatch=change_policy == "OnRootMismatch")
