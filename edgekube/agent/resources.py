"""Requests and limits as cgroup settings, QoS class and OOM score.

Enters: pods, the node's memory.
Leaves: Resources for a container and for the pod's own cgroup.
Holds: pure. Source: Kubernetes documentation, "Pod Quality of Service Classes", "Resource Management", "Node-pressure Eviction"
(oom_score_adj).
Next: agent.container_config, agent.cgroups, agent.status.
"""

from __future__ import annotations

from edgekube.agent.podspec import containers_of, init_containers_of, is_sidecar, spec_of
from edgekube.api import quantities
from edgekube.api.objects import Object
from edgekube.containerd.model import Resources

CPU_PERIOD_US = 100_000
CPU_QUOTA_US_MIN = 1000
CPU_SHARES_MIN = 2
CPU_SHARES_MAX = 262_144
#: Scores of Guaranteed and BestEffort pods; Burstable ones lie between.
OOM_GUARANTEED = -997
OOM_BEST_EFFORT = 1000
#: Pods of system-node-critical are spared like Guaranteed ones.
NODE_CRITICAL_PRIORITY = 2_000_001_000


def _amounts(holder: Object, part: str) -> dict[str, str]:
    return (holder.get("resources") or {}).get(part) or {}


def _milli(amounts: dict[str, str]) -> int:
    return quantities.to_milli(amounts["cpu"]) if "cpu" in amounts else 0


def _bytes(amounts: dict[str, str], name: str = "memory") -> int:
    return quantities.to_bytes(amounts[name]) if name in amounts else 0


def qos_class(pod: Object) -> str:
    """Guaranteed, Burstable or BestEffort, by cpu and memory of the pod, else of every container."""
    spec = spec_of(pod)
    holders = (
        [spec] if _amounts(spec, "requests") or _amounts(spec, "limits") else [*init_containers_of(pod), *containers_of(pod)]
    )
    any_set = False
    guaranteed = True
    for holder in holders:
        requests, limits = _amounts(holder, "requests"), _amounts(holder, "limits")
        for name in ("cpu", "memory"):
            limit, request = limits.get(name, "0"), requests.get(name, limits.get(name, "0"))
            any_set = any_set or not quantities.is_zero(limit) or not quantities.is_zero(request)
            guaranteed = guaranteed and not quantities.is_zero(limit) and quantities.equal(limit, request)
    if not any_set:
        return "BestEffort"
    return "Guaranteed" if guaranteed else "Burstable"


def cpu_shares(milli: int) -> int:
    return min(max(CPU_SHARES_MIN, milli * 1024 // 1000), CPU_SHARES_MAX)


def cpu_quota_us(milli: int) -> int:
    return max(CPU_QUOTA_US_MIN, milli * CPU_PERIOD_US // 1000) if milli else 0


def oom_score(pod: Object, container: Object, memory_capacity_bytes: int) -> int:
    if (spec_of(pod).get("priority") or 0) >= NODE_CRITICAL_PRIORITY:
        return OOM_GUARANTEED
    match qos_class(pod):
        case "Guaranteed":
            return OOM_GUARANTEED
        case "BestEffort":
            return OOM_BEST_EFFORT
    requests, limits = _amounts(container, "requests"), _amounts(container, "limits")
    request_bytes = _bytes(requests) or _bytes(limits)
    score = 1000 - 1000 * request_bytes // max(1, memory_capacity_bytes)
    return min(max(score, 1000 + OOM_GUARANTEED), OOM_BEST_EFFORT - 1)


def container_resources(pod: Object, container: Object, memory_capacity_bytes: int) -> Resources:
    requests, limits = _amounts(container, "requests"), _amounts(container, "limits")
    request_milli = _milli(requests) if "cpu" in requests else _milli(limits)
    limit_milli = _milli(limits)
    return Resources(
        cpu_period_us=CPU_PERIOD_US,
        cpu_quota_us=cpu_quota_us(limit_milli),
        cpu_shares=cpu_shares(request_milli),
        memory_limit_bytes=_bytes(limits),
        oom_score_adj=oom_score(pod, container, memory_capacity_bytes),
        hugepage_limits={
            name.removeprefix("hugepages-"): quantities.to_bytes(amount)
            for name, amount in limits.items()
            if name.startswith("hugepages-")
        },
    )


def pod_resources(pod: Object) -> Resources:
    """The pod's own cgroup: the larger of what containers need together and what initialization needs. A limit only when every
    container has one."""
    spec = spec_of(pod)
    own_requests, own_limits = _amounts(spec, "requests"), _amounts(spec, "limits")
    running = [*containers_of(pod), *(c for c in init_containers_of(pod) if is_sidecar(c))]
    one_by_one = [container for container in init_containers_of(pod) if not is_sidecar(container)]

    def total(name: str, part: str) -> int:
        def of(container: Object) -> int:
            amounts = _amounts(container, part)
            if part == "requests" and name not in amounts:
                amounts = _amounts(container, "limits")
            return _milli(amounts) if name == "cpu" else _bytes(amounts)

        if part == "limits" and not all(of(container) for container in running):
            return 0
        return max([sum(of(container) for container in running), *(of(container) for container in one_by_one)])

    request_milli = _milli(own_requests) or _milli(own_limits) or total("cpu", "requests")
    limit_milli = _milli(own_limits) or total("cpu", "limits")
    memory_bytes = _bytes(own_limits) or total("memory", "limits")
    overhead = spec.get("overhead") or {}
    return Resources(
        cpu_period_us=CPU_PERIOD_US,
        cpu_quota_us=cpu_quota_us(limit_milli + _milli(overhead) if limit_milli else 0),
        cpu_shares=cpu_shares(request_milli + _milli(overhead)),
        memory_limit_bytes=memory_bytes + _bytes(overhead) if memory_bytes else 0,
    )
