"""A file in the manifests directory as the pod that this node runs.

Enters: the bytes of a file, its path, the node's name.
Leaves: a pod with defaults, an identity of its own and the annotations of a static pod; or ManifestError.
Holds: pure. The uid is made from the content, the node and the path: another content is another pod. Nothing of the API is
referred to, for there may be none.
Source: Kubernetes documentation, "Create static Pods"; k8s.io/kubernetes pkg/kubelet/config.
Next: agent.static.keeper.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any, Final

import orjson

from edgekube.agent.podspec import all_containers
from edgekube.api.kinds import POD
from edgekube.api.objects import Object, annotations_of, spec_of

CONFIG_HASH: Final = "kubernetes.io/config.hash"
CONFIG_SOURCE: Final = "kubernetes.io/config.source"
CONFIG_MIRROR: Final = "kubernetes.io/config.mirror"

#: Volumes that need nothing of the API, and what the others need.
_VOLUMES_REFUSED: Final = {
    "configMap": "configmaps (via configmap volumes)",
    "secret": "secrets (via secret volumes)",
    "csi": "csidrivers (via CSI volumes)",
    "glusterfs": "endpoints (via glusterFS volumes)",
    "persistentVolumeClaim": "persistentvolumeclaims",
    "ephemeral": "persistentvolumeclaims (via ephemeral volumes)",
    "azureFile": "secrets (via azureFile volumes)",
}
_SOURCES_REFUSED: Final = {
    "configMap": "configmaps (via projected volumes)",
    "secret": "secrets (via projected volumes)",
    "serviceAccountToken": "serviceaccounts (via projected volumes)",
    "clusterTrustBundle": "clustertrustbundles",
    "podCertificate": "podcertificates",
}


class ManifestError(Exception):
    pass


def is_static(pod: Object) -> bool:
    source = annotations_of(pod).get(CONFIG_SOURCE)
    return source is not None and source != "api"


def static_pod(raw: bytes, path: str, node_name: str) -> Object:
    from edgekube.api.decode import decode_body
    from edgekube.api.defaults import apply_defaults
    from edgekube.api.errors import StatusError
    from edgekube.api.strict import check
    from edgekube.api.validation import validate_create

    try:
        pod = decode_body(raw, "application/json" if raw.lstrip()[:1] == b"{" else "application/yaml")
        if pod.get("kind") != "Pod" or pod.get("apiVersion") != "v1":
            raise ManifestError(f"not a pod: {pod.get('apiVersion')}, {pod.get('kind')}")
        check(POD, pod)
    except StatusError as error:
        raise ManifestError(error.message) from None
    metadata: Object = pod.get("metadata") or {}
    if not metadata.get("name"):
        raise ManifestError("invalid pod: name is needed for the pod")
    uid = metadata.get("uid") or _uid(pod, path, node_name)
    if "/" in uid or uid in (".", ".."):
        raise ManifestError(f'invalid pod: metadata.uid: "{uid}" cannot name a directory')
    spec: Object = pod.setdefault("spec", {})
    spec["nodeName"] = node_name
    tolerations = [each for each in spec.get("tolerations") or [] if (each.get("effect"), each.get("key")) != ("NoExecute", None)]
    spec["tolerations"] = [*tolerations, {"operator": "Exists", "effect": "NoExecute"}]
    pod["metadata"] = {
        **metadata,
        "name": f"{metadata['name']}-{node_name.lower()}",
        "namespace": metadata.get("namespace") or "default",
        "uid": uid,
        "annotations": {**(metadata.get("annotations") or {}), CONFIG_HASH: uid, CONFIG_SOURCE: "file"},
    }
    pod["status"] = {"phase": "Pending"}
    apply_defaults(POD, pod)
    if causes := validate_create(POD, pod):
        raise ManifestError("invalid pod: " + "; ".join(f"{cause.field}: {cause.message}" for cause in causes))
    if named := next(_references(pod), None):
        raise ManifestError(f"static pods may not reference {named}")
    return pod


def mirror_of(pod: Object, node: Object) -> Object:
    """What the API is shown of it."""
    metadata = {key: value for key, value in pod["metadata"].items() if key != "uid"}
    owner = {
        "apiVersion": "v1",
        "kind": "Node",
        "name": node["metadata"]["name"],
        "uid": node["metadata"]["uid"],
        "controller": True,
    }
    annotations = {**metadata["annotations"], CONFIG_MIRROR: metadata["annotations"][CONFIG_HASH]}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {**metadata, "annotations": annotations, "ownerReferences": [owner]},
        "spec": pod["spec"],
    }


def mirrors(mirror: Object, pod: Object) -> bool:
    return annotations_of(mirror).get(CONFIG_MIRROR) == annotations_of(pod)[CONFIG_HASH]


def _uid(pod: Object, path: str, node_name: str) -> str:
    digest = hashlib.sha256(orjson.dumps(pod, option=orjson.OPT_SORT_KEYS))
    digest.update(f"\0host:{node_name}\0file:{path}".encode())
    return digest.hexdigest()[:32]


def _references(pod: Object) -> Iterator[str]:
    spec = spec_of(pod)
    if spec.get("serviceAccountName"):
        yield "serviceaccounts"
    if spec.get("imagePullSecrets"):
        yield "secrets"
    for container in all_containers(pod):
        yield from _references_of_environment(container)
    if spec.get("resourceClaims"):
        yield "resourceclaims"
    for volume in spec.get("volumes") or []:
        for kind, what in _VOLUMES_REFUSED.items():
            if volume.get(kind) is not None:
                yield what
        for source in (volume.get("projected") or {}).get("sources") or []:
            for kind, what in _SOURCES_REFUSED.items():
                if source.get(kind) is not None:
                    yield what


def _references_of_environment(container: Object) -> Iterator[str]:
    sources: list[Any] = [each.get("valueFrom") or {} for each in container.get("env") or []] + (container.get("envFrom") or [])
    for source in sources:
        if "secretKeyRef" in source or "secretRef" in source:
            yield "secrets"
        if "configMapKeyRef" in source or "configMapRef" in source:
            yield "configmaps"
