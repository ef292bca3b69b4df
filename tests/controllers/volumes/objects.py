"""Claims, volumes and classes in a World, and controllers that run until nothing is left to do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edgekube.api.calls import Call, Record
from edgekube.api.controller import Controller, key_of
from edgekube.api.kinds import PERSISTENTVOLUME, PERSISTENTVOLUMECLAIM, STORAGECLASS, Kind
from edgekube.api.objects import Object
from tests.controllers.world import World


def volume(world: World, name: str, size: str = "1Gi", *, labels: dict[str, str] | None = None, **spec: Any) -> Object:
    whole = {
        "capacity": {"storage": size},
        "accessModes": ["ReadWriteOnce"],
        "persistentVolumeReclaimPolicy": "Retain",
        "volumeMode": "Filesystem",
        "hostPath": {"path": f"/srv/{name}"},
        **spec,
    }
    metadata = {"name": name, "labels": labels or {}}
    return world.put(PERSISTENTVOLUME, {"metadata": metadata, "spec": whole, "status": {"phase": "Pending"}})


def claim(world: World, name: str, size: str = "1Gi", **spec: Any) -> Object:
    whole = {
        "resources": {"requests": {"storage": size}},
        "accessModes": ["ReadWriteOnce"],
        "volumeMode": "Filesystem",
        "storageClassName": "",
        **spec,
    }
    metadata = {"name": name, "namespace": "shop"}
    body = {key: value for key, value in whole.items() if value is not None}
    return world.put(PERSISTENTVOLUMECLAIM, {"metadata": metadata, "spec": body, "status": {"phase": "Pending"}})


def storage_class(world: World, name: str, *, default: bool = False, **fields: Any) -> Object:
    metadata = {"name": name, "annotations": {"storageclass.kubernetes.io/is-default-class": "true"} if default else {}}
    whole = {"metadata": metadata, "provisioner": "disk.example.com", "volumeBindingMode": "Immediate", **fields}
    return world.put(STORAGECLASS, whole)


def phase(world: World, kind: Kind, name: str) -> str:
    found = world.get(kind, "shop" if kind.namespaced else "", name)
    return "gone" if found is None else found["status"]["phase"]


def get(world: World, kind: Kind, name: str) -> Object:
    found = world.get(kind, "shop" if kind.namespaced else "", name)
    assert found is not None, f"{kind.kind} {name} is there"
    return found


def writes(calls: list[Call]) -> list[Call]:
    """Calls without those that change nothing."""
    return [call for call in calls if not isinstance(call, Record)]


def settle(world: World, controller: Controller, *kinds: Kind, then: Callable[[], object] = lambda: None) -> None:
    """Plan every key again and again until no plan writes anything."""
    for _ in range(30):
        busy = False
        for kind in kinds or (PERSISTENTVOLUME, PERSISTENTVOLUMECLAIM):
            for obj in list(world.list(kind)):
                calls = world.plan(controller, *key_of(obj))
                busy = busy or bool(writes(calls))
                world.carry_out(calls)
                then()
        if not busy:
            return
    raise AssertionError("it does not settle")
