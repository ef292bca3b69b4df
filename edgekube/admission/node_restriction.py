"""What a node may write, beyond what it may ask for: itself, its pods' status, its tokens.

Enters: the node's name; the object as it would be, as it is, and the few facts that decide about it.
Leaves: nothing, or the StatusError Forbidden with upstream's words.
Holds: pure; the same for every node, the server's own in process too. A stolen board can say wrong things about itself and its
pods, and about nothing else: it takes no pods of others, draws none by a label it gives itself, announces no other node's range.
Source: kubernetes.io, "Admission Controllers: NodeRestriction"; k8s.io/kubernetes plugin/pkg/admission/noderestriction. Setting
spec.podCIDR is refused here and not there: our nodes route to what it says.
Next: registry.restrict gathers the facts.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from typing import Final

from edgekube.admission.node_authorizer import LEASE_NAMESPACE, NODE_PREFIX
from edgekube.admission.node_graph import ACCOUNT, CLAIM, CONFIG_MAP, RESOURCE_CLAIM, SECRET, named_by
from edgekube.admission.service_account import is_mirror
from edgekube.api import errors, local_path
from edgekube.api.errors import StatusError
from edgekube.api.kinds import Kind
from edgekube.api.objects import Object, annotations_of, is_deleting, labels_of, name_of, namespace_of, owners_of, uid_of

_MIRROR: Final = "kubernetes.io/config.mirror"
_RESERVED_DOMAINS: Final = ("kubernetes.io", "k8s.io")
_RESTRICTED: Final = "node-restriction.kubernetes.io"
#: Labels of Kubernetes' own domains that a node gives itself.
_OWN_LABELS: Final = frozenset({
    "kubernetes.io/hostname", "kubernetes.io/os", "kubernetes.io/arch", "beta.kubernetes.io/os", "beta.kubernetes.io/arch",
    "beta.kubernetes.io/instance-type", "node.kubernetes.io/instance-type", "topology.kubernetes.io/region",
    "topology.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/region", "failure-domain.beta.kubernetes.io/zone",
})  # fmt: skip
_OWN_DOMAINS: Final = ("kubelet.kubernetes.io", "node.kubernetes.io")
#: What a mirror pod may not name: a node would otherwise give itself the right to read it.
_REFERENCES: Final = (
    (ACCOUNT, "a service account"), (SECRET, "secrets"), (CONFIG_MAP, "configmaps"), (CLAIM, "persistentvolumeclaims"),
    (RESOURCE_CLAIM, "resourceclaims"),
)  # fmt: skip
_NODE_CLIENT: Final = "kubernetes.io/kube-apiserver-client-kubelet"
_NODE_SERVING: Final = "kubernetes.io/kubelet-serving"
SIGNERS: Final = (_NODE_CLIENT, _NODE_SERVING)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _refuse(kind: Kind, name: str, why: str) -> StatusError:
    return errors.forbidden(kind.group, kind.plural, name, why)


def check_create(node: str, kind: Kind, obj: Object, own_uid: str) -> None:
    """``own_uid``: that of the node's Node, "" while there is none."""
    match kind.resource:
        case "pods":
            _create_pod(node, kind, obj, own_uid)
        case "nodes":
            _create_node(node, kind, obj)
        case "leases.coordination.k8s.io" | "csinodes.storage.k8s.io":
            _own(node, kind, namespace_of(obj), name_of(obj))
        case "persistentvolumeclaims":
            raise _refuse(kind, name_of(obj), "may only update PVC status")


def check_update(node: str, kind: Kind, subresource: str, new: Object, old: Object) -> None:
    name = name_of(old)
    match kind.resource:
        case "pods" if subresource == "status":
            _pod_status(node, kind, new, old)
        case "pods" if subresource:
            why = f"unexpected pod subresource {_quoted(subresource)}, only 'status' and 'eviction' are allowed"
            raise _refuse(kind, name, why)
        case "pods":
            why = f'unexpected operation "UPDATE", node {_quoted(node)} can only create and delete mirror pods'
            raise _refuse(kind, name, why)
        case "nodes":
            _update_node(node, kind, new, old)
        case "leases.coordination.k8s.io" | "csinodes.storage.k8s.io":
            _own(node, kind, namespace_of(old), name)
        case "persistentvolumes":
            _let_go(node, kind, new, old)
        case "persistentvolumeclaims" if subresource != "status":
            raise _refuse(kind, name, "may only update PVC status")


