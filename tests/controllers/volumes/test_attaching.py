"""CSI volumes are attached where pods use them, to one node at a time where they are for one, and detached in time."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekube.api import storage
from edgekube.api.attachment import attachment_name, unique_name
from edgekube.api.controller import Key
from edgekube.api.kinds import CSIDRIVER, NODE, PERSISTENTVOLUME, PERSISTENTVOLUMECLAIM, POD, VOLUMEATTACHMENT
from edgekube.api.objects import Object, name_of
from edgekube.controllers.volumes.attached_lists import ATTACHED_LISTS_CONTROLLER
from edgekube.controllers.volumes.attaching import ATTACH_DETACH_CONTROLLER, OUT_OF_SERVICE
from edgekube.reconcile.table import ViewChange
from tests.controllers.volumes.objects import claim, get, volume
from tests.controllers.world import World

DRIVER = "disk.example.com"


def make_node(world: World, name: str, *, ready: bool = True, in_use: list[str] | None = None, taint: str = "") -> None:
    status = {"conditions": [{"type": "Ready", "status": "True" if ready else "Unknown"}], "volumesInUse": in_use or []}
    spec = {"taints": [{"key": taint, "effect": "NoExecute"}]} if taint else {}
    before = world.get(NODE, "", name) or {}
    listed = (before.get("status") or {}).get("volumesAttached")
    metadata = before.get("metadata") or {"name": name}
    world.put(NODE, {"metadata": metadata, "spec": spec, "status": status | ({"volumesAttached": listed} if listed else {})})


def pod(world: World, name: str, node: str, phase: str = "Pending") -> None:
    spec = {"nodeName": node, "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]}
    world.put(POD, {"metadata": {"name": name, "namespace": "shop"}, "spec": spec, "status": {"phase": phase}})


@pytest.fixture
def world() -> World:
    """A bound claim of a driver that attaches."""
    made = World()
    world_with_claim(made)
    return made


def world_with_claim(world: World, *modes: str) -> None:
    world.put(CSIDRIVER, {"metadata": {"name": DRIVER}, "spec": {"attachRequired": True}})
    data = claim(world, "data", volumeName="disk")
    data["metadata"]["annotations"] = {storage.BIND_COMPLETED: "yes"}
    world.put(PERSISTENTVOLUMECLAIM, data)
    spec: dict[str, Any] = {"csi": {"driver": DRIVER, "volumeHandle": "vol-1"}, "accessModes": list(modes or ("ReadWriteOnce",))}
    volume(world, "disk", claimRef=storage.claim_reference(data), **spec)
    for name in ("n1", "n2"):
        make_node(world, name)


def work(world: World) -> list[str]:
    """Plan once; which nodes the volume is to be attached to."""
    world.step(ATTACH_DETACH_CONTROLLER, "", "disk")
    return sorted(each["spec"]["nodeName"] for each in world.list(VOLUMEATTACHMENT))


def attacher(world: World, error: str = "") -> None:
    """What the driver's own attacher does."""
    for each in world.list(VOLUMEATTACHMENT):
        each["status"] = {"attached": False, "attachError": {"message": error}} if error else {"attached": True}
        world.put(VOLUMEATTACHMENT, each)


def listed(world: World, node: str) -> list[str]:
    return [each["name"] for each in get(world, NODE, node)["status"].get("volumesAttached") or ()]


def test_names_are_those_that_kubelets_compute() -> None:
    disk: Object = {"spec": {"csi": {"driver": DRIVER, "volumeHandle": "vol-1"}}}
    # printf 'vol-1disk.example.comn1' | sha256sum
    assert attachment_name(disk, "n1") == "csi-67beaef07640111ae4680dbb1618fdc2d7e8b400988a31892dc9e25a33572edd"
    assert unique_name(disk) == "kubernetes.io/csi/disk.example.com^vol-1"


def test_a_pod_on_a_node_has_its_volume_attached_and_is_told(world: World) -> None:
    assert work(world) == []
    pod(world, "web", "n1")
    assert work(world) == ["n1"]
    made = next(world.list(VOLUMEATTACHMENT))
    assert made["spec"] == {"attacher": DRIVER, "nodeName": "n1", "source": {"persistentVolumeName": "disk"}}
    attacher(world, "no such disk")
    work(world)
    assert world.events == ['FailedAttachVolume: AttachVolume.Attach failed for volume "disk" : no such disk']
    attacher(world)
    world.events.clear()
    assert work(world) == work(world) == ["n1"]
    assert world.events == ['SuccessfulAttachVolume: AttachVolume.Attach succeeded for volume "disk" ']
    assert listed(world, "n1") == ["kubernetes.io/csi/disk.example.com^vol-1"]
    world.gone(POD, "shop", "web")
    assert work(world) == [] and listed(world, "n1") == []


