"""Requests and limits as cgroup settings, QoS class and OOM score.

Enters: pods, the machine.
Leaves: Resources for a container, for the pod's own cgroup and for the sandbox.
Holds: pure. Source: Kubernetes documentation, "Pod Quality of Service Classes", "Resource Management", "Node-pressure Eviction"
(oom_score_adj), "Swap memory management", "Manage HugePages", "Assign Pod-level CPU and memory resources".
Next: agent.container_config, agent.cgroups, agent.status.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from edgekube.agent.machine import Machine, page_name
from edgekube.agent.podspec import containers_of, init_containers_of, is_sidecar
from edgekube.api import quantities
from edgekube.api.objects import Object, annotations_of, spec_of
from edgekube.api.qos import qos_class as qos_class
from edgekube.containerd.model import Resources

CPU_PERIOD_US = 100_000
CPU_QUOTA_US_MIN = 1000
CPU_SHARES_MIN = 2
CPU_SHARES_MAX = 262_144
#: Scores of Guaranteed and BestEffort pods; Burstable ones lie between.
OOM_GUARANTEED = -997
OOM_BEST_EFFORT = 1000
#: From this priority on a pod is critical; those of system-node-critical are spared like Guaranteed ones.
CRITICAL_PRIORITY = 2_000_000_000
NODE_CRITICAL_CLASS = "system-node-critical"
HUGE_PAGES = "hugepages-"


def _amounts(holder: Object, part: str) -> dict[str, str]:
    return (holder.get("resources") or {}).get(part) or {}


def _milli(amounts: dict[str, str]) -> int:
    return quantities.to_milli(amounts["cpu"]) if "cpu" in amounts else 0


def _bytes(amounts: dict[str, str], name: str = "memory") -> int:
    return quantities.to_bytes(amounts[name]) if name in amounts else 0


def cpu_shares(milli: int) -> int:
    return min(max(CPU_SHARES_MIN, milli * 1024 // 1000), CPU_SHARES_MAX)


def cpu_quota_us(milli: int) -> int:
    return max(CPU_QUOTA_US_MIN, milli * CPU_PERIOD_US // 1000) if milli else 0


def is_critical(pod: Object) -> bool:
    """A static pod, its mirror, or one of a critical priority."""
    annotations = annotations_of(pod)
    if annotations.get("kubernetes.io/config.source", "api") != "api" or "kubernetes.io/config.mirror" in annotations:
        return True
    return int(spec_of(pod).get("priority") or 0) >= CRITICAL_PRIORITY


def _memory_share_bytes(pod: Object) -> int:
    """What the pod as a whole requests beyond its containers, for each of them."""
    whole = _bytes(_amounts(spec_of(pod), "requests"))
    if not whole:
        return 0
    together = _total(pod, "memory", "requests")
    return (whole - together) // len([*containers_of(pod), *init_containers_of(pod)])


def oom_score(pod: Object, container: Object, memory_capacity_bytes: int) -> int:
    if is_critical(pod) and spec_of(pod).get("priorityClassName") == NODE_CRITICAL_CLASS:
        return OOM_GUARANTEED
    match qos_class(pod):
        case "Guaranteed":
            return OOM_GUARANTEED
        case "BestEffort":
            return OOM_BEST_EFFORT
    share = _memory_share_bytes(pod)

    def score_of(request_bytes: int) -> int:
        return 1000 - 1000 * (request_bytes + share) // max(1, memory_capacity_bytes)

    score = score_of(_request_bytes(container))
    if is_sidecar(container):
        # It goes no earlier than those that it serves.
        score = min(score, score_of(min(map(_request_bytes, containers_of(pod)), default=0)))
    if score < 1000 + OOM_GUARANTEED:
        return 1000 + OOM_GUARANTEED
    return OOM_BEST_EFFORT - 1 if score == OOM_BEST_EFFORT else score


def _request_bytes(container: Object) -> int:
    return _bytes(_amounts(container, "requests")) or _bytes(_amounts(container, "limits"))


def container_resources(pod: Object, container: Object, machine: Machine) -> Resources:
    requests, limits = _amounts(container, "requests"), _amounts(container, "limits")
    whole = _amounts(spec_of(pod), "limits")
    # A container without a limit has the pod's as its own.
    limit_milli = _milli(limits) or _milli(whole)
    limit_bytes = _bytes(limits) or _bytes(whole)
    request_milli = _milli(requests) if "cpu" in requests else limit_milli
    plain = Resources(
        cpu_period_us=CPU_PERIOD_US,
        cpu_quota_us=cpu_quota_us(limit_milli),
        cpu_shares=cpu_shares(request_milli),
        memory_limit_bytes=limit_bytes,
        oom_score_adj=oom_score(pod, container, machine.memory_bytes),
        hugepage_limits=_huge_pages({**whole, **limits}, machine),
        # All processes of a container that has run out of memory end together: half of one is no service.
        unified={"memory.oom.group": "1"} if machine.cgroup_v2 else {},
    )
    return _with_swap(plain, pod, container, machine)


def _huge_pages(limits: dict[str, str], machine: Machine) -> dict[str, int]:
    """Of each size that the kernel has; none where none is named."""
    named = {
        page_name(quantities.to_bytes(name.removeprefix(HUGE_PAGES))): quantities.to_bytes(amount)
        for name, amount in limits.items()
        if name.startswith(HUGE_PAGES)
    }
    return {name: named.get(name, 0) for name in map(page_name, machine.page_bytes)}


def _with_swap(resources: Resources, pod: Object, container: Object, machine: Machine) -> Resources:
    if not machine.swap_controller:
        return resources
    if not machine.cgroup_v2:
        # Memory and swap together may be as much as memory alone: no swap. Without a limit the kernel has none for both.
        return replace(resources, memory_swap_limit_bytes=resources.memory_limit_bytes)
    return replace(resources, unified={**resources.unified, "memory.swap.max": str(swap_bytes(pod, container, machine))})


def swap_bytes(pod: Object, container: Object, machine: Machine) -> int:
    request, limit = _bytes(_amounts(container, "requests")), _bytes(_amounts(container, "limits"))
    if not machine.limited_swap or is_critical(pod) or qos_class(pod) != "Burstable" or request == limit:
        return 0
    if not 0 < request <= machine.memory_bytes:
        return 0
    return request * machine.swap_bytes // machine.memory_bytes


def _amount(container: Object, name: str, part: str) -> int:
    amounts = _amounts(container, part)
    if part == "requests" and name not in amounts:
        amounts = _amounts(container, "limits")
    return _milli(amounts) if name == "cpu" else _bytes(amounts, name)


def _total(pod: Object, name: str, part: str) -> int:
    """What the containers need together at their most hungry moment, initialization included."""
    total = sum(_amount(container, name, part) for container in containers_of(pod))
    sidecars = most = 0
    for container in init_containers_of(pod):
        if is_sidecar(container):
            sidecars += _amount(container, name, part)
            most = max(most, sidecars)
        else:
            most = max(most, sidecars + _amount(container, name, part))
    return max(total + sidecars, most)


def _everyone_has(pod: Object, name: str) -> bool:
    """Whether each container has this limit, or the pod as a whole."""
    if not quantities.is_zero(_amounts(spec_of(pod), "limits").get(name, "0")):
        return True
    sidecars = 0
    for container in init_containers_of(pod):
        amount = _amount(container, name, "limits")
        sidecars += amount if is_sidecar(container) else 0
        if not (sidecars or amount):
            return False
    return all(_amount(container, name, "limits") for container in containers_of(pod))


def _whole(pod: Object, name: str, part: str) -> int:
    own = _amounts(spec_of(pod), part)
    if name in own:
        return _milli(own) if name == "cpu" else _bytes(own, name)
    return _total(pod, name, part)


def _page_sizes(pod: Object) -> Iterable[str]:
    holders = [spec_of(pod), *containers_of(pod), *init_containers_of(pod)]
    return {name for holder in holders for name in _amounts(holder, "limits") if name.startswith(HUGE_PAGES)}


def pod_resources(pod: Object, machine: Machine) -> Resources:
    """The pod's own cgroup: the larger of what containers need together and what initialization needs, overhead included. A limit
    only when every container has one."""
    overhead = spec_of(pod).get("overhead") or {}
    if qos_class(pod) == "BestEffort":
        return Resources(cpu_period_us=CPU_PERIOD_US, cpu_shares=CPU_SHARES_MIN, pids_max=machine.pids_max)
    limit_milli = _whole(pod, "cpu", "limits") if _everyone_has(pod, "cpu") else 0
    limit_bytes = _whole(pod, "memory", "limits") if _everyone_has(pod, "memory") else 0
    huge_pages = {name: str(_whole(pod, name, "limits")) for name in _page_sizes(pod)}
    return Resources(
        cpu_period_us=CPU_PERIOD_US,
        cpu_quota_us=cpu_quota_us(limit_milli + _milli(overhead) if limit_milli else 0),
        cpu_shares=cpu_shares(_whole(pod, "cpu", "requests") + _milli(overhead)),
        memory_limit_bytes=limit_bytes + _bytes(overhead) if limit_bytes else 0,
        hugepage_limits=_huge_pages(huge_pages, machine),
        pids_max=machine.pids_max,
    )


def sandbox_resources(pod: Object) -> Resources:
    """For a handler that makes a machine of this size: what the containers need together."""
    limit_milli = _whole(pod, "cpu", "limits")
    return Resources(
        cpu_period_us=CPU_PERIOD_US,
        cpu_quota_us=cpu_quota_us(limit_milli),
        cpu_shares=cpu_shares(_whole(pod, "cpu", "requests")),
        memory_limit_bytes=_whole(pod, "memory", "limits"),
    )


def overhead_resources(pod: Object) -> Resources:
    """What the handler itself takes; nothing where its RuntimeClass says nothing."""
    overhead = spec_of(pod).get("overhead")
    if not overhead:
        return Resources()
    milli = _milli(overhead)
    return Resources(
        cpu_period_us=CPU_PERIOD_US,
        cpu_quota_us=cpu_quota_us(milli),
        cpu_shares=cpu_shares(milli),
        memory_limit_bytes=_bytes(overhead),
    )
