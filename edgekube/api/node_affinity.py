"""Node selectors and node affinity.

Enters: a pod's terms and a node's name and labels.
Leaves: whether they match, and the weight of the preferences that do.
Source: kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node; component-helpers nodeaffinity.
Next: scheduler.plugins, controllers.daemonset, agent.admission.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from edgekube.api.objects import Object

REQUIRED: Final = "requiredDuringSchedulingIgnoredDuringExecution"
PREFERRED: Final = "preferredDuringSchedulingIgnoredDuringExecution"


def required(selector: Mapping[str, str], affinity: Object, name: str, labels: Mapping[str, str]) -> bool:
    """nodeSelector and nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution: both must hold."""
    if any(labels.get(key) != value for key, value in selector.items()):
        return False
    terms = affinity.get(REQUIRED)
    if terms is None:
        return True
    return any(_matches(term, name, labels) for term in terms.get("nodeSelectorTerms") or ())


def preferred(affinity: Object, name: str, labels: Mapping[str, str]) -> int:
    """The sum of the weights of the preferences that match."""
    weight = 0
    for each in affinity.get(PREFERRED) or ():
        if _matches(each.get("preference") or {}, name, labels):
            weight += int(each.get("weight") or 0)
    return weight


def _matches(term: Object, name: str, labels: Mapping[str, str]) -> bool:
    """All expressions of a term; a term without any matches nothing."""
    expressions, fields = term.get("matchExpressions") or (), term.get("matchFields") or ()
    if not expressions and not fields:
        return False
    return all(_holds(each, labels) for each in expressions) and all(_holds(each, {"metadata.name": name}) for each in fields)


def _holds(expression: Object, values: Mapping[str, str]) -> bool:
    key, operator = expression.get("key") or "", expression.get("operator")
    wanted: list[str] = expression.get("values") or []
    value = values.get(key)
    if operator == "In":
        return value is not None and value in wanted
    if operator == "NotIn":
        return value is None or value not in wanted
    if operator == "Exists":
        return value is not None
    if operator == "DoesNotExist":
        return value is None
    if operator in ("Gt", "Lt") and value is not None and len(wanted) == 1:
        try:
            return int(value) > int(wanted[0]) if operator == "Gt" else int(value) < int(wanted[0])
        except ValueError:
            return False
    return False
