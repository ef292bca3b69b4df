"""What is in use stays until nobody uses it."""

from __future__ import annotations

from typing import Any

import pytest

from edgekube.api import storage
from edgekube.api.calls import RequireNone
from edgekube.api.kinds import PERSISTENTVOLUME, PERSISTENTVOLUMECLAIM, POD, VOLUMEATTRIBUTESCLASS
from edgekube.api.objects import Object, uid_of
from edgekube.controllers.volumes.protection import (
    CLAIM_PROTECTION_CONTROLLER,
    CLASS_PROTECTION_CONTROLLER,
    VOLUME_PROTECTION_CONTROLLER,
)
from tests.controllers.volumes.objects import claim, get, phase, volume
from tests.controllers.world import World

PV, PVC = PERSISTENTVOLUME, PERSISTENTVOLUMECLAIM


def leaving(world: World, obj: Object, kind: Any, *finalizers: str) -> None:
    obj["metadata"] |= {
        "finalizers": list(finalizers),
        "deletionTimestamp": "2026-01-01T00:00:00Z",
        "deletionGracePeriodSeconds": 0,
    }
    world.put(kind, obj)


def pod(world: World, node: str, **volume: Any) -> Object:
    spec = {"volumes": [{"name": "v", **volume}], **({"nodeName": node} if node else {})}
    return world.put(POD, {"metadata": {"name": "web", "namespace": "shop"}, "spec": spec, "status": {"phase": "Running"}})


def test_what_was_made_before_gets_its_finalizer() -> None:
    world = World()
    claim(world, "data")
    world.step(CLAIM_PROTECTION_CONTROLLER, "shop", "data")
    assert get(world, PVC, "data")["metadata"]["finalizers"] == [storage.CLAIM_PROTECTION]
    assert world.step(CLAIM_PROTECTION_CONTROLLER, "shop", "data") == []


@pytest.mark.parametrize(
    ("node", "phase", "kept"),
    [("", "Pending", False), ("n1", "Running", True), ("n1", "Succeeded", True), ("n2", "Pending", True)],
)
def test_a_pod_on_a_node_keeps_its_claim(node: str, phase: str, kept: bool) -> None:
    world = World()
    leaving(world, claim(world, "data"), PVC, storage.CLAIM_PROTECTION, "example.com/mine")
    using = pod(world, node, persistentVolumeClaim={"claimName": "data"})
    using["status"]["phase"] = phase
    world.put(POD, using)
    world.step(CLAIM_PROTECTION_CONTROLLER, "shop", "data")
    assert get(world, PVC, "data")["metadata"]["finalizers"] == ([storage.CLAIM_PROTECTION] if kept else []) + [
        "example.com/mine"
    ]
    world.gone(POD, "shop", "web")
    world.step(CLAIM_PROTECTION_CONTROLLER, "shop", "data")
    assert get(world, PVC, "data")["metadata"]["finalizers"] == ["example.com/mine"]


def test_the_claim_of_an_ephemeral_volume_is_kept_by_its_own_pod_alone() -> None:
    world = World()
    using = pod(world, "n1", ephemeral={"volumeClaimTemplate": {}})
    made = claim(world, "web-v")
    leaving(world, made, PVC, storage.CLAIM_PROTECTION, "example.com/mine")
    made = get(world, PVC, "web-v")
    made["metadata"]["ownerReferences"] = [{"kind": "Pod", "name": "web", "uid": uid_of(using), "controller": True}]
    world.put(PVC, made)
    world.step(CLAIM_PROTECTION_CONTROLLER, "shop", "web-v")
    assert storage.CLAIM_PROTECTION in get(world, PVC, "web-v")["metadata"]["finalizers"]
    leaving(world, using, POD, "example.com/waits-for-its-claim")
    world.step(CLAIM_PROTECTION_CONTROLLER, "shop", "web-v")
    assert get(world, PVC, "web-v")["metadata"]["finalizers"] == ["example.com/mine"]


def test_the_api_itself_is_asked_before_a_claim_goes() -> None:
    world, behind = World(), World()
    leaving(world, claim(world, "data"), PVC, storage.CLAIM_PROTECTION)
    behind.put(PVC, get(world, PVC, "data"))
    calls = behind.plan(CLAIM_PROTECTION_CONTROLLER, "shop", "data")
    assert isinstance(calls[0], RequireNone)
    pod(world, "n1", persistentVolumeClaim={"claimName": "data"})
    failure = world.carry_out(calls)
    assert failure is not None and failure.reason == "Conflict"
    assert phase(world, PVC, "data") == "Pending"


@pytest.mark.parametrize(("phase", "kept"), [("Bound", True), ("Released", False), ("Available", False), ("Failed", False)])
def test_a_bound_volume_stays(phase: str, kept: bool) -> None:
    world = World()
    disk = volume(world, "disk")
    disk["status"]["phase"] = phase
    leaving(world, disk, PV, storage.VOLUME_PROTECTION)
    world.step(VOLUME_PROTECTION_CONTROLLER, "", "disk")
    assert bool(get(world, PV, "disk")["metadata"].get("finalizers")) == kept


@pytest.mark.parametrize(
    "status",
    [
        {"currentVolumeAttributesClassName": "gold"},
        {"modifyVolumeStatus": {"targetVolumeAttributesClassName": "gold", "status": "Pending"}},
    ],
)
def test_an_attributes_class_stays_while_a_claim_names_it(status: dict[str, Any]) -> None:
    world = World()
    gold = world.put(VOLUMEATTRIBUTESCLASS, {"metadata": {"name": "gold"}, "driverName": "disk.example.com"})
    leaving(world, gold, VOLUMEATTRIBUTESCLASS, storage.ATTRIBUTES_CLASS_PROTECTION)
    data = claim(world, "data")
    world.put(PVC, {**data, "status": status})
    assert world.step(CLASS_PROTECTION_CONTROLLER, "", "gold") == []
    world.gone(PVC, "shop", "data")
    assert len(world.step(CLASS_PROTECTION_CONTROLLER, "", "gold")) == 1
