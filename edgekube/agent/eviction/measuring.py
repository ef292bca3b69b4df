"""How much there is, and how much pods use.

Enters: /proc, file systems, cgroups, pods' directories, the runtime's figures of writable layers.
Leaves: Observations by signal; PodUse by uid.
Holds: a look at the node is a few small files of the kernel; directories are walked only for pods that have a limit, and for all
when the disk is short and somebody has to go. A file that is not there gives no observation.
Next: agent.eviction.loop.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path

from msgspec import Struct

from edgekube.agent.cgroups import Cgroups
from edgekube.agent.eviction.judging import Observation
from edgekube.agent.eviction.ranking import ContainerUse, Space
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
)
from edgekube.agent.facts import meminfo
from edgekube.limits import DISK_WALK_ENTRIES_MAX

BLOCK_BYTES = 512  # of st_blocks, whatever the file system's own


class Places(Struct, frozen=True):
    """Where to look."""

    nodefs: Path
    imagefs: Path
    proc: Path = Path("/proc")


def has_image_disk(places: Places) -> bool:
    try:
        return places.nodefs.stat().st_dev != places.imagefs.stat().st_dev
    except OSError:
        return False


def observe(places: Places, cgroups: Cgroups, allocatable_memory_bytes: int) -> dict[str, Observation]:
    """``allocatable_memory_bytes``: what all pods together may have."""
    found: dict[str, Observation] = {}
    memory = meminfo(str(places.proc / "meminfo"))
    if "MemTotal" in memory:
        # What is not the working set: the page cache that nobody used lately can be had at once.
        available = memory.get("MemFree", 0) + memory.get("Inactive(file)", 0)
        found[MEMORY] = Observation(min(available, memory["MemTotal"]), memory["MemTotal"])
    pods = cgroups.working_set_bytes(cgroups.parent)
    if pods is not None:
        left = allocatable_memory_bytes - pods
        found[ALLOCATABLE_MEMORY] = Observation(max(0, left), allocatable_memory_bytes)
    _disk(found, places.nodefs, (NODEFS,), (NODEFS_INODES,))
    _disk(found, places.imagefs, (IMAGEFS, CONTAINERFS), (IMAGEFS_INODES, CONTAINERFS_INODES))
    pids = _pids(places.proc)
    if pids is not None:
        found[PIDS] = pids
    return found


def _disk(found: dict[str, Observation], path: Path, space: Iterable[str], inodes: Iterable[str]) -> None:
    try:
        disk = os.statvfs(path)
    except OSError:
        return
    for signal in space:
        found[signal] = Observation(disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize)
    if disk.f_files:  # btrfs and others count none
        for signal in inodes:
            found[signal] = Observation(disk.f_favail, disk.f_files)


def _pids(proc: Path) -> Observation | None:
    try:
        most = int((proc / "sys/kernel/pid_max").read_text())
        most = min(most, int((proc / "sys/kernel/threads-max").read_text()))
        running = int((proc / "loadavg").read_text().split()[3].partition("/")[2])
    except (OSError, ValueError, IndexError):
        return None
    return Observation(max(0, most - running), most)


def space_of(directory: Path) -> Space:
    """What a directory takes, on its own file system; a file with several names counts once."""
    used = inodes = entries = 0
    seen: set[int] = set()
    try:
        device = directory.lstat().st_dev
    except OSError:
        return Space()
    waiting = [directory]
    while waiting and entries < DISK_WALK_ENTRIES_MAX:
        try:
            with os.scandir(waiting.pop()) as listing:
                for entry in listing:
                    entries += 1
                    try:
                        found = entry.stat(follow_symlinks=False)
                    except OSError:
                        continue
                    if found.st_dev != device:
                        continue
                    if found.st_nlink > 1 and not stat.S_ISDIR(found.st_mode):
                        if found.st_ino in seen:
                            continue
                        seen.add(found.st_ino)
                    used += found.st_blocks * BLOCK_BYTES
                    inodes += 1
                    if stat.S_ISDIR(found.st_mode):
                        waiting.append(Path(entry.path))
        except OSError:
            continue  # it went meanwhile
    return Space(used, inodes + 1)


def space_of_mount(directory: Path) -> Space:
    """Of a tmpfs, which knows by itself."""
    try:
        disk = os.statvfs(directory)
    except OSError:
        return Space()
    return Space((disk.f_blocks - disk.f_bfree) * disk.f_frsize, disk.f_files - disk.f_ffree)


def processes_of(cgroups: Cgroups, path: str) -> int:
    folder = cgroups.root / ("" if cgroups.v2 else "pids") / path.lstrip("/")
    try:
        return int((folder / "pids.current").read_text())
    except (OSError, ValueError):
        return 0


def container_use(memory_bytes: int, root: Space, logs: Path) -> ContainerUse:
    return ContainerUse(memory_bytes, root, space_of(logs))