def test_drivers_that_do_not_attach(world: World) -> None:
    world.put(CSIDRIVER, {"metadata": {"name": DRIVER}, "spec": {"attachRequired": False}})
    pod(world, "web", "n1")
    assert work(world) == []
    world.gone(CSIDRIVER, "", DRIVER)
    assert work(world) == ["n1"], "a driver that says nothing attaches"


def test_a_volume_for_one_node_is_not_attached_to_two(world: World) -> None:
    pod(world, "a", "n1")
    work(world)
    attacher(world)
    pod(world, "b", "n2")
    world.events.clear()
    assert work(world) == ["n1"]
    assert 'FailedAttachVolume: Multi-Attach error for volume "disk" Volume is already used by pod(s) a' in world.events
    pod(world, "a", "n1", "Succeeded")
    make_node(world, "n1", in_use=["kubernetes.io/csi/disk.example.com^vol-1"])
    world.events.clear()
    assert work(world) == ["n1"]
    exclusively = "Volume is already exclusively attached to one node and can't be attached to another"
    assert world.events == [f'FailedAttachVolume: Multi-Attach error for volume "disk" {exclusively}']
    make_node(world, "n1")
    work(world)
    assert work(world) == ["n2"]


def test_one_for_many_nodes_is() -> None:
    world = World()
    world_with_claim(world, "ReadWriteMany")
    pod(world, "a", "n1")
    pod(world, "b", "n2")
    assert work(world) == ["n1", "n2"]


@pytest.mark.parametrize(("ready", "taint", "waits"), [(True, "", True), (False, "", False), (False, OUT_OF_SERVICE, False)])
def test_what_a_node_uses_is_detached_from_a_dead_node_alone(world: World, ready: bool, taint: str, waits: bool) -> None:
    pod(world, "web", "n1")
    work(world)
    attacher(world)
    work(world)
    in_use = ["kubernetes.io/csi/disk.example.com^vol-1"]
    make_node(world, "n1", ready=ready, in_use=in_use, taint=taint)
    world.gone(POD, "shop", "web")
    if taint:
        assert work(world) == [], "at once"
        return
    assert work(world) == ["n1"] and world.later == (None if ready else 360)
    world.now += 200
    assert work(world) == ["n1"] and world.later == (None if ready else 160)
    world.now += 160
    assert work(world) == (["n1"] if waits else [])
    make_node(world, "n1", ready=ready)
    assert work(world) == []


def test_what_others_attach_is_left_alone(world: World) -> None:
    world.put(VOLUMEATTACHMENT, {
        "metadata": {"name": "somebody"},
        "spec": {"attacher": "x", "nodeName": "n1", "source": {"persistentVolumeName": "disk"}},
    })  # fmt: skip
    world.put(VOLUMEATTACHMENT, {
        "metadata": {"name": "other"},
        "spec": {"attacher": "x", "nodeName": "n1", "source": {"persistentVolumeName": "gone"}},
    })  # fmt: skip
    work(world)
    world.step(ATTACH_DETACH_CONTROLLER, "", "gone")
    assert [name_of(each) for each in world.list(VOLUMEATTACHMENT)] == ["somebody", "other"]


