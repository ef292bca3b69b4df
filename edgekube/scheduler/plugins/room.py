"""Rules about room: what is free on a node, how full it would be, how evenly.

Enters: a pending pod, and one node.
Leaves: refusals ("Insufficient cpu"), and scores from 0 to 100.
Holds: requests are what counts, not use; a pod without requests counts as a little when nodes are compared.
Source: kube-scheduler plugins NodeResourcesFit (LeastAllocated, MostAllocated, RequestedToCapacityRatio) and
NodeResourcesBalancedAllocation.
Next: scheduler.profiles.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from edgekube.api.pod_requests import CPU, MEMORY, PODS, Amounts, lacking
from edgekube.scheduler.cluster import Cluster, NodeState
from edgekube.scheduler.plugin import SCORE_MAX, Check, LocalScore, Measure, Prepare, Refusal
from edgekube.scheduler.pods import PendingPod

FIT: Final = "NodeResourcesFit"
BALANCED: Final = "NodeResourcesBalancedAllocation"

#: What is weighed when nodes are compared, as upstream's default.
CPU_AND_MEMORY: Final[Mapping[str, int]] = {CPU: 1, MEMORY: 1}


def fit(ignored: frozenset[str] = frozenset(), ignored_groups: frozenset[str] = frozenset()) -> Prepare:
    """``ignored``: extended resources, or the part before their slash, that somebody else looks after."""

    def prepare(pod: PendingPod, cluster: Cluster) -> Check:
        wanted = {
            name: amount
            for name, amount in pod.facts.requests.items()
            if amount and not ("/" in name and (name in ignored or name.partition("/")[0] in ignored_groups))
        }

        def check(node: NodeState) -> Refusal | None:
            allocatable, used = node.facts.allocatable, node.used
            full = len(node.pods) + 1 > allocatable.get(PODS, 0)
            for name, amount in wanted.items():
                if amount > allocatable.get(name, 0) - used.get(name, 0):
                    break
            else:
                return _full if full else None
            short = lacking(wanted, allocatable, used)
            reasons = ["Too many pods"] if full else []
            reasons += [f"Insufficient {name}" for name in short]
            return Refusal(FIT, tuple(reasons), hopeless=any(wanted[name] > allocatable.get(name, 0) for name in short))

        return check

    return prepare


_full: Final = Refusal(FIT, ("Too many pods",))


def _asked(requests: Amounts, resources: Mapping[str, int]) -> list[tuple[str, int, int]]:
    """(resource, what the pod adds, weight); an extended resource counts only for pods that ask for it."""
    return [
        (name, requests.get(name, 0), weight)
        for name, weight in resources.items()
        if requests.get(name, 0) or name in (CPU, MEMORY) or "/" not in name
    ]


def by_allocation(
    weight: int, resources: Mapping[str, int], score: Callable[[int, int], int], *, skip_zeros: bool = False
) -> LocalScore:
    """The weighted mean, over the resources, of ``score(used with the pod, of how much)``. ``skip_zeros``: a resource with
    score 0 does not count, and the mean is rounded."""

    def prepare(pod: PendingPod, cluster: Cluster) -> Measure:
        asked = _asked(pod.facts.nonzero, resources)

        def measure(node: NodeState) -> int:
            total = weights = 0
            allocatable, used = node.facts.allocatable, node.used_nonzero
            for name, amount, share in asked:
                capacity = allocatable.get(name, 0)
                if capacity:
                    points = score(used.get(name, 0) + amount, capacity)
                    if points or not skip_zeros:
                        total += share * points
                        weights += share
            if skip_zeros:
                return math.floor(total / weights + 0.5) if weights else 0
            return total // weights if weights else 0

        return measure

    return LocalScore(FIT, weight, prepare)


def least_allocated(used: int, capacity: int) -> int:
    return 0 if used > capacity else (capacity - used) * SCORE_MAX // capacity


def most_allocated(used: int, capacity: int) -> int:
    return min(used, capacity) * SCORE_MAX // capacity


def by_ratio(shape: Sequence[tuple[int, int]]) -> Callable[[int, int], int]:
    """A broken line through (percent used, score of 0 to 10)."""

    def score(used: int, capacity: int) -> int:
        percent = 100 if used > capacity else used * 100 // capacity
        before = shape[0]
        for point in shape:
            if percent <= point[0]:
                if point[0] == before[0]:
                    return point[1] * 10
                slope = (point[1] - before[1]) * 10
                return before[1] * 10 + int(slope * (percent - before[0]) / (point[0] - before[0]))
            before = point
        return before[1] * 10

    return score


def _evenness(fractions: Sequence[float]) -> int:
    if len(fractions) == 2:
        deviation = abs(fractions[0] - fractions[1]) / 2
    elif len(fractions) > 2:
        mean = sum(fractions) / len(fractions)
        deviation = math.sqrt(sum((each - mean) ** 2 for each in fractions) / len(fractions))
    else:
        deviation = 0.0
    return int((1 - deviation) * SCORE_MAX)


def balanced(weight: int, resources: Mapping[str, int] = CPU_AND_MEMORY) -> LocalScore:
    """How much more evenly full the node would be with the pod: 75 is "as before". Pods that ask for nothing are not measured."""

    def prepare(pod: PendingPod, cluster: Cluster) -> Measure | None:
        asked = _asked(pod.facts.requests, resources)
        if not any(amount for _, amount, _ in asked):
            return None

        def measure(node: NodeState) -> int:
            allocatable, used = node.facts.allocatable, node.used
            without, together = [], []
            for name, amount, _ in asked:
                capacity = allocatable.get(name, 0)
                if capacity:
                    now = used.get(name, 0)
                    without.append(min(1.0, now / capacity))
                    together.append(min(1.0, (now + amount) / capacity))
            gain = SCORE_MAX // 2 + _evenness(together) - _evenness(without)
            return SCORE_MAX // 2 + int(gain / 2)

        return measure

    return LocalScore(BALANCED, weight, prepare)
