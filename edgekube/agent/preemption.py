"""Which pods make room for a critical one.

Enters: the critical pod, the pods that are here, what is short.
Leaves: the pods to end, or None when even all of them would not do.
Holds: pure. First BestEffort pods go, then Burstable, then Guaranteed; of each class as few as will do, and of those that
would do equally well the smallest.
Source: k8s.io/kubernetes pkg/kubelet/preemption.
Next: agent.entry.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from edgekube.agent.admission import Shortage
from edgekube.agent.resources import is_critical, qos_class
from edgekube.api.objects import Object, spec_of
from edgekube.api.pod_requests import PODS, Amounts, pod_requests

REASON: Final = "Preempting"
MESSAGE: Final = "Preempted in order to admit critical pod"
CONDITION: Final = {
    "type": "DisruptionTarget",
    "status": "True",
    "reason": "TerminationByKubelet",
    "message": "Pod was preempted by Kubelet to accommodate a critical pod.",
}


def preemptable(critical: Object, other: Object) -> bool:
    if is_critical(critical) and not is_critical(other):
        return True
    mine, its = spec_of(critical).get("priority"), spec_of(other).get("priority")
    return mine is not None and its is not None and mine > its


def _requests(pod: Object) -> Amounts:
    return {**pod_requests(pod), PODS: 1}


def _left(missing: Amounts, pods: Sequence[Object]) -> Amounts:
    """What would still be short without these pods."""
    freed = [_requests(pod) for pod in pods]
    left = {name: amount - sum(each.get(name, 0) for each in freed) for name, amount in missing.items()}
    return {name: amount for name, amount in left.items() if amount > 0}


def _distance(missing: Amounts, pod: Object) -> float:
    """0 when the pod alone would do; each resource counts the same, whatever its unit."""
    frees = _requests(pod)
    return sum((max(0, amount - frees.get(name, 0)) / amount) ** 2 for name, amount in missing.items())


def _fewest(pods: Sequence[Object], missing: Amounts) -> list[Object] | None:
    candidates, chosen = list(pods), []
    while missing:
        if not candidates:
            return None

        def rank(pod: Object, missing: Amounts = missing) -> tuple[float, int, int]:
            asked = pod_requests(pod)
            return _distance(missing, pod), asked.get("memory", 0), asked.get("cpu", 0)

        best = min(candidates, key=rank)
        candidates.remove(best)
        chosen.append(best)
        missing = _left(missing, [best])
    return chosen


def victims(critical: Object, pods: Sequence[Object], shortages: Sequence[Shortage]) -> list[Object] | None:
    missing: Amounts = {shortage.resource: shortage.missing for shortage in shortages}
    classes: dict[str, list[Object]] = {"BestEffort": [], "Burstable": [], "Guaranteed": []}
    for pod in pods:
        if preemptable(critical, pod):
            classes[qos_class(pod)].append(pod)
    best_effort, burstable, guaranteed = classes.values()
    chosen_guaranteed = _fewest(guaranteed, _left(missing, [*best_effort, *burstable]))
    if chosen_guaranteed is None:
        return None
    chosen_burstable = _fewest(burstable, _left(missing, [*best_effort, *chosen_guaranteed]))
    if chosen_burstable is None:
        return None
    chosen_best_effort = _fewest(best_effort, _left(missing, [*chosen_burstable, *chosen_guaranteed]))
    if chosen_best_effort is None:
        return None
    return [*chosen_best_effort, *chosen_burstable, *chosen_guaranteed]