def test_two_volumes_that_are_the_same_to_their_driver_share_an_attachment(world: World) -> None:
    data = claim(world, "twin-data", volumeName="twin")
    data["metadata"]["annotations"] = {storage.BIND_COMPLETED: "yes"}
    world.put(PERSISTENTVOLUMECLAIM, data)
    source = {"driver": DRIVER, "volumeHandle": "vol-1"}
    volume(world, "twin", claimRef=storage.claim_reference(data), csi=source, accessModes=["ReadWriteOnce"])

    def twin_works() -> list[str]:
        calls = world.step(ATTACH_DETACH_CONTROLLER, "", "twin")
        return [type(call).__name__ for call in calls]

    pod(world, "a", "n1")
    assert work(world) == ["n1"]
    attacher(world)
    work(world)
    other: Object = {"nodeName": "n1", "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "twin-data"}}]}
    put = {"metadata": {"name": "b", "namespace": "shop"}, "spec": other, "status": {"phase": "Running"}}
    world.put(POD, put)
    assert twin_works() == [], "it is attached already, by another name"
    world.gone(POD, "shop", "a")
    assert work(world) == ["n1"] and listed(world, "n1") == [unique_name({"spec": {"csi": source}})], "b has it still"
    pod(world, "c", "n2")
    world.events.clear()
    assert work(world) == ["n1"] and "Volume is already used by pod(s) b" in world.events[0]
    world.gone(POD, "shop", "b")
    assert "Delete" in twin_works() and listed(world, "n1") == []
    spec: Object = {"attacher": DRIVER, "nodeName": "n1", "source": {"persistentVolumeName": "disk"}}
    gone: Object = {"metadata": {"name": attachment_name({"spec": {"csi": source}}, "n1")}, "spec": spec}
    wakes = dict(ATTACH_DETACH_CONTROLLER.watches)[VOLUMEATTACHMENT]
    change = ViewChange(VOLUMEATTACHMENT, Key("", name_of(gone)), orjson.dumps(gone), None)
    assert {key.name for key in wakes(change, world)} == {"disk", "twin"}
    assert work(world) == ["n2"]


def test_an_attachment_outlives_its_volume_while_its_twin_is_used(world: World) -> None:
    pod(world, "a", "n1")
    assert work(world) == ["n1"]
    attacher(world)
    work(world)
    data = claim(world, "twin-data", volumeName="twin")
    data["metadata"]["annotations"] = {storage.BIND_COMPLETED: "yes"}
    world.put(PERSISTENTVOLUMECLAIM, data)
    source = {"driver": DRIVER, "volumeHandle": "vol-1"}
    volume(world, "twin", claimRef=storage.claim_reference(data), csi=source, accessModes=["ReadWriteOnce"])
    spec: Object = {"nodeName": "n1", "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "twin-data"}}]}
    world.put(POD, {"metadata": {"name": "b", "namespace": "shop"}, "spec": spec, "status": {"phase": "Running"}})
    world.gone(POD, "shop", "a")
    world.gone(PERSISTENTVOLUME, "", "disk")
    assert work(world) == ["n1"], "b has it"
    world.gone(POD, "shop", "b")
    assert work(world) == []


def test_what_is_attached_no_longer_is_not_listed(world: World) -> None:
    pod(world, "web", "n1")
    work(world)
    attacher(world)
    work(world)
    node = get(world, NODE, "n1")
    node["status"]["volumesAttached"].append({"name": "example.com/other", "devicePath": ""})
    world.put(NODE, node)
    assert world.step(ATTACHED_LISTS_CONTROLLER, "", "n1") == []
    name = attachment_name({"spec": {"csi": {"driver": DRIVER, "volumeHandle": "vol-1"}}}, "n1")
    world.gone(VOLUMEATTACHMENT, "", name)  # by somebody else, and its volume with it
    world.gone(PERSISTENTVOLUME, "", "disk")
    world.step(ATTACHED_LISTS_CONTROLLER, "", "n1")
    assert listed(world, "n1") == ["example.com/other"]


def test_a_volume_that_is_gone_is_waited_for_and_taken_off_the_list(world: World) -> None:
    pod(world, "web", "n1")
    work(world)
    attacher(world)
    work(world)
    world.gone(PERSISTENTVOLUME, "", "disk")
    make_node(world, "n1", in_use=["kubernetes.io/csi/disk.example.com^vol-1"])
    assert work(world) == ["n1"], "the node has it mounted"
    make_node(world, "n1")
    assert work(world) == [] and listed(world, "n1") == []


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["n1", "n2"]), st.sampled_from(["come", "go", "attach", "use", "free", "work"])), max_size=25
    )
)
def test_a_volume_is_never_on_two_nodes_and_comes_to_rest(steps: list[tuple[str, str]]) -> None:
    world = World()
    world_with_claim(world)
    in_use: dict[str, list[str]] = {"n1": [], "n2": []}
    for node, what in steps:
        match what:
            case "come":
                pod(world, f"web-{node}", node)
            case "go":
                world.gone(POD, "shop", f"web-{node}")
            case "attach":
                attacher(world)
            case "use" | "free":
                in_use[node] = ["kubernetes.io/csi/disk.example.com^vol-1"] if what == "use" else []
                make_node(world, node, in_use=in_use[node])
            case _:
                work(world)
        assert len(list(world.list(VOLUMEATTACHMENT))) <= 1
    for node in in_use:
        make_node(world, node)
    for _ in range(6):
        work(world)
        attacher(world)
    users = {f"n{number}" for number in (1, 2) if world.get(POD, "shop", f"web-n{number}") is not None}
    attached = work(world)
    assert set(attached) <= users and bool(attached) == bool(users)
    assert {node for node in in_use if listed(world, node)} == set(attached)
