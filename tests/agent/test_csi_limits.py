"""A driver says anew how many volumes this node may have: each period, and when one was too many; how a volume does not grow."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import trio

from edgekube.agent.csi import measuring
from edgekube.agent.csi.client import CsiClient, CsiFailure
from edgekube.agent.csi.drivers import CsiDrivers
from edgekube.agent.csi.expansion import Expansions, InUse
from edgekube.agent.csi.options import attachment_name, update_seconds
from edgekube.agent.csi.places import Places
from edgekube.agent.csi.volumes import CsiVolumes
from edgekube.agent.fieldrefs import Surroundings
from edgekube.agent.local_volumes import Directories
from edgekube.agent.names import PodPaths
from edgekube.agent.problems import VolumesProblem
from edgekube.agent.references import References
from edgekube.agent.tokens import TokenSource
from edgekube.agent.volumes import setup
from edgekube.agent.volumes.in_use import VolumesInUse
from edgekube.agent.volumes.source import VolumeSource
from edgekube.api.kinds import CSIDRIVER, CSINODE, NAMESPACE, NODE, PERSISTENTVOLUME, PERSISTENTVOLUMECLAIM, VOLUMEATTACHMENT
from edgekube.api.objects import Object, uid_of
from edgekube.api.verbs import UserInfo
from edgekube.registry.local import LocalVerbs
from edgekube.registry.state import Registry
from edgekube.settings import Settings
from edgekube.store.sqlite import open_store
from tests.csi_driver.driver import Driver, Serving

NAME = "disk.test"
POD: Object = {
    "metadata": {"name": "web", "namespace": "default", "uid": "u"},
    "spec": {
        "containers": [{"name": "main", "volumeMounts": [{"name": "far", "mountPath": "/far"}]}],
        "volumes": [{"name": "far", "persistentVolumeClaim": {"claimName": "far"}}],
    },
}


async def a_claim(verbs: LocalVerbs) -> None:
    modes = {"accessModes": ["ReadWriteOnce"]}
    spec = {**modes, "volumeName": "far", "storageClassName": "", "resources": {"requests": {"storage": "1Mi"}}}
    claim = await verbs.create(
        PERSISTENTVOLUMECLAIM, "default", {"metadata": {"name": "far", "namespace": "default"}, "spec": spec}
    )
    reference = {"kind": "PersistentVolumeClaim", "namespace": "default", "name": "far", "uid": uid_of(claim)}
    source = {"driver": NAME, "volumeHandle": "vol-far"}
    volume = {**modes, "capacity": {"storage": "1Mi"}, "claimRef": reference, "csi": source}
    await verbs.create(PERSISTENTVOLUME, "", {"metadata": {"name": "far"}, "spec": volume})
    await verbs.patch(PERSISTENTVOLUMECLAIM, "default", "far", {"status": {"phase": "Bound"}}, subresource="status")


async def test_a_node_that_may_have_no_more_volumes_rejects_the_pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setup, "ATTACH_PATIENCE_SECONDS", 0.0)
    monkeypatch.setattr(measuring, "update_seconds", lambda found: min(1, update_seconds(found)))
    driver = Driver(NAME, tmp_path / "state", volumes_max=7)
    serving = Serving(driver, tmp_path / "csi.sock")
    async with open_store(tmp_path / "state.db") as store, trio.open_nursery() as nursery:
        registry = Registry(store)
        await registry.load()
        verbs = LocalVerbs(registry, UserInfo("system:admin", groups=("system:masters",)))
        await verbs.create(NAMESPACE, "", {"metadata": {"name": "default"}})
        await verbs.create(NODE, "", {"metadata": {"name": "n1"}})
        period = {"attachRequired": True, "nodeAllocatableUpdatePeriodSeconds": 10}
        await verbs.create(CSIDRIVER, "", {"metadata": {"name": NAME}, "spec": period})

        drivers = CsiDrivers(verbs, "n1", lambda name: asked.driver_came())
        asked = measuring.Measuring(verbs, drivers)
        nursery.start_soon(asked.run)

        async def until_allowed(count: int) -> None:
            with trio.fail_after(60):
                while True:
                    told = await verbs.get(CSINODE, "", "n1")
                    if [each["allocatable"]["count"] for each in told["spec"]["drivers"]] == [count]:
                        return
                    await trio.sleep(0.05)

        await drivers.register(NAME, str(serving.socket), ["1.0.0"])
        await until_allowed(7)
        driver.volumes_max = 5
        await until_allowed(5)

        await a_claim(verbs)
        name = attachment_name("vol-far", NAME, "n1")
        spec = {"attacher": NAME, "nodeName": "n1", "source": {"persistentVolumeName": "far"}}
        await verbs.create(VOLUMEATTACHMENT, "", {"metadata": {"name": name}, "spec": spec})
        refusal = {"status": {"attached": False, "attachError": {"message": "five are attached", "errorCode": 8}}}
        await verbs.patch(VOLUMEATTACHMENT, "", name, refusal, subresource="status")

        in_use = VolumesInUse()
        in_use.changed = lambda: in_use.told(in_use.names())
        tokens = TokenSource(verbs, time.time)
        csi = CsiVolumes(
            verbs, "n1", drivers, tokens, in_use, places=Places(tmp_path, tmp_path), clock=time.time,
            expansions=Expansions(verbs, "n1", time.time), tell=lambda *event: None,
        )  # fmt: skip
        settings = Settings(node_name="n1", data_dir=tmp_path)
        references = References(verbs, nursery, lambda uid: None)
        nothing: Any = None
        volumes = setup.VolumeSetup(
            verbs, nothing, references, tokens, Directories(settings), csi, nothing, "", lambda uid: None, time.time
        )
        paths, problem = PodPaths(tmp_path, tmp_path / "logs", "default", "web", "u"), None
        driver.volumes_max = 4
        while problem is None or not problem.rejection:  # the first look begins to wait
            with pytest.raises(VolumesProblem) as caught:
                await volumes.set_up(POD, paths, Surroundings())
            problem = caught.value
        assert problem.rejection == (
            "Node has reached its volume attachment limit, rejecting pod. unmounted volumes=[far], unattached volumes=[far], "
            "failed to process volumes=[]: context deadline exceeded"
        )
        await until_allowed(4)
        client = drivers.get(NAME)
        assert isinstance(client, CsiClient)
        client.close()
        serving.close()
        nursery.cancel_scope.cancel()


async def test_who_takes_back_a_size_that_failed_for_good_is_not_kept_to_it(tmp_path: Path) -> None:
    async with open_store(tmp_path / "state.db") as store, trio.open_nursery() as nursery:
        registry = Registry(store)
        await registry.load()
        verbs = LocalVerbs(registry, UserInfo("system:admin", groups=("system:masters",)))
        await verbs.create(NAMESPACE, "", {"metadata": {"name": "default"}})
        await a_claim(verbs)
        told: list[str] = []

        async def refuse(size_bytes: int) -> None:
            raise CsiFailure("PERMISSION_DENIED", f"not {size_bytes}")

        async def looked() -> str:
            """What the claim says once the node has looked."""
            await expansions._look(in_use)
            claim = await verbs.get(PERSISTENTVOLUMECLAIM, "default", "far")
            return str(claim["status"]["allocatedResourceStatuses"]["storage"])

        source = VolumeSource("far", "csi", {"driver": NAME, "volumeHandle": "vol-far"}, volume="far")
        in_use = InUse(POD, "far", source, refuse, lambda about, kind, reason, message: told.append(reason))
        expansions = Expansions(verbs, "n1", time.time)
        # It asks for 1Mi, as before somebody had it grow to 9Mi for a while.
        await verbs.patch(PERSISTENTVOLUME, "", "far", {"spec": {"capacity": {"storage": "9Mi"}}})
        pending = {"capacity": {"storage": "1Mi"}, "allocatedResourceStatuses": {"storage": "NodeResizePending"}}
        await verbs.patch(PERSISTENTVOLUMECLAIM, "default", "far", {"status": pending}, subresource="status")
        assert await looked() == "NodeResizeInProgress", "it had not failed before"
        assert await looked() == "NodeResizeInfeasible", "9Mi is not what anybody wants any more"
        assert told == ["VolumeResizeFailed"] * 2
        nursery.cancel_scope.cancel()
