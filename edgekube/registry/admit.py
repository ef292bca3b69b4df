"""Admission of what is about to be created: facts are fetched here, decisions are made in admission.

Enters: a decoded object with defaults, before validation.
Leaves: the object, changed in place; or the StatusError that refuses.
Holds: the order is upstream's: lifecycle, service account, taints, priority, tolerations, runtime class, default classes.
Next: registry.create. Webhooks, policies, limit ranges and quotas join this chain.
"""

from __future__ import annotations

from typing import Final

import trio

from edgekube.admission import default_classes, lifecycle, priority, runtime_class, service_account, tolerations
from edgekube.api.kinds import KINDS, NAMESPACE, SERVICEACCOUNT, Kind
from edgekube.api.objects import Object
from edgekube.registry.state import Registry


def _row(group: str, version: str, plural: str) -> Kind:
    row = KINDS.by_resource(group, version, plural)
    if row is None:
        raise LookupError(f"{plural}.{group} is not in the table of kinds")
    return row


_PRIORITYCLASS: Final = _row("scheduling.k8s.io", "v1", "priorityclasses")
_RUNTIMECLASS: Final = _row("node.k8s.io", "v1", "runtimeclasses")
_STORAGECLASS: Final = _row("storage.k8s.io", "v1", "storageclasses")
_INGRESSCLASS: Final = _row("networking.k8s.io", "v1", "ingressclasses")

#: A new namespace's default account is made a moment after the namespace: upstream waits for it, too.
_ACCOUNT_ATTEMPTS_MAX: Final = 10
_ACCOUNT_RETRY_SECONDS: Final = 0.1

#: Reviews say something about a namespace; they put nothing into it.
_ACCESS_REVIEW: Final = "localsubjectaccessreviews.authorization.k8s.io"


async def namespace_exists(registry: Registry, kind: Kind, namespace: str, name: str) -> None:
    """StatusError NotFound or Forbidden when nothing may be created there."""
    if namespace and kind.namespaced and kind.group_resource != _ACCESS_REVIEW:
        lifecycle.may_create_in(kind, name, namespace, await registry.find(NAMESPACE, "", namespace))


async def mutate(registry: Registry, kind: Kind, namespace: str, obj: Object) -> None:
    match kind.resource:
        case "pods":
            await _pod(registry, namespace, obj)
        case "nodes":
            tolerations.admit_node(obj)
        case "persistentvolumeclaims":
            default_classes.admit_claim(obj, await registry.everything(_STORAGECLASS))
        case "ingresses.networking.k8s.io":
            default_classes.admit_ingress(obj, await registry.everything(_INGRESSCLASS))
        case "priorityclasses.scheduling.k8s.io":
            priority.may_be_default(obj, await registry.everything(_PRIORITYCLASS))


async def _pod(registry: Registry, namespace: str, pod: Object) -> None:
    if not isinstance(pod.get("spec"), dict):
        pod["spec"] = {}  # validation names what is missing
    if not service_account.is_mirror(pod):
        name = service_account.name_account(pod)
        account = await _account(registry, namespace, name)
        if account is None:
            raise service_account.account_missing(pod, namespace, name)
        service_account.admit(pod, account, registry.suffix())
    priority.admit(pod, await registry.everything(_PRIORITYCLASS))
    tolerations.admit_pod(pod)
    wanted = pod["spec"].get("runtimeClassName") or ""
    runtime_class.admit(pod, wanted, await registry.find(_RUNTIMECLASS, "", wanted) if wanted else None)


async def _account(registry: Registry, namespace: str, name: str) -> Object | None:
    attempts = _ACCOUNT_ATTEMPTS_MAX if name == service_account.DEFAULT_NAME else 1
    for attempt in range(attempts):
        if attempt:
            await trio.sleep(_ACCOUNT_RETRY_SECONDS)
        account = await registry.find(SERVICEACCOUNT, namespace, name)
        if account is not None:
            return account
    return None
