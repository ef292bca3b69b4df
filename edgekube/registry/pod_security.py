"""PodSecurity: pods, and what will make pods, are held to the standard of their namespace.

Enters: an AdmissionRequest, once the object's values are valid.
Leaves: nothing, warnings and audit annotations; StatusError Forbidden for a pod, Invalid for labels that cannot be read.
Holds: validating; a namespace without the labels costs one look into a dict. No namespace, user or class is exempt.
Bound: limits.POD_SECURITY_PODS_MAX pods are looked at when a namespace is held to another standard.
Next: admission.pod_security decides; registry.gate asks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
import orjson
import trio

from edgekube.admission.pod_security import admit as standards
from edgekube.admission.pod_security.levels import Standard, policy_of
from edgekube.admission.request import CREATE, UPDATE, AdmissionRequest
from edgekube.api import errors
from edgekube.api.kinds import POD
from edgekube.api.objects import Object, labels_of
from edgekube.registry.state import Registry


class _Owner(msgspec.Struct):
    uid: str = ""
    controller: bool | None = None


class _Metadata(msgspec.Struct):
    ownerReferences: Sequence[_Owner] | None = None  # as in the JSON


class _Owned(msgspec.Struct):
    metadata: _Metadata


_decode = msgspec.json.Decoder(_Owned).decode
#: Pods that are judged before others get their turn.
_PODS_AT_ONCE: Final = 50


def wants(registry: Registry, request: AdmissionRequest) -> bool:
    if request.operation not in (CREATE, UPDATE):
        return False
    resource = request.kind.group_resource
    if resource == "namespaces":
        return not request.subresource
    if request.namespace not in registry.policed:
        return False
    if resource == "pods":
        return request.subresource not in standards.HARMLESS
    return resource in standards.TEMPLATES and not request.subresource


async def admit(registry: Registry, request: AdmissionRequest) -> None:
    obj = request.object or {}
    resource = request.kind.group_resource
    if resource == "namespaces":
        await _namespace(registry, request, obj)
        return
    is_pod = resource == "pods"
    if is_pod and request.old_object is not None and not standards.matters(obj, request.old_object):
        return
    judged = obj if is_pod else standards.template_of(resource, obj)
    if judged is None:
        return
    policy, causes = registry.policed.policy(request.namespace)
    verdict = standards.judge_pod(policy, causes, judged.get("metadata") or {}, judged.get("spec") or {}, enforced=is_pod)
    for key, value in verdict.annotations.items():
        request.annotate(key, value)
    for text in verdict.warnings:
        request.warn(text)
    if verdict.refusal:
        raise errors.forbidden(request.kind.group, request.kind.plural, request.shown_name, verdict.refusal)


async def _namespace(registry: Registry, request: AdmissionRequest, obj: Object) -> None:
    policy, causes = policy_of(labels_of(obj))
    old_policy, old_causes = policy_of(labels_of(request.old_object or {}))
    if causes and causes != old_causes:
        raise errors.invalid(request.kind.group, request.kind.kind, request.name, causes)
    if request.operation != CREATE and standards.looks_at_pods(policy, old_policy):
        for text in await _running(registry, request.name, policy.enforce):
            request.warn(text)


async def _running(registry: Registry, namespace: str, standard: Standard) -> list[str]:
    records = (await registry.store.list(POD.resource, namespace)).records
    running = standards.Running(namespace, standard)
    for done, number in enumerate(standards.looked_at(_controller(record.value) for record in records), 1):
        running.add(orjson.loads(records[number].value))  # one at a time: decoded pods are large
        if done % _PODS_AT_ONCE == 0:
            await trio.lowlevel.checkpoint()
    return running.warnings(len(records))


def _controller(raw: bytes) -> str:
    return next((owner.uid for owner in _decode(raw).metadata.ownerReferences or () if owner.controller), "")
