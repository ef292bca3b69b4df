"""A pod's priority is a number that its PriorityClass names.

Enters: a pod about to be created and every PriorityClass.
Leaves: the pod with priority, priorityClassName and preemptionPolicy; or the StatusError that refuses.
Holds: pure (source: k8s.io/kubernetes plugin/pkg/admission/priority).
Next: registry.admit.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from edgekube.api import errors
from edgekube.api.objects import Object, name_of

SYSTEM_CRITICAL: Final = 2_000_000_000

#: Made at start and kept (name, value, description).
SYSTEM_CLASSES: Final = (
    (
        "system-cluster-critical",
        SYSTEM_CRITICAL,
        "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.",
    ),
    (
        "system-node-critical",
        SYSTEM_CRITICAL + 1000,
        "Used for system critical pods that must not be moved from their current node.",
    ),
)


def _default_class(classes: Iterable[Object]) -> Object | None:
    """The global default; the lowest value if several say so."""
    defaults = [row for row in classes if row.get("globalDefault")]
    return min(defaults, key=lambda row: int(row.get("value") or 0), default=None)


def admit(pod: Object, classes: Iterable[Object]) -> None:
    spec = pod["spec"]
    name = spec.get("priorityClassName") or ""
    if name:
        chosen = next((row for row in classes if name_of(row) == name), None)
        if chosen is None:
            raise errors.forbidden("", "pods", name_of(pod), f"no PriorityClass with name {name} was found")
    else:
        chosen = _default_class(classes)
        if chosen is not None:
            spec["priorityClassName"] = name_of(chosen)
    value = int(chosen.get("value") or 0) if chosen is not None else 0
    policy = (chosen.get("preemptionPolicy") if chosen is not None else None) or "PreemptLowerPriority"
    given = spec.get("priority")
    if given is not None and given != value:
        why = (
            f"the integer value of priority ({given}) must not be provided in pod spec; "
            f"priority admission controller computed {value} from the given PriorityClass name"
        )
        raise errors.forbidden("", "pods", name_of(pod), why)
    given_policy = spec.get("preemptionPolicy")
    if given_policy is not None and given_policy != policy:
        why = (
            f"the string value of PreemptionPolicy ({given_policy}) must not be provided in pod spec; "
            f"priority admission controller computed {policy} from the given PriorityClass name"
        )
        raise errors.forbidden("", "pods", name_of(pod), why)
    spec["priority"] = value
    spec["preemptionPolicy"] = policy


def may_be_default(new: Object, others: Iterable[Object]) -> None:
    """Only one PriorityClass may be the global default."""
    if not new.get("globalDefault"):
        return
    holder = next((name_of(row) for row in others if row.get("globalDefault") and name_of(row) != name_of(new)), None)
    if holder is not None:
        why = f"PriorityClass {holder} is already marked as default. Only one default can exist"
        raise errors.forbidden("scheduling.k8s.io", "priorityclasses", name_of(new), why)
