"""Admission of what is about to be created: facts are fetched here, decisions are made in admission.

Enters: an AdmissionRequest, its object with defaults and before validation.
Leaves: the object, changed in place; or the StatusError that refuses.
Holds: the order is upstream's: service account, taints, priority, tolerations, runtime class, default classes, protection of
storage in use.
Next: registry.gate, which runs it after registry.lifecycle and registry.restrict.
"""

from __future__ import annotations

from typing import Final

from edgekube.admission import (
    certificate_subject,
    default_classes,
    in_use,
    priority,
    runtime_class,
    service_account,
    tolerations,
)
from edgekube.admission.request import CREATE, UPDATE, AdmissionRequest
from edgekube.api.kinds import INGRESSCLASS, PRIORITYCLASS, RUNTIMECLASS, STORAGECLASS
from edgekube.api.objects import Object
from edgekube.registry import accounts
from edgekube.registry.state import Registry

_KINDS: Final = frozenset({
    "pods", "nodes", "persistentvolumeclaims", "ingresses.networking.k8s.io", "priorityclasses.scheduling.k8s.io",
    "certificatesigningrequests.certificates.k8s.io", *in_use.FINALIZERS,
})  # fmt: skip


def wants(registry: Registry, request: AdmissionRequest) -> bool:
    resource = request.kind.resource
    if request.operation == UPDATE:
        return resource == PRIORITYCLASS.resource or (resource == "pods" and not request.subresource)
    return resource in _KINDS and request.operation == CREATE and not request.subresource


async def admit(registry: Registry, request: AdmissionRequest) -> None:
    obj = request.object
    assert obj is not None
    match request.kind.resource:
        case "pods" if request.operation == UPDATE:
            tolerations.admit_pod(obj)
        case "pods":
            await _pod(registry, request, obj)
        case "nodes":
            tolerations.admit_node(obj)
        case "persistentvolumeclaims":
            default_classes.admit_claim(obj, registry.classes(STORAGECLASS))
        case "ingresses.networking.k8s.io":
            default_classes.admit_ingress(obj, registry.classes(INGRESSCLASS))
        case "certificatesigningrequests.certificates.k8s.io":
            certificate_subject.admit(obj)
        case "priorityclasses.scheduling.k8s.io":
            priority.may_be_default(obj, registry.classes(PRIORITYCLASS))
    if request.kind.resource in in_use.FINALIZERS:
        in_use.protect(request.kind.resource, obj)


async def _pod(registry: Registry, request: AdmissionRequest, pod: Object) -> None:
    if not isinstance(pod.get("spec"), dict):
        pod["spec"] = {}  # validation names what is missing
    if not service_account.is_mirror(pod):
        service_account.name_account(pod)
    account = await accounts.check(registry, request, pod)
    if account is not None:
        service_account.admit(pod, account, registry.suffix())
    priority.admit(pod, registry.classes(PRIORITYCLASS))
    tolerations.admit_pod(pod)
    wanted = pod["spec"].get("runtimeClassName") or ""
    runtime_class.admit(pod, wanted, await registry.find(RUNTIMECLASS, "", wanted) if wanted else None)
