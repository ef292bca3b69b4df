"""What pods take of the node's disk: writable layers, and emptyDirs that are no mounts.

Enters: pods that are here, the runtime's figures.
Leaves: a DiskUse.
Holds: looked at when a Summary is asked for, and no more often than DISK_USE_KEPT_SECONDS: directories are walked. What cannot be
told is absent.
Bound: limits.DISK_WALK_ENTRIES_MAX for each directory; one DiskUse.
Next: agent.statistics.summary.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

import trio
from msgspec import Struct, field

from edgekube.agent.eviction.measuring import space_of
from edgekube.agent.eviction.ranking import Space
from edgekube.agent.pods import Pods
from edgekube.api.objects import spec_of
from edgekube.containerd.model import RuntimeFailure
from edgekube.limits import DISK_USE_KEPT_SECONDS

log = logging.getLogger("edgekube.agent")


class DiskUse(Struct, frozen=True):
    #: By container id: bytes, inodes; None: not known.
    layers: Mapping[str, tuple[int, int]] | None = None
    #: Of images, each as large as its archive; None: not known.
    images_bytes: int | None = None
    #: By the pod's uid and the volume's name.
    directories: Mapping[tuple[str, str], Space] = field(default_factory=dict)


class Disks:
    def __init__(self, pods: Pods) -> None:
        self._pods = pods
        self._last: tuple[float, DiskUse] = (float("-inf"), DiskUse())
        self._looking = trio.Lock()  # whoever asks meanwhile waits for the same answer

    async def look(self) -> DiskUse:
        async with self._looking:
            now = trio.current_time()
            if now - self._last[0] > DISK_USE_KEPT_SECONDS:
                self._last = now, await self._look()
            return self._last[1]

    async def _look(self) -> DiskUse:
        runtime = self._pods.node.runtime
        layers: dict[str, tuple[int, int]] | None = None
        images_bytes: int | None = None
        try:
            layers = await runtime.writable_layers()
            images_bytes = sum(image.size_bytes for image in await runtime.list_images())
        except RuntimeFailure as failure:
            log.info("the runtime does not tell what is on the disk error=%s", failure.message)
        return DiskUse(layers, images_bytes, await trio.to_thread.run_sync(self._directories))

    def _directories(self) -> dict[tuple[str, str], Space]:
        return {
            (worker.uid, volume["name"]): space_of(self._pods.node.paths(pod).volume("empty-dir", volume["name"]))
            for worker in self._pods.workers()
            for pod in (worker.pod(),)
            for volume in spec_of(pod).get("volumes") or ()
            if "emptyDir" in volume and not (volume["emptyDir"] or {}).get("medium")
        }
