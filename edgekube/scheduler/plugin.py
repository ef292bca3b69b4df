"""What a rule of the scheduler is: a name and pure functions.

Enters: nothing; this is the vocabulary of scheduler.plugins.
Leaves: Filter (which nodes can take a pod) and Score (which of them should).
Holds: a filter is asked to prepare once for a pod and then about each node; a score is between 0 and 100 before its weight. A
``local`` rule looks at the wishes that PendingPod.likeness covers and at the node alone, so that its answers are remembered.
Next: scheduler.profiles lists them; docs/scheduler.md says how to add one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Literal, TypeAlias

from msgspec import Struct

from edgekube.scheduler.cluster import Cluster, NodeState
from edgekube.scheduler.pods import PendingPod

SCORE_MAX: Final = 100


class Refusal(Struct, frozen=True):
    """Why a node cannot take a pod. ``hopeless``: it could not either if pods there were evicted."""

    plugin: str
    reasons: tuple[str, ...]
    hopeless: bool = False


#: About one node; None: it can take the pod.
Check: TypeAlias = Callable[[NodeState], Refusal | None]
#: About the pod; None: nothing to check, a Refusal: no node can take it.
Prepare: TypeAlias = Callable[[PendingPod, Cluster], Check | Refusal | None]


class Filter(Struct, frozen=True):
    name: str
    prepare: Prepare
    local: bool = False


Measure: TypeAlias = Callable[[NodeState], int]


class LocalScore(Struct, frozen=True):
    """Measures each node for itself; None: all are equal. ``scale``: the largest becomes 100, or 0 when fewer is better."""

    name: str
    weight: int
    prepare: Callable[[PendingPod, Cluster], Measure | None]
    scale: Literal["", "most", "fewest"] = ""


class WideScore(Struct, frozen=True):
    """Compares the nodes that fit, each with a number from 0 to 100; None: all are equal."""

    name: str
    weight: int
    rank: Callable[[PendingPod, Cluster, Sequence[NodeState]], Sequence[int] | None]


def scaled(values: Sequence[int], scale: str) -> Sequence[int] | None:
    """From 0 to 100 of the largest; None when that makes all equal."""
    if not scale:
        return values
    most = max(values, default=0)
    if most <= 0:
        return None
    if scale == "most":
        return [SCORE_MAX * value // most for value in values]
    return [SCORE_MAX - SCORE_MAX * value // most for value in values]
