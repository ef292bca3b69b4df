"""emptyDir: a directory, or memory, that lives as long as its pod.

Enters: the pod, its volume's medium and sizeLimit.
Leaves: a directory that everybody may write to; a tmpfs no larger than the limits allow.
Holds: made once; after that nothing in it is touched.
Source: Kubernetes documentation, "Volumes", emptyDir.
Next: volumes.setup.
"""

from __future__ import annotations

from pathlib import Path

from edgekube.agent.podspec import containers_of
from edgekube.agent.problems import VolumeProblem
from edgekube.agent.volumes import mounts
from edgekube.agent.volumes.hugepages import mount_huge_pages
from edgekube.agent.volumes.ownership import apply_fs_group
from edgekube.api import quantities
from edgekube.api.objects import Object


def _memory_limit_bytes(pod: Object) -> int:
    """What all containers may use together; 0 when one of them has no limit."""
    total = 0
    for container in containers_of(pod):
        limit = ((container.get("resources") or {}).get("limits") or {}).get("memory")
        if limit is None:
            return 0
        total += quantities.to_bytes(limit)
    return total


def make_empty_dir(pod: Object, source: Object, path: Path, fs_group: int | None) -> None:
    medium = source.get("medium") or ""
    made = not path.is_dir()
    path.mkdir(parents=True, exist_ok=True)
    if medium == "Memory":
        if not path.is_mount():
            sizes = [_memory_limit_bytes(pod), quantities.to_bytes(source["sizeLimit"]) if source.get("sizeLimit") else 0]
            mounts.mount_tmpfs(path, min((size for size in sizes if size), default=0), 0o1777)
            made = True
    elif medium.startswith("HugePages"):
        if not path.is_mount():
            mount_huge_pages(medium, pod, path)
            path.chmod(0o777)
            made = True
    elif medium:
        raise VolumeProblem(f"unknown storage medium {medium!r}")
    elif made:
        path.chmod(0o777)
    if made and fs_group is not None:
        apply_fs_group(path, fs_group)