def check_delete(node: str, kind: Kind, old: Object) -> None:
    name = name_of(old)
    match kind.resource:
        case "pods" if (old.get("spec") or {}).get("nodeName") != node:
            why = f"node {_quoted(node)} can only delete pods with spec.nodeName set to itself"
            raise _refuse(kind, name, why)
        case "nodes":
            raise _refuse(kind, name, f"node {_quoted(node)} is not allowed to delete nodes")
        case "leases.coordination.k8s.io" | "csinodes.storage.k8s.io":
            _own(node, kind, namespace_of(old), name)


def check_eviction(node: str, kind: Kind, pod: Object) -> None:
    if (pod.get("spec") or {}).get("nodeName") != node:
        why = f"node {_quoted(node)} can only evict pods with spec.nodeName set to itself"
        raise _refuse(kind, name_of(pod), why)


def reference_of_token(kind: Kind, name: str, request: Object) -> tuple[str, str]:
    """(name, uid) of the pod that a requested token is bound to. Forbidden when it is bound to none."""
    reference = (request.get("spec") or {}).get("boundObjectRef") or {}
    if reference.get("apiVersion") != "v1" or reference.get("kind") != "Pod" or not reference.get("name"):
        raise _refuse(kind, name, "node requested token not bound to a pod")
    if not reference.get("uid"):
        raise _refuse(kind, name, "node requested token with a pod binding without a uid")
    return str(reference["name"]), str(reference["uid"])


def check_token(node: str, kind: Kind, name: str, request: Object, pod: Object, of_drivers: Collection[str] = ()) -> None:
    """``pod``: the one that reference_of_token named. ``of_drivers``: audiences that the drivers of its volumes ask for."""
    _, uid = reference_of_token(kind, name, request)
    if uid != uid_of(pod):
        why = f"the UID in the bound object reference ({uid}) does not match the UID in record. "
        raise _refuse(kind, name, why + "The object might have been deleted and then recreated")
    if (pod.get("spec") or {}).get("nodeName") != node:
        raise _refuse(kind, name, "node requested token bound to a pod scheduled on a different node")
    audiences = (request.get("spec") or {}).get("audiences") or [""]  # "" is the API server, for pods that want a token for it
    if len(audiences) > 1:
        raise _refuse(kind, name, "node may only request 0 or 1 audiences")
    if audiences[0] not in {*_audiences(pod), *of_drivers}:
        why = f"audience {_quoted(str(audiences[0]))} not found in pod spec volume"
        raise _refuse(kind, name, f"{why}, {_quoted(NODE_PREFIX + node)} is not authorized to request tokens for this audience")


def _audiences(pod: Object) -> Iterable[str]:
    for volume in (pod.get("spec") or {}).get("volumes") or ():
        for source in (volume.get("projected") or {}).get("sources") or ():
            if "serviceAccountToken" in source:
                yield str((source["serviceAccountToken"] or {}).get("audience") or "")


def check_signing_request(node: str, kind: Kind, name: str, common_name: str) -> None:
    """``common_name``: whom a certificate of one of SIGNERS would speak for."""
    if common_name.startswith(NODE_PREFIX) and common_name != NODE_PREFIX + node:
        raise _refuse(kind, name, f"can only create a node CSR with CN={NODE_PREFIX}{node}")


# --- volumes that are directories of the node


def _let_go(node: str, kind: Kind, new: Object, old: Object) -> None:
    """Of a volume of its own that ends a node takes its finalizer away, and changes nothing else."""
    kept = [each for each in old["metadata"].get("finalizers") or () if each != local_path.FINALIZER]
    wanted = {**_plain(old), "finalizers": kept}
    own = local_path.node_of(old) == node and is_deleting(old)
    if not own or {**_plain(new), "finalizers": new["metadata"].get("finalizers") or []} != wanted:
        why = f"node {_quoted(node)} may only take its own finalizer from volumes of its own that are being deleted"
        raise _refuse(kind, name_of(old), why)


def _plain(obj: Object) -> Object:
    """Without what a write changes by itself."""
    left_out = ("finalizers", "managedFields", "resourceVersion")
    metadata = {key: value for key, value in obj["metadata"].items() if key not in left_out}
    return {**obj, "metadata": metadata}


# --- pods


