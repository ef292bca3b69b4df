"""How many replicas a metric asks for.

Enters: readings, the pods that the target selects, the target's number, tolerances.
Leaves: a Proposal: a number, and what the status shows of the metric.
Holds: pods that are not ready, or of which nothing is known, are counted in the cautious way: as idle when more are asked for, as
busy when fewer are; they never turn the direction. Within the tolerance nothing changes.
Source: kubernetes.io/docs/concepts/workloads/autoscaling/horizontal-pod-autoscale (algorithm details); messages are upstream's.
Next: controllers.autoscaling.metrics.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from typing import Final, NamedTuple

from msgspec import Struct

from edgekube.api import podstate, quantities, times
from edgekube.api.objects import Object, is_deleting, name_of
from edgekube.controllers.autoscaling.readings import MetricError, Reading

#: A pod's CPU says little while it starts (upstream's --horizontal-pod-autoscaler-cpu-initialization-period).
_STARTING_SECONDS: Final = 300.0
#: A pod that is not ready after this has been ready before (upstream's --horizontal-pod-autoscaler-initial-readiness-delay).
_FIRST_READY_SECONDS: Final = 30.0
_REPLICAS_MAX: Final = 2**31 - 1
_AMOUNT_MAX: Final = 2**63 - 1


class Tolerance(NamedTuple):
    down: float = 0.1
    up: float = 0.1

    def holds(self, ratio: float) -> bool:
        return 1.0 - self.down <= ratio <= 1.0 + self.up


class Proposal(NamedTuple):
    replicas: int
    #: Thousandths: the average of a pod, or the value.
    amount: int
    percent: int | None = None


class Groups(Struct, frozen=True):
    ready: int
    unready: frozenset[str]
    missing: frozenset[str]
    ignored: frozenset[str]


def group(pods: Collection[Object], readings: dict[str, Reading], resource: str, wall_seconds: float) -> Groups:
    ready = 0
    unready, missing, ignored = set(), set(), set()
    for pod in pods:
        name, phase = name_of(pod), podstate.phase_of(pod)
        if is_deleting(pod) or phase == "Failed":
            ignored.add(name)
        elif phase == "Pending":
            unready.add(name)
        elif name not in readings:
            missing.add(name)
        elif resource == "cpu" and _is_starting(pod, readings[name], wall_seconds):
            unready.add(name)
        else:
            ready += 1
    return Groups(ready, frozenset(unready), frozenset(missing), frozenset(ignored))


def _is_starting(pod: Object, reading: Reading, wall_seconds: float) -> bool:
    condition, started = podstate.condition_of(pod, "Ready"), (pod.get("status") or {}).get("startTime")
    if condition is None or not started:
        return True
    began, changed = times.parse(started), times.parse(condition.get("lastTransitionTime") or started)
    unready = condition.get("status") == "False"
    if began + _STARTING_SECONDS > wall_seconds:
        return unready or reading.at_seconds < changed + reading.window_seconds
    return unready and began + _FIRST_READY_SECONDS > changed


def by_utilization(
    current: int,
    percent: int,
    readings: dict[str, Reading],
    pods: Collection[Object],
    requests: dict[str, int],
    resource: str,
    tolerance: Tolerance,
    wall_seconds: float,
) -> Proposal:
    """Of the share of what the pods request. ``requests``: thousandths by pod."""
    groups, known = _known(pods, readings, resource, wall_seconds)

    def measured(amounts: dict[str, int]) -> tuple[float, int, int]:
        counted = {name: amount for name, amount in amounts.items() if name in requests}
        asked = sum(requests[name] for name in counted)
        if not asked:
            raise MetricError("no metrics returned matched known pods")
        share = sum(counted.values()) * 100 // asked
        return share / percent, share, sum(counted.values()) // len(counted)

    ratio, share, average = measured(known)
    busy = {name: requests[name] * max(100, percent) // 100 for name in groups.missing if name in requests}
    count = _replicas(current, groups, known, ratio, busy, lambda amounts: measured(amounts)[0], tolerance)
    return Proposal(count, average, share)


def by_average(
    current: int,
    target: int,
    readings: dict[str, Reading],
    pods: Collection[Object],
    resource: str,
    tolerance: Tolerance,
    wall_seconds: float,
) -> Proposal:
    """Of the average amount of a pod; ``target`` in thousandths."""
    groups, known = _known(pods, readings, resource, wall_seconds)
    average = sum(known.values()) // len(known)
    busy = dict.fromkeys(groups.missing, target)

    def ratio_of(amounts: dict[str, int]) -> float:
        return (sum(amounts.values()) // len(amounts)) / target

    return Proposal(_replicas(current, groups, known, average / target, busy, ratio_of, tolerance), average)


def _known(
    pods: Collection[Object], readings: dict[str, Reading], resource: str, wall_seconds: float
) -> tuple[Groups, dict[str, int]]:
    if not pods:
        raise MetricError("no pods returned by selector while calculating replica count")
    groups = group(pods, readings, resource, wall_seconds)
    left = {name: each.milli for name, each in readings.items() if name not in groups.ignored | groups.unready}
    if not left:
        raise MetricError("did not receive metrics for targeted pods (pods might be unready)")
    return groups, left


def _replicas(
    current: int,
    groups: Groups,
    known: dict[str, int],
    ratio: float,
    busy: dict[str, int],
    ratio_of: Callable[[dict[str, int]], float],
    tolerance: Tolerance,
) -> int:
    up_with_unready = bool(groups.unready) and ratio > 1.0
    if not up_with_unready and not groups.missing:
        return current if tolerance.holds(ratio) else math.ceil(ratio * groups.ready)
    amounts = dict(known)
    if ratio < 1.0:
        amounts |= busy
    elif ratio > 1.0:
        amounts |= dict.fromkeys(groups.missing, 0)
    if up_with_unready:
        amounts |= dict.fromkeys(groups.unready, 0)
    again = ratio_of(amounts)
    if tolerance.holds(again) or ratio < 1.0 < again or again < 1.0 < ratio:
        return current
    count = math.ceil(again * len(amounts))
    turned = (again < 1.0 and count > current) or (again > 1.0 and count < current)
    return current if turned else count


def by_value(current: int, usage: int, target: int, pods: Collection[Object], tolerance: Tolerance) -> Proposal:
    """Of one value of an object, or of something outside the cluster."""
    ratio = usage / target
    if not current:
        return Proposal(min(_REPLICAS_MAX, math.ceil(ratio)), usage)
    if tolerance.holds(ratio):
        return Proposal(current, usage)
    if not pods:
        why = "no pods returned by selector while calculating replica count"
        raise MetricError(f"unable to calculate ready pods: {why}")
    ready = sum(podstate.phase_of(pod) == "Running" and podstate.is_ready(pod) for pod in pods)
    return Proposal(min(_REPLICAS_MAX, math.ceil(ratio * ready)), usage)


def by_value_per_pod(current: int, usage: int, target: int, tolerance: Tolerance) -> Proposal:
    """The same, shared out among the pods. ``current``: those that there are."""
    ratio = usage / (target * current) if current else math.inf
    count = current if tolerance.holds(ratio) else min(_REPLICAS_MAX, math.ceil(usage / target))
    return Proposal(count, min(_AMOUNT_MAX, -(-usage // current)) if current else usage)


def requests_of(pods: Collection[Object], container: str, resource: str) -> dict[str, int]:
    """Thousandths that each pod requests: what the pod as a whole does, if it says so; else its containers, sidecars included."""
    return {name_of(pod): _request(pod, container, resource) for pod in pods}


def _request(pod: Object, container: str, resource: str) -> int:
    spec = pod.get("spec") or {}
    whole = (spec.get("resources") or {}).get("requests") or {}
    if whole and not container:
        if resource in whole:
            return quantities.to_milli(whole[resource])
        if not _containers_request(spec, resource):
            raise MetricError(f"missing pod-level request for {resource} in Pod {name_of(pod)}")
    total, found = 0, False
    for each in _containers(spec):
        if container not in ("", each.get("name")):
            continue
        found = True
        asked = ((each.get("resources") or {}).get("requests") or {}).get(resource)
        if asked is None:
            if whole and not container:
                continue
            where = f"in container {each.get('name')} of Pod {name_of(pod)}"
            raise MetricError(f"missing request for {resource} {where}")
        total += quantities.to_milli(asked)
    if container and not found:
        raise MetricError(f"container {container} not found in Pod {name_of(pod)}")
    return total


def _containers(spec: Object) -> list[Object]:
    sidecars = [each for each in spec.get("initContainers") or () if each.get("restartPolicy") == "Always"]
    return [*(spec.get("containers") or ()), *sidecars]


def _containers_request(spec: Object, resource: str) -> bool:
    return any(resource in ((each.get("resources") or {}).get("requests") or {}) for each in _containers(spec))
