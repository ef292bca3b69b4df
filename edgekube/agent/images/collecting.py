"""Images that nobody uses go when the disk fills, or when they are old.

Enters: the images and containers that containerd has, images that pods name, how full the disk is, the node's rules.
Leaves: images removed, least recently used first; an event when that was not enough.
Holds: what a container or a pod of this node names stays, and so do pinned images and those that came a moment ago. Above the
high share of the disk images go until the low one. Which to take is decided by pure functions.
Bound: one look each limits.IMAGE_GC_SECONDS.
Source: Kubernetes documentation, "Garbage Collection", "Container image lifecycle".
Next: containerd; agent.eviction asks for all that is unused.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Set
from pathlib import Path

import trio
from msgspec import Struct
from msgspec.structs import replace

from edgekube.agent.images.naming import InvalidName, full_name
from edgekube.agent.images.records import PullRecords
from edgekube.containerd.model import Image, RuntimeFailure
from edgekube.containerd.protocol import Runtime
from edgekube.limits import IMAGE_GC_SECONDS
from edgekube.node_rules import NodeRules

log = logging.getLogger("edgekube.agent")


class Known(Struct, frozen=True):
    """An image that is here."""

    id: str
    size_bytes: int
    first_seen: float
    last_used: float = 0.0
    pinned: bool = False
    in_use: bool = False


class Fullness(Struct, frozen=True):
    capacity_bytes: int
    available_bytes: int

    @property
    def percent(self) -> int:
        return 100 - min(self.available_bytes, self.capacity_bytes) * 100 // self.capacity_bytes


def detected(before: dict[str, Known], images: Iterable[Image], names_in_use: Set[str], now: float) -> dict[str, Known]:
    """What is known after another look."""
    found = {}
    for image in images:
        known = before.get(image.id) or Known(image.id, image.size_bytes, now)
        used = not names_in_use.isdisjoint((image.id, *image.tags, *image.digests))
        found[image.id] = replace(
            known,
            size_bytes=image.size_bytes,
            pinned=image.pinned,
            in_use=used,
            last_used=now if used else known.last_used,
        )
    return found


def removable(known: Iterable[Known]) -> list[Known]:
    """Least recently used first; of equals the one that came first."""
    return sorted((image for image in known if not image.in_use and not image.pinned), key=lambda i: (i.last_used, i.first_seen))


def too_old(images: Iterable[Known], rules: NodeRules, began: float, now: float) -> list[Known]:
    """``began``: when this process began to look; whatever was unused before that is not known."""
    most = rules.image_age_seconds_max
    if not most or now - began <= most:
        return []
    return [image for image in images if now - max(image.last_used, image.first_seen) > most]


def bytes_to_free(fullness: Fullness, rules: NodeRules) -> int:
    if fullness.capacity_bytes <= 0 or fullness.percent < rules.image_gc_high_percent:
        return 0
    return max(0, fullness.capacity_bytes * (100 - rules.image_gc_low_percent) // 100 - fullness.available_bytes)


def chosen(images: Iterable[Known], wanted_bytes: int, rules: NodeRules, now: float) -> list[Known]:
    found: list[Known] = []
    freed = 0
    for image in images:
        if freed >= wanted_bytes:
            break
        if now - image.first_seen < rules.image_age_seconds_min:
            continue
        found.append(image)
        freed += image.size_bytes
    return found


def not_enough(fullness: Fullness, freed_bytes: int) -> str:
    return (
        f"Insufficient free disk space on the node's image filesystem ({fullness.percent}% of {_size(fullness.capacity_bytes)} "
        f"used). Failed to free sufficient space by deleting unused images (freed {freed_bytes} bytes). "
        "Investigate disk usage, as it could be used by active images, logs, volumes, or other data."
    )


def _size(size_bytes: int) -> str:
    for unit, name in ((1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if size_bytes >= unit:
            return f"{size_bytes / unit:.1f} {name}"
    return f"{size_bytes} B"


class Collector:
    """``named``: images that pods of this node name. ``tell``: (type, reason, message) about the node."""

    def __init__(
        self,
        runtime: Runtime,
        rules: NodeRules,
        directory: Path,
        named: Callable[[], Iterable[str]],
        tell: Callable[[str, str, str], None],
        clock: Callable[[], float],
        records: PullRecords | None = None,
    ) -> None:
        self._runtime = runtime
        self._rules = rules
        self._directory = directory
        self._named = named
        self._tell = tell
        self._clock = clock
        self._records = records
        self._known: dict[str, Known] = {}
        self._began = clock()
        # It is asked for by the clock, and when the disk is short.
        self._one_at_a_time = trio.Lock()

    async def run(self) -> None:
        """For ever."""
        while True:
            try:
                await self.collect()
            except (RuntimeFailure, OSError) as error:
                log.warning("images not collected error=%s", error)
            await trio.sleep(IMAGE_GC_SECONDS)

    async def collect(self) -> None:
        async with self._one_at_a_time:
            await self._collect()

    async def _collect(self) -> None:
        now = self._clock()
        await self._detect(now)
        for image in too_old(removable(self._known.values()), self._rules, self._began, now):
            await self._remove(image, "age")
        fullness = self._fullness()
        wanted = bytes_to_free(fullness, self._rules)
        if wanted:
            freed = await self._free(wanted, now)
            if freed < wanted:
                message = not_enough(fullness, freed)
                log.warning(message)
                self._tell("Warning", "FreeDiskSpaceFailed", message)

    async def remove_unused(self) -> None:
        """All that may go."""
        async with self._one_at_a_time:
            now = self._clock()
            await self._detect(now)
            await self._free(1 << 62, now)

    def _fullness(self) -> Fullness:
        disk = os.statvfs(self._directory)
        fullness = Fullness(disk.f_blocks * disk.f_frsize, disk.f_bavail * disk.f_frsize)
        if fullness.capacity_bytes <= 0:
            self._tell("Warning", "InvalidDiskCapacity", "invalid capacity 0 on image filesystem")
        return fullness

    async def _detect(self, now: float) -> None:
        used = set()
        for reference in self._named():
            used.add(reference)
            try:
                used.add(full_name(reference))
            except InvalidName:
                pass
        images = await self._runtime.list_images()
        for container in await self._runtime.list_containers():
            used.add(container.image_ref)
        self._known = detected(self._known, images, used, now)

    async def _free(self, wanted_bytes: int, now: float) -> int:
        freed = 0
        for image in chosen(removable(self._known.values()), wanted_bytes, self._rules, now):
            if await self._remove(image, "space"):
                freed += image.size_bytes
        if freed and self._records is not None:
            self._records.prune(self._known)
        return freed

    async def _remove(self, image: Known, reason: str) -> bool:
        try:
            await self._runtime.remove_image(image.id)
        except RuntimeFailure as failure:
            log.warning("image not removed id=%s error=%s", image.id, failure.message)
            return False
        log.info("image removed id=%s bytes=%d reason=%s", image.id, image.size_bytes, reason)
        del self._known[image.id]
        return True
