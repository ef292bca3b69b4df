"""The provisioner of local-path: everything that concerns one node's volumes is one plan, so that its room is never given twice.

Enters: claims that the binder left to us, nodes, our volumes and classes.
Leaves: volumes, capacities, events; the end of volumes that were released.
Holds: key ("", name) is a node; any other a claim whose class does not wait for the scheduler, and that needs a node chosen.
A released volume with Delete is deleted here; its directory is removed by its node, which then lets the volume go. Where the
node itself is gone for good, nobody is left to wait for.
Next: controllers.localpath.provisioning, room, expanding; agent.local_volumes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from edgekube.api import local_path, quantities, storage
from edgekube.api.calls import Call, Create, Delete, Patch, Record, RequireGone
from edgekube.api.controller import Change, Controller, Key, Moment, key_of, sides
from edgekube.api.kinds import CSISTORAGECAPACITY, NODE, PERSISTENTVOLUME, PERSISTENTVOLUMECLAIM, STORAGECLASS
from edgekube.api.objects import Object, annotations_of, is_deleting, labels_of, name_of, uid_of
from edgekube.api.verbs import DeleteOptions
from edgekube.api.view import View
from edgekube.controllers.localpath.expanding import expanded
from edgekube.controllers.localpath.provisioning import chosen_node, is_waiting, may_be_on, provisioned, refusal
from edgekube.controllers.localpath.room import left_bytes, published, volumes_of


def plan(view: View, key: Key, now: Moment) -> list[Call]:
    return _plan_node(view, key.name, now) if not key.namespace else _choose_node(view, key)


def _plan_node(view: View, node_name: str, now: Moment) -> list[Call]:
    node, volumes = view.get(NODE, "", node_name), volumes_of(view, node_name)
    if node is not None and is_deleting(node):
        node = None
    calls = [call for volume in volumes for call in _end(volume, node_name, node)]
    left = left_bytes(node, volumes) if node is not None else 0
    names = {name_of(volume) for volume in volumes}
    if node is not None:
        for claim, volume in _claims_of(view, volumes):
            grown = list(expanded(claim, volume, left, now.wall_seconds))
            for call in grown:
                if isinstance(call, Patch) and call.kind is PERSISTENTVOLUME:
                    left -= quantities.to_bytes(storage.requested(claim)) - quantities.to_bytes(storage.capacity_of(volume))
            calls += grown
    for claim in _waiting_for(view, node_name):
        storage_class = _class_of(view, claim)
        if storage_class is None or local_path.volume_name(claim) in names:
            continue
        for call in provisioned(view, claim, storage_class, node, left):
            calls.append(call)
            if isinstance(call, Create):
                left -= quantities.to_bytes(storage.requested(claim))
    if node is not None and annotations_of(node).get(local_path.DIRECTORY):
        calls += published(view, node, left)
    return calls


def _class_of(view: View, claim: Object) -> Object | None:
    found = view.get(STORAGECLASS, "", storage.class_of(claim))
    return found if found is not None and found.get("provisioner") == local_path.PROVISIONER else None


def _waiting_for(view: View, node_name: str) -> list[Object]:
    """The oldest first."""
    claims = [
        claim
        for claim in view.list(PERSISTENTVOLUMECLAIM)
        if is_waiting(claim) and annotations_of(claim).get(storage.SELECTED_NODE) == node_name
    ]
    return sorted(claims, key=lambda claim: (claim["metadata"].get("creationTimestamp") or "", *key_of(claim)))


def _claims_of(view: View, volumes: Iterable[Object]) -> Iterator[tuple[Object, Object]]:
    """Volumes with the claims that they are bound to."""
    for volume in volumes:
        reference = storage.claim_of(volume) or {}
        claim = view.get(PERSISTENTVOLUMECLAIM, str(reference.get("namespace") or ""), str(reference.get("name") or ""))
        if claim is not None and storage.is_bound_to(volume, claim) and storage.is_fully_bound(claim):
            yield claim, volume


# --- the end of a volume


def _end(volume: Object, node_name: str, node: Object | None) -> Iterator[Call]:
    """``node``: None when the API has it no more."""
    if is_deleting(volume):
        finalizers: list[str] = volume["metadata"].get("finalizers") or []
        if node is None and local_path.FINALIZER in finalizers:
            kept = [each for each in finalizers if each != local_path.FINALIZER]
            metadata: Object = {"uid": uid_of(volume), "resourceVersion": volume["metadata"]["resourceVersion"]}
            yield RequireGone(NODE, "", node_name)
            yield Patch(PERSISTENTVOLUME, "", name_of(volume), {"metadata": {**metadata, "finalizers": kept}})
            yield Record(volume, "Warning", "VolumeFailedDelete", f'node "{node_name}" is gone, and the directory with it')
        return
    released = (volume.get("status") or {}).get("phase") == "Released"
    if (
        released
        and local_path.is_local_path(annotations_of(volume))
        and volume["spec"].get("persistentVolumeReclaimPolicy") == "Delete"
    ):
        yield Delete(PERSISTENTVOLUME, "", name_of(volume), DeleteOptions(precondition_uid=uid_of(volume)))


# --- claims that do not wait for a pod


def _choose_node(view: View, key: Key) -> list[Call]:
    claim = view.get(PERSISTENTVOLUMECLAIM, *key)
    if claim is None or not is_waiting(claim) or storage.SELECTED_NODE in annotations_of(claim):
        return []
    storage_class = _class_of(view, claim)
    if storage_class is None or storage.delays_binding(storage_class):
        return []
    # Asked before a node is chosen: one that is refused only afterwards would be chosen again, and so on for ever.
    why = refusal(claim, storage_class)
    best: tuple[int, str] | None = None
    for node in view.list(NODE) if why is None else ():
        if annotations_of(node).get(local_path.DIRECTORY) and not is_deleting(node) and may_be_on(storage_class, node):
            rank = (-left_bytes(node, volumes_of(view, name_of(node))), name_of(node))
            best = rank if best is None or rank < best else best
    wanted = quantities.to_bytes(storage.requested(claim))
    if best is None or -best[0] < wanted:
        why = why or f"no node has room for {storage.requested(claim)}"
        message = f'failed to provision volume with StorageClass "{name_of(storage_class)}": {why}'
        return [Record(claim, "Warning", "ProvisioningFailed", message)]
    return [chosen_node(claim, best[1])]


# --- who is woken


def _claim_changed(change: Change, view: View) -> Iterator[Key]:
    for side in sides(change):
        if annotations_of(side).get(storage.STORAGE_PROVISIONER) == local_path.PROVISIONER:
            node_name = annotations_of(side).get(storage.SELECTED_NODE)
            yield Key("", node_name) if node_name else change.key
            volume = view.get(PERSISTENTVOLUME, "", (side.get("spec") or {}).get("volumeName") or "")
            if volume is not None and local_path.node_of(volume):
                yield Key("", local_path.node_of(volume))


def _choosing(view: View) -> Iterator[Key]:
    """Claims that nobody else chooses a node for."""
    for claim in view.list(PERSISTENTVOLUMECLAIM):
        if is_waiting(claim) and storage.SELECTED_NODE not in annotations_of(claim):
            yield key_of(claim)


def _volume_changed(change: Change, view: View) -> Iterator[Key]:
    nodes = {local_path.node_of(side) for side in sides(change)} - {""}
    yield from (Key("", name) for name in nodes)
    if nodes and change.new is None:
        yield from _choosing(view)


def _node_changed(change: Change, view: View) -> Iterator[Key]:
    """What of a node matters here is not written every few seconds."""
    told = [
        (annotations_of(side).get(local_path.DIRECTORY), annotations_of(side).get(local_path.CAPACITY), labels_of(side))
        for side in sides(change)
    ]
    if len(told) == 1 or told[0] != told[1]:
        yield change.key
        yield from _choosing(view)


def _class_changed(change: Change, view: View) -> Iterator[Key]:
    if any(side.get("provisioner") == local_path.PROVISIONER for side in sides(change)):
        yield from (key_of(node) for node in view.list(NODE))
        yield from _choosing(view)


def _capacity_changed(change: Change, view: View) -> Iterator[Key]:
    """Somebody else wrote it, or took it away."""
    for side in sides(change):
        for owner in side["metadata"].get("ownerReferences") or ():
            if owner.get("kind") == NODE.kind and view.get(NODE, "", str(owner.get("name"))) is not None:
                yield Key("", str(owner["name"]))


LOCAL_PATH_CONTROLLER: Final = Controller(
    name=local_path.PROVISIONER,
    watches=(
        (PERSISTENTVOLUMECLAIM, _claim_changed),
        (PERSISTENTVOLUME, _volume_changed),
        (NODE, _node_changed),
        (STORAGECLASS, _class_changed),
        (CSISTORAGECAPACITY, _capacity_changed),
    ),
    plan=plan,
)
