"""What a driver adds to CSINode, Node and claims, and what is asked of it: pure."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekube.agent.csi.client import NodeInfo, Use, access_mode, capability, code_name
from edgekube.agent.csi.csi_node import (
    NODE_IDS,
    TopologyCollision,
    is_owned,
    new_csi_node,
    node_patch_with,
    node_patch_without,
    with_driver,
    without_driver,
)
from edgekube.agent.csi.expansion import failed, finished, in_progress, is_nodes_turn
from edgekube.agent.csi.options import applies_fs_group, attach_required, attachment_name
from edgekube.agent.volumes.source import VolumeSource
from edgekube.api.objects import Object

NODE: Object = {"metadata": {"name": "pi-1", "uid": "node-1", "labels": {"zone": "a"}}}
_NAMES = st.sampled_from(["a.test", "b.test", "c.test"])
_INFOS = st.builds(
    NodeInfo,
    st.sampled_from(["id-1", "id-2"]),
    st.integers(0, 3),
    st.dictionaries(st.sampled_from(["zone", "rack"]), st.just("a")),
)


@given(st.lists(st.tuples(_NAMES, _INFOS | st.none()), max_size=8))
def test_a_csi_node_lists_who_is_registered(changes: list[tuple[str, NodeInfo | None]]) -> None:
    csi_node, node = new_csi_node(NODE), dict(NODE)
    there: dict[str, NodeInfo] = {}
    for name, info in changes:
        changed = without_driver(csi_node, name) if info is None else with_driver(csi_node, name, info)
        csi_node = changed or csi_node
        patch = node_patch_without(node, name) if info is None else node_patch_with(node, name, info)
        node = _patched(node, patch)
        if info is None:
            there.pop(name, None)
        else:
            there[name] = info
            assert with_driver(csi_node, name, info) is None and node_patch_with(node, name, info) is None, "at rest"
    assert {driver["name"]: driver["nodeID"] for driver in csi_node["spec"]["drivers"]} == {
        name: info.node_id for name, info in there.items()
    }
    assert (NODE_IDS in node["metadata"].get("annotations", {})) == bool(there)


def _patched(node: Object, patch: Object | None) -> Object:
    metadata = {key: dict(value) if isinstance(value, dict) else value for key, value in node["metadata"].items()}
    for field in ("labels", "annotations"):
        for key, value in ((patch or {}).get("metadata", {}).get(field) or {}).items():
            part = metadata.setdefault(field, {})
            part.pop(key, None) if value is None else part.update({key: value})
    return {"metadata": metadata}


def test_a_csi_node_is_its_nodes() -> None:
    made = new_csi_node(NODE)
    assert is_owned(made, NODE) and not is_owned(made, {"metadata": {"name": "pi-1", "uid": "node-2"}})


def test_a_topology_that_is_another() -> None:
    why = 'driver reported "zone":"b" but existing label is "zone":"a"'
    with pytest.raises(TopologyCollision, match=why):
        node_patch_with(NODE, "a.test", NodeInfo("id", 0, {"zone": "b"}))


@pytest.mark.parametrize(
    ("mode", "single_writers", "name"),
    [
        ("ReadWriteOnce", False, "SINGLE_NODE_WRITER"),
        ("ReadWriteOncePod", False, "SINGLE_NODE_WRITER"),
        ("ReadWriteOnce", True, "SINGLE_NODE_MULTI_WRITER"),
        ("ReadWriteOncePod", True, "SINGLE_NODE_SINGLE_WRITER"),
        ("ReadOnlyMany", True, "MULTI_NODE_READER_ONLY"),
        ("ReadWriteMany", False, "MULTI_NODE_MULTI_WRITER"),
    ],
)
def test_access_modes(mode: str, single_writers: bool, name: str) -> None:
    made = capability(Use(access_mode=mode, block=True), single_writers=single_writers)
    assert made.access_mode.mode == access_mode(mode, single_writers=single_writers)
    enum = made.access_mode.DESCRIPTOR.enum_types_by_name["Mode"]
    assert enum.values_by_number[made.access_mode.mode].name == name and made.HasField("block")


def test_codes_as_go_prints_them() -> None:
    names = ["DEADLINE_EXCEEDED", "CANCELLED", "INTERNAL", "NOT_FOUND", "UNIMPLEMENTED"]
    assert [code_name(name) for name in names] == ["DeadlineExceeded", "Canceled", "Internal", "NotFound", "Unimplemented"]


def test_who_owns_the_files() -> None:
    def driver(policy: str) -> Object:
        return {"spec": {"fsGroupPolicy": policy}}

    once = VolumeSource("v", "csi", {"fsType": "ext4"}, volume="pv", access_modes=("ReadWriteOnce",))
    many = VolumeSource("v", "csi", {"fsType": "ext4"}, volume="pv", access_modes=("ReadWriteMany",))
    plain = VolumeSource("v", "csi", {}, volume="pv", access_modes=("ReadWriteOnce",))
    assert applies_fs_group(once, None) and not applies_fs_group(many, None) and not applies_fs_group(plain, None)
    assert applies_fs_group(many, driver("File")) and not applies_fs_group(once, driver("None"))


def test_attaching_is_the_rule() -> None:
    assert attach_required(None) and attach_required({"spec": {}}) and not attach_required({"spec": {"attachRequired": False}})
    # sha256("volnodriverx" ...) as upstream makes it: volume, driver, node.
    assert attachment_name("vol", "driver", "node").startswith("csi-") and len(attachment_name("v", "d", "n")) == 68


def claim(state: str | None, has: str = "1Gi") -> Object:
    status: Object = {"capacity": {"storage": has}, "conditions": [{"type": "FileSystemResizePending"}, {"type": "Other"}]}
    if state is not None:
        status["allocatedResourceStatuses"] = {"storage": state}
    return {"metadata": {"resourceVersion": "7"}, "status": status}


PERSISTENT: Object = {"spec": {"capacity": {"storage": "2Gi"}}}


@pytest.mark.parametrize(
    ("state", "has", "turn"),
    [
        ("NodeResizePending", "1Gi", True),
        ("NodeResizeInProgress", "1Gi", True),
        ("NodeResizeInfeasible", "1Gi", False),
        ("ControllerResizeInProgress", "1Gi", False),
        ("NodeResizePending", "2Gi", False),
        (None, "1Gi", False),
    ],
)
def test_whose_turn_it_is(state: str | None, has: str, turn: bool) -> None:
    assert is_nodes_turn(claim(state, has), PERSISTENT) == turn


def test_what_a_claim_says_of_its_growing() -> None:
    def told(patch: Object) -> Any:
        assert patch["metadata"] == {"resourceVersion": "7"}
        return patch["status"]

    pending = claim("NodeResizePending")
    assert told(in_progress(pending)) == {"allocatedResourceStatuses": {"storage": "NodeResizeInProgress"}}
    assert told(finished(pending, PERSISTENT)) == {
        "allocatedResourceStatuses": {"storage": None},
        "capacity": {"storage": "2Gi"},
        "conditions": [{"type": "Other"}],
    }
    status = told(failed(pending, "no room", infeasible=True, now=0.0))
    assert status["allocatedResourceStatuses"] == {"storage": "NodeResizeInfeasible"}
    assert status["conditions"][-1] == {
        "type": "NodeResizeError",
        "status": "True",
        "lastTransitionTime": "1970-01-01T00:00:00Z",
        "message": "failed to expand pvc with no room",
    }
