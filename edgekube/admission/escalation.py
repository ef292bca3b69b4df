"""Nobody gives away what he has not: who writes a role or a binding must hold every permission in it.

Enters: a Role, ClusterRole or binding as it would be and as it is; the rules of a role; the rules that the writer has.
Leaves: nothing, or StatusError Forbidden with what is missing.
Holds: pure. The verb ``escalate`` on a role, and ``bind`` on the role that a binding names, are the permissions to do it all the
same; what leaves rules, role and subjects as they are may be changed by whoever may update it.
Source: kubernetes.io/docs/reference/access-authn-authz/rbac, "Privilege escalation prevention and bootstrapping";
k8s.io/component-helpers auth/rbac/validation (Covers).
Next: registry.restrict finds the role that a binding names.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Final

from edgekube.admission.attributes import Attributes
from edgekube.admission.rbac import MASTERS, RoleIndex, Rule, rules_in
from edgekube.api import errors
from edgekube.api.kinds import Kind
from edgekube.api.objects import Object, name_of, namespace_of
from edgekube.api.verbs import UserInfo

GROUP: Final = "rbac.authorization.k8s.io"
_ROLES: Final = ("roles", "clusterroles")
_BINDINGS: Final = ("rolebindings", "clusterrolebindings")
#: What an aggregated role collects later cannot be known: only who may do everything makes one.
_EVERYTHING: Final = (
    Rule(frozenset("*"), frozenset("*"), frozenset("*"), frozenset(), ()),
    Rule(frozenset("*"), frozenset(), frozenset(), frozenset(), ("*",)),
)


class Grants:
    def __init__(self, roles: RoleIndex) -> None:
        self._roles = roles

    def named_role(self, kind: Kind, new: Object, old: Object | None, user: UserInfo) -> tuple[str, str, str] | None:
        """(plural, namespace, name) of the role that this binding would give to somebody, if the user may not do that anyway."""
        if kind.group != GROUP or kind.plural not in _BINDINGS or MASTERS in user.groups:
            return None
        if old is not None and all(new.get(key) == old.get(key) for key in ("roleRef", "subjects")):
            return None
        reference = new.get("roleRef") or {}
        plural = "clusterroles" if reference.get("kind") == "ClusterRole" else "roles"
        name = str(reference.get("name") or "")
        if self._may(user, "bind", plural, namespace_of(new), name):
            return None
        return plural, namespace_of(new) if plural == "roles" else "", name

    def check_binding(self, kind: Kind, new: Object, user: UserInfo, role: Object) -> None:
        """``role``: the one that named_role() says."""
        reference = new.get("roleRef") or {}
        plural_kind, place = str(reference.get("kind") or ""), namespace_of(role)
        wanted = [*rules_in(role), *self._roles.rules_of(plural_kind, place, name_of(role))]
        self._check(kind, new, user, wanted)

    def check_role(self, kind: Kind, new: Object, old: Object | None, user: UserInfo) -> None:
        if kind.group != GROUP or kind.plural not in _ROLES or MASTERS in user.groups:
            return
        if old is not None and all((new.get(key) or None) == (old.get(key) or None) for key in ("rules", "aggregationRule")):
            return
        if self._may(user, "escalate", kind.plural, namespace_of(new), name_of(new)):
            return
        self._check(kind, new, user, [*rules_in(new), *(_EVERYTHING if new.get("aggregationRule") else ())])

    def _may(self, user: UserInfo, verb: str, plural: str, namespace: str, name: str) -> bool:
        wanted = Attributes(user, verb, GROUP, "v1", plural, namespace=namespace, name=name)
        return self._roles.authorize(wanted).allowed

    def _check(self, kind: Kind, new: Object, user: UserInfo, wanted: Iterable[Rule]) -> None:
        missing = not_held(self._roles.rules_for(user, namespace_of(new)), wanted)
        if not missing:
            return
        groups = " ".join(json.dumps(group) for group in user.groups)
        shown = "\n".join(dict.fromkeys(map(_shown, missing)))
        why = f'user "{user.name}" (groups=[{groups}]) is attempting to grant RBAC permissions not currently held:\n{shown}'
        raise errors.forbidden(kind.group, kind.plural, name_of(new), why)


def not_held(held: Iterable[Rule], wanted: Iterable[Rule]) -> list[Rule]:
    """Those of the wanted permissions, one by one, that no single rule of the held ones covers."""
    owned = tuple(held)
    return [each for rule in wanted for each in _one_by_one(rule) if not any(_covers(rule, each) for rule in owned)]


def _one_by_one(rule: Rule) -> Iterator[Rule]:
    for verb in sorted(rule.verbs):
        for path in rule.paths:
            yield Rule(frozenset({verb}), frozenset(), frozenset(), frozenset(), (path,))
        for group in sorted(rule.groups):
            for resource in sorted(rule.resources):
                for name in sorted(rule.names) or [""]:
                    names = frozenset({name} if name else ())
                    yield Rule(frozenset({verb}), frozenset({group}), frozenset({resource}), names, ())


def _covers(held: Rule, wanted: Rule) -> bool:
    """``wanted`` is one of _one_by_one()."""
    if not (wanted.verbs <= held.verbs or "*" in held.verbs):
        return False
    if wanted.paths:
        return any(_path_covers(pattern, wanted.paths[0]) for pattern in held.paths)
    if not (wanted.groups <= held.groups or "*" in held.groups):
        return False
    if held.names and not (wanted.names and wanted.names <= held.names):
        return False
    (resource,) = wanted.resources
    _, slash, subresource = resource.partition("/")
    return bool({resource, "*"} & held.resources) or (bool(slash) and f"*/{subresource}" in held.resources)


def _path_covers(pattern: str, wanted: str) -> bool:
    return pattern == wanted or (pattern.endswith("*") and wanted.startswith(pattern[:-1]))


def _shown(rule: Rule) -> str:
    parts = (
        ("APIGroups", sorted(rule.groups)), ("Resources", sorted(rule.resources)), ("ResourceNames", sorted(rule.names)),
        ("NonResourceURLs", list(rule.paths)), ("Verbs", sorted(rule.verbs)),
    )  # fmt: skip
    return "{" + ", ".join(f"{name}:{json.dumps(values)}" for name, values in parts if values) + "}"
