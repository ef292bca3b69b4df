"""Policies that a binding names: read out of what stands, compiled when they are first asked.

Enters: registry.standing, which has every policy and binding as bytes.
Leaves: Hooks in the order of the policies' names; a policy compiled.
Holds: what a write left counts for the next request. A policy without a binding, and a binding without its policy, mean nothing.
Bound: limits.POLICIES_COMPILED_MAX compiled policies, the one that was longest not asked goes first.
Next: registry.policies.validating, registry.policies.mutating.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final, Generic, TypeVar

import orjson
from msgspec import Struct, field

from edgekube import limits
from edgekube.admission.matching import Constraints
from edgekube.admission.request import AdmissionRequest
from edgekube.api.objects import Object, name_of, revision_of, uid_of
from edgekube.registry.standing import (
    MUTATING_BINDINGS,
    MUTATING_POLICIES,
    VALIDATING_BINDINGS,
    VALIDATING_POLICIES,
    Standing,
)

if TYPE_CHECKING:
    from edgekube.admission.policies.evaluation import ValidatingPolicy
    from edgekube.admission.policies.mutation import MutatingPolicy

Compiled = TypeVar("Compiled")

#: A policy that stood in the way of these could not be taken back, or nobody could be asked who may.
_EXCLUDED: Final = frozenset({
    "mutatingadmissionpolicies.admissionregistration.k8s.io",
    "mutatingadmissionpolicybindings.admissionregistration.k8s.io",
    "validatingadmissionpolicies.admissionregistration.k8s.io",
    "validatingadmissionpolicybindings.admissionregistration.k8s.io",
    "selfsubjectreviews.authentication.k8s.io",
    "tokenreviews.authentication.k8s.io",
    "localsubjectaccessreviews.authorization.k8s.io",
    "selfsubjectaccessreviews.authorization.k8s.io",
    "selfsubjectrulesreviews.authorization.k8s.io",
    "subjectaccessreviews.authorization.k8s.io",
})  # fmt: skip


class Binding(Struct, frozen=True):
    name: str
    #: The whole binding.
    object: Object
    #: None: whatever the policy is about.
    constraints: Constraints | None

    @property
    def param_ref(self) -> Object | None:
        reference: Object | None = self.object["spec"].get("paramRef")
        return reference

    @property
    def actions(self) -> list[str]:
        return list(self.object["spec"].get("validationActions") or ())


class Hook(Struct, frozen=True):
    """A policy and its bindings."""

    name: str
    policy: Object
    constraints: Constraints
    bindings: list[Binding] = field(default_factory=list)

    @property
    def fails_open(self) -> bool:
        return bool(self.policy["spec"].get("failurePolicy") == "Ignore")

    @property
    def param_kind(self) -> Object | None:
        kind: Object | None = self.policy["spec"].get("paramKind")
        return kind


class Active(Generic[Compiled]):
    """Of one kind of policies."""

    def __init__(self, standing: Standing, policies: str, bindings: str, compile_policy: Callable[[Object], Compiled]) -> None:
        self._standing = standing
        self._policies = policies
        self._bindings = bindings
        self._compile = compile_policy
        self._read_at = (-1, -1)
        self._hooks: tuple[Hook, ...] = ()
        self._compiled: OrderedDict[tuple[str, str, str], Compiled] = OrderedDict()

    def concerns(self, request: AdmissionRequest) -> bool:
        """Is there anything that could be about the request?"""
        return (
            self._standing.any(self._bindings)
            and not request.is_own_business
            and request.kind.group_resource not in _EXCLUDED
            and bool(self.hooks())
        )

    def hooks(self) -> tuple[Hook, ...]:
        now = self._standing.generation(self._policies), self._standing.generation(self._bindings)
        if now != self._read_at:
            self._hooks = tuple(self._read())
            self._read_at = now
        return self._hooks

    def _read(self) -> Iterable[Hook]:
        bound: dict[str, list[Binding]] = {}
        for raw in self._standing.of(self._bindings):
            obj: Object = orjson.loads(raw)
            resources = obj["spec"].get("matchResources")
            constraints = Constraints.of_match_resources(resources) if resources is not None else None
            bound.setdefault(obj["spec"].get("policyName") or "", []).append(Binding(name_of(obj), obj, constraints))
        for name in sorted(bound):
            stored = self._standing.get(self._policies, name)
            if stored is not None:
                policy: Object = orjson.loads(stored)
                yield Hook(name, policy, Constraints.of_match_resources(policy["spec"]["matchConstraints"]), bound[name])

    def compiled(self, hook: Hook) -> Compiled:
        key = hook.name, uid_of(hook.policy), revision_of(hook.policy)
        known = self._compiled.get(key)
        if known is None:
            known = self._compiled[key] = self._compile(hook.policy)
            if len(self._compiled) > limits.POLICIES_COMPILED_MAX:
                self._compiled.popitem(last=False)
        else:
            self._compiled.move_to_end(key)
        return known


def _validating(policy: Object) -> ValidatingPolicy:
    from edgekube.admission.policies.evaluation import ValidatingPolicy

    return ValidatingPolicy(policy)


def _mutating(policy: Object) -> MutatingPolicy:
    from edgekube.admission.policies.mutation import MutatingPolicy

    return MutatingPolicy(policy)


class Policies:
    """Both kinds. CEL is loaded when the first policy is asked."""

    def __init__(self, standing: Standing) -> None:
        self.validating = Active(standing, VALIDATING_POLICIES, VALIDATING_BINDINGS, _validating)
        self.mutating = Active(standing, MUTATING_POLICIES, MUTATING_BINDINGS, _mutating)
