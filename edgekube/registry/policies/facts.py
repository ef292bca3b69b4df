"""What policies are asked with, of one request: read when it is first needed, and once.

Enters: an AdmissionRequest.
Leaves: the kind in whose terms a policy or binding matches, the objects in that version, the namespace, params, the authorizer.
Holds: nothing is read for a request that no rule speaks of.
Bound: limits.POLICY_PARAMS_MAX params of one binding.
Next: admission.matching and admission.policies decide.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from edgekube import limits
from edgekube.admission.matching import Constraints
from edgekube.admission.policies import inputs
from edgekube.admission.policies.decisions import Denial
from edgekube.admission.policies.params import ConfigurationFault, found, lookup_of
from edgekube.admission.request import AdmissionRequest
from edgekube.api.errors import StatusError, not_found
from edgekube.api.kinds import NAMESPACE, Kind
from edgekube.api.objects import Object, labels_of
from edgekube.api.verbs import ListOptions
from edgekube.registry import authorizing, get
from edgekube.registry import list as listing
from edgekube.registry.equivalents import equivalents_of, in_terms_of
from edgekube.registry.policies.active import Binding, Hook
from edgekube.registry.state import Registry


class Facts:
    def __init__(self, registry: Registry, request: AdmissionRequest) -> None:
        self._registry = registry
        self._request = request
        self._equivalents = equivalents_of(registry)
        self._namespace: Object | None = None
        self._requests: dict[Kind, Object] = {}
        self._authorizer: tuple[Any, Any] | None = None

    async def kind_for(self, constraints: Constraints) -> Kind | None:
        """None: it is not about the request. StatusError NotFound when the namespace is gone, and its labels are asked for."""
        kind = constraints.kind_for(self._request, self._equivalents)
        if kind is None or not constraints.selects_object(self._request):
            return None
        labels: Mapping[str, str] = {}
        if constraints.asks_namespace(self._request):
            labels = labels_of(await self._stored_namespace())
        return kind if constraints.selects_namespace(self._request, labels) else None

    async def _stored_namespace(self) -> Object:
        if self._namespace is None:
            name = self._request.namespace
            self._namespace = await self._registry.find(NAMESPACE, "", name)
            if self._namespace is None:
                raise not_found("", "namespaces", name)
        return self._namespace

    async def namespace(self) -> Object | None:
        """As expressions see it. A Namespace is in none."""
        if not self._request.namespace or self._request.kind.resource == NAMESPACE.resource:
            return None
        return inputs.namespace_value(await self._stored_namespace())

    async def bound(self, hook: Hook, denials: list[Denial]) -> list[tuple[Binding, list[Object | None]]]:
        """The policy's bindings that are about the request, each with its params. ``denials`` gets what is wrong with a binding
        where that refuses the request."""
        bound = []
        for binding in hook.bindings:
            if binding.constraints is not None and await self.kind_for(binding.constraints) is None:
                continue
            try:
                bound.append((binding, await self._params(hook, binding)))
            except ConfigurationFault as fault:
                if not hook.fails_open:
                    denials.append(Denial(hook.name, binding.name, f"failed to configure binding: {fault}"))
        return bound

    async def _params(self, hook: Hook, binding: Binding) -> list[Object | None]:
        """The params that the policy is asked with, one after the other. ConfigurationFault; StatusError of the store."""
        named = hook.param_kind
        kind = None
        if named is not None:
            kind = self._registry.kinds.by_kind(str(named.get("apiVersion") or ""), str(named.get("kind") or ""))
            if kind is not None and not kind.stored:
                kind = None
        lookup = lookup_of(named, binding.param_ref, kind, self._request.namespace)
        if lookup is None:
            return [None]
        objects: list[Object] = []
        if lookup.name:
            try:
                objects = [orjson.loads(await get.get(self._registry, lookup.kind, lookup.namespace, lookup.name))]
            except StatusError as error:
                if error.reason != "NotFound":
                    raise
        elif lookup.selector is not None:
            options = ListOptions(label_selector=str(lookup.selector), limit=limits.POLICY_PARAMS_MAX)
            page = await listing.list_objects(self._registry, lookup.kind, lookup.namespace, options)
            if page.continue_token:
                raise ConfigurationFault(f"paramRef.selector finds more than {limits.POLICY_PARAMS_MAX} params")
            objects = page.objects()
        return list(found(lookup, objects))

    async def values(self, kind: Kind, obj: Object | None, namespace: Object | None, params: Object | None) -> dict[str, Any]:
        """What expressions see, in terms of ``kind``; ``obj`` is so already."""
        request = self._requests.get(kind)
        if request is None:
            request = self._requests[kind] = inputs.request_value(self._request, kind)
        if self._authorizer is None:
            self._authorizer = authorizing.variables(self._registry, self._request)
        old = self._request.old_object
        return inputs.values(obj, await self.as_kind(old, kind), request, namespace, params, *self._authorizer)

    async def as_kind(self, obj: Object | None, kind: Kind) -> Object | None:
        """An object of the request in that version; the same one where it is."""
        if obj is None or kind == self._request.kind or self._request.body_kind is not None:
            return obj
        return await in_terms_of(self._registry, obj, self._request.kind, kind)

    async def from_kind(self, obj: Object, kind: Kind) -> Object:
        """Back."""
        if kind == self._request.kind or self._request.body_kind is not None:
            return obj
        return await in_terms_of(self._registry, obj, kind, self._request.kind)
