"""This node's CSINode, and what its drivers add to the Node: an annotation with their ids, labels of their topology.

Enters: drivers as they come and go.
Leaves: the objects that the API should have.
Holds: pure. What is right already is None: nothing is written. Source: Kubernetes documentation, CSINode.
Next: agent.csi.drivers writes them.
"""

from __future__ import annotations

from typing import Final

import orjson

from edgekube.agent.csi.client import NodeInfo
from edgekube.api.objects import Object, annotations_of, labels_of, name_of, owners_of, uid_of

NODE_IDS: Final = "csi.volume.kubernetes.io/nodeid"
_COUNT_MAX: Final = 2**31 - 1


class TopologyCollision(Exception):
    """The text is what the driver hears."""


def new_csi_node(node: Object) -> Object:
    owner = {"apiVersion": "v1", "kind": "Node", "name": name_of(node), "uid": uid_of(node)}
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "CSINode",
        "metadata": {"name": name_of(node), "ownerReferences": [owner]},
        "spec": {"drivers": []},
    }


def is_owned(csi_node: Object, node: Object) -> bool:
    """Not left from an earlier Node of the name."""
    return any(owner.get("kind") == "Node" and owner.get("uid") == uid_of(node) for owner in owners_of(csi_node))


def with_driver(csi_node: Object, name: str, info: NodeInfo) -> Object | None:
    entry: Object = {"name": name, "nodeID": info.node_id, "topologyKeys": sorted(info.topology) or None}
    if info.volumes_max > 0:
        entry["allocatable"] = {"count": min(info.volumes_max, _COUNT_MAX)}
    drivers = (csi_node.get("spec") or {}).get("drivers") or []
    known = next((driver for driver in drivers if driver.get("name") == name), None)
    if known is not None and _plain(known) == _plain(entry):
        return None
    rest = [driver for driver in drivers if driver.get("name") != name]
    return {**csi_node, "spec": {**(csi_node.get("spec") or {}), "drivers": [*rest, entry]}}


def _plain(entry: Object) -> Object:
    return {
        **{key: value for key, value in entry.items() if value is not None},
        "topologyKeys": sorted(entry.get("topologyKeys") or ()),
    }


def without_driver(csi_node: Object, name: str) -> Object | None:
    drivers = (csi_node.get("spec") or {}).get("drivers") or []
    rest = [driver for driver in drivers if driver.get("name") != name]
    return None if len(rest) == len(drivers) else {**csi_node, "spec": {**csi_node["spec"], "drivers": rest}}


def _ids(node: Object) -> dict[str, str]:
    text = annotations_of(node).get(NODE_IDS)
    try:
        found = orjson.loads(text) if text else {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def node_patch_with(node: Object, name: str, info: NodeInfo) -> Object | None:
    """A merge patch of the Node. Raises TopologyCollision when it has a label of another value."""
    labels = labels_of(node)
    for key, value in info.topology.items():
        if labels.get(key, value) != value:
            there = f'driver reported "{key}":"{value}" but existing label is "{key}":"{labels[key]}"'
            raise TopologyCollision(f"detected topology value collision: {there}")
    ids = _ids(node)
    metadata: Object = {}
    if ids.get(name) != info.node_id:
        metadata["annotations"] = {NODE_IDS: orjson.dumps({**ids, name: info.node_id}, option=orjson.OPT_SORT_KEYS).decode()}
    missing = {key: value for key, value in info.topology.items() if key not in labels}
    if missing:
        metadata["labels"] = missing
    return {"metadata": metadata} if metadata else None


def node_patch_without(node: Object, name: str) -> Object | None:
    ids = _ids(node)
    if name not in ids:
        return None
    del ids[name]
    text = orjson.dumps(ids, option=orjson.OPT_SORT_KEYS).decode() if ids else None
    return {"metadata": {"annotations": {NODE_IDS: text}}}
