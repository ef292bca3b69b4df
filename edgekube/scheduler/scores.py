"""Which of the nodes that fit is best: a table of scores with weights.

Enters: a pending pod and the nodes that can take it.
Leaves: a total per node.
Holds: each score is between 0 and 100 before its weight, as kube-scheduler's are; the weights are its defaults.
Next: scheduler.place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

from edgekube.api import taints
from edgekube.scheduler import affinity
from edgekube.scheduler.cluster import NodeState
from edgekube.scheduler.facts import PendingPod
from edgekube.scheduler.resources import CPU, MEMORY

Score: TypeAlias = Callable[[PendingPod, Sequence[NodeState]], list[float]]

_MIB: Final = 1024 * 1024
#: An image below this size is not worth going for; above this, a node that has it could not be better.
_IMAGE_BYTES_MIN: Final = 23 * _MIB
_IMAGE_BYTES_MAX: Final = 1000 * _MIB


def _fractions(pod: PendingPod, node: NodeState) -> list[float]:
    """How full cpu and memory would be."""
    return [
        min(1.0, (node.used_nonzero.get(name, 0) + pod.facts.nonzero.get(name, 0)) / total)
        for name in (CPU, MEMORY)
        if (total := node.facts.allocatable.get(name, 0))
    ]


def least_allocated(pod: PendingPod, nodes: Sequence[NodeState]) -> list[float]:
    """Most room left."""
    scores = []
    for node in nodes:
        fractions = _fractions(pod, node)
        scores.append(100 * (1 - sum(fractions) / len(fractions)) if fractions else 0.0)
    return scores


def balanced_allocation(pod: PendingPod, nodes: Sequence[NodeState]) -> list[float]:
    """Cpu and memory equally full."""
    scores = []
    for node in nodes:
        fractions = _fractions(pod, node)
        scores.append(100 * (1 - (max(fractions) - min(fractions)) / 2) if fractions else 0.0)
    return scores


def spread(pod: PendingPod, nodes: Sequence[NodeState]) -> list[float]:
    """Fewest pods of the same family."""
    counts = [node.families.get(pod.facts.family, 0) for node in nodes]
    most = max(counts, default=0)
    return [100 * (most - count) / most if most else 100.0 for count in counts]


def preferred_affinity(pod: PendingPod, nodes: Sequence[NodeState]) -> list[float]:
    weights = [affinity.preferred(pod.node_affinity, node.facts.name, node.facts.labels) for node in nodes]
    most = max(weights, default=0)
    return [100 * weight / most if most > 0 else 0.0 for weight in weights]


def tolerated_taints(pod: PendingPod, nodes: Sequence[NodeState]) -> list[float]:
    """Fewest PreferNoSchedule taints that the pod does not tolerate."""
    counts = [
        sum(
            taint.get("effect") == taints.PREFER_NO_SCHEDULE
            and not any(taints.tolerates(each, taint) for each in pod.tolerations)
            for taint in node.facts.taints
        )
        for node in nodes
    ]
    most = max(counts, default=0)
    return [100 * (1 - count / most) if most else 100.0 for count in counts]


def image_locality(pod: PendingPod, nodes: Sequence[NodeState]) -> list[float]:
    """Images already there: without internet nothing else would run. An image that few nodes have pulls less hard."""
    names = [image if ":" in image.rpartition("/")[2] or "@" in image else f"{image}:latest" for image in pod.images]
    ceiling = _IMAGE_BYTES_MAX * max(1, len(names))
    holders = {name: sum(name in node.facts.images for node in nodes) for name in names}
    scores = []
    for node in nodes:
        size = sum(node.facts.images.get(name, 0) * holders[name] / len(nodes) for name in names)
        scores.append(100 * (min(max(size, _IMAGE_BYTES_MIN), ceiling) - _IMAGE_BYTES_MIN) / (ceiling - _IMAGE_BYTES_MIN))
    return scores


SCORES: Final[tuple[tuple[str, int, Score], ...]] = (
    ("TaintToleration", 3, tolerated_taints),
    ("NodeAffinity", 2, preferred_affinity),
    ("PodTopologySpread", 2, spread),
    ("NodeResourcesFit", 1, least_allocated),
    ("NodeResourcesBalancedAllocation", 1, balanced_allocation),
    ("ImageLocality", 1, image_locality),
)


def totals(pod: PendingPod, nodes: Sequence[NodeState]) -> list[float]:
    result = [0.0] * len(nodes)
    for _, weight, score in SCORES:
        for index, value in enumerate(score(pod, nodes)):
            result[index] += weight * value
    return result
