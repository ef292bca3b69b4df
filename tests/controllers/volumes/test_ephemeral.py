"""Claims of ephemeral volumes, and who is told that a claim asks for more."""

from __future__ import annotations

import orjson

from edgekube.api import local_path, storage
from edgekube.api.controller import Key
from edgekube.api.kinds import PERSISTENTVOLUME, PERSISTENTVOLUMECLAIM, POD
from edgekube.api.objects import Object, uid_of
from edgekube.controllers.volumes.ephemeral import EPHEMERAL_CONTROLLER
from edgekube.controllers.volumes.expansion import EXPANSION_CONTROLLER
from edgekube.reconcile.table import ViewChange
from tests.controllers.volumes.objects import claim, get, volume
from tests.controllers.world import World

PVC = PERSISTENTVOLUMECLAIM


def pod(world: World) -> Object:
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"resources": {"requests": {"storage": "1Gi"}}}}
    spec = {"volumes": [{"name": "scratch", "ephemeral": {"volumeClaimTemplate": template}}, {"name": "x", "emptyDir": {}}]}
    return world.put(POD, {"metadata": {"name": "web", "namespace": "shop"}, "spec": spec, "status": {"phase": "Pending"}})


def test_a_pods_claim_is_made_once_and_is_its_own() -> None:
    world = World()
    made = pod(world)
    world.step(EPHEMERAL_CONTROLLER, "shop", "web")
    found = get(world, PVC, "web-scratch")
    assert found["spec"] == {"resources": {"requests": {"storage": "1Gi"}}} and found["metadata"]["labels"] == {"a": "b"}
    owner = found["metadata"]["ownerReferences"][0]
    assert (owner["uid"], owner["controller"], owner["blockOwnerDeletion"]) == (uid_of(made), True, True)
    assert world.plan(EPHEMERAL_CONTROLLER, "shop", "web") == []
    wakes = dict(EPHEMERAL_CONTROLLER.watches)[PVC]
    gone = ViewChange(PVC, Key("shop", "web-scratch"), orjson.dumps(found), None)
    assert Key("shop", "web") in set(wakes(gone, world))
    made["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    made["metadata"]["deletionGracePeriodSeconds"] = 30
    world.put(POD, made)
    world.gone(PVC, "shop", "web-scratch")
    assert world.plan(EPHEMERAL_CONTROLLER, "shop", "web") == []


def test_somebody_elses_claim_is_not_taken() -> None:
    world = World()
    pod(world)
    claim(world, "web-scratch")
    world.step(EPHEMERAL_CONTROLLER, "shop", "web")
    why = "PVC shop/web-scratch was not created for pod shop/web (pod is not owner)"
    assert world.events == [f"FailedBinding: ephemeral volume scratch: {why}"]


def test_who_is_told_of_a_claim_that_asks_for_more() -> None:
    world = World()
    data = claim(world, "data", "2Gi", volumeName="disk")
    data["metadata"]["annotations"] = {storage.BIND_COMPLETED: "yes"}
    data["status"] = {"phase": "Bound", "capacity": {"storage": "1Gi"}}
    world.put(PVC, data)
    reference = storage.claim_reference(data)
    disk = volume(world, "disk", claimRef=reference, csi={"driver": "d", "volumeHandle": "1"})
    for _ in range(2):
        world.step(EXPANSION_CONTROLLER, "shop", "data")
    assert world.events == ["ExternalExpanding: waiting for an external controller to expand this PVC"] * 2
    disk["metadata"]["annotations"] = {storage.PROVISIONED_BY: local_path.PROVISIONER}
    world.put(PERSISTENTVOLUME, disk)
    assert world.plan(EXPANSION_CONTROLLER, "shop", "data") == []
    data["status"]["capacity"]["storage"] = "2Gi"
    world.put(PVC, data)
    assert world.plan(EXPANSION_CONTROLLER, "shop", "data") == []
