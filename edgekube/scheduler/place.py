"""Place one pod: the best node that can take it, or why none can.

Enters: a pending pod and the nodes.
Leaves: Placed with a node's name, or Unplaced with the message of kubectl describe.
Holds: the same input gives the same answer: of equal nodes the one with fewer pods, then the first by name.
Next: reconcile.scheduling binds it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from edgekube.scheduler.cluster import NodeState
from edgekube.scheduler.facts import PendingPod
from edgekube.scheduler.filters import reasons_against
from edgekube.scheduler.scores import totals


@dataclass(frozen=True, slots=True)
class Placed:
    node: str


@dataclass(frozen=True, slots=True)
class Unplaced:
    message: str


def place(pod: PendingPod, nodes: Sequence[NodeState]) -> Placed | Unplaced:
    if not nodes:
        return Unplaced("no nodes available to schedule pods")
    against: Counter[str] = Counter()
    fitting = []
    for node in nodes:
        reasons = reasons_against(pod, node)
        if reasons:
            against.update(reasons)
        else:
            fitting.append(node)
    if not fitting:
        return Unplaced(_fit_error(len(nodes), against))
    if len(fitting) == 1:
        return Placed(fitting[0].facts.name)
    scored = zip(totals(pod, fitting), fitting, strict=True)
    best = min(scored, key=lambda each: (-round(each[0], 6), len(each[1].pods), each[1].facts.name))
    return Placed(best[1].facts.name)


def _fit_error(nodes: int, against: Counter[str]) -> str:
    """As kube-scheduler's FitError writes it: a count before each reason, sorted."""
    reasons = ", ".join(sorted(f"{count} {reason}" for reason, count in against.items()))
    return f"0/{nodes} nodes are available: {reasons}."
