"""The facts that decide what a node may write, and who may give which role: gathered here, judged in admission.

Enters: an AdmissionRequest of a node; a role or binding, once nobody changes it any more.
Leaves: nothing, or the StatusError that refuses.
Holds: whoever is no node, and writes no role, costs one look at a tuple.
Next: registry.gate (NodeRestriction); registry.create and registry.replace (roles).
"""

from __future__ import annotations

import base64
from typing import Final

from edgekube.admission import node_restriction
from edgekube.admission.escalation import GROUP as RBAC_GROUP
from edgekube.admission.node_authorizer import NODES_GROUP, node_name_of
from edgekube.admission.request import CONNECT, CREATE, DELETE, AdmissionRequest
from edgekube.api import errors
from edgekube.api.kinds import NODE, POD, Kind
from edgekube.api.objects import Object, name_of, namespace_of, uid_of
from edgekube.registry.context import Context
from edgekube.registry.state import Registry

_SIGNING_REQUESTS: Final = "certificatesigningrequests.certificates.k8s.io"


def wants(registry: Registry, request: AdmissionRequest) -> bool:
    return NODES_GROUP in request.user.groups and request.operation != CONNECT


async def admit(registry: Registry, request: AdmissionRequest) -> None:
    kind, new, old = request.kind, request.object, request.old_object
    node = node_name_of(request.user)
    if not node:
        why = f'could not determine node from user "{request.user.name}"'
        raise errors.forbidden(kind.group, kind.plural, request.shown_name, why)
    if request.operation == DELETE:
        assert old is not None
        node_restriction.check_delete(node, kind, old)
    elif request.operation != CREATE:
        assert old is not None and new is not None
        node_restriction.check_update(node, kind, request.subresource, new, old)
    elif new is not None and request.subresource:
        await _create_below(registry, node, request, new)
    elif new is not None:
        await _create(registry, node, kind, new)


async def may_grant(registry: Registry, kind: Kind, new: Object, old: Object | None, context: Context) -> None:
    """Roles and bindings: nobody gives away what he has not."""
    grants = registry.grants
    if grants is None or kind.group != RBAC_GROUP or context.trusted:
        return
    grants.check_role(kind, new, old, context.user)
    named = grants.named_role(kind, new, old, context.user)
    if named is None:
        return
    plural, namespace, name = named
    role_kind = registry.kinds.by_resource(RBAC_GROUP, "v1", plural)
    role = await registry.find(role_kind, namespace, name) if role_kind is not None else None
    if role is None:
        raise errors.not_found(RBAC_GROUP, plural, name)
    grants.check_binding(kind, new, context.user, role)


async def _create(registry: Registry, node: str, kind: Kind, obj: Object) -> None:
    own = await registry.find(NODE, "", node) if kind.resource == POD.resource else None
    node_restriction.check_create(node, kind, obj, uid_of(own) if own is not None else "")
    if kind.resource == _SIGNING_REQUESTS and (obj.get("spec") or {}).get("signerName") in node_restriction.SIGNERS:
        node_restriction.check_signing_request(node, kind, name_of(obj), _common_name(kind, obj))


async def _create_below(registry: Registry, node: str, request: AdmissionRequest, body: Object) -> None:
    """pods/binding, pods/eviction, serviceaccounts/token."""
    kind, namespace, name = request.kind, request.namespace, request.name
    match kind.resource, request.subresource:
        case "pods", "eviction":
            pod = await registry.find(POD, namespace, name)
            if pod is not None:  # else the verb says NotFound
                node_restriction.check_eviction(node, kind, pod)
        case "pods", _:
            why = f"unexpected pod subresource \"{request.subresource}\", only 'status' and 'eviction' are allowed"
            raise errors.forbidden(kind.group, kind.plural, name, why)
        case "serviceaccounts", "token":
            pod_name, _ = node_restriction.reference_of_token(kind, name, body)
            pod = await registry.find(POD, namespace, pod_name)
            if pod is None:
                raise errors.not_found("", "pods", pod_name)
            node_restriction.check_token(node, kind, name, body, pod, await _audiences_of_drivers(registry, pod))


async def _audiences_of_drivers(registry: Registry, pod: Object) -> set[str]:
    """Audiences that the CSI drivers of the pod's volumes ask tokens for."""
    names = set()
    for volume in (pod.get("spec") or {}).get("volumes") or ():
        claim = (volume.get("persistentVolumeClaim") or {}).get("claimName")
        if volume.get("ephemeral") is not None:
            claim = f"{name_of(pod)}-{volume.get('name')}"
        if claim:
            names.add(await _driver_behind(registry, namespace_of(pod), claim))
        names.add(str((volume.get("csi") or {}).get("driver") or ""))
    found = [await _find(registry, "storage.k8s.io", "csidrivers", "", name) for name in names if name]
    requests = [request for driver in found if driver for request in driver["spec"].get("tokenRequests") or ()]
    return {str(request.get("audience") or "") for request in requests}


async def _driver_behind(registry: Registry, namespace: str, claim_name: str) -> str:
    claim = await _find(registry, "", "persistentvolumeclaims", namespace, claim_name)
    volume_name = ((claim or {}).get("spec") or {}).get("volumeName")
    volume = await _find(registry, "", "persistentvolumes", "", volume_name) if volume_name else None
    return str((((volume or {}).get("spec") or {}).get("csi") or {}).get("driver") or "")


async def _find(registry: Registry, group: str, plural: str, namespace: str, name: str) -> Object | None:
    kind = registry.kinds.by_resource(group, "v1", plural)
    return await registry.find(kind, namespace, name) if kind is not None else None


def _common_name(kind: Kind, obj: Object) -> str:
    """Whom the requested certificate would speak for. Forbidden when nobody can read the request."""
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    try:
        request = x509.load_pem_x509_csr(base64.b64decode(str(obj["spec"].get("request") or "")))
        names = request.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    except ValueError as error:
        raise errors.forbidden(kind.group, kind.plural, name_of(obj), f"unable to parse csr: {error}") from error
    return str(names[0].value) if names else ""
