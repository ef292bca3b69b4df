"""Pods with claims that wait for them: scheduler and binder, against a real API."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import trio

from edgekube.api.kinds import EVENT, NODE, PERSISTENTVOLUME, PERSISTENTVOLUMECLAIM, POD, SERVICEACCOUNT, STORAGECLASS
from edgekube.api.objects import Object, annotations_of
from edgekube.api.verbs import DeleteOptions
from edgekube.reconcile.loops import run_controllers
from edgekube.reconcile.recorder import Recorder
from edgekube.reconcile.scheduling import run_scheduler
from tests.reconcile.conftest import Api

HOST = "kubernetes.io/hostname"


@asynccontextmanager
async def cluster(api: Api, provisioner: str) -> AsyncIterator[None]:
    async with trio.open_nursery() as nursery:
        recorder = Recorder(api.verbs)
        nursery.start_soon(recorder.run)
        await nursery.start(partial(run_controllers, api.verbs, recorder, cluster_cidr="10.42.0.0/16", root_ca=lambda: "PEM"))
        await nursery.start(run_scheduler, api.verbs, recorder)
        for name in ("n1", "n2"):
            await api.node(name)
            await api.verbs.patch(NODE, "", name, {"metadata": {"labels": {HOST: name}}})
        await api.verbs.create(
            STORAGECLASS,
            "",
            {
                "apiVersion": "storage.k8s.io/v1",
                "kind": "StorageClass",
                "metadata": {"name": "local"},
                "provisioner": provisioner,
                "volumeBindingMode": "WaitForFirstConsumer",
            },
        )
        yield
        nursery.cancel_scope.cancel()


async def make_claim(api: Api, name: str) -> None:
    spec = {"accessModes": ["ReadWriteOnce"], "storageClassName": "local", "resources": {"requests": {"storage": "1Gi"}}}
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "namespace": "default"},
        "spec": spec,
    }
    await api.verbs.create(PERSISTENTVOLUMECLAIM, "default", claim)


async def make_volume(api: Api, name: str, node: str) -> None:
    term = {"matchExpressions": [{"key": HOST, "operator": "In", "values": [node]}]}
    spec = {
        "capacity": {"storage": "1Gi"},
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": "local",
        "local": {"path": "/data"},
        "nodeAffinity": {"required": {"nodeSelectorTerms": [term]}},
    }
    await api.verbs.create(
        PERSISTENTVOLUME, "", {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}, "spec": spec}
    )


async def make_pod(api: Api, name: str, claim: str) -> None:
    volume = {"name": "data", "persistentVolumeClaim": {"claimName": claim}}
    spec = {"containers": [{"name": "c", "image": "i"}], "volumes": [volume]}

    async def made() -> bool:
        # The default service account comes with its controller.
        return bool(await api.all(SERVICEACCOUNT, "default"))

    await api.until(made)
    await api.verbs.create(
        POD, "default", {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default"}, "spec": spec}
    )


async def bound(api: Api, name: str) -> Object:
    async def there() -> Object | None:
        pod = await api.verbs.get(POD, "default", name)
        return pod if pod["spec"].get("nodeName") else None

    pod: Object = await api.until(there)
    return pod


async def test_a_pod_and_its_volume_come_together(api: Api) -> None:
    async with cluster(api, "kubernetes.io/no-provisioner"):
        await make_volume(api, "v", "n2")
        await make_claim(api, "data")
        await make_claim(api, "more")
        await make_pod(api, "a", "data")
        await make_pod(api, "b", "more")
        pod = await bound(api, "a")
        assert pod["spec"]["nodeName"] == "n2"

        async def told() -> bool:  # that it is bound stands in its spec first, which is enough for the pod
            claim = await api.verbs.get(PERSISTENTVOLUMECLAIM, "default", "data")
            return bool(claim["spec"]["volumeName"] == "v" and claim["status"]["phase"] == "Bound")

        await api.until(told)
        await make_volume(api, "w", "n1")
        assert (await bound(api, "b"))["spec"]["nodeName"] == "n1", "a new volume wakes who waits for one"


async def test_a_volume_is_asked_for_and_waited_for(api: Api) -> None:
    async with cluster(api, "example.com/slow"):
        await make_claim(api, "data")
        await make_pod(api, "a", "data")

        async def asked() -> str | None:
            claim = await api.verbs.get(PERSISTENTVOLUMECLAIM, "default", "data")
            return annotations_of(claim).get("volume.kubernetes.io/selected-node")

        first = await api.until(asked)
        assert not (await api.verbs.get(POD, "default", "a"))["spec"].get("nodeName"), "not before its volume"
        # The provisioner cannot: it sends the claim back.
        await api.verbs.patch(
            PERSISTENTVOLUMECLAIM, "default", "data", {"metadata": {"annotations": {"volume.kubernetes.io/selected-node": None}}}
        )

        async def told() -> bool:
            text = 'running PreBind plugin "VolumeBinding": binding volumes: provisioning failed for PVC "data"'
            return any(each["message"] == text for each in await api.all(EVENT))

        await api.until(told)
        node = await api.until(asked)
        assert node in ("n1", "n2") and first in ("n1", "n2")
        await make_volume(api, "made", node)
        claim = await api.verbs.get(PERSISTENTVOLUMECLAIM, "default", "data")
        reference = {"namespace": "default", "name": "data", "uid": claim["metadata"]["uid"]}
        await api.verbs.patch(PERSISTENTVOLUME, "", "made", {"spec": {"claimRef": reference}})
        assert (await bound(api, "a"))["spec"]["nodeName"] == node


async def test_a_pod_that_goes_while_its_volume_is_made_gives_its_room_back(api: Api) -> None:
    async with cluster(api, "example.com/slow"):
        await make_claim(api, "data")
        await make_pod(api, "a", "data")

        async def asked() -> str | None:
            claim = await api.verbs.get(PERSISTENTVOLUMECLAIM, "default", "data")
            return annotations_of(claim).get("volume.kubernetes.io/selected-node")

        node = await api.until(asked)
        await api.verbs.delete(POD, "default", "a", DeleteOptions(grace_period_seconds=0))
        await make_volume(api, "made", node)
        claim = await api.verbs.get(PERSISTENTVOLUMECLAIM, "default", "data")
        reference = {"namespace": "default", "name": "data", "uid": claim["metadata"]["uid"]}
        await api.verbs.patch(PERSISTENTVOLUME, "", "made", {"spec": {"claimRef": reference}})
        await make_pod(api, "b", "data")
        assert (await bound(api, "b"))["spec"]["nodeName"] == node
