"""LimitRanger: pods get the defaults of their namespace, and nothing gets in beyond its bounds.

Enters: an AdmissionRequest for a pod or a claim.
Leaves: the pod with defaults (FILLING, among the mutating plugins); StatusError Forbidden (BOUNDING, among the validating ones).
Holds: a namespace without limit ranges costs one look into a dict. An object on its way out is left alone.
Next: admission.limit_ranger decides; registry.gate asks.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import orjson

from edgekube.admission import limit_ranger
from edgekube.admission.request import CREATE, UPDATE, AdmissionRequest
from edgekube.api import errors
from edgekube.api.objects import Object, is_deleting
from edgekube.registry.standing import LIMIT_RANGES
from edgekube.registry.state import Registry


def _concerns(registry: Registry, request: AdmissionRequest) -> bool:
    match request.kind.resource:
        case "pods":
            asked = request.operation == CREATE and not request.subresource
            asked = asked or (request.operation == UPDATE and request.subresource == "resize")
        case "persistentvolumeclaims":
            asked = request.operation in (CREATE, UPDATE) and not request.subresource
        case _:
            return False
    return asked and registry.standing.any(LIMIT_RANGES, request.namespace)


def _ranges(registry: Registry, request: AdmissionRequest) -> Iterator[Object]:
    if request.old_object is not None and is_deleting(request.old_object):
        return
    for raw in registry.standing.of(LIMIT_RANGES, request.namespace):
        yield orjson.loads(raw)


class _Filling:
    def wants(self, registry: Registry, request: AdmissionRequest) -> bool:
        return request.kind.resource == "pods" and _concerns(registry, request)

    async def admit(self, registry: Registry, request: AdmissionRequest) -> None:
        for limit_range in _ranges(registry, request):
            limit_ranger.fill(limit_range, request.object or {})


class _Bounding:
    def wants(self, registry: Registry, request: AdmissionRequest) -> bool:
        return _concerns(registry, request)

    async def admit(self, registry: Registry, request: AdmissionRequest) -> None:
        for limit_range in _ranges(registry, request):
            found = limit_ranger.objections(limit_range, request.kind.resource, request.object or {})
            if found:
                why = limit_ranger.refusal(found)
                raise errors.forbidden(request.kind.group, request.kind.plural, request.shown_name, why)


FILLING: Final = _Filling()
BOUNDING: Final = _Bounding()
