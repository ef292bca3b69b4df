"""A claim gets a directory of the node where its pod will run: the volume is made here, the directory by the node.

Enters: a claim of ours with its selected node, that node, the room that it has left.
Leaves: a PersistentVolume that names the claim, for the binder; or an event that says why not, and the choice of node taken back.
Holds: what was chosen for a node counts at once, so that two claims planned together do not get the same bytes.
Source: kubernetes.io, "Dynamic Volume Provisioning", "Volume Binding Mode".
Next: controllers.localpath.controller; agent.local_volumes makes the directory when a pod mounts it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from edgekube.api import local_path, quantities, storage
from edgekube.api.calls import Call, Create, Patch, Record, Report
from edgekube.api.kinds import PERSISTENTVOLUME, PERSISTENTVOLUMECLAIM
from edgekube.api.objects import Object, annotations_of, labels_of, name_of, namespace_of, uid_of
from edgekube.api.view import View
from edgekube.controllers.localpath.room import HOST_NAME, host_name_of

_MODES: Final = ("ReadWriteOnce", storage.ONE_POD)


class _Refused(Exception):
    """Why the claim gets no volume on this node."""


def is_waiting(claim: Object) -> bool:
    """Whether the binder has left the claim to us."""
    ours = annotations_of(claim).get(storage.STORAGE_PROVISIONER) == local_path.PROVISIONER
    return ours and not (claim.get("spec") or {}).get("volumeName") and not claim["metadata"].get("deletionTimestamp")


def provisioned(view: View, claim: Object, storage_class: Object, node: Object | None, left: int) -> Iterator[Call]:
    """The volume for the claim; nothing when it is there. ``left``: the node's room in bytes."""
    try:
        _check_claim(claim, storage_class)
        if node is None:
            wanted = annotations_of(claim)[storage.SELECTED_NODE]
            raise _Refused(f'failed to get target node: node "{wanted}" not found')
        _check_node(claim, storage_class, node, left)
    except _Refused as why:
        message = f'failed to provision volume with StorageClass "{name_of(storage_class)}": {why}'
        yield Record(claim, "Warning", "ProvisioningFailed", message)
        if storage.SELECTED_NODE in annotations_of(claim):
            yield chosen_node(claim, None)
        return
    name = local_path.volume_name(claim)
    report = Report(
        claim,
        "ProvisioningSucceeded",
        "Successfully provisioned volume {name}",
        "ProvisioningFailed",
        f'failed to provision volume with StorageClass "{name_of(storage_class)}": {{error}}',
    )
    yield Create(PERSISTENTVOLUME, "", _volume(claim, storage_class, node, name), report=report)


def refusal(claim: Object, storage_class: Object) -> str | None:
    """Why the claim gets no volume, whatever the node."""
    try:
        _check_claim(claim, storage_class)
    except _Refused as why:
        return str(why)
    return None


def may_be_on(storage_class: Object, node: Object) -> bool:
    """Whether the class allows the node."""
    terms = storage_class.get("allowedTopologies")
    return not terms or any(_matches(term, labels_of(node)) for term in terms)


def chosen_node(claim: Object, node_name: str | None) -> Call:
    patch: Object = {"metadata": {"uid": uid_of(claim), "annotations": {storage.SELECTED_NODE: node_name}}}
    return Patch(PERSISTENTVOLUMECLAIM, namespace_of(claim), name_of(claim), patch)


def _check_claim(claim: Object, storage_class: Object) -> None:
    spec = claim.get("spec") or {}
    other = [mode for mode in storage.modes_of(claim) if mode not in _MODES]
    if other:
        raise _Refused(f"a directory of one node cannot be {', '.join(other)}, only {' or '.join(_MODES)}")
    if spec.get("volumeMode") == "Block":
        raise _Refused("a directory cannot have volumeMode Block")
    if spec.get("selector"):
        raise _Refused("claim.Spec.Selector is not supported")
    if spec.get("dataSource") or spec.get("dataSourceRef"):
        raise _Refused("a directory is not made from a data source")
    if storage_class.get("mountOptions"):
        raise _Refused(f"mount options are not supported by the provisioner but StorageClass has {storage_class['mountOptions']}")
    unknown = sorted(storage_class.get("parameters") or {})
    if unknown:
        raise _Refused(f"unknown parameter {', '.join(unknown)}")


def _check_node(claim: Object, storage_class: Object, node: Object, left: int) -> None:
    if not annotations_of(node).get(local_path.DIRECTORY):
        raise _Refused(f'node "{name_of(node)}" offers no directory for volumes')
    if not may_be_on(storage_class, node):
        raise _Refused(f'node "{name_of(node)}" is not in the allowed topologies')
    wanted = quantities.to_bytes(storage.requested(claim))
    if wanted > left:
        has, of = (quantities.text_of(max(0, number), "binary") for number in (left, local_path.offered_bytes(node)))
        what = storage.requested(claim)
        raise _Refused(f'node "{name_of(node)}" has {has} of {of} left for volumes, {what} were asked for')


def _matches(term: Object, labels: dict[str, str]) -> bool:
    return all(labels.get(each["key"]) in (each.get("values") or ()) for each in term.get("matchLabelExpressions") or ())


def _volume(claim: Object, storage_class: Object, node: Object, name: str) -> Object:
    path = f"{annotations_of(node)[local_path.DIRECTORY].rstrip('/')}/{local_path.directory_name(claim)}"
    term = {"matchExpressions": [{"key": HOST_NAME, "operator": "In", "values": [host_name_of(node)]}]}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {
            "name": name,
            "labels": {local_path.NODE_LABEL: name_of(node)},
            "annotations": {storage.PROVISIONED_BY: local_path.PROVISIONER},
            "finalizers": [local_path.FINALIZER],
        },
        "spec": {
            "capacity": {"storage": storage.requested(claim)},
            "accessModes": storage.modes_of(claim),
            "volumeMode": "Filesystem",
            "persistentVolumeReclaimPolicy": storage_class.get("reclaimPolicy") or "Delete",
            "storageClassName": storage.class_of(claim),
            "claimRef": storage.claim_reference(claim),
            "local": {"path": path},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [term]}},
        },
    }
