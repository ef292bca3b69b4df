"""Which pod goes first.

Enters: pods, what each uses, what the node is short of.
Leaves: pods in the order in which they are evicted.
Holds: pure. Pods of which nothing is known go first; then those that use more than they asked for, by priority, by how much more.
For processes only priority and their number count, for nobody asks for those.
Source: Kubernetes documentation, "Node-pressure Eviction", "Pod selection for kubelet eviction".
Next: agent.eviction.loop.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from msgspec import Struct, field

from edgekube.agent.eviction.thresholds import (
    ALLOCATABLE_MEMORY,
    CONTAINERFS,
    CONTAINERFS_INODES,
    IMAGEFS,
    IMAGEFS_INODES,
    MEMORY,
    NODEFS,
    NODEFS_INODES,
    PIDS,
    RESOURCE_OF,
)
from edgekube.api.objects import Object, spec_of, uid_of
from edgekube.api.pod_requests import pod_requests


class Space(Struct, frozen=True):
    """On a disk."""

    used_bytes: int = 0
    inodes: int = 0

    def __add__(self, other: Space) -> Space:
        return Space(self.used_bytes + other.used_bytes, self.inodes + other.inodes)


class ContainerUse(Struct, frozen=True):
    memory_bytes: int = 0
    root: Space = Space()
    logs: Space = Space()


class PodUse(Struct, frozen=True):
    """What one pod uses, as far as it was measured."""

    memory_bytes: int = 0
    processes: int = 0
    containers: Mapping[str, ContainerUse] = field(default_factory=lambda: MappingProxyType({}))
    volumes: Mapping[str, Space] = field(default_factory=lambda: MappingProxyType({}))

    def disk(self, *, root: bool, rest: bool) -> Space:
        """``root``: writable layers; ``rest``: logs and volumes."""
        total = Space()
        for container in self.containers.values():
            total += (container.root if root else Space()) + (container.logs if rest else Space())
        for volume in self.volumes.values():
            total += volume if rest else Space()
        return total


#: What of a pod's disk counts against which signal when images have a disk of their own.
_WITH_IMAGE_DISK: Final[Mapping[str, tuple[bool, bool]]] = {
    NODEFS: (False, True),
    NODEFS_INODES: (False, True),
    IMAGEFS: (True, False),
    IMAGEFS_INODES: (True, False),
    CONTAINERFS: (True, False),
    CONTAINERFS_INODES: (True, False),
}


def ranked(signal: str, pods: Sequence[Object], uses: Mapping[str, PodUse], *, image_disk: bool) -> list[Object]:
    """``uses`` by uid."""

    def key(pod: Object) -> tuple[Any, ...]:
        use = uses.get(uid_of(pod))
        priority = spec_of(pod).get("priority") or 0
        if use is None:
            return (0, 0, priority, 0)
        if signal == PIDS:
            return (1, 0, priority, -use.processes)
        if signal in (MEMORY, ALLOCATABLE_MEMORY):
            used, asked = use.memory_bytes, pod_requests(pod).get("memory", 0)
        else:
            root, rest = _WITH_IMAGE_DISK[signal] if image_disk else (True, True)
            space = use.disk(root=root, rest=rest)
            inodes = RESOURCE_OF[signal] == "inodes"
            used = space.inodes if inodes else space.used_bytes
            asked = 0 if inodes else pod_requests(pod).get("ephemeral-storage", 0)
        return (1, 0 if used > asked else 1, priority, asked - used)

    return sorted(pods, key=key)
