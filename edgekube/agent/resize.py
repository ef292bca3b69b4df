"""The resources that a pod's containers have now, and how they come to those that it was allocated.

Enters: a pod as allocated, what containerd shows, the pod's memory.
Leaves: resources in force; which containers are to be changed in place; whether reaching the wanted ones takes a restart.
Holds: pure. What a container was made with is in its annotations, what it was given later in PodMemory (and on disk).
Source: Kubernetes documentation, "Resize CPU and Memory Resources assigned to Containers".
Next: agent.plan_containers, agent.status_containers.
"""

from __future__ import annotations

import orjson
from msgspec.structs import replace

from edgekube.agent.allocation import same_resources
from edgekube.agent.cgroups import Usage
from edgekube.agent.names import RESOURCES
from edgekube.agent.podspec import containers_of, init_containers_of
from edgekube.agent.state import ObservedContainer, PodMemory, PodObserved
from edgekube.api.objects import Object, spec_of
from edgekube.api.pod_requests import amounts
from edgekube.containerd.model import ContainerStatus, Resources


def resources_text(container: Object) -> str:
    """As an annotation."""
    return orjson.dumps(container.get("resources") or {}, option=orjson.OPT_SORT_KEYS).decode()


def resources_in_force(status: ContainerStatus, memory: PodMemory) -> Object | None:
    """None: made by a version that did not write them down."""
    resized = memory.resized.get(status.id)
    if resized is not None:
        return resized
    text = status.annotations.get(RESOURCES)
    if text is None:
        return None
    found: Object = orjson.loads(text)
    return found


def needs_restart(container: Object, before: Object) -> bool:
    wanted: Object = container.get("resources") or {}
    policies = {item["resourceName"]: item["restartPolicy"] for item in container.get("resizePolicy") or []}

    def only(resources: Object, name: str) -> Object:
        return {
            side: {key: q for key, q in (resources.get(side) or {}).items() if key == name} for side in ("requests", "limits")
        }

    return any(
        policy == "RestartContainer" and not same_resources(only(wanted, name), only(before, name))
        for name, policy in policies.items()
    )


def behind(pod: Object, observed: PodObserved, memory: PodMemory) -> list[ObservedContainer]:
    """Running containers that do not have what was allocated to them; without a limit of their own they have the pod's."""
    found = []
    moved = _moved_limits(pod, memory)
    for container in (*init_containers_of(pod), *containers_of(pod)):
        latest = observed.latest(container["name"])
        if latest is None or latest.status.state != "RUNNING":
            continue
        has = resources_in_force(latest.status, memory)
        if has is not None and (not same_resources(container.get("resources"), has) or moved - _own_limits(container)):
            found.append(latest)
    return found


def _moved_limits(pod: Object, memory: PodMemory) -> set[str]:
    """Of what the pod's own limits are others than those in force."""
    if memory.whole_in_force is None:
        return set()
    has, wants = (amounts((each or {}).get("limits")) for each in (memory.whole_in_force, spec_of(pod).get("resources")))
    return {name for name in ("cpu", "memory") if has.get(name) != wants.get(name)}


def _own_limits(container: Object) -> set[str]:
    return set(amounts((container.get("resources") or {}).get("limits")))


def whole_is_behind(pod: Object, memory: PodMemory) -> bool:
    """The pod's own resources are not yet those of its cgroup."""
    if memory.whole_in_force is None:
        return False
    return not same_resources(spec_of(pod).get("resources"), memory.whole_in_force)


def unfinished(pod: Object, observed: PodObserved, memory: PodMemory) -> bool:
    return bool(behind(pod, observed, memory)) or whole_is_behind(pod, memory)


def at_most_of(before: Resources, after: Resources) -> Resources:
    """Room for both, while containers go from the one to the other; 0 is no limit."""

    def larger(one: int, other: int) -> int:
        return max(one, other) if one and other else 0

    return replace(
        after,
        cpu_shares=max(before.cpu_shares, after.cpu_shares),
        cpu_quota_us=larger(before.cpu_quota_us, after.cpu_quota_us),
        memory_limit_bytes=larger(before.memory_limit_bytes, after.memory_limit_bytes),
    )


def too_small(before: Resources, after: Resources, usage: Usage | None, whose: str) -> str:
    """Why a smaller memory limit cannot be set; "" when it can."""
    limit = after.memory_limit_bytes
    if not limit or (before.memory_limit_bytes and limit >= before.memory_limit_bytes):
        return ""
    if usage is None:
        return f"missing {whose} memory usage"
    if usage.memory_usage_bytes < limit:
        return ""
    return f"attempting to set {whose} memory limit ({limit}) below current usage ({usage.memory_usage_bytes})"
