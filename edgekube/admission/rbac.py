"""Role-based access control: who may do what, from roles and bindings.

Enters: ClusterRoles, Roles and their bindings as they change; Attributes of a request.
Leaves: a Decision with the binding that allowed it; the rules a user has, for reviews.
Holds: rules only add; ``system:masters`` may do everything (it must work when roles are broken);
bindings to roles that are missing grant nothing.
Source: kubernetes.io/docs/reference/access-authn-authz/rbac.
Next: server.access keeps it current; server.router asks.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from msgspec import Struct

from edgekube.admission.attributes import Attributes, Decision
from edgekube.api.objects import Object, labels_of, name_of, namespace_of
from edgekube.api.selectors.labels import label_selector_of
from edgekube.api.verbs import UserInfo

MASTERS: Final = "system:masters"


class Rule(Struct, frozen=True):
    """One PolicyRule."""

    verbs: frozenset[str]
    groups: frozenset[str]
    resources: frozenset[str]
    names: frozenset[str]
    paths: tuple[str, ...]

    def allows(self, wanted: Attributes) -> bool:
        if wanted.verb not in self.verbs and "*" not in self.verbs:
            return False
        if not wanted.resource:
            return any(_path_matches(pattern, wanted.path) for pattern in self.paths)
        if wanted.group not in self.groups and "*" not in self.groups:
            return False
        if self.names and wanted.name not in self.names:
            return False
        return self._covers(wanted.resource, wanted.subresource)

    def _covers(self, resource: str, subresource: str) -> bool:
        if "*" in self.resources:
            return True
        if not subresource:
            return resource in self.resources
        return f"{resource}/{subresource}" in self.resources or f"*/{subresource}" in self.resources

    def as_object(self) -> Object:
        """The rule as SelfSubjectRulesReview lists it."""
        parts = (
            ("verbs", self.verbs),
            ("apiGroups", self.groups),
            ("resources", self.resources),
            ("resourceNames", self.names),
            ("nonResourceURLs", self.paths),
        )
        return {key: sorted(values) for key, values in parts if values or key == "verbs"}


class Binding(Struct, frozen=True):
    name: str
    namespace: str  # "" for a ClusterRoleBinding
    role_kind: str  # ClusterRole, Role
    role_name: str
    users: frozenset[str]
    groups: frozenset[str]

    def binds(self, user: UserInfo) -> bool:
        return user.name in self.users or not self.groups.isdisjoint(user.groups)

    def describe(self, user: UserInfo) -> str:
        kind = "RoleBinding" if self.namespace else "ClusterRoleBinding"
        place = f"{self.name}/{self.namespace}" if self.namespace else self.name
        subject = f'User "{user.name}"' if user.name in self.users else f'Group "{min(self.groups & set(user.groups))}"'
        return f'RBAC: allowed by {kind} "{place}" of {self.role_kind} "{self.role_name}" to {subject}'


class _Role(Struct, frozen=True):
    rules: tuple[Rule, ...]
    labels: dict[str, str]
    aggregates: tuple[Object, ...]  # label selectors of aggregationRule


class RoleIndex:
    """All roles and bindings, compiled. Feed it objects with put() and remove(); ask it with authorize()."""

    def __init__(self) -> None:
        self._roles: dict[tuple[str, str], _Role] = {}  # (namespace, name); "" for ClusterRole
        self._bindings: dict[str, dict[str, Binding]] = {}  # namespace -> name -> binding

    def put(self, obj: Object) -> None:
        """A ClusterRole, Role, ClusterRoleBinding or RoleBinding that exists now."""
        namespace, name = namespace_of(obj), name_of(obj)
        if obj["kind"] in ("ClusterRole", "Role"):
            rules = tuple(rules_in(obj))
            aggregates = tuple((obj.get("aggregationRule") or {}).get("clusterRoleSelectors") or ())
            self._roles[namespace, name] = _Role(rules, dict(labels_of(obj)), aggregates)
        else:
            self._bindings.setdefault(namespace, {})[name] = _compile_binding(obj)

    def remove(self, obj: Object) -> None:
        namespace, name = namespace_of(obj), name_of(obj)
        if obj["kind"] in ("ClusterRole", "Role"):
            self._roles.pop((namespace, name), None)
        else:
            self._bindings.get(namespace, {}).pop(name, None)

    def authorize(self, attributes: Attributes) -> Decision:
        if MASTERS in attributes.user.groups:
            return Decision(True)
        for binding, rule in self._granted(attributes.user, attributes.namespace):
            if rule.allows(attributes):
                return Decision(True, binding.describe(attributes.user))
        return Decision(False)

    def rules_for(self, user: UserInfo, namespace: str) -> list[Rule]:
        """Every rule that the user has in the namespace, cluster-wide ones included."""
        if MASTERS in user.groups:
            everything = frozenset("*")
            return [
                Rule(everything, everything, everything, frozenset(), ()),
                Rule(everything, frozenset(), frozenset(), frozenset(), ("*",)),
            ]
        return list(dict.fromkeys(rule for _, rule in self._granted(user, namespace)))

    def rules_of(self, role_kind: str, namespace: str, name: str) -> list[Rule]:
        """Of a role; what is aggregated into it counts."""
        return list(self._rules_of(Binding("", namespace, role_kind, name, frozenset(), frozenset())))

    def _granted(self, user: UserInfo, namespace: str) -> Iterator[tuple[Binding, Rule]]:
        places = ("", namespace) if namespace else ("",)
        for place in places:
            for binding in self._bindings.get(place, {}).values():
                if binding.binds(user):
                    for rule in self._rules_of(binding):
                        yield binding, rule

    def _rules_of(self, binding: Binding) -> Iterator[Rule]:
        place = binding.namespace if binding.role_kind == "Role" else ""
        role = self._roles.get((place, binding.role_name))
        if role is None:
            return
        yield from role.rules
        # What the aggregation controller has yet to write into the role already counts.
        for selector in role.aggregates:
            matches = label_selector_of(selector).matches
            for (namespace, _), other in self._roles.items():
                if not namespace and other is not role and matches(other.labels):
                    yield from other.rules


def rules_in(role: Object) -> list[Rule]:
    """Those that stand in a Role or ClusterRole."""
    return [_compile(rule) for rule in role.get("rules") or ()]


def _compile(rule: dict[str, Any]) -> Rule:
    return Rule(
        frozenset(rule.get("verbs") or ()),
        frozenset(rule.get("apiGroups") or ()),
        frozenset(rule.get("resources") or ()),
        frozenset(rule.get("resourceNames") or ()),
        tuple(rule.get("nonResourceURLs") or ()),
    )


def _compile_binding(obj: Object) -> Binding:
    namespace = namespace_of(obj)
    users, groups = set(), set()
    for subject in obj.get("subjects") or ():
        if subject["kind"] == "User":
            users.add(subject["name"])
        elif subject["kind"] == "Group":
            groups.add(subject["name"])
        elif subject["kind"] == "ServiceAccount":
            users.add(f"system:serviceaccount:{subject.get('namespace') or namespace}:{subject['name']}")
    role = obj["roleRef"]
    return Binding(name_of(obj), namespace, role["kind"], role["name"], frozenset(users), frozenset(groups))


def _path_matches(pattern: str, path: str) -> bool:
    if pattern.endswith("*"):
        return path.startswith(pattern[:-1])
    return pattern == path
