"""The plan for a PodDisruptionBudget: how many of its pods may go now.

Enters: a budget, the pods that it selects, and how many their controllers want.
Leaves: its status.
Holds: the status is written on the revision that it was computed from: an eviction charges the budget at the same time, and what
it took must not be given back. A budget that cannot be computed allows nothing.
Source: k8s.io/kubernetes pkg/controller/disruption.
Next: registry.subresources.eviction asks it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Final

from edgekube.api import podstate, times
from edgekube.api.calls import Call, Later, Record, Update
from edgekube.api.controller import Change, Controller, Key, Moment, itself, key_of, looks_alike, sides
from edgekube.api.kinds import DEPLOYMENT, POD, PODDISRUPTIONBUDGET, REPLICASET, REPLICATIONCONTROLLER, STATEFULSET
from edgekube.api.objects import Object, labels_of, name_of, namespace_of
from edgekube.api.pod_facts import PodFacts
from edgekube.api.selectors.labels import label_selector_of
from edgekube.api.view import View
from edgekube.controllers.disruption.expected import CannotTell, Scales, asked_elsewhere, expected

#: A pod that was to be evicted and is still not on its way out after this long stays (upstream's DeletionTimeout).
DELETION_SECONDS: Final = 120.0
_ALLOWED: Final = "DisruptionAllowed"


def plan(scales: Scales, view: View, key: Key, now: Moment) -> list[Call]:
    """``scales``: of the controllers that unseen_controllers() names."""
    budget = view.get(PODDISRUPTIONBUDGET, key.namespace, key.name)
    if budget is None:
        return []
    pods = _pods_of(view, budget)
    calls: list[Call] = []
    if not pods:
        calls.append(Record(budget, "Normal", "NoPods", "No matching pods found"))
    calls += _claimed_twice(view, budget, pods)
    try:
        found = expected(view, budget, pods, scales)
    except CannotTell as error:
        message = f"Failed to calculate the number of expected pods: {error}"
        calls.append(Record(budget, "Warning", "CalculateExpectedPodCountFailed", message))
        return calls + _written(budget, _fail_safe(budget, str(error), now.wall_seconds))
    if found.unmanaged:
        calls.append(Record(budget, "Warning", "UnmanagedPods", _unmanaged(budget)))
    disrupted, events = _disrupted(view, budget, pods, now.wall_seconds)
    calls += events
    healthy = sum(not pod.deleting and pod.name not in disrupted and pod.ready for pod in pods)
    # Without pods it allows nothing, for the first ones may come before this is computed again.
    allowed = max(0, healthy - found.healthy) if found.pods > 0 else 0
    generation = (budget.get("metadata") or {}).get("generation")
    status: Object = {
        "observedGeneration": generation,
        "disruptionsAllowed": allowed,
        "currentHealthy": healthy,
        "desiredHealthy": found.healthy,
        "expectedPods": found.pods,
        "conditions": _with_allowed(budget, allowed > 0, generation, now.wall_seconds),
    }
    if disrupted:
        status["disruptedPods"] = disrupted
        calls.append(Later(min(times.parse(when) for when in disrupted.values()) + DELETION_SECONDS + 1 - now.wall_seconds))
    return calls + _written(budget, status)


def unseen_controllers(view: View, key: Key) -> dict[str, Object]:
    budget = view.get(PODDISRUPTIONBUDGET, key.namespace, key.name)
    return {} if budget is None else asked_elsewhere(view, budget, _pods_of(view, budget))


def _pods_of(view: View, budget: Object) -> list[PodFacts]:
    selector = (budget.get("spec") or {}).get("selector")
    return [] if selector is None else list(view.pod_facts_selected(namespace_of(budget), label_selector_of(selector)))


def _disrupted(view: View, budget: Object, pods: Sequence[PodFacts], wall_seconds: float) -> tuple[dict[str, str], list[Call]]:
    """The evictions whose deletion has not been seen yet, and events about those that came to nothing."""
    before: dict[str, str] = (budget.get("status") or {}).get("disruptedPods") or {}
    waiting: dict[str, str] = {}
    events: list[Call] = []
    for pod in pods:
        when = before.get(pod.name)
        if when is None or pod.deleting:
            continue
        if times.parse(when) + DELETION_SECONDS < wall_seconds:
            namespace = namespace_of(budget)
            message = f"Pod was expected by PDB {namespace}/{namespace} to be deleted but it wasn't"
            events += [Record(each, "Warning", "NotDeleted", message) for each in _whole(view, pod)]
        else:
            waiting[pod.name] = when
    return waiting, events


def _whole(view: View, pod: PodFacts) -> list[Object]:
    """To be told of."""
    found = view.get(POD, pod.namespace, pod.name)
    return [] if found is None else [found]


def _condition(budget: Object, status: str, reason: str, message: str, generation: int, wall_seconds: float) -> list[Object]:
    conditions: list[Object] = (budget.get("status") or {}).get("conditions") or []
    before = next((each for each in conditions if each.get("type") == _ALLOWED), None)
    since = times.rfc3339(wall_seconds)
    if before is not None and before.get("status") == status:
        since = before.get("lastTransitionTime") or since
    made: Object = {"type": _ALLOWED, "status": status, "observedGeneration": generation, "lastTransitionTime": since,
                    "reason": reason, "message": message}  # fmt: skip
    if not generation:
        del made["observedGeneration"]
    if before is None:
        return [*conditions, made]
    return [made if each is before else each for each in conditions]


def _with_allowed(budget: Object, allowed: bool, generation: int | None, wall_seconds: float) -> list[Object]:
    status, reason = ("True", "SufficientPods") if allowed else ("False", "InsufficientPods")
    return _condition(budget, status, reason, "", generation or 0, wall_seconds)


def _fail_safe(budget: Object, message: str, wall_seconds: float) -> Object:
    status: Object = budget.get("status") or {}
    observed = int(status.get("observedGeneration") or 0)
    conditions = _condition(budget, "False", "SyncFailed", message, observed, wall_seconds)
    numbers = {"currentHealthy": 0, "desiredHealthy": 0, "expectedPods": 0}
    return {**numbers, **status, "disruptionsAllowed": 0, "conditions": conditions}


def _written(budget: Object, status: Object) -> list[Call]:
    if (budget.get("status") or {}) == status:
        return []
    return [Update(PODDISRUPTIONBUDGET, {**budget, "status": status}, subresource="status")]


def _unmanaged(budget: Object) -> str:
    selector = _go_text((budget.get("spec") or {}).get("selector") or {})
    return (
        f"Pods selected by this PodDisruptionBudget (selector: {selector}) were found to be unmanaged. As a result, the status "
        "of the PDB cannot be calculated correctly, which may result in undefined behavior. To account for these pods please set "
        '".spec.minAvailable" field of the PDB to an integer value.'
    )


def _go_text(selector: Object) -> str:
    """The selector as upstream's message has it."""
    labels = "".join(f"{key}: {value}," for key, value in sorted((selector.get("matchLabels") or {}).items()))
    rules = "".join(
        f"LabelSelectorRequirement{{Key:{each.get('key')},Operator:{each.get('operator')},"
        f"Values:[{' '.join(each.get('values') or ())}],}},"
        for each in selector.get("matchExpressions") or ()
    )
    return f"&LabelSelector{{MatchLabels:map[string]string{{{labels}}},MatchExpressions:[]LabelSelectorRequirement{{{rules}}},}}"


