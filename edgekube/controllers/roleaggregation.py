"""A ClusterRole with an aggregationRule has the rules of the roles that it selects.

Enters: ClusterRoles.
Leaves: the rules of aggregated ones, where they are others.
Holds: roles are taken by name, each rule once; a role never selects itself. Authorization does not wait for this: it follows the
selectors by itself (admission.rbac).
Source: k8s.io/kubernetes pkg/controller/clusterroleaggregation; kubernetes.io, "Aggregated ClusterRoles".
Next: registry.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from edgekube.api.calls import Call, Update
from edgekube.api.controller import Change, Controller, Key, Moment, sides
from edgekube.api.kinds import CLUSTERROLE
from edgekube.api.objects import Object, is_deleting, labels_of, name_of
from edgekube.api.selectors.labels import label_selector_of
from edgekube.api.view import View


def _selectors(role: Object) -> list[Object]:
    found: list[Object] = (role.get("aggregationRule") or {}).get("clusterRoleSelectors") or []
    return found


def plan(view: View, key: Key, now: Moment) -> list[Call]:
    role = view.get(CLUSTERROLE, "", key.name)
    if role is None or is_deleting(role) or role.get("aggregationRule") is None:
        return []
    chosen = {
        name_of(other): other
        for selector in _selectors(role)
        for other in view.selected(CLUSTERROLE, "", label_selector_of(selector))
        if name_of(other) != key.name
    }
    rules: list[Object] = []
    for _, other in sorted(chosen.items()):
        rules += [rule for rule in other.get("rules") or () if rule not in rules]
    if rules == (role.get("rules") or []):
        return []
    return [Update(CLUSTERROLE, {**role, "rules": rules})]


def _concerned(change: Change, view: View) -> Iterable[Key]:
    """The role itself, and those that select it or did."""
    labels = [labels_of(side) for side in sides(change)]
    selecting = [
        Key("", name_of(role))
        for role in view.list(CLUSTERROLE)
        if any(label_selector_of(selector).matches(each) for selector in _selectors(role) for each in labels)
    ]
    return dict.fromkeys([change.key, *selecting])


AGGREGATION_CONTROLLER: Final = Controller(
    name="clusterrole-aggregation-controller",
    watches=((CLUSTERROLE, _concerned),),
    plan=plan,
)
