"""What each node may come to know: the objects that the pods bound to it name.

Enters: pods, persistent volumes and volume attachments as they change.
Leaves: whether a way leads from an object to a node.
Holds: pure; after any sequence of changes it equals the graph made anew from what is there. Only a pod that is bound counts, and
what a mirror pod names does not: a node writes those itself (source: k8s.io/kubernetes plugin/pkg/auth/authorizer/node graph.go).
Next: admission.node_authorizer asks; server.node_graph keeps it current.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final, TypeAlias

from msgspec import Struct

from edgekube.admission.service_account import is_mirror
from edgekube.api import local_path
from edgekube.api.objects import Object, name_of, namespace_of

#: resource, namespace ("" for cluster scope), name
Vertex: TypeAlias = tuple[str, str, str]

ACCOUNT: Final = "serviceaccounts"
ATTACHMENT: Final = "volumeattachments"
CLAIM: Final = "persistentvolumeclaims"
CONFIG_MAP: Final = "configmaps"
RESOURCE_CLAIM: Final = "resourceclaims"
SECRET: Final = "secrets"
VOLUME: Final = "persistentvolumes"

#: Volume sources whose ``secretRef`` names a secret of the pod's namespace.
_SECRET_REFERENCES: Final = ("cephfs", "cinder", "flexVolume", "rbd", "scaleIO", "iscsi", "storageos")
#: Secrets that a node needs for a volume of a CSI driver.
_CSI_SECRETS: Final = ("nodeStageSecretRef", "nodePublishSecretRef", "nodeExpandSecretRef")


class _Bound(Struct, frozen=True):
    node: str
    named: tuple[Vertex, ...]


class NodeGraph:
    def __init__(self) -> None:
        self._pods: dict[tuple[str, str], _Bound] = {}
        #: What is named -> node -> how many of its pods name it.
        self._holders: dict[Vertex, dict[str, int]] = {}
        #: What a persistent volume brings along (itself, its secrets) -> the claims that lead to it, counted.
        self._behind: dict[Vertex, dict[Vertex, int]] = {}
        self._volumes: dict[str, tuple[Vertex, tuple[Vertex, ...]]] = {}
        self._attachments: dict[str, str] = {}
        #: Volumes that are directories of a node -> the node.
        self._local: dict[str, str] = {}

    # --- what there is

    def put_pod(self, pod: Object) -> None:
        key = (namespace_of(pod), name_of(pod))
        node = str((pod.get("spec") or {}).get("nodeName") or "")
        new = _Bound(node, tuple(sorted(set(named_by(pod))))) if node else None
        old = self._pods.get(key)
        if new == old:
            return
        self.remove_pod(*key)
        if new is not None:
            self._pods[key] = new
            for vertex in new.named:
                _count(self._holders, vertex, new.node)

    def remove_pod(self, namespace: str, name: str) -> None:
        old = self._pods.pop((namespace, name), None)
        for vertex in old.named if old is not None else ():
            _discount(self._holders, vertex, old.node)  # type: ignore[union-attr]

    def put_volume(self, volume: Object) -> None:
        name = name_of(volume)
        self.remove_volume(name)
        node = local_path.node_of(volume)
        if node:
            self._local[name] = node
        claim = (volume.get("spec") or {}).get("claimRef")
        if not claim:
            return
        lead = (CLAIM, str(claim.get("namespace") or ""), str(claim.get("name") or ""))
        brought = ((VOLUME, "", name), *sorted(set(_secrets_of_volume(volume, lead[1]))))
        self._volumes[name] = (lead, brought)
        for vertex in brought:
            _count(self._behind, vertex, lead)

    def remove_volume(self, name: str) -> None:
        self._local.pop(name, None)
        lead, brought = self._volumes.pop(name, (("", "", ""), ()))
        for vertex in brought:
            _discount(self._behind, vertex, lead)

    def put_attachment(self, attachment: Object) -> None:
        self._attachments[name_of(attachment)] = str((attachment.get("spec") or {}).get("nodeName") or "")

    def remove_attachment(self, name: str) -> None:
        self._attachments.pop(name, None)

    # --- questions

    def reaches(self, node: str, resource: str, namespace: str, name: str) -> bool:
        """Whether a pod of the node names the object, or a claim whose volume brings it along."""
        vertex = (resource, namespace, name)
        if node in self._holders.get(vertex, ()):
            return True
        if resource == ATTACHMENT:
            return self._attachments.get(name) == node
        return any(node in self._holders.get(claim, ()) for claim in self._behind.get(vertex, ()))

    def runs(self, node: str, namespace: str, name: str) -> bool:
        """Whether the pod is bound to the node."""
        bound = self._pods.get((namespace, name))
        return bound is not None and bound.node == node

    def has_local(self, node: str, volume: str) -> bool:
        """Whether the persistent volume is a directory of the node."""
        return self._local.get(volume) == node

    def pods(self) -> Iterable[tuple[str, str]]:
        """Namespace and name of every bound pod."""
        return self._pods.keys()

    def volumes(self) -> Iterable[str]:
        return self._volumes.keys() | self._local.keys()

    def attachments(self) -> Iterable[str]:
        return self._attachments.keys()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, NodeGraph):
            return NotImplemented
        mine = (self._pods, self._holders, self._behind, self._volumes, self._attachments, self._local)
        return mine == (other._pods, other._holders, other._behind, other._volumes, other._attachments, other._local)

    __hash__ = None  # type: ignore[assignment]


def _count(counts: dict[Vertex, dict[Any, int]], vertex: Vertex, by: object) -> None:
    held = counts.setdefault(vertex, {})
    held[by] = held.get(by, 0) + 1


def _discount(counts: dict[Vertex, dict[Any, int]], vertex: Vertex, by: object) -> None:
    held = counts[vertex]
    held[by] -= 1
    if not held[by]:
        del held[by]
        if not held:
            del counts[vertex]


def named_by(pod: Object) -> Iterator[Vertex]:
    """Everything that a pod names and its node must read. A mirror pod gives its node nothing."""
    if not is_mirror(pod):
        yield from named_in(pod)


def named_in(pod: Object) -> Iterator[Vertex]:
    """Everything that a pod names, whatever it is."""
    namespace, spec = namespace_of(pod), pod.get("spec") or {}
    for resource, name in (*_of_spec(pod, spec), *_of_containers(spec)):
        if name:
            yield resource, namespace, str(name)


def _of_spec(pod: Object, spec: Object) -> Iterator[tuple[str, Any]]:
    yield ACCOUNT, spec.get("serviceAccountName")
    for reference in spec.get("imagePullSecrets") or ():
        yield SECRET, reference.get("name")
    for volume in spec.get("volumes") or ():
        yield from _of_volume(volume, name_of(pod))
    for claim in spec.get("resourceClaims") or ():
        yield RESOURCE_CLAIM, claim.get("resourceClaimName")
    for claim in (pod.get("status") or {}).get("resourceClaimStatuses") or ():
        yield RESOURCE_CLAIM, claim.get("resourceClaimName")


def _of_volume(volume: Object, pod_name: str) -> Iterator[tuple[str, Any]]:
    yield CONFIG_MAP, (volume.get("configMap") or {}).get("name")
    yield SECRET, (volume.get("secret") or {}).get("secretName")
    for source in (volume.get("projected") or {}).get("sources") or ():
        yield CONFIG_MAP, (source.get("configMap") or {}).get("name")
        yield SECRET, (source.get("secret") or {}).get("name")
    yield CLAIM, (volume.get("persistentVolumeClaim") or {}).get("claimName")
    if volume.get("ephemeral") is not None:
        yield CLAIM, f"{pod_name}-{volume.get('name')}"
    yield SECRET, (volume.get("azureFile") or {}).get("secretName")
    yield SECRET, ((volume.get("csi") or {}).get("nodePublishSecretRef") or {}).get("name")
    for source_name in _SECRET_REFERENCES:
        yield SECRET, ((volume.get(source_name) or {}).get("secretRef") or {}).get("name")


def _of_containers(spec: Object) -> Iterator[tuple[str, Any]]:
    for container in (
        *(spec.get("initContainers") or ()),
        *(spec.get("containers") or ()),
        *(spec.get("ephemeralContainers") or ()),
    ):
        for source in container.get("envFrom") or ():
            yield CONFIG_MAP, (source.get("configMapRef") or {}).get("name")
            yield SECRET, (source.get("secretRef") or {}).get("name")
        for variable in container.get("env") or ():
            value_from = variable.get("valueFrom") or {}
            yield CONFIG_MAP, (value_from.get("configMapKeyRef") or {}).get("name")
            yield SECRET, (value_from.get("secretKeyRef") or {}).get("name")


def _secrets_of_volume(volume: Object, claim_namespace: str) -> Iterator[Vertex]:
    spec = volume.get("spec") or {}
    azure = spec.get("azureFile") or {}
    if azure.get("secretName"):
        yield SECRET, str(azure.get("secretNamespace") or claim_namespace), str(azure["secretName"])
    csi = spec.get("csi") or {}
    references = [csi.get(field) for field in _CSI_SECRETS]
    references += [(spec.get(source) or {}).get("secretRef") for source in _SECRET_REFERENCES]
    for reference in references:
        if reference and reference.get("name"):
            yield SECRET, str(reference.get("namespace") or claim_namespace), str(reference["name"])