def _create_pod(node: str, kind: Kind, pod: Object, own_uid: str) -> None:
    me = f"node {_quoted(node)}"

    def refused(why: str) -> StatusError:
        return _refuse(kind, name_of(pod), why)

    if not is_mirror(pod):
        raise refused(f'pod does not have "{_MIRROR}" annotation, {me} can only create mirror pods')
    if (pod.get("spec") or {}).get("nodeName") != node:
        raise refused(f"{me} can only create pods with spec.nodeName set to itself")
    owners = owners_of(pod)
    if len(owners) != 1:
        raise refused(f"{me} can only create pods with a single owner reference set to itself")
    owner = owners[0]
    if (owner.get("apiVersion"), owner.get("kind"), owner.get("name")) != ("v1", "Node", node):
        raise refused(f"{me} can only create pods with an owner reference set to itself")
    if not owner.get("controller"):
        raise refused(f"{me} can only create pods with a controller owner reference set to itself")
    if owner.get("blockOwnerDeletion"):
        raise refused(f"{me} must not set blockOwnerDeletion on an owner reference")
    if owner.get("uid") != own_uid:
        raise refused(f"node {node} UID mismatch: expected {own_uid} got {owner.get('uid')}")
    unmarked = {**pod, "metadata": {"name": name_of(pod), "namespace": namespace_of(pod)}}
    named = {resource for resource, _, _ in named_by(unmarked)}
    for resource, what in _REFERENCES:
        if resource in named:
            raise refused(f"{me} can not create pods that reference {what}")


def _pod_status(node: str, kind: Kind, new: Object, old: Object) -> None:
    name = name_of(old)
    if (old.get("spec") or {}).get("nodeName") != node:
        raise _refuse(kind, name, f"node {_quoted(node)} can only update pod status for pods with spec.nodeName set to itself")
    if labels_of(new) != labels_of(old):
        raise _refuse(kind, name, f"node {_quoted(node)} cannot update labels through pod status")
    if (annotations_of(new).get(_MIRROR)) != annotations_of(old).get(_MIRROR):
        raise _refuse(kind, name, f"node {_quoted(node)} cannot update the mirror annotation through pod status")
    claims = [(pod.get("status") or {}).get("resourceClaimStatuses") or [] for pod in (new, old)]
    if claims[0] != claims[1]:
        raise _refuse(kind, name, f"node {_quoted(node)} cannot update resource claim statuses")


# --- nodes


def forbidden_labels(new: dict[str, str], old: dict[str, str]) -> list[str]:
    """Labels that differ and that no node may give, take or change."""
    changed = [key for key in new.keys() | old.keys() if new.get(key) != old.get(key) or (key in new) != (key in old)]
    return sorted(key for key in changed if not _may_set(key))


def _may_set(label: str) -> bool:
    domain = label.rpartition("/")[0]
    if _within(domain, _RESTRICTED):
        return False
    if not any(_within(domain, reserved) for reserved in _RESERVED_DOMAINS):
        return True
    return label in _OWN_LABELS or any(_within(domain, own) for own in _OWN_DOMAINS)


def _within(domain: str, parent: str) -> bool:
    return domain == parent or domain.endswith(f".{parent}")


def _create_node(node: str, kind: Kind, obj: Object) -> None:
    name, me = name_of(obj), f"node {_quoted(node)}"
    if forbidden := forbidden_labels(labels_of(obj), {}):
        raise _refuse(kind, name, f"{me} is not allowed to set the following labels: {', '.join(forbidden)}")
    if name != node:
        raise _refuse(kind, name, f"{me} is not allowed to modify node {_quoted(name)}")
    if owners_of(obj):
        raise _refuse(kind, name, f"{me} is not allowed to modify ownerReferences")
    _check_ranges(me, kind, obj, {})


def _update_node(node: str, kind: Kind, new: Object, old: Object) -> None:
    name, me = name_of(old), f"node {_quoted(node)}"
    if name != node:
        raise _refuse(kind, name, f"{me} is not allowed to modify node {_quoted(name)}")
    if ((new.get("spec") or {}).get("taints") or []) != ((old.get("spec") or {}).get("taints") or []):
        raise _refuse(kind, name, f"{me} is not allowed to modify taints")
    if forbidden := forbidden_labels(labels_of(new), labels_of(old)):
        raise _refuse(kind, name, f"{me} is not allowed to modify labels: {', '.join(forbidden)}")
    if owners_of(new) != owners_of(old):
        raise _refuse(kind, name, f"{me} is not allowed to modify ownerReferences")
    _check_ranges(me, kind, new, old)


def _check_ranges(me: str, kind: Kind, new: Object, old: Object) -> None:
    for field in ("podCIDR", "podCIDRs"):
        if ((new.get("spec") or {}).get(field) or None) != ((old.get("spec") or {}).get(field) or None):
            raise _refuse(kind, name_of(new), f"{me} is not allowed to modify spec.{field}")


# --- what carries the node's name


def _own(node: str, kind: Kind, namespace: str, name: str) -> None:
    if kind.plural == "csinodes":
        if name != node:
            raise _refuse(kind, name, "can only access CSINode with the same name as the requesting node")
        return
    if namespace != LEASE_NAMESPACE:
        raise _refuse(kind, name, f'can only access leases in the "{LEASE_NAMESPACE}" system namespace')
    if name != node:
        raise _refuse(kind, name, "can only access node lease with the same name as the requesting node")
