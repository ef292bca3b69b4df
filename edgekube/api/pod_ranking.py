"""Of several pods that do the same: which is missed least?

Enters: pods of one controller, and how many pods of its kin each node has.
Leaves: the pods, in the order in which they may go.
Holds: no clock; the order is total for pods with uids.
Source: k8s.io/kubernetes pkg/controller controller_utils.go ActivePodsWithRanks.
Next: controllers.replicaset, controllers.job.
"""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Iterable
from typing import Final

from edgekube.api.pod_facts import PodFacts

_PHASE_RANK: Final = {"Pending": 0, "Unknown": 1, "Running": 2}


def ranked_for_deletion(pods: Iterable[PodFacts], related: Counter[str], wall_seconds: float) -> list[PodFacts]:
    """The pods, those that are missed least first (source: controller_utils.go ActivePodsWithRanks)."""

    def rank(pod: PodFacts) -> tuple[int, int, int, int, int]:
        phase = _PHASE_RANK.get(pod.phase, 0)
        return (1 if pod.node else 0, phase, int(pod.ready), pod.deletion_cost, -related[pod.node] if pod.node else 0)

    def compare(left: tuple[tuple[int, ...], PodFacts], right: tuple[tuple[int, ...], PodFacts]) -> int:
        if left[0] != right[0]:
            return -1 if left[0] < right[0] else 1
        a, b = left[1], right[1]
        return (
            _younger_first(a.ready_since, b.ready_since, a, b, wall_seconds)
            or b.restarts - a.restarts
            or _younger_first(a.created, b.created, a, b, wall_seconds)
        )

    return [pod for _, pod in sorted(((rank(pod), pod) for pod in pods), key=functools.cmp_to_key(compare))]


def _younger_first(a_since: float, b_since: float, a: PodFacts, b: PodFacts, wall_seconds: float) -> int:
    """Ages are compared by their order of magnitude, so that of pods that are about as old any may go."""
    if a_since == b_since:
        return 0

    def magnitude(since: float) -> int:
        nanoseconds = (wall_seconds - since) * 1e9
        return int(math.log2(nanoseconds)) if nanoseconds > 1 else -1

    difference = magnitude(a_since) - magnitude(b_since)
    if difference:
        return difference
    return -1 if a.uid < b.uid else 1
