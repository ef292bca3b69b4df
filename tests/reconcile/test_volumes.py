"""Controllers of volumes on the real registry: many claims at once, and quiet afterwards."""

from __future__ import annotations

import random
from collections import Counter

import trio

from edgekube.api import local_path, quantities, storage
from edgekube.api.errors import StatusError
from edgekube.api.kinds import NODE, PERSISTENTVOLUME, PERSISTENTVOLUMECLAIM, STORAGECLASS
from edgekube.api.objects import Object, is_deleting, name_of, uid_of
from edgekube.reconcile.loops import run_controllers
from edgekube.reconcile.recorder import Recorder
from tests.reconcile.conftest import Api
from tests.reconcile.test_crash_points import short_lives

PV, PVC = PERSISTENTVOLUME, PERSISTENTVOLUMECLAIM


def volume(name: str, size: str = "1Gi") -> Object:
    spec = {"capacity": {"storage": size}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": f"/srv/{name}"}}
    return {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}, "spec": spec}


def claim(name: str, size: str = "1Gi") -> Object:
    spec = {"resources": {"requests": {"storage": size}}, "accessModes": ["ReadWriteOnce"], "storageClassName": ""}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": spec}


async def controllers(api: Api, nursery: trio.Nursery) -> None:
    recorder = Recorder(api.verbs)
    nursery.start_soon(recorder.run)
    await nursery.start(lambda task_status: run_controllers(
        api.verbs, recorder, cluster_cidr="10.42.0.0/16", root_ca=lambda: "ca", task_status=task_status
    ))  # fmt: skip


async def test_many_claims_at_once_get_one_volume_each(api: Api) -> None:
    async with trio.open_nursery() as nursery:
        await controllers(api, nursery)
        async with trio.open_nursery() as making:
            for number in range(12):
                making.start_soon(api.verbs.create, PVC, "default", claim(f"c{number}"))
                making.start_soon(api.verbs.create, PV, "", volume(f"v{number}"))

        async def all_bound() -> bool:
            return {each["status"]["phase"] for each in [*await api.all(PV), *await api.all(PVC)]} == {"Bound"}

        await api.until(all_bound)
        claims = {uid_of(each): each["spec"]["volumeName"] for each in await api.all(PVC)}
        assert max(Counter(claims.values()).values()) == 1
        assert claims == {each["spec"]["claimRef"]["uid"]: each["metadata"]["name"] for each in await api.all(PV)}
        await api.verbs.delete(PVC, "default", "c0")

        async def released() -> bool:
            return sorted(each["status"]["phase"] for each in await api.all(PV)) == ["Bound"] * 11 + ["Released"]

        await api.until(released)
        nursery.cancel_scope.cancel()


async def check_storage(api: Api) -> None:
    """What must hold at every moment."""
    while True:
        volumes = await api.all(PV)
        done = [each["spec"]["volumeName"] for each in await api.all(PVC) if storage.is_fully_bound(each)]
        assert max(Counter(done).values(), default=0) <= 1, "two claims have one volume"
        promised = sum(quantities.to_bytes(storage.capacity_of(each)) for each in volumes if local_path.node_of(each) == "n1")
        assert promised <= 6 * 2**30, "a node promised more than it has"
        await trio.sleep(0.01)


async def remove_directories(api: Api) -> None:
    """What the node does for volumes that end."""
    while True:
        for each in await api.all(PV):
            held = each["metadata"].get("finalizers") or []
            if is_deleting(each) and local_path.FINALIZER in held:
                kept = [finalizer for finalizer in held if finalizer != local_path.FINALIZER]
                metadata = {"resourceVersion": each["metadata"]["resourceVersion"], "finalizers": kept}
                try:
                    await api.verbs.patch(PV, "", name_of(each), {"metadata": metadata})
                except StatusError as error:
                    assert error.reason in ("Conflict", "NotFound"), error
        await trio.sleep(0.01)


async def test_whatever_write_is_the_last_every_claim_has_one_volume_and_none_is_left(api: Api) -> None:
    lives = random.Random(11)
    offers = {local_path.DIRECTORY: "/srv", local_path.CAPACITY: "6Gi"}
    metadata = {"name": "n1", "annotations": offers, "labels": {"kubernetes.io/hostname": "n1"}}
    await api.verbs.create(NODE, "", {"apiVersion": "v1", "kind": "Node", "metadata": metadata})
    directories: Object = {"metadata": {"name": "local-path"}, "provisioner": local_path.PROVISIONER, "reclaimPolicy": "Delete"}
    await api.verbs.create(STORAGECLASS, "", directories)
    for number in range(3):
        await api.verbs.create(PV, "", volume(f"v{number}"))
        await api.verbs.create(PVC, "default", claim(f"c{number}"))
    for number in range(8):
        asked = claim(f"d{number}")
        asked["spec"]["storageClassName"] = "local-path"
        await api.verbs.create(PVC, "default", asked)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(check_storage, api)
        nursery.start_soon(remove_directories, api)
        await short_lives(api, lives, 8)
        async with trio.open_nursery() as living:
            await controllers(api, living)

            async def as_many_as_fit() -> bool:
                return Counter(each["status"]["phase"] for each in await api.all(PVC)) == {"Bound": 9, "Pending": 2}

            await api.until(as_many_as_fit)
            living.cancel_scope.cancel()
        for each in await api.all(PVC):
            await api.verbs.delete(PVC, "default", name_of(each))
        await short_lives(api, lives, 8)
        await controllers(api, nursery)

        async def only_what_is_retained() -> bool:
            phases = {name_of(each): each["status"]["phase"] for each in await api.all(PV)}
            return not await api.all(PVC) and phases == dict.fromkeys(("v0", "v1", "v2"), "Released")

        await api.until(only_what_is_retained)
        nursery.cancel_scope.cancel()
