"""The Node as the API shows it.

Enters: Facts, the runtime's condition, the Node as it is.
Leaves: the Node to create; the status to write.
Holds: pure; asked twice with the same facts it gives the same, heartbeats aside.
Source: Kubernetes documentation, "Nodes", "Node Status", "Well-Known Labels".
Next: agent.node.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from edgekube.agent.eviction.thresholds import Threshold
from edgekube.agent.facts import Facts
from edgekube.agent.reservations import allocatable, capacity
from edgekube.api import times
from edgekube.api.node_features import DECLARED
from edgekube.api.objects import Object
from edgekube.api.pod_ranges import FORMER
from edgekube.api.validation.resources import is_extended
from edgekube.containerd.model import Image, RuntimeFeatures
from edgekube.limits import NODE_IMAGES_MAX
from edgekube.settings import Settings
from edgekube.version import GIT_VERSION


def own_labels(settings: Settings, facts: Facts) -> dict[str, str]:
    """Those that a node may give itself (admission.node_restriction)."""
    return {
        "kubernetes.io/hostname": settings.node_name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": facts.architecture,
        "beta.kubernetes.io/os": "linux",
        "beta.kubernetes.io/arch": facts.architecture,
    }


def resources_of_others(before: Object, own: Collection[str]) -> dict[str, str | None]:
    """Extended resources that somebody else wrote into the node's capacity: all of each can be allotted, as a kubelet says too;
    None for one whose capacity is gone. ``own``: those that this agent answers for."""
    has, allotted = before.get("capacity") or {}, before.get("allocatable") or {}
    found: dict[str, str | None] = {name: amount for name, amount in has.items() if is_extended(name) and name not in own}
    return found | {name: None for name in allotted if is_extended(name) and name not in has and name not in own}


def new_node(settings: Settings, facts: Facts, former_ranges: Sequence[str] = ()) -> Object:
    """``former_ranges``: what pods of this machine have addresses of already."""
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": settings.node_name,
            "labels": {**dict(settings.node.labels), **own_labels(settings, facts)},
            "annotations": {
                "volumes.kubernetes.io/controller-managed-attach-detach": "true",
                **({FORMER: ",".join(former_ranges)} if former_ranges else {}),
            },
        },
        "spec": {"taints": [_taint(*taint) for taint in settings.node.taints]} if settings.node.taints else {},
    }


def _taint(key: str, value: str, effect: str) -> Object:
    return {"key": key, "effect": effect, **({"value": value} if value else {})}


def _handlers(features: RuntimeFeatures) -> list[Object]:
    return [
        {
            "name": handler.name,
            "features": {
                "recursiveReadOnlyMounts": handler.recursive_readonly_mounts,
                "userNamespaces": handler.user_namespaces,
            },
        }
        for handler in features.handlers
    ]


def _images(images: Sequence[Image]) -> list[Object]:
    """The largest, as upstream lists them; names bounded."""
    named = [image for image in images if image.tags or image.digests]
    largest = sorted(named, key=lambda image: -image.size_bytes)[:NODE_IMAGES_MAX]
    return [{"names": [*image.digests, *image.tags][:5], "sizeBytes": image.size_bytes} for image in largest]


def _condition(kind: str, status: bool, reason: str, message: str) -> Object:
    return {"type": kind, "status": "True" if status else "False", "reason": reason, "message": message}


def conditions(pressures: Collection[str], not_ready: str, before: Sequence[Object], now: float) -> list[Object]:
    """``not_ready`` says what is missing; "" when nothing is. Others' conditions stay."""
    if "MemoryPressure" in pressures:
        memory = _condition("MemoryPressure", True, "KubeletHasInsufficientMemory", "kubelet has insufficient memory available")
    else:
        memory = _condition("MemoryPressure", False, "KubeletHasSufficientMemory", "kubelet has sufficient memory available")
    if "DiskPressure" in pressures:
        disk = _condition("DiskPressure", True, "KubeletHasDiskPressure", "kubelet has disk pressure")
    else:
        disk = _condition("DiskPressure", False, "KubeletHasNoDiskPressure", "kubelet has no disk pressure")
    if "PIDPressure" in pressures:
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
    thresholds: Sequence[Threshold],
    pressures: Collection[str],
    not_ready: str,
    runtime_version: str,
    images: Sequence[Image],
    features: RuntimeFeatures,
    before: Object,
    now: float,
) -> Object:
    return {
        "addresses": [
            *({"type": "InternalIP", "address": address} for address in addresses),
            {"type": "Hostname", "address": settings.node_name},
        ],
        "capacity": capacity(facts, settings.node),
        "allocatable": allocatable(facts, settings.node, thresholds),
        "conditions": conditions(pressures, not_ready, before.get("conditions") or [], now),
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
            **({"swap": {"capacity": facts.swap_bytes}} if facts.swap_bytes else {}),
        },
        "declaredFeatures": list(DECLARED),
        **({"runtimeHandlers": _handlers(features)} if features.handlers else {}),
        # A runtime that does not speak of its handlers (containerd 1.x) does not speak of these either.
        **({"features": {"supplementalGroupsPolicy": features.supplemental_groups_policy}} if features.handlers else {}),
    }


def turned(before: Sequence[Object], after: Sequence[Object]) -> list[str]:
    """Reasons of events about conditions that are others than they were, as the kubelet tells them."""
    was = {item["type"]: item.get("status") for item in before}
    names = {
        ("MemoryPressure", "True"): "NodeHasInsufficientMemory",
        ("MemoryPressure", "False"): "NodeHasSufficientMemory",
        ("DiskPressure", "True"): "NodeHasDiskPressure",
        ("DiskPressure", "False"): "NodeHasNoDiskPressure",
        ("PIDPressure", "True"): "NodeHasInsufficientPID",
        ("PIDPressure", "False"): "NodeHasSufficientPID",
        ("Ready", "True"): "NodeReady",
        ("Ready", "False"): "NodeNotReady",
    }
    return [
        names[item["type"], item["status"]]
        for item in after
        if (item["type"], item["status"]) in names and was.get(item["type"]) != item["status"]
    ]


def without_heartbeats(status: Object) -> Object:
    """For comparing: what is left when nothing happened must be equal."""
    plain = {key: value for key, value in status.items() if value not in (None, [], {})}
    plain["conditions"] = [
        {key: value for key, value in condition.items() if key != "lastHeartbeatTime"}
        for condition in status.get("conditions") or []
    ]
    return plain
