"""/stats/summary: the kubelet's Summary.

Enters: a Snapshot, nanocores by cgroup, what is known of the disk.
Leaves: the Summary, as JSON values.
Holds: pure; what is not known is absent, never zero.
Source: k8s.io/kubelet pkg/apis/stats/v1alpha1.
Next: agent.server.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from edgekube.agent.statistics.collecting import ContainerSnapshot, FileSystem, Network, PodSnapshot, Snapshot
from edgekube.agent.statistics.disks import DiskUse
from edgekube.agent.statistics.readings import Reading
from edgekube.api import times
from edgekube.api.objects import Object

_INTERFACE: Final = "eth0"


def counters_of(snapshot: Snapshot) -> dict[str, int]:
    """Processor time by cgroup, for rates."""
    found = {pod.cgroup: pod.reading.cpu_ns for pod in snapshot.pods}
    found |= {container.cgroup: container.reading.cpu_ns for pod in snapshot.pods for container in pod.containers}
    for name, reading in (("/", snapshot.machine), ("pods", snapshot.pods_together)):
        if reading is not None:
            found[name] = reading.cpu_ns
    return found


def summary(snapshot: Snapshot, nanocores: Mapping[str, int], disk: DiskUse | None = None) -> Object:
    disk = disk or DiskUse()
    now = times.rfc3339(snapshot.at)
    node: Object = {"nodeName": snapshot.node_name, "startTime": times.rfc3339(snapshot.booted_at)}
    if snapshot.machine is not None:
        node |= _usage(snapshot.machine, now, nanocores.get("/"))
        node["memory"]["availableBytes"] = snapshot.memory_available_bytes
    if snapshot.pods_together is not None:
        together = _usage(snapshot.pods_together, now, nanocores.get("pods"))
        node["systemContainers"] = [{"name": "pods", "startTime": times.rfc3339(snapshot.booted_at), **together}]
    if snapshot.network:
        node["network"] = _network(snapshot.network, now)
    if snapshot.files is not None:
        layers_bytes = None if disk.layers is None else sum(each[0] for each in disk.layers.values())
        node["fs"] = _files(snapshot.files, now)
        node["runtime"] = {
            "imageFs": _share(snapshot.files, now, disk.images_bytes, None),
            "containerFs": _share(snapshot.files, now, layers_bytes, None),
        }
    if snapshot.pids_max:
        node["rlimit"] = {"time": now, "maxpid": snapshot.pids_max, "curproc": snapshot.tasks}
    return {"node": node, "pods": [_pod(pod, now, nanocores, disk, snapshot.files) for pod in snapshot.pods]}


def _pod(pod: PodSnapshot, now: str, nanocores: Mapping[str, int], disk: DiskUse, files: FileSystem | None) -> Object:
    shown: Object = {
        "podRef": {"name": pod.name, "namespace": pod.namespace, "uid": pod.uid},
        "startTime": times.rfc3339(pod.started_at),
        "containers": [_container(container, now, nanocores, disk, files) for container in pod.containers],
        **_usage(pod.reading, now, nanocores.get(pod.cgroup)),
        "process_stats": {"process_count": pod.reading.processes},
    }
    if pod.network:
        shown["network"] = _network(pod.network, now)
    volumes: list[Object] = [
        {
            **_files(volume.files, now),
            "name": volume.name,
            **({"pvcRef": {"name": volume.claim, "namespace": pod.namespace}} if volume.claim else {}),
        }
        for volume in pod.volumes
    ]
    directories = {name: space for (uid, name), space in disk.directories.items() if uid == pod.uid}
    if files is not None:
        volumes += [{**_share(files, now, space.used_bytes, space.inodes), "name": name} for name, space in directories.items()]
        known = disk.layers or {}
        if pod.containers and all(container.id in known for container in pod.containers):
            layers = [known[container.id] for container in pod.containers]
            used = sum(layer[0] for layer in layers) + sum(container.log_bytes for container in pod.containers)
            inodes = sum(layer[1] for layer in layers) + sum(space.inodes for space in directories.values())
            used += sum(space.used_bytes for space in directories.values())
            shown["ephemeral-storage"] = _share(files, now, used, inodes)
    if volumes:
        shown["volume"] = volumes
    return shown


def _container(
    container: ContainerSnapshot, now: str, nanocores: Mapping[str, int], disk: DiskUse, files: FileSystem | None
) -> Object:
    shown: Object = {
        "name": container.name,
        "startTime": times.rfc3339(container.started_at),
        **_usage(container.reading, now, nanocores.get(container.cgroup)),
        "logs": {"time": now, "usedBytes": container.log_bytes},
    }
    if files is not None:
        shown["logs"] = _share(files, now, container.log_bytes, None)
        if disk.layers and container.id in disk.layers:
            shown["rootfs"] = _share(files, now, *disk.layers[container.id])
    return shown


def _usage(reading: Reading, now: str, nanocores: int | None) -> Object:
    cpu: Object = {"time": now, "usageCoreNanoSeconds": reading.cpu_ns}
    if nanocores is not None:
        cpu["usageNanoCores"] = nanocores
    memory: Object = {
        "time": now,
        "usageBytes": reading.memory_bytes,
        "workingSetBytes": reading.working_set_bytes,
        "rssBytes": reading.rss_bytes,
        "pageFaults": reading.page_faults,
        "majorPageFaults": reading.major_page_faults,
    }
    if reading.memory_limit_bytes:
        memory["availableBytes"] = max(0, reading.memory_limit_bytes - reading.working_set_bytes)
    return {"cpu": cpu, "memory": memory, "swap": {"time": now, "swapUsageBytes": reading.swap_bytes}}


def _network(network: Network, now: str) -> Object:
    interfaces = [
        {"name": name, "rxBytes": counters[0], "rxErrors": counters[2], "txBytes": counters[4], "txErrors": counters[6]}
        for name, counters in network.items()
    ]
    first = next((each for each in interfaces if each["name"] == _INTERFACE), interfaces[0])
    return {"time": now, **first, "interfaces": interfaces}


def _files(files: FileSystem, now: str) -> Object:
    return {
        "time": now,
        "availableBytes": files.available_bytes,
        "capacityBytes": files.capacity_bytes,
        "usedBytes": files.used_bytes,
        "inodesFree": files.inodes_free,
        "inodes": files.inodes,
        "inodesUsed": files.inodes - files.inodes_free,
    }


def _share(files: FileSystem, now: str, used_bytes: int | None, inodes_used: int | None) -> Object:
    """Of a file system, what some of its content takes."""
    shown = _files(files, now)
    for name, value in (("usedBytes", used_bytes), ("inodesUsed", inodes_used)):
        del shown[name]
        if value is not None:
            shown[name] = value
    return shown
