"""How much room a node has for volumes, and what scheduler and people may know of it.

Enters: a node, the volumes that it has.
Leaves: bytes left; a CSIStorageCapacity for each class, which the scheduler goes by.
Holds: what volumes may claim together is what their file system holds: a claim counts in full, whatever is in it yet.
Source: kubernetes.io, Storage Capacity.
Next: controllers.localpath.controller.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import Final

from edgekube.api import local_path, quantities, storage
from edgekube.api.calls import Call, Create, Delete, Patch
from edgekube.api.kinds import CSISTORAGECAPACITY, NODE, PERSISTENTVOLUME, STORAGECLASS
from edgekube.api.objects import Object, labels_of, name_of, owners_of, uid_of
from edgekube.api.view import View

NAMESPACE: Final = "kube-system"
HOST_NAME: Final = "kubernetes.io/hostname"
_NAME_CHARACTERS_MAX: Final = 253


def volumes_of(view: View, node_name: str) -> list[Object]:
    return [volume for volume in view.list(PERSISTENTVOLUME) if local_path.node_of(volume) == node_name]


def left_bytes(node: Object, volumes: Iterable[Object]) -> int:
    return local_path.offered_bytes(node) - sum(quantities.to_bytes(storage.capacity_of(volume)) for volume in volumes)


def host_name_of(node: Object) -> str:
    return labels_of(node).get(HOST_NAME) or name_of(node)


def classes_of(view: View) -> Iterator[Object]:
    return (each for each in view.list(STORAGECLASS) if each.get("provisioner") == local_path.PROVISIONER)


def capacity_name(class_name: str, node_name: str) -> str:
    name = f"{class_name}.{node_name}"
    if len(name) <= _NAME_CHARACTERS_MAX:
        return name
    return "local-path." + hashlib.sha256(name.encode()).hexdigest()


def published(view: View, node: Object, left: int) -> Iterator[Call]:
    """What CSIStorageCapacities need to say, where they do not say it yet; those of classes that are gone go."""
    text = quantities.text_of(max(0, left), "binary")
    classes = list(classes_of(view))
    names = {capacity_name(name_of(each), name_of(node)) for each in classes}
    for other in view.list(CSISTORAGECAPACITY, NAMESPACE):
        if name_of(other) not in names and any(owner.get("uid") == uid_of(node) for owner in owners_of(other)):
            yield Delete(CSISTORAGECAPACITY, NAMESPACE, name_of(other))  # its class is gone
    for storage_class in classes:
        name = capacity_name(name_of(storage_class), name_of(node))
        there = view.get(CSISTORAGECAPACITY, NAMESPACE, name)
        if there is None:
            yield Create(CSISTORAGECAPACITY, NAMESPACE, {
                "apiVersion": CSISTORAGECAPACITY.api_version,
                "kind": CSISTORAGECAPACITY.kind,
                "metadata": {"name": name, "ownerReferences": [
                    {"apiVersion": "v1", "kind": NODE.kind, "name": name_of(node), "uid": uid_of(node)},
                ]},
                "storageClassName": name_of(storage_class),
                "nodeTopology": {"matchLabels": {HOST_NAME: host_name_of(node)}},
                "capacity": text,
            })  # fmt: skip
        elif not quantities.equal(there.get("capacity") or "0", text):
            patch: Object = {"metadata": {"uid": uid_of(there)}, "capacity": text}
            yield Patch(CSISTORAGECAPACITY, NAMESPACE, name, patch)
