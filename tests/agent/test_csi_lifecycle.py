"""A driver with its sidecars, our controllers and a node: a claim's whole life, also when the controllers stop in between."""

from __future__ import annotations

import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from edgekube.agent.volumes.mounts import mounted_under
from edgekube.api.kinds import CSIDRIVER, NODE, PERSISTENTVOLUME, PERSISTENTVOLUMECLAIM, STORAGECLASS, VOLUMEATTACHMENT
from edgekube.api.objects import Object, is_deleting
from edgekube.reconcile.loops import run_controllers
from edgekube.reconcile.recorder import Recorder
from tests.agent.conftest import Node
from tests.agent.test_pod_volumes import claimed, mounting
from tests.csi_driver.driver import Driver, Serving
from tests.csi_driver.sidecars import Sidecars

pytestmark = pytest.mark.root

NAME = "disk.test"


@asynccontextmanager
async def controllers(node: Node) -> AsyncIterator[None]:
    async with trio.open_nursery() as nursery:
        recorder = Recorder(node.verbs)
        nursery.start_soon(recorder.run)

        async def run(task_status: Any) -> None:
            parts: Any = {"cluster_cidr": "10.42.0.0/16", "root_ca": lambda: "ca"}
            await run_controllers(node.verbs, recorder, **parts, task_status=task_status)

        await nursery.start(run)
        yield
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def beside(node: Node, tmp_path: Path) -> AsyncIterator[Driver]:
    """The driver, registered with the node, and its sidecars."""
    driver = Driver(NAME, tmp_path / "state")
    serving = Serving(driver, tmp_path / "csi.sock")
    serving.register(node.place.settings.agent_dir / "plugins_registry")
    await node.verbs.create(CSIDRIVER, "", {"metadata": {"name": NAME}, "spec": {"attachRequired": True}})
    fast: Object = {"metadata": {"name": "fast"}, "provisioner": NAME, "allowVolumeExpansion": True}
    await node.verbs.create(STORAGECLASS, "", fast)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(Sidecars(node.verbs, NAME, tmp_path / "csi.sock").run)
            yield driver
            nursery.cancel_scope.cancel()
    finally:
        serving.close()
        for point in mounted_under(tmp_path):
            subprocess.run(["umount", str(point)], check=True)


async def asked(node: Node, size: str) -> None:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}, "storageClassName": "fast"}
    await node.verbs.create(PERSISTENTVOLUMECLAIM, "default", {"metadata": {"name": "data"}, "spec": spec})


async def claim(node: Node) -> Object:
    return await node.verbs.get(PERSISTENTVOLUMECLAIM, "default", "data")


async def none_left(node: Node) -> bool:
    return not (await node.verbs.list(PERSISTENTVOLUME)).items and not (await node.verbs.list(VOLUMEATTACHMENT)).items


async def test_a_claims_whole_life(node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgekube.agent.csi.expansion.CSI_EXPAND_CHECK_SECONDS", 0.2)
    async with controllers(node), beside(node, tmp_path) as driver:
        await asked(node, "1Mi")
        await node.create("uses", [mounting("data")], volumes=claimed("data"))
        pod = await node.until_running("uses")
        volume = (await claim(node))["spec"]["volumeName"]
        assert [each["name"] for each in driver.called("CreateVolume")] == [volume]
        [attachment] = (await node.verbs.list(VOLUMEATTACHMENT)).objects()
        assert attachment["status"]["attached"] and len(driver.called("ControllerPublishVolume")) == 1
        listed = (await node.verbs.get(NODE, "", "edge-1"))["status"]["volumesAttached"]
        assert [each["name"] for each in listed] == [f"kubernetes.io/csi/{NAME}^{volume}"]
        await node.until_event("uses", "SuccessfulAttachVolume", f'AttachVolume.Attach succeeded for volume "{volume}" ')
        await node.run_in(pod, "sh", "-c", "echo kept > /data/file")
        assert (driver.volume(volume) / "file").read_text() == "kept\n"

        larger: Object = {"spec": {"resources": {"requests": {"storage": "2Mi"}}}}
        await node.verbs.patch(PERSISTENTVOLUMECLAIM, "default", "data", larger)

        async def grown() -> bool:
            return bool((await claim(node))["status"]["capacity"]["storage"] == "2Mi")

        await node.eventually(grown)
        assert len(driver.called("ControllerExpandVolume")) == 1
        await node.until_event("data", "ExternalExpanding", "waiting for an external controller to expand this PVC")

        await node.verbs.delete(PERSISTENTVOLUMECLAIM, "default", "data")
        assert is_deleting(await claim(node)), "a pod uses it"
        await node.delete("uses")
        await node.eventually(lambda: none_left(node))
        order = [name for name, _ in driver.calls if name.endswith("Volume") and "Expand" not in name]
        assert list(dict.fromkeys(order)) == [  # sidecars may ask for the same again
            "CreateVolume", "ControllerPublishVolume", "NodeStageVolume", "NodePublishVolume",
            "NodeUnpublishVolume", "NodeUnstageVolume", "ControllerUnpublishVolume", "DeleteVolume",
        ]  # fmt: skip
        assert not driver.volume(volume).joinpath("file").exists()


async def test_controllers_that_stopped_in_between_go_on(node: Node, tmp_path: Path) -> None:
    async with beside(node, tmp_path) as driver:
        await asked(node, "1Mi")
        await node.create("uses", [mounting("data")], volumes=claimed("data"))
        for step in ("CreateVolume", "ControllerPublishVolume"):
            async with controllers(node):

                async def called(what: str = step) -> bool:
                    return bool(driver.called(what))

                await node.eventually(called)
        async with controllers(node):
            await node.until_running("uses")
        await node.verbs.delete(PERSISTENTVOLUMECLAIM, "default", "data")
        await node.delete("uses")
        async with controllers(node):
            await node.eventually(lambda: none_left(node))
        for once in ("CreateVolume", "ControllerPublishVolume"):
            assert len(driver.called(once)) == 1, once
