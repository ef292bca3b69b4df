"""The service account of a pod: found when the pod is made, and asked whether the pod may use the secrets that it names.

Enters: an AdmissionRequest for a pod, or for its ephemeral containers.
Leaves: nothing, or StatusError Forbidden.
Holds: validating; a pod that nobody changed since registry.admit looked at it is not looked at again.
Next: admission.mountable, admission.service_account decide; registry.gate and registry.admit ask.
"""

from __future__ import annotations

from typing import Final

import trio

from edgekube.admission import mountable, service_account
from edgekube.admission.node_graph import SECRET, named_in
from edgekube.admission.request import CREATE, UPDATE, AdmissionRequest
from edgekube.api import errors
from edgekube.api.kinds import SERVICEACCOUNT
from edgekube.api.objects import Object
from edgekube.registry.state import Registry

#: A new namespace's default account is made a moment after the namespace: upstream waits for it, too.
_ATTEMPTS_MAX: Final = 10
_RETRY_SECONDS: Final = 0.1


def wants(registry: Registry, request: AdmissionRequest) -> bool:
    if request.kind.resource != "pods":
        return False
    if request.operation == UPDATE:
        return request.subresource == "ephemeralcontainers"
    return request.operation == CREATE and not request.subresource and request.mutated


async def admit(registry: Registry, request: AdmissionRequest) -> None:
    pod = request.object or {}
    await check(registry, request, pod, ephemeral=request.operation == UPDATE)


async def check(registry: Registry, request: AdmissionRequest, pod: Object, *, ephemeral: bool = False) -> Object | None:
    """The pod's account; None for a mirror pod, which may have none."""
    if service_account.is_mirror(pod):
        secrets = {name for resource, _, name in named_in(pod) if resource == SECRET}
        why = "" if ephemeral else mountable.objection_to_mirror(pod, secrets)
        account = None
    else:
        name = str((pod.get("spec") or {}).get("serviceAccountName") or service_account.DEFAULT_NAME)
        account = await _find(registry, request.namespace, name)
        if account is None:
            raise service_account.account_missing(pod, request.namespace, name)
        why = mountable.objection(pod, account, ephemeral=ephemeral) if mountable.is_limited(account) else ""
    if why:
        raise errors.forbidden("", "pods", request.shown_name, why)
    return account


async def _find(registry: Registry, namespace: str, name: str) -> Object | None:
    for attempt in range(_ATTEMPTS_MAX if name == service_account.DEFAULT_NAME else 1):
        if attempt:
            await trio.sleep(_RETRY_SECONDS)
        account = await registry.find(SERVICEACCOUNT, namespace, name)
        if account is not None:
            return account
    return None
