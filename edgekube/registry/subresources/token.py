"""token: a signed token for a service account, as authentication.k8s.io/v1 TokenRequest.

Enters: a TokenRequest for an account.
Leaves: the TokenRequest with status.token and status.expirationTimestamp.
Holds: a token bound to an object names that object's uid, read now; nothing is stored (source: k8s.io/kubernetes
pkg/registry/core/serviceaccount/storage/token.go).
Next: pki.tokens, through TokenIssuer.
"""

from __future__ import annotations

from typing import Final

from edgekube.admission.request import AdmissionRequest
from edgekube.api import errors, times
from edgekube.api.errors import Cause
from edgekube.api.kinds import NODE, POD, SECRET, SERVICEACCOUNT, Kind
from edgekube.api.objects import Object, metadata_of, uid_of
from edgekube.registry import gate, identity
from edgekube.registry.state import Registry

TOKEN_REQUEST: Final = Kind("authentication.k8s.io", "v1", "TokenRequest", "tokenrequests", verbs=())
_SECONDS_DEFAULT: Final = 3600
_SECONDS_MIN: Final = 600
_SECONDS_MAX: Final = 1 << 32
_BOUND_KINDS: Final = {("v1", "Pod"): POD, ("v1", "Secret"): SECRET, ("v1", "Node"): NODE}


async def request_token(registry: Registry, namespace: str, name: str, request: Object, admission: AdmissionRequest) -> Object:
    """StatusError Invalid (the body names another account; the time), NotFound, Conflict (another uid), BadRequest."""
    identity.check_type(TOKEN_REQUEST, request, registry.kinds)
    if registry.token_issuer is None:
        raise errors.unavailable("this server does not sign tokens")
    asked = request.get("metadata") or {}
    for field, value, what in (("name", name, "name"), ("namespace", namespace, "namespace")):
        if asked.get(field) and asked[field] != value:
            why = f'Invalid value: "{asked[field]}": must match the service account {what} if specified'
            raise errors.invalid(
                TOKEN_REQUEST.group, "TokenRequest", name, [Cause("FieldValueInvalid", why, f"metadata.{field}")]
            )
    account = await registry.find(SERVICEACCOUNT, namespace, name)
    if account is None:
        raise errors.not_found("", "serviceaccounts", name)
    uid = uid_of(account)
    if asked.get("uid") and asked["uid"] != uid:
        why = f"the UID in the token request ({asked['uid']}) does not match the UID of the service account ({uid})"
        raise errors.conflict(TOKEN_REQUEST.group, "TokenRequest", name, why)
    spec = request.get("spec") or {}
    seconds = spec.get("expirationSeconds")
    seconds = _SECONDS_DEFAULT if seconds is None else seconds
    _check_seconds(seconds)
    audiences = tuple(str(audience) for audience in spec.get("audiences") or (registry.token_issuer.issuer,))
    await gate.validate(registry, admission)
    bound = await _bound(registry, namespace, spec.get("boundObjectRef"), name)
    node = await _node_of(registry, bound)
    token, expires_at = registry.token_issuer.issue(namespace, name, uid, audiences, seconds, bound, node)
    metadata = {**asked, "name": name, "namespace": namespace, "uid": uid, "creationTimestamp": registry.now()}
    answer: Object = {"kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1", "metadata": metadata}
    answer["spec"] = {"audiences": list(audiences), "expirationSeconds": seconds}
    if spec.get("boundObjectRef"):
        answer["spec"]["boundObjectRef"] = spec["boundObjectRef"]
    answer["status"] = {"token": token, "expirationTimestamp": times.rfc3339(expires_at)}
    return answer


def _check_seconds(seconds: object) -> None:
    why = ""
    if type(seconds) is not int:
        raise errors.bad_request("spec.expirationSeconds must be an integer")
    if seconds < _SECONDS_MIN:
        why = f"Invalid value: {seconds}: may not specify a duration less than 10 minutes"
    elif seconds > _SECONDS_MAX:
        why = f"Invalid value: {seconds}: may not specify a duration larger than 2^32 seconds"
    if why:
        causes = [Cause("FieldValueInvalid", why, "spec.expirationSeconds")]
        raise errors.invalid("authentication.k8s.io", "TokenRequest", "", causes)


async def _node_of(registry: Registry, bound: Object | None) -> Object | None:
    """The node of the pod that the token is bound to, so that the token dies with it, too; its name alone when it is gone."""
    node_name = ((bound or {}).get("spec") or {}).get("nodeName") if (bound or {}).get("kind") == "Pod" else None
    if not node_name:
        return None
    return await registry.find(NODE, "", node_name) or {"metadata": {"name": node_name}}


async def _bound(registry: Registry, namespace: str, reference: Object | None, account: str) -> Object | None:
    """The object that the token is bound to: it must exist, have the uid that was named, and (a pod) use the account."""
    if not reference:
        return None
    kind = _BOUND_KINDS.get((str(reference.get("apiVersion")), str(reference.get("kind"))))
    if kind is None:
        group, _, version = str(reference.get("apiVersion") or "").rpartition("/")
        raise errors.bad_request(f"cannot bind token to object of type {group}/{version}, Kind={reference.get('kind') or ''}")
    name = str(reference.get("name") or "")
    found = await registry.find(kind, namespace if kind.namespaced else "", name)
    if found is None:
        raise errors.not_found("", kind.plural, name)
    if kind is POD and (found.get("spec") or {}).get("serviceAccountName", "default") != account:
        raise errors.bad_request(f"cannot bind token for serviceaccount \"{account}\" to pod running with different serviceaccount name.")  # noqa: E501  # fmt: skip
    uid = reference.get("uid")
    if uid and uid != uid_of(found):
        why = f"the UID in the bound object reference ({uid}) does not match the UID in record. The object might have been deleted and then recreated"  # noqa: E501
        raise errors.conflict("", kind.kind, name, why)
    found.setdefault("kind", kind.kind)
    metadata_of(found)
    return found
