"""What the expressions of policies and match conditions see of a request, as values.

Enters: an AdmissionRequest, the kind in whose terms a policy matched, its objects in that version, the namespace, params.
Leaves: values by the names that api.policy.declarations declares.
Holds: pure; made once for a request and a kind. The namespace shows no owners and no managed fields; its own request shows none.
Source: k8s.io/apiserver pkg/admission/plugin/cel (condition.go: CreateAdmissionRequest, CreateNamespaceObject).
Next: admission.policies.evaluation.
"""

from __future__ import annotations

from typing import Any, Final

from edgekube.admission.request import AdmissionRequest
from edgekube.api.kinds import Kind
from edgekube.api.objects import Object
from edgekube.api.policy import declarations as names

_METADATA: Final = (
    "name", "generateName", "namespace", "uid", "resourceVersion", "generation", "creationTimestamp", "deletionTimestamp",
    "deletionGracePeriodSeconds", "labels", "annotations", "finalizers",
)  # fmt: skip


def _kind_value(kind: Kind) -> Object:
    return {"group": kind.group, "version": kind.version, "kind": kind.kind}


def _resource_value(kind: Kind) -> Object:
    return {"group": kind.group, "version": kind.version, "resource": kind.plural}


def request_value(request: AdmissionRequest, matched: Kind) -> Object:
    """admission.k8s.io/v1 AdmissionRequest, without the objects. ``matched``: the request's kind, or one that is equivalent."""
    user = request.user
    own = request.object_kind
    value: Object = {
        "uid": "",
        "kind": _kind_value(own if matched == request.kind else matched),
        "resource": _resource_value(matched),
        "requestKind": _kind_value(own),
        "requestResource": _resource_value(request.kind),
        "operation": request.operation,
        "userInfo": {"username": user.name, "uid": user.uid, "groups": list(user.groups)},
        "dryRun": request.dry_run,
        "options": request.options,
    }
    value["userInfo"]["extra"] = {key: list(texts) for key, texts in user.extra.items()}
    if request.subresource:
        value["subResource"] = value["requestSubResource"] = request.subresource
    if request.name:
        value["name"] = request.name
    if request.namespace:
        value["namespace"] = request.namespace
    return value


def namespace_value(namespace: Object | None) -> Object | None:
    if namespace is None:
        return None
    metadata = namespace.get("metadata") or {}
    return {
        "metadata": {key: metadata[key] for key in _METADATA if key in metadata},
        "spec": namespace.get("spec") or {},
        "status": namespace.get("status") or {},
    }


def values(
    obj: Object | None,
    old: Object | None,
    request: Object,
    namespace: Object | None,
    params: Object | None,
    authorizer: Any,
    request_resource: Any,
) -> dict[str, Any]:
    return {
        names.OBJECT: obj,
        names.OLD_OBJECT: old,
        names.REQUEST: request,
        names.NAMESPACE: namespace,
        names.PARAMS: params,
        names.AUTHORIZER: authorizer,
        names.REQUEST_RESOURCE: request_resource,
    }
