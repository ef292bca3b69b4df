"""MutatingAdmissionPolicy: policies that are about a request change its object, one after the other.

Enters: an AdmissionRequest before validation.
Leaves: the object as the policies made it, with defaults; the StatusError of those that failed.
Holds: which policies take part is decided by the object as it came; each one then sees what those before it made. In the second
run of the chain only those have a turn that asked for it, after a change.
Source: k8s.io/apiserver pkg/admission/plugin/policy/mutating/dispatcher.go, policy/generic/policy_dispatcher.go.
Next: admission.policies.evaluation; registry.gate looks at the object again.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import orjson
from msgspec import Struct

from edgekube.admission.policies.decisions import Denial, mutation_refusal
from edgekube.admission.policies.reinvocation import Reinvocation
from edgekube.admission.request import AdmissionRequest
from edgekube.api import errors, strict
from edgekube.api.errors import StatusError
from edgekube.api.kinds import Kind
from edgekube.api.objects import Object, name_of, namespace_of
from edgekube.registry import checks
from edgekube.registry.policies.active import Binding, Hook
from edgekube.registry.policies.figures import count_mutation
from edgekube.registry.state import Registry

if TYPE_CHECKING:
    from edgekube.registry.policies.facts import Facts

_MEMORY: Final = "MutatingAdmissionPolicy"


class _Turn(Struct, frozen=True):
    hook: Hook
    binding: Binding
    params: Object | None
    kind: Kind

    @property
    def key(self) -> tuple[str, str, str, str]:
        params = self.params or {}
        return self.hook.name, self.binding.name, namespace_of(params), name_of(params)


def wants(registry: Registry, request: AdmissionRequest) -> bool:
    return registry.policies.mutating.concerns(request)


async def admit(registry: Registry, request: AdmissionRequest) -> None:
    from edgekube.registry.policies.facts import Facts  # with it comes CEL

    facts = Facts(registry, request)
    denials: list[Denial] = []
    turns = await _turns(registry, facts, denials)
    if turns:
        denials += await _Run(registry, request, facts).through(turns)
    if denials:
        raise mutation_refusal(request.kind, request.shown_name, denials)


async def _turns(registry: Registry, facts: Facts, denials: list[Denial]) -> list[_Turn]:
    turns = []
    for hook in registry.policies.mutating.hooks():
        kind = await facts.kind_for(hook.constraints)
        if kind is None:
            continue
        for binding, all_params in await facts.bound(hook, denials):
            turns += [_Turn(hook, binding, params, kind) for params in all_params]
    return turns


class _Run:
    """One run of the chain over one object."""

    def __init__(self, registry: Registry, request: AdmissionRequest, facts: Facts) -> None:
        self._registry = registry
        self._request = request
        self._facts = facts
        self._memory: Reinvocation = request.memory.setdefault(_MEMORY, Reinvocation())

    async def through(self, turns: list[_Turn]) -> list[Denial]:
        request, memory = self._request, self._memory
        if request.reinvoked:
            memory.second_run(_bytes(request.object))
        denials: list[Denial] = []
        namespace = await self._facts.namespace()
        for turn in turns:
            denials += await self._take(turn, namespace)
        memory.left = _bytes(request.object)
        return denials

    async def _take(self, turn: _Turn, namespace: Object | None) -> list[Denial]:
        from edgekube.admission.policies.patching import PatchFault
        from edgekube.api.policy.declarations import OBJECT
        from edgekube.registry.policies.patience import patiently

        request, hook = self._request, turn.hook
        policy = self._registry.policies.mutating.compiled(hook)
        obj = await self._facts.as_kind(request.object, turn.kind)
        values = await self._facts.values(turn.kind, obj, namespace, turn.params)
        matched = await patiently(policy.matches, values)
        if matched.error and not hook.fails_open:
            return [self._denial(turn, matched.error)]
        if not matched.matches or not self._memory.has_turn(turn.key, second=request.reinvoked):
            return []
        denials: list[Denial] = []
        for index in range(policy.mutation_count):
            if obj is None:
                break
            started_at, fault = time.perf_counter(), ""
            try:
                shape = self._registry.shape_of(self._own_kind(turn.kind))
                seen = {**values, OBJECT: obj}
                made = await patiently(policy.mutate, index, seen, self._own_kind(turn.kind), shape, obj)
                self._settle(turn.kind, made)
            except PatchFault as error:
                fault = str(error)
                if not hook.fails_open:
                    denials.append(self._denial(turn, fault))
                continue
            except StatusError as error:
                fault = error.message
                raise
            finally:
                count_mutation(self._registry, hook.name, turn.binding.name, fault, time.perf_counter() - started_at)
            if made != obj:
                obj = made
                request.object = await self._facts.from_kind(made, turn.kind)
                request.mutated = True
                request.reinvoke = True
                self._memory.changed()
        self._memory.took_turn(turn.key, if_needed=policy.if_needed)
        return denials

    def _own_kind(self, kind: Kind) -> Kind:
        """Of a subresource with a body of its own that body is patched."""
        return self._request.body_kind or kind

    def _settle(self, kind: Kind, made: Object) -> None:
        """What the next mutation sees has its types and its defaults."""
        own = self._own_kind(kind)
        if own.custom:
            checks.fill(self._registry, own, made)
            return
        try:
            unknown = strict.check(own, made).messages()
        except StatusError as error:
            raise errors.internal(error.message) from None
        if unknown:
            raise errors.internal(f"strict decoding error: {', '.join(unknown)}")
        checks.fill(self._registry, own, made)

    def _denial(self, turn: _Turn, message: str) -> Denial:
        return Denial(turn.hook.name, turn.binding.name, message, "Invalid")


def _bytes(obj: Object | None) -> bytes:
    return orjson.dumps(obj) if obj is not None else b""
