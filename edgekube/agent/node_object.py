"""The Node as the API shows it.

Enters: Facts, the runtime's condition, the Node as it is.
Leaves: the Node to create; the status to write.
Holds: pure; asked twice with the same facts it gives the same, heartbeats aside.
Source: Kubernetes documentation, "Nodes", "Node Status", "Well-Known Labels".
Next: agent.node.
"""

from __future__ import annotations

from collections.abc import Sequence

from edgekube.agent.facts import MEMORY_AVAILABLE_BYTES_MIN, Facts, Pressure
from edgekube.api import times
from edgekube.api.objects import Object
from edgekube.containerd.model import Image
from edgekube.limits import NODE_IMAGES_MAX, PODS_PER_NODE_MAX
from edgekube.settings import Settings
from edgekube.version import GIT_VERSION

_KI = 1024
_MACHINE_ROLE = "node-role.kubernetes.io/control-plane"


def own_labels(settings: Settings, facts: Facts, *, server: bool) -> dict[str, str]:
    labels = {
        "kubernetes.io/hostname": settings.node_name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": facts.architecture,
        "beta.kubernetes.io/os": "linux",
        "beta.kubernetes.io/arch": facts.architecture,
    }
    if server:
        labels[_MACHINE_ROLE] = ""
    return labels


def capacity(facts: Facts) -> dict[str, str]:
    return {
        "cpu": str(facts.cpus),
        "memory": f"{facts.memory_bytes // _KI}Ki",
        "ephemeral-storage": f"{facts.disk_bytes // _KI}Ki",
        "pods": str(PODS_PER_NODE_MAX),
    }


def allocatable(facts: Facts) -> dict[str, str]:
    """Capacity less what eviction keeps free."""
    return {
        **capacity(facts),
        "memory": f"{max(0, facts.memory_bytes - MEMORY_AVAILABLE_BYTES_MIN) // _KI}Ki",
        "ephemeral-storage": str(facts.disk_bytes * 9 // 10),
    }


def new_node(settings: Settings, facts: Facts, *, server: bool) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": settings.node_name,
            "labels": own_labels(settings, facts, server=server),
            "annotations": {"volumes.kubernetes.io/controller-managed-attach-detach": "true"},
        },
        "spec": {},
    }


def _images(images: Sequence[Image]) -> list[Object]:
    """The largest, as upstream lists them; names bounded."""
    named = [image for image in images if image.tags or image.digests]
    largest = sorted(named, key=lambda image: -image.size_bytes)[:NODE_IMAGES_MAX]
    return [{"names": [*image.digests, *image.tags][:5], "sizeBytes": image.size_bytes} for image in largest]


def _condition(kind: str, status: bool, reason: str, message: str) -> Object:
    return {"type": kind, "status": "True" if status else "False", "reason": reason, "message": message}


def conditions(pressure: Pressure, not_ready: str, before: Sequence[Object], now: float) -> list[Object]:
    """``not_ready`` says what is missing; "" when nothing is. Others' conditions stay."""
    if pressure.memory:
        memory = _condition("MemoryPressure", True, "KubeletHasInsufficientMemory", "kubelet has insufficient memory available")
    else:
        memory = _condition("MemoryPressure", False, "KubeletHasSufficientMemory", "kubelet has sufficient memory available")
    if pressure.disk:
        disk = _condition("DiskPressure", True, "KubeletHasDiskPressure", "kubelet has disk pressure")
    else:
        disk = _condition("DiskPressure", False, "KubeletHasNoDiskPressure", "kubelet has no disk pressure")
    if pressure.pids:
        pids = _condition("PIDPressure", True, "KubeletHasInsufficientPID", "kubelet has insufficient PID available")
    else:
        pids = _condition("PIDPressure", False, "KubeletHasSufficientPID", "kubelet has sufficient PID available")
    if not_ready:
        ready = _condition("Ready", False, "KubeletNotReady", not_ready)
    else:
        ready = _condition("Ready", True, "KubeletReady", "kubelet is posting ready status")
    computed = [memory, disk, pids, ready]
    earlier = {item["type"]: item for item in before}
    stamp = times.rfc3339(now)
    for condition in computed:
        old = earlier.get(condition["type"])
        turned = old is None or old.get("status") != condition["status"]
        condition["lastHeartbeatTime"] = stamp
        condition["lastTransitionTime"] = stamp if turned or old is None else old.get("lastTransitionTime")
    own = {condition["type"] for condition in computed}
    return [*(item for item in before if item["type"] not in own), *computed]


def node_status(
    settings: Settings,
    facts: Facts,
    *,
    addresses: Sequence[str],
    pressure: Pressure,
    not_ready: str,
    runtime_version: str,
    images: Sequence[Image],
    before: Object,
    now: float,
) -> Object:
    return {
        "addresses": [
            *({"type": "InternalIP", "address": address} for address in addresses),
            {"type": "Hostname", "address": settings.node_name},
        ],
        "capacity": capacity(facts),
        "allocatable": allocatable(facts),
        "conditions": conditions(pressure, not_ready, before.get("conditions") or [], now),
        "daemonEndpoints": {"kubeletEndpoint": {"Port": settings.agent_port}},
        "images": _images(images),
        "nodeInfo": {
            "machineID": facts.machine_id,
            "systemUUID": facts.system_uuid,
            "bootID": facts.boot_id,
            "kernelVersion": facts.kernel,
            "osImage": facts.os_image,
            "containerRuntimeVersion": runtime_version,
            "kubeletVersion": GIT_VERSION,
            "kubeProxyVersion": "",
            "operatingSystem": "linux",
            "architecture": facts.architecture,
            "swap": {"capacity": facts.swap_bytes},
        },
    }


def without_heartbeats(status: Object) -> Object:
    """For comparing: what is left when nothing happened must be equal."""
    plain = {key: value for key, value in status.items() if value not in (None, [], {})}
    plain["conditions"] = [
        {key: value for key, value in condition.items() if key != "lastHeartbeatTime"}
        for condition in status.get("conditions") or []
    ]
    return plain
