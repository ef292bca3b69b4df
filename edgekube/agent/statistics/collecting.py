"""Look at everything that can be counted on this node, once.

Enters: pods, what is observed of them, cgroups, /proc, file systems.
Leaves: a Snapshot: values alone, for whichever form they are told in.
Holds: to be called in a thread, for it reads some twenty small files a container; what has no cgroup yet, or none any more, is
left out. No directory is walked.
Next: agent.statistics.summary, agent.statistics.cadvisor.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from msgspec import Struct, field

from edgekube.agent.facts import meminfo
from edgekube.agent.pods import Pods
from edgekube.agent.resources import qos_class
from edgekube.agent.statistics.far import FarDisks, is_far
from edgekube.agent.statistics.readings import Reading, network_of, read_v1, read_v2
from edgekube.agent.volumes.mounts import really, type_at, types_by_point
from edgekube.agent.volumes.source import claim_name_of
from edgekube.agent.worker import PodWorker
from edgekube.api.objects import Object, uid_of

Network = dict[str, tuple[int, ...]]


class FileSystem(Struct, frozen=True):
    capacity_bytes: int
    available_bytes: int
    used_bytes: int
    inodes: int
    inodes_free: int


class ContainerSnapshot(Struct, frozen=True):
    id: str
    name: str
    image: str
    started_at: float
    cgroup: str
    reading: Reading
    log_bytes: int


class VolumeSnapshot(Struct, frozen=True):
    name: str
    claim: str  # of a PersistentVolumeClaim, else ""
    files: FileSystem


class PodSnapshot(Struct, frozen=True):
    namespace: str
    name: str
    uid: str
    started_at: float
    cgroup: str
    reading: Reading
    network: Network
    containers: tuple[ContainerSnapshot, ...]
    volumes: tuple[VolumeSnapshot, ...]


class Snapshot(Struct, frozen=True):
    node_name: str
    at: float
    booted_at: float
    cpus: int
    memory_bytes: int
    memory_available_bytes: int
    machine: Reading | None
    pods_together: Reading | None
    network: Network
    files: FileSystem | None
    pids_max: int
    tasks: int
    pods: tuple[PodSnapshot, ...]


#: (uid, volume's name) -> what its driver says of it.
Told = Mapping[tuple[str, str], "FileSystem"]


def collect(pods: Pods, told: Told, far: FarDisks | None = None) -> Snapshot:
    """``far``: who looks at file systems of other machines; without it nobody does."""
    node = pods.node
    disks = _Disks(types_by_point(), far)
    snapshots = tuple(_pods(pods, told, disks))
    if far is not None:
        far.forget(disks.asked)
    memory = meminfo()
    return Snapshot(
        node_name=node.settings.node_name,
        at=time.time(),
        booted_at=time.time() - time.clock_gettime(time.CLOCK_BOOTTIME),
        cpus=os.cpu_count() or 1,
        memory_bytes=memory.get("MemTotal", 0),
        memory_available_bytes=memory.get("MemAvailable", 0),
        machine=_reading(pods, "/"),
        pods_together=_reading(pods, node.cgroups.parent),
        network=network_of(os.getpid()),
        files=file_system(node.settings.data_dir),
        pids_max=_number("/proc/sys/kernel/pid_max"),
        tasks=_tasks(),
        pods=snapshots,
    )


class _Disks(Struct):
    types: Mapping[str, str]
    far: FarDisks | None
    asked: set[str] = field(default_factory=set)

    def look(self, path: str) -> FileSystem | None:
        if not is_far(type_at(path, self.types)):
            return file_system(Path(path))
        self.asked.add(path)
        found = self.far.look(path) if self.far is not None else None
        return None if found is None else _file_system(found)


def _pods(pods: Pods, told: Told, disks: _Disks) -> Iterator[PodSnapshot]:
    node = pods.node
    for worker in pods.workers():
        pod = worker.pod()
        cgroup = node.cgroups.path_of(qos_class(pod), worker.uid)
        reading = _reading(pods, cgroup)
        if reading is None:
            continue
        observed = node.observer.of(worker.uid)
        on_host = bool((pod.get("spec") or {}).get("hostNetwork"))
        process = 0 if on_host or observed.sandbox is None else _process_of(pods, f"{cgroup}/{observed.sandbox.sandbox.id}")
        yield PodSnapshot(
            namespace=worker.namespace,
            name=worker.name,
            uid=worker.uid,
            started_at=worker.memory.started_at,
            cgroup=cgroup,
            reading=reading,
            network=network_of(process) if process else {},
            containers=tuple(_containers(pods, worker, cgroup)),
            volumes=tuple(_volumes(pods, pod, told, disks)),
        )


def _containers(pods: Pods, worker: PodWorker, pod_cgroup: str) -> Iterator[ContainerSnapshot]:
    node = pods.node
    for found in node.observer.of(worker.uid).containers:
        status = found.status
        cgroup = f"{pod_cgroup}/{status.id}"
        if status.state != "RUNNING" or (reading := _reading(pods, cgroup)) is None:
            continue
        log = 0
        with suppress(OSError):
            log = os.stat(status.log_path).st_size
        yield ContainerSnapshot(status.id, status.name, status.image, status.started_at_ns / 1e9, cgroup, reading, log)


def _volumes(pods: Pods, pod: Object, told: Told, disks: _Disks) -> Iterator[VolumeSnapshot]:
    mounted = pods.node.volumes.mounted(uid_of(pod))
    for volume in (pod.get("spec") or {}).get("volumes") or ():
        name, claim = str(volume.get("name")), claim_name_of(pod, volume)
        place = mounted.get(name)
        if place is None or place.block:
            continue
        path = really(Path(place.path))
        if not (claim or path in disks.types):
            continue
        files = told.get((uid_of(pod), name)) or disks.look(path)
        if files is not None:
            yield VolumeSnapshot(name, claim, files)


def file_system(place: Path) -> FileSystem | None:
    try:
        return _file_system(os.statvfs(place))
    except OSError:
        return None


def _file_system(found: os.statvfs_result) -> FileSystem:
    size = found.f_frsize
    used = (found.f_blocks - found.f_bfree) * size
    return FileSystem(found.f_blocks * size, found.f_bavail * size, used, found.f_files, found.f_ffree)


def _reading(pods: Pods, path: str) -> Reading | None:
    cgroups = pods.node.cgroups
    relative = path.lstrip("/")
    return read_v2(cgroups.root / relative) if cgroups.v2 else read_v1(cgroups.root, relative)


def _process_of(pods: Pods, cgroup: str) -> int:
    """A process that is in the pod's network: the sandbox's."""
    cgroups = pods.node.cgroups
    base = cgroups.root if cgroups.v2 else cgroups.root / "memory"
    try:
        first = (base / cgroup.lstrip("/") / "cgroup.procs").read_text().split(maxsplit=1)
    except OSError:
        return 0
    return int(first[0]) if first else 0


def _number(path: str) -> int:
    try:
        return int(Path(path).read_text())
    except (OSError, ValueError):
        return 0


def _tasks() -> int:
    try:
        return int(Path("/proc/loadavg").read_text().split()[3].partition("/")[2])
    except (OSError, ValueError, IndexError):
        return 0
