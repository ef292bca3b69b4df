"""The facts for what becomes larger: a claim's class, a pod's node. And where a pod is, told to the pod.

Enters: an AdmissionRequest.
Leaves: StatusError Forbidden for what may not grow (GROWING, validating); the labels of zone and region in a pod or a binding
that names its node (PLACED, mutating).
Holds: whoever changes neither costs two looks at the request.
Source: k8s.io/kubernetes plugin/pkg/admission/podtopologylabels.
Next: admission.resizing decides; registry.gate asks.
"""

from __future__ import annotations

from typing import Final

from edgekube.admission import resizing
from edgekube.admission.request import CREATE, UPDATE, AdmissionRequest
from edgekube.api.kinds import NODE, STORAGECLASS
from edgekube.api.objects import labels_of, metadata_of
from edgekube.registry.state import Registry

_TOPOLOGY: Final = ("topology.kubernetes.io/zone", "topology.kubernetes.io/region")


class _Growing:
    def wants(self, registry: Registry, request: AdmissionRequest) -> bool:
        if request.operation != UPDATE:
            return False
        return (request.kind.resource, request.subresource) in (("pods", "resize"), ("persistentvolumeclaims", ""))

    async def admit(self, registry: Registry, request: AdmissionRequest) -> None:
        new, old = request.object or {}, request.old_object or {}
        if request.kind.resource == "persistentvolumeclaims":
            if resizing.grows(new, old):
                name = resizing.class_of(new)
                resizing.check_claim(new, old, await registry.find(STORAGECLASS, "", name) if name else None)
            return
        node = (new.get("spec") or {}).get("nodeName")
        if node and metadata_of(new).get("generation") != metadata_of(old).get("generation"):
            resizing.check_pod(new, node, await registry.find(NODE, "", node))


class _Placed:
    def wants(self, registry: Registry, request: AdmissionRequest) -> bool:
        return request.operation == CREATE and request.kind.resource == "pods" and request.subresource in ("", "binding")

    async def admit(self, registry: Registry, request: AdmissionRequest) -> None:
        obj = request.object or {}
        if request.subresource:
            target = obj.get("target") or {}
            node_name = target.get("name") if target.get("kind") in (None, "", "Node") else None
        else:
            node_name = (obj.get("spec") or {}).get("nodeName")
        node = await registry.find(NODE, "", node_name) if node_name else None
        found = {key: value for key, value in labels_of(node or {}).items() if key in _TOPOLOGY}
        if found:
            metadata = metadata_of(obj)
            metadata["labels"] = {**(metadata.get("labels") or {}), **found}


GROWING: Final = _Growing()
PLACED: Final = _Placed()
