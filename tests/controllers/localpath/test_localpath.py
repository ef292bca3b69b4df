"""local-path: a claim gets a directory of the node that its pod was given, as long as the node has room."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekube.api import local_path, quantities, storage
from edgekube.api.calls import Call, Record
from edgekube.api.controller import Controller, key_of
from edgekube.api.kinds import CSISTORAGECAPACITY, NODE, PERSISTENTVOLUME, PERSISTENTVOLUMECLAIM, STORAGECLASS
from edgekube.api.objects import Object, annotations_of
from edgekube.controllers.localpath.controller import LOCAL_PATH_CONTROLLER
from edgekube.controllers.volumes.binder import BINDER_CONTROLLER
from tests.controllers.volumes.objects import claim, get, phase, storage_class, volume
from tests.controllers.world import World

PV, PVC = PERSISTENTVOLUME, PERSISTENTVOLUMECLAIM


def make_node(world: World, name: str = "n1", room: str = "10Gi", **annotations: str) -> Object:
    told = {local_path.DIRECTORY: "/srv/volumes", local_path.CAPACITY: room, **annotations}
    return world.put(NODE, {"metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}, "annotations": told}})


def local_class(world: World, **fields: Any) -> None:
    whole = {
        "provisioner": local_path.PROVISIONER,
        "volumeBindingMode": "WaitForFirstConsumer",
        "reclaimPolicy": "Delete",
        "allowVolumeExpansion": True,
        **fields,
    }
    storage_class(world, "local-path", **whole)


def asked(world: World, name: str, size: str = "1Gi", node: str = "n1", **spec: Any) -> None:
    """A claim for whose pod the scheduler has chosen a node."""
    made = claim(world, name, size, **{"storageClassName": "local-path", **spec})
    if node:
        made["metadata"]["annotations"] = {storage.SELECTED_NODE: node}
        world.put(PVC, made)


def settle(world: World, *controllers: Controller) -> None:
    for _ in range(30):
        busy = False
        for controller in controllers or (BINDER_CONTROLLER, LOCAL_PATH_CONTROLLER):
            for kind in (PV, PVC, NODE) if controller is not BINDER_CONTROLLER else (PV, PVC):
                for obj in list(world.list(kind)):
                    if controller is not BINDER_CONTROLLER and kind is PV:
                        continue
                    calls: list[Call] = world.plan(controller, *key_of(obj))
                    busy = busy or any(not isinstance(call, Record) for call in calls)
                    world.carry_out(calls)
        if not busy:
            return
    raise AssertionError("it does not settle")


def free(world: World, node: str = "n1") -> str:
    found = world.get(CSISTORAGECAPACITY, "kube-system", f"local-path.{node}")
    assert found is not None
    return str(found["capacity"])


def test_a_claim_becomes_a_directory_of_its_node() -> None:
    world = World()
    make_node(world)
    local_class(world)
    asked(world, "data", "2Gi")
    settle(world)
    data = get(world, PVC, "data")
    made = get(world, PV, data["spec"]["volumeName"])
    assert made["metadata"]["name"] == f"pvc-{data['metadata']['uid']}"
    assert made["spec"]["local"] == {"path": f"/srv/volumes/pvc-{data['metadata']['uid']}_shop_data"}
    assert made["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"] == [
        {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": ["n1"]}]}
    ]
    assert made["spec"]["persistentVolumeReclaimPolicy"] == "Delete" and made["spec"]["storageClassName"] == "local-path"
    assert (phase(world, PVC, "data"), made["status"]["phase"]) == ("Bound", "Bound")
    assert storage.BOUND_BY_CONTROLLER not in annotations_of(made)
    assert f"ProvisioningSucceeded: Successfully provisioned volume {made['metadata']['name']}" in world.events
    assert free(world) == "8Gi"


@pytest.mark.parametrize(
    ("spec", "of_class", "why"),
    [
        ({"size": "11Gi"}, {}, 'node "n1" has 10Gi of 10Gi left for volumes, 11Gi were asked for'),
        ({"node": "n2"}, {}, 'failed to get target node: node "n2" not found'),
        ({"node": "n3"}, {}, 'node "n3" offers no directory for volumes'),
        ({"accessModes": ["ReadWriteMany"]}, {},
         "a directory of one node cannot be ReadWriteMany, only ReadWriteOnce or ReadWriteOncePod"),
        ({"volumeMode": "Block"}, {}, "a directory cannot have volumeMode Block"),
        ({"selector": {"matchLabels": {"a": "b"}}}, {}, "claim.Spec.Selector is not supported"),
        ({"dataSource": {"kind": "PersistentVolumeClaim", "name": "x"}}, {}, "a directory is not made from a data source"),
        ({}, {"parameters": {"colour": "red"}}, "unknown parameter colour"),
        ({}, {"allowedTopologies": [{"matchLabelExpressions": [{"key": "kubernetes.io/hostname", "values": ["n9"]}]}]},
         'node "n1" is not in the allowed topologies'),
    ],
)  # fmt: skip
def test_why_a_claim_gets_none(spec: dict[str, Any], of_class: dict[str, Any], why: str) -> None:
    world = World()
    make_node(world)
    make_node(world, "n3", **{local_path.DIRECTORY: ""})
    local_class(world, **of_class)
    asked(world, "data", **spec)
    world.step(BINDER_CONTROLLER, "shop", "data")
    world.step(LOCAL_PATH_CONTROLLER, "", spec.get("node", "n1"))
    assert world.events[-1] == f'ProvisioningFailed: failed to provision volume with StorageClass "local-path": {why}'
    assert storage.SELECTED_NODE not in annotations_of(get(world, PVC, "data")), "the scheduler chooses again"
    assert not list(world.list(PV))


def test_a_class_that_does_not_wait_takes_the_node_with_the_most_room() -> None:
    world = World()
    make_node(world, "n1", "5Gi")
    make_node(world, "n2", "9Gi")
    local_class(world, volumeBindingMode="Immediate")
    asked(world, "data", "2Gi", node="")
    asked(world, "large", "50Gi", node="")
    settle(world)
    made = get(world, PV, get(world, PVC, "data")["spec"]["volumeName"])
    assert local_path.node_of(made) == "n2"
    assert phase(world, PVC, "large") == "Pending"
    assert (
        'ProvisioningFailed: failed to provision volume with StorageClass "local-path": no node has room for 50Gi' in world.events
    )


@pytest.mark.parametrize(
    ("spec", "of_class", "why"),
    [
        ({"accessModes": ["ReadWriteMany"]}, {}, "a directory of one node cannot be ReadWriteMany, only ReadWriteOnce"),
        ({"volumeMode": "Block"}, {}, "a directory cannot have volumeMode Block"),
        ({}, {"parameters": {"colour": "red"}}, "unknown parameter colour"),
        ({}, {"allowedTopologies": [{"matchLabelExpressions": [{"key": "kubernetes.io/hostname", "values": ["n9"]}]}]},
         "no node has room for 1Gi"),
    ],
)  # fmt: skip
def test_a_class_that_does_not_wait_does_not_choose_in_vain(spec: dict[str, Any], of_class: dict[str, Any], why: str) -> None:
    world = World()
    make_node(world)
    local_class(world, volumeBindingMode="Immediate", **of_class)
    asked(world, "data", node="", **spec)
    settle(world)
    assert why in world.events[-1]
    assert phase(world, PVC, "data") == "Pending"


def test_the_node_of_a_class_that_does_not_wait_is_one_that_it_allows() -> None:
    world = World()
    make_node(world, "n1", "5Gi")
    make_node(world, "n2", "9Gi")
    terms = [{"matchLabelExpressions": [{"key": "kubernetes.io/hostname", "values": ["n1"]}]}]
    local_class(world, volumeBindingMode="Immediate", allowedTopologies=terms)
    asked(world, "data", node="")
    settle(world)
    assert local_path.node_of(get(world, PV, get(world, PVC, "data")["spec"]["volumeName"])) == "n1"


def test_released_volumes_go_when_their_node_has_removed_the_directory() -> None:
    world = World()
    make_node(world)
    local_class(world)
    asked(world, "data")
    settle(world)
    name = get(world, PVC, "data")["spec"]["volumeName"]
    world.gone(PVC, "shop", "data")
    settle(world)
    ended = get(world, PV, name)
    assert ended["metadata"]["deletionTimestamp"] and ended["metadata"]["finalizers"] == [local_path.FINALIZER]
    assert free(world) == "9Gi", "the bytes are there until the directory is gone"
    world.gone(NODE, "", "n1")
    world.step(LOCAL_PATH_CONTROLLER, "", "n1")
    assert get(world, PV, name)["metadata"]["finalizers"] == []


def test_retained_volumes_stay_and_count() -> None:
    world = World()
    make_node(world)
    local_class(world, reclaimPolicy="Retain")
    asked(world, "data", "4Gi")
    settle(world)
    name = get(world, PVC, "data")["spec"]["volumeName"]
    world.gone(PVC, "shop", "data")
    settle(world)
    assert phase(world, PV, name) == "Released" and free(world) == "6Gi"


def test_a_claim_that_asks_for_more_gets_it_while_there_is_room_and_may_take_it_back() -> None:
    world = World()
    make_node(world)
    local_class(world)
    asked(world, "data", "2Gi")
    settle(world)

    def ask(size: str) -> Object:
        data = get(world, PVC, "data")
        data["spec"]["resources"]["requests"]["storage"] = size
        world.put(PVC, data)
        world.events.clear()
        settle(world)
        status: Object = get(world, PVC, "data")["status"]
        return status

    assert ask("5Gi")["capacity"] == {"storage": "5Gi"}
    assert world.events == ["VolumeResizeSuccessful: Resize volume succeeded"] and free(world) == "5Gi"
    refused = ask("50Gi")
    assert refused["capacity"] == {"storage": "5Gi"} and refused["allocatedResources"] == {"storage": "50Gi"}
    assert refused["allocatedResourceStatuses"] == {"storage": "ControllerResizeInfeasible"}
    assert [(each["type"], each["status"]) for each in refused["conditions"]] == [("ControllerResizeError", "True")]
    assert world.events[0].startswith("VolumeResizeFailed: resize volume failed: the node has room for 5Gi more")
    status = ask("6Gi")
    assert status["capacity"] == status["allocatedResources"] == {"storage": "6Gi"}
    assert not {"conditions", "allocatedResourceStatuses"} & status.keys()


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from("abcdef"), st.integers(1, 6), st.sampled_from(["ask", "grow", "end", "work"])), max_size=20
    )
)
def test_a_node_never_promises_more_than_it_has(steps: list[tuple[str, int, str]]) -> None:
    world = World()
    make_node(world, room="10Gi")
    local_class(world)
    for name, size, what in steps:
        there = world.get(PVC, "shop", name)
        if what == "ask" and there is None:
            asked(world, name, f"{size}Gi")
        elif what == "grow" and there is not None and there["status"]["phase"] == "Bound":
            there["spec"]["resources"]["requests"]["storage"] = f"{size + 3}Gi"
            world.put(PVC, there)
        elif what == "end":
            world.gone(PVC, "shop", name)
        else:
            settle(world)
        promised = sum(quantities.to_bytes(storage.capacity_of(each)) for each in world.list(PV))
        assert promised <= 10 * 2**30
    settle(world)
    promised = sum(quantities.to_bytes(storage.capacity_of(each)) for each in world.list(PV))
    assert promised + quantities.to_bytes(free(world)) == 10 * 2**30


def test_other_volumes_are_left_alone() -> None:
    world = World()
    make_node(world)
    local_class(world)
    volume(world, "disk", persistentVolumeReclaimPolicy="Delete")
    assert {getattr(call, "kind", None) for call in world.plan(LOCAL_PATH_CONTROLLER, "", "n1")} == {CSISTORAGECAPACITY}


def test_capacities_follow_the_classes() -> None:
    world = World()
    make_node(world)
    local_class(world)
    storage_class(world, "more", provisioner=local_path.PROVISIONER)
    settle(world)
    assert free(world) == "10Gi" and world.get(CSISTORAGECAPACITY, "kube-system", "more.n1") is not None
    world.gone(STORAGECLASS, "", "more")
    settle(world)
    assert [each["metadata"]["name"] for each in world.list(CSISTORAGECAPACITY)] == ["local-path.n1"]