def _claimed_twice(view: View, budget: Object, pods: Sequence[PodFacts]) -> list[Call]:
    """A pod with two budgets cannot be evicted, which people should know."""
    selectors = [
        (name_of(each), label_selector_of((each.get("spec") or {}).get("selector")))
        for each in view.list(PODDISRUPTIONBUDGET, namespace_of(budget))
        if (each.get("spec") or {}).get("selector") is not None
    ]
    if len(selectors) < 2:
        return []
    calls: list[Call] = []
    for pod in pods:
        names = sorted(name for name, selector in selectors if selector.matches(pod.labels))
        if len(names) > 1 and names[0] == name_of(budget):
            who = f'Pod "{pod.namespace}"/"{pod.name}"'
            message = f'{who} matches multiple PodDisruptionBudgets.  Chose "{names[0]}" arbitrarily.'
            calls += [Record(each, "Warning", "MultiplePodDisruptionBudgets", message) for each in _whole(view, pod)]
    return calls


def _of_pod(change: Change, view: View) -> Iterable[Key]:
    """The budgets that select a pod, or did before it changed, if they would see another thing of it."""
    if looks_alike(change, _seen):
        return
    labels = [labels_of(side) for side in sides(change)]
    for budget in view.list(PODDISRUPTIONBUDGET, change.key.namespace):
        selector = (budget.get("spec") or {}).get("selector")
        if selector is not None and any(map(label_selector_of(selector).matches, labels)):
            yield key_of(budget)


def _seen(pod: Object) -> tuple[object, ...]:
    return podstate.belonging(pod), podstate.is_ready(pod)


DISRUPTION_CONTROLLER: Final = Controller(
    name="disruption-controller",
    watches=((PODDISRUPTIONBUDGET, itself), (POD, _of_pod)),
    plan=partial(plan, {}),  # reconcile.custom_scales asks for other scales
    reads=(DEPLOYMENT, REPLICASET, REPLICATIONCONTROLLER, STATEFULSET),
)
