"""The facts for namespaces' lives: does the namespace stand that something is created in, may this one go?

Enters: an AdmissionRequest.
Leaves: nothing, or StatusError NotFound or Forbidden.
Holds: the first of the chain, as upstream's NamespaceLifecycle.
Next: admission.lifecycle decides.
"""

from __future__ import annotations

from typing import Final

from edgekube.admission import lifecycle
from edgekube.admission.request import CREATE, DELETE, AdmissionRequest
from edgekube.api.kinds import NAMESPACE
from edgekube.registry.state import Registry

#: Reviews say something about a namespace; they put nothing into it.
_ACCESS_REVIEW: Final = "localsubjectaccessreviews.authorization.k8s.io"


def wants(registry: Registry, request: AdmissionRequest) -> bool:
    kind = request.kind
    if request.operation == CREATE:
        return kind.namespaced and not request.subresource and kind.group_resource != _ACCESS_REVIEW
    return request.operation == DELETE and kind is NAMESPACE


async def admit(registry: Registry, request: AdmissionRequest) -> None:
    if request.operation == DELETE:
        lifecycle.may_delete_namespace(request.name)
        return
    found = await registry.find(NAMESPACE, "", request.namespace)
    lifecycle.may_create_in(request.kind, request.shown_name, request.namespace, found)
