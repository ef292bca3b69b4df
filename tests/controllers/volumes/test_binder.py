"""Claims and volumes find each other, keep each other, and say what became of them."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekube.api import storage
from edgekube.api.calls import RequireGone
from edgekube.api.controller import Key, key_of
from edgekube.api.kinds import PERSISTENTVOLUME, PERSISTENTVOLUMECLAIM, POD, STORAGECLASS
from edgekube.api.objects import annotations_of, uid_of
from edgekube.controllers.volumes.binder import BINDER_CONTROLLER
from edgekube.reconcile.table import ViewChange
from tests.controllers.volumes.objects import claim, get, phase, settle, storage_class, volume, writes
from tests.controllers.world import World

PV, PVC = PERSISTENTVOLUME, PERSISTENTVOLUMECLAIM


def bound(world: World, name: str = "data") -> str:
    settle(world, BINDER_CONTROLLER)
    return str(get(world, PVC, name)["spec"].get("volumeName") or "")


def test_a_pair_is_mutual_and_says_so() -> None:
    world = World()
    volume(world, "disk", "2Gi")
    claim(world, "data", "1Gi")
    settle(world, BINDER_CONTROLLER)
    disk, data = get(world, PV, "disk"), get(world, PVC, "data")
    reference = disk["spec"]["claimRef"]
    assert (reference["kind"], reference["namespace"], reference["name"]) == ("PersistentVolumeClaim", "shop", "data")
    assert reference["uid"] == uid_of(data) and data["spec"]["volumeName"] == "disk"
    assert annotations_of(disk) == {storage.BOUND_BY_CONTROLLER: "yes"}
    assert annotations_of(data) == {storage.BOUND_BY_CONTROLLER: "yes", storage.BIND_COMPLETED: "yes"}
    assert disk["status"]["phase"] == "Bound"
    assert data["status"] == {"phase": "Bound", "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "2Gi"}}


@pytest.mark.parametrize(
    ("volumes", "wanted", "chosen"),
    [
        ({"a": {"size": "5Gi"}, "b": {"size": "2Gi"}}, {}, "b"),
        ({"a": {"size": "512Mi"}}, {}, ""),
        ({"a": {"accessModes": ["ReadWriteOnce", "ReadOnlyMany"]}, "b": {"size": "9Gi"}}, {}, "b"),
        ({"a": {"accessModes": ["ReadOnlyMany"]}}, {}, ""),
        ({"a": {"volumeMode": "Block"}}, {}, ""),
        ({"a": {"storageClassName": "fast"}}, {}, ""),
        ({"a": {"storageClassName": "fast"}, "b": {}}, {"storageClassName": "fast"}, "a"),
        ({"a": {"labels": {"disk": "ssd"}}, "b": {}}, {"selector": {"matchLabels": {"disk": "ssd"}}}, "a"),
        ({"a": {}}, {"selector": {"matchLabels": {"disk": "ssd"}}}, ""),
        ({"a": {"size": "9Gi", "claimRef": {"namespace": "shop", "name": "data"}}, "b": {}}, {}, "a"),
        ({"a": {"claimRef": {"namespace": "shop", "name": "other"}}}, {}, ""),
        ({"a": {"size": "9Gi"}, "b": {}}, {"volumeName": "a"}, "a"),
        ({"a": {"volumeAttributesClassName": "gold"}, "b": {"size": "9Gi"}}, {}, "b"),
    ],
)
def test_which_volume_a_claim_gets(volumes: dict[str, dict[str, Any]], wanted: dict[str, Any], chosen: str) -> None:
    world = World()
    for name, spec in volumes.items():
        volume(world, name, **spec)
    settle(world, BINDER_CONTROLLER)
    claim(world, "data", **wanted)
    assert bound(world) == chosen


def test_a_volume_that_names_its_claim_waits_for_it_and_keeps_what_people_wrote() -> None:
    world = World()
    volume(world, "disk", claimRef={"namespace": "shop", "name": "data"})
    settle(world, BINDER_CONTROLLER)
    assert phase(world, PV, "disk") == "Available"
    claim(world, "data")
    assert bound(world) == "disk"
    assert storage.BOUND_BY_CONTROLLER not in annotations_of(get(world, PV, "disk"))


@pytest.mark.parametrize(
    ("spec", "event"),
    [
        ({}, 'VolumeMismatch: Cannot bind to requested volume "disk": requested PV is too small'),
        ({"size": "9Gi", "storageClassName": "x"},
         'VolumeMismatch: Cannot bind to requested volume "disk": storageClassName does not match'),
        ({"size": "9Gi", "volumeMode": "Block"},
         'VolumeMismatch: Cannot bind to requested volume "disk": incompatible volumeMode'),
        ({"size": "9Gi", "accessModes": ["ReadOnlyMany"]},
         'VolumeMismatch: Cannot bind to requested volume "disk": incompatible accessMode'),
        ({"size": "9Gi", "claimRef": {"namespace": "other", "name": "data"}},
         'FailedBinding: volume "disk" already bound to a different claim.'),
    ],
)  # fmt: skip
def test_a_volume_asked_for_by_name_must_fit(spec: dict[str, Any], event: str) -> None:
    world = World()
    volume(world, "disk", **spec)
    claim(world, "data", "5Gi", volumeName="disk")
    settle(world, BINDER_CONTROLLER)
    assert phase(world, PVC, "data") == "Pending" and event in world.events


def test_what_a_claim_waits_for() -> None:
    world = World()
    storage_class(world, "late", volumeBindingMode="WaitForFirstConsumer")
    storage_class(world, "fast")
    storage_class(world, "hand", provisioner=storage.NO_PROVISIONER)
    volume(world, "free", storageClassName="late")
    for name, class_name in (("a", "late"), ("b", "fast"), ("c", "hand"), ("d", ""), ("e", "none")):
        claim(world, name, storageClassName=class_name)
    settle(world, BINDER_CONTROLLER)
    assert [phase(world, PVC, name) for name in "abcde"] == ["Pending"] * 5
    assert phase(world, PV, "free") == "Available"
    assert set(world.events) == {
        "WaitForFirstConsumer: waiting for first consumer to be created before binding",
        "ExternalProvisioning: Waiting for a volume to be created either by the external provisioner 'disk.example.com' or "
        "manually by the system administrator. If volume creation is delayed, please verify that the provisioner is running and "
        "correctly registered.",
        "ProvisioningFailed: no volume plugin matched name: kubernetes.io/no-provisioner",
        "FailedBinding: no persistent volumes available for this claim and no storage class is set",
        'ProvisioningFailed: storageclass.storage.k8s.io "none" not found',
    }
    assert annotations_of(get(world, PVC, "b"))[storage.STORAGE_PROVISIONER] == "disk.example.com"
    pod = {"metadata": {"name": "web", "namespace": "shop"}, "spec": {"volumes": [{"persistentVolumeClaim": {"claimName": "a"}}]}}
    world.put(POD, pod)
    world.events.clear()
    world.step(BINDER_CONTROLLER, "shop", "a")
    assert world.events == ["WaitForPodScheduled: waiting for pod web to be scheduled"]
    data = get(world, PVC, "a")
    data["metadata"]["annotations"] = {storage.SELECTED_NODE: "n1"}
    world.put(PVC, data)
    settle(world, BINDER_CONTROLLER)
    assert annotations_of(get(world, PVC, "a"))[storage.STORAGE_PROVISIONER] == "disk.example.com"


def test_a_claim_without_a_class_gets_the_default_one_when_there_is_one() -> None:
    world = World()
    claim(world, "data", storageClassName=None)
    claim(world, "none", storageClassName="")
    settle(world, BINDER_CONTROLLER)
    storage_class(world, "fast", default=True)
    settle(world, BINDER_CONTROLLER)
    assert get(world, PVC, "data")["spec"]["storageClassName"] == "fast"
    assert get(world, PVC, "none")["spec"]["storageClassName"] == ""


@pytest.mark.parametrize(
    ("spec", "ends", "event"),
    [
        ({}, "Released", None),
        ({"persistentVolumeReclaimPolicy": "Recycle"}, "Failed", "VolumeFailedRecycle: No recycler plugin found for the volume!"),
        ({"persistentVolumeReclaimPolicy": "Delete"}, "Failed",
         'VolumeFailedDelete: error getting deleter volume plugin for volume "disk": no deletable volume plugin matched'),
        ({"persistentVolumeReclaimPolicy": "Delete", "csi": {"driver": "disk.example.com", "volumeHandle": "1"}},
         "Released", None),
    ],
)  # fmt: skip
def test_a_volume_without_its_claim_is_released(spec: dict[str, Any], ends: str, event: str | None) -> None:
    world = World()
    volume(world, "disk", **spec)
    claim(world, "data")
    assert bound(world) == "disk"
    world.events.clear()
    world.gone(PVC, "shop", "data")
    settle(world, BINDER_CONTROLLER)
    assert phase(world, PV, "disk") == ends
    assert world.events == ([event] if event else [])
    claim(world, "data")  # of the same name, but another one
    assert bound(world) == ""
    disk = get(world, PV, "disk")
    del disk["spec"]["claimRef"]
    world.put(PV, disk)
    assert bound(world) == "disk"


def test_a_volume_is_not_released_while_the_api_has_its_claim() -> None:
    """The view may not have seen the claim yet, and what is released may be deleted."""
    world = World()
    data = claim(world, "data")
    volume(world, "disk", claimRef=storage.claim_reference(data), persistentVolumeReclaimPolicy="Delete")
    behind = World()
    behind.put(PV, get(world, PV, "disk"))
    calls = behind.plan(BINDER_CONTROLLER, "", "disk")
    assert isinstance(calls[0], RequireGone)
    failure = world.carry_out(calls)
    assert failure is not None and failure.reason == "Conflict"
    assert phase(world, PV, "disk") == "Pending"


def test_a_claim_that_lost_its_volume() -> None:
    world = World()
    volume(world, "disk")
    claim(world, "data")
    assert bound(world) == "disk"
    world.gone(PV, "", "disk")
    settle(world, BINDER_CONTROLLER)
    assert get(world, PVC, "data")["status"] == {"phase": "Lost"}
    assert world.events[-1] == "ClaimLost: Bound claim has lost its PersistentVolume. Data on the volume is lost!"


def test_a_volume_that_was_made_for_a_claim_that_found_another() -> None:
    world = World()
    data = claim(world, "data")
    made = volume(world, "made", claimRef=storage.claim_reference(data), persistentVolumeReclaimPolicy="Delete")
    made["metadata"]["annotations"] = {storage.PROVISIONED_BY: "disk.example.com", storage.BOUND_BY_CONTROLLER: "yes"}
    world.put(PV, made)
    volume(world, "found", claimRef={**storage.claim_reference(data)})
    data["spec"]["volumeName"] = "found"
    world.put(PVC, data)
    settle(world, BINDER_CONTROLLER)
    assert (phase(world, PV, "made"), phase(world, PV, "found")) == ("Released", "Bound")


def test_a_volume_that_becomes_free_wakes_who_waits_for_it() -> None:
    world = World()
    claim(world, "data")
    storage_class(world, "fast")
    watches = dict(BINDER_CONTROLLER.watches)
    disk = volume(world, "disk")
    news = ViewChange(PV, Key("", "disk"), None, orjson.dumps(disk))
    assert Key("shop", "data") in set(watches[PV](news, world))
    assert STORAGECLASS in watches


SIZES = st.sampled_from(["1Gi", "2Gi", "3Gi"])
MODES = st.sampled_from([["ReadWriteOnce"], ["ReadOnlyMany"], ["ReadWriteOnce", "ReadOnlyMany"]])
NAMES = st.sampled_from(["a", "b", "c"])
STEPS = st.one_of(
    st.tuples(st.just("volume"), NAMES, SIZES, MODES, st.sampled_from(["", "a", "b"])),
    st.tuples(st.just("claim"), NAMES, SIZES, MODES, st.sampled_from(["", "", "a", "b"])),
    st.tuples(st.just("no claim"), NAMES),
    st.tuples(st.just("no volume"), NAMES),
    st.tuples(st.just("work"), st.integers(0, 5), st.integers(0, 3)),
)


def check_never(world: World) -> None:
    """No two claims are done with one volume; a claim that is done has a volume that names nobody else."""
    done: dict[str, str] = {}
    for each in world.list(PVC):
        if storage.is_fully_bound(each):
            name = each["spec"]["volumeName"]
            assert done.setdefault(name, uid_of(each)) == uid_of(each)


@settings(max_examples=150, deadline=None)
@given(st.lists(STEPS, max_size=25))
def test_whatever_happens_pairs_are_mutual_and_it_comes_to_rest(steps: list[tuple[Any, ...]]) -> None:
    world = World()
    for step in steps:
        match step:
            case ("volume", name, size, modes, reference) if world.get(PV, "", name) is None:
                more = {"claimRef": {"namespace": "shop", "name": reference}} if reference else {}
                volume(world, name, size, accessModes=modes, **more)
            case ("claim", name, size, modes, wanted) if world.get(PVC, "shop", name) is None:
                claim(world, name, size, accessModes=modes, **({"volumeName": wanted} if wanted else {}))
            case ("no claim", name):
                world.gone(PVC, "shop", name)
            case ("no volume", name):
                world.gone(PV, "", name)
            case ("work", which, stops_after):
                keys = [key_of(obj) for kind in (PV, PVC) for obj in world.list(kind)]
                if keys:
                    # A stop in the middle of a plan: what follows was never asked for.
                    world.carry_out(world.plan(BINDER_CONTROLLER, *keys[which % len(keys)])[:stops_after])
        check_never(world)
    settle(world, BINDER_CONTROLLER, then=lambda: check_never(world))
    volumes = {name: get(world, PV, name) for name in "abc" if world.get(PV, "", name) is not None}
    for each in world.list(PVC):
        named = volumes.get(each["spec"].get("volumeName") or "")
        if each["status"]["phase"] == "Bound":
            assert named is not None and named["spec"]["claimRef"]["uid"] == uid_of(each)
            assert named["status"]["phase"] == "Bound"
        elif storage.is_fully_bound(each):
            assert each["status"]["phase"] == "Lost" and (named is None or not storage.is_bound_to(named, each))
        elif not each["spec"].get("volumeName"):
            assert storage.find_volume(each, volumes.values()) is None
    for each in volumes.values():
        assert (each["status"]["phase"] == "Bound") == any(
            other["status"]["phase"] == "Bound" and other["spec"].get("volumeName") == each["metadata"]["name"]
            for other in world.list(PVC)
        )
    assert not [
        call for kind in (PV, PVC) for obj in world.list(kind) for call in writes(world.plan(BINDER_CONTROLLER, *key_of(obj)))
    ]
