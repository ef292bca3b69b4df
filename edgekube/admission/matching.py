"""Which requests a webhook, a policy or a binding is about: rules, names and selectors.

Enters: rules and selectors as the objects of admissionregistration.k8s.io say them (MatchResources, or the fields of a webhook);
then what is asked (admission.request).
Leaves: the kind in whose terms the rules matched (the request's, or with matchPolicy Equivalent another version of it); whether
the selectors agree.
Holds: pure. What is about a cluster-scoped object other than a Namespace is never kept out by a namespace selector (source:
k8s.io/apiserver pkg/admission/plugin/webhook/predicates and policy/matching).
Next: registry.policies, registry.webhooks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Protocol

from msgspec import Struct

from edgekube.api.kinds import Kind
from edgekube.api.objects import Object, labels_of
from edgekube.api.selectors.labels import LabelSelector, label_selector_of

_GROUP: Final = "admissionregistration.k8s.io"
#: Nothing judges what says who judges: otherwise a mistake there could not be taken back.
_EXEMPT: Final = frozenset({
    "MutatingAdmissionPolicy",
    "MutatingAdmissionPolicyBinding",
    "MutatingWebhookConfiguration",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
    "ValidatingWebhookConfiguration",
})  # fmt: skip


class Asked(Protocol):
    """What matching looks at; admission.request.AdmissionRequest has it."""

    operation: str
    kind: Kind
    subresource: str
    namespace: str
    name: str
    object: Object | None
    old_object: Object | None


def is_exempt(kind: Kind) -> bool:
    """Is it one of the kinds that neither webhooks nor policies are asked about?"""
    return kind.group == _GROUP and kind.kind in _EXEMPT


def _is_namespace(kind: Kind) -> bool:
    return kind.plural == "namespaces" and not kind.group


class Rule(Struct, frozen=True):
    """One RuleWithOperations, or NamedRuleWithOperations."""

    operations: frozenset[str]
    groups: frozenset[str]
    versions: frozenset[str]
    #: (resource, subresource), "*" for any.
    resources: tuple[tuple[str, str], ...]
    scope: str
    #: Empty: any.
    names: frozenset[str]

    @classmethod
    def of(cls, rule: Object) -> Rule:
        resources = []
        for text in rule.get("resources") or ():
            resource, _, subresource = str(text).partition("/")
            resources.append((resource, subresource))
        return cls(
            frozenset(rule.get("operations") or ()),
            frozenset(rule.get("apiGroups") or ()),
            frozenset(rule.get("apiVersions") or ()),
            tuple(resources),
            str(rule.get("scope") or "*"),
            frozenset(rule.get("resourceNames") or ()),
        )

    def covers(self, asked: Asked, kind: Kind) -> bool:
        """Does it speak of the request, were it made for ``kind``?"""
        return (
            _has(self.operations, asked.operation)
            and _has(self.groups, kind.group)
            and _has(self.versions, kind.version)
            and any(
                resource in ("*", kind.plural) and subresource in ("*", asked.subresource)
                for resource, subresource in self.resources
            )
            and self._in_scope(asked, kind)
            and (not self.names or asked.name in self.names)
        )

    def _in_scope(self, asked: Asked, kind: Kind) -> bool:
        if self.scope == "*":
            return True
        namespaced = bool(asked.namespace) and not _is_namespace(kind)
        return namespaced == (self.scope == "Namespaced") and self.scope in ("Cluster", "Namespaced")


def _has(values: frozenset[str], value: str) -> bool:
    return value in values or "*" in values


#: The other kinds under which the same object is served (another version, another group).
Equivalents = Callable[[Kind], Sequence[Kind]]


def _kind_of(rules: Iterable[Rule], asked: Asked, equivalents: Equivalents | None) -> Kind | None:
    rules = tuple(rules)
    if any(rule.covers(asked, asked.kind) for rule in rules):
        return asked.kind
    if equivalents is not None:
        others = equivalents(asked.kind)
        for rule in rules:
            for other in others:
                if rule.covers(asked, other):
                    return other
    return None


class Constraints(Struct, frozen=True):
    """What a webhook, a policy or a binding says of the requests that it is about."""

    rules: tuple[Rule, ...]
    excluded: tuple[Rule, ...]
    equivalent: bool
    namespaces: LabelSelector
    objects: LabelSelector
    #: No rules: a binding then means what its policy means, a webhook means nothing.
    all_without_rules: bool

    @classmethod
    def of_match_resources(cls, resources: Object) -> Constraints:
        """Of a policy's matchConstraints or a binding's matchResources."""
        return cls._of(resources, "resourceRules", all_without_rules=True)

    @classmethod
    def of_webhook(cls, webhook: Object) -> Constraints:
        return cls._of(webhook, "rules", all_without_rules=False)

    @classmethod
    def _of(cls, holder: Mapping[str, Any], rules_key: str, *, all_without_rules: bool) -> Constraints:
        return cls(
            tuple(Rule.of(rule) for rule in holder.get(rules_key) or ()),
            tuple(Rule.of(rule) for rule in holder.get("excludeResourceRules") or ()),
            holder.get("matchPolicy") != "Exact",
            label_selector_of(holder.get("namespaceSelector") or {}),
            label_selector_of(holder.get("objectSelector") or {}),
            all_without_rules,
        )

    def kind_for(self, asked: Asked, equivalents: Equivalents) -> Kind | None:
        """The kind as which the request is meant; None when it is not."""
        others = equivalents if self.equivalent else None
        if self.excluded and _kind_of(self.excluded, asked, others) is not None:
            return None
        if not self.rules:
            return asked.kind if self.all_without_rules else None
        return _kind_of(self.rules, asked, others)

    def selects_object(self, asked: Asked) -> bool:
        """The labels before or after the request: who removes a label does not get out of the way by it."""
        if self.objects.everything:
            return True
        return any(one is not None and self.objects.matches(labels_of(one)) for one in (asked.object, asked.old_object))

    def asks_namespace(self, asked: Asked) -> bool:
        """Has ``selects_namespace`` to be asked, with the labels of the namespace that is stored?"""
        return self._asks_namespace(asked) and not self._says_itself(asked)

    def _asks_namespace(self, asked: Asked) -> bool:
        return not self.namespaces.everything and (bool(asked.namespace) or _is_namespace(asked.kind))

    @staticmethod
    def _says_itself(asked: Asked) -> bool:
        """A Namespace that is written counts as what it becomes."""
        return _is_namespace(asked.kind) and not asked.subresource and asked.operation in ("CREATE", "UPDATE")

    def selects_namespace(self, asked: Asked, labels: Mapping[str, str]) -> bool:
        """``labels``: of the stored namespace; looked at where ``asks_namespace`` says so."""
        if not self._asks_namespace(asked):
            return True
        if self._says_itself(asked):
            labels = labels_of(asked.object) if asked.object is not None else {}
        return self.namespaces.matches(labels)
