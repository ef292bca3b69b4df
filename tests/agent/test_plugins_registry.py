"""Plugins that register themselves, and what goes wrong with them."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import trio

from edgekube.agent._generated import pluginregistration_pb2 as messages
from edgekube.agent.csi.client import CsiClient
from edgekube.agent.csi.drivers import CsiDrivers
from edgekube.agent.csi.expansion import Expansions
from edgekube.agent.csi.leaving import NOBODY, Leaving
from edgekube.agent.csi.places import GLOBAL, Places
from edgekube.agent.csi.staging import Staging
from edgekube.agent.csi.volumes import CsiVolumes
from edgekube.agent.plugins_registry import PluginsRegistry
from edgekube.agent.tokens import TokenSource
from edgekube.agent.volumes.in_use import VolumesInUse
from edgekube.agent.volumes.source import VolumeSource
from tests.csi_driver.driver import Driver, Serving


class Taken:
    """A PluginHandler."""

    def __init__(self) -> None:
        self.names: list[str] = []

    async def register(self, name: str, endpoint: str, versions: Sequence[str]) -> None:
        self.names.append(name)

    async def removed(self, name: str, endpoint: str) -> None:
        self.names.remove(name)


class Counted(PluginsRegistry):
    looks = 0

    async def _reconcile(self, found: Any) -> None:
        self.looks += 1
        await super()._reconcile(found)


async def test_a_plugin_that_will_not_hear_of_its_registration_is_left_in_peace(tmp_path: Path) -> None:
    def info(request: Any, context: Any) -> Any:
        return messages.PluginInfo(type="CSIPlugin", name="deaf.test", endpoint="/x", supported_versions=["1.0.0"])

    handler = grpc.unary_unary_rpc_method_handler(
        info, messages.InfoRequest.FromString, lambda message: bytes(message.SerializeToString())
    )
    # As below a data directory with a long name: sockets have names of 107 bytes.
    (tmp_path / ("d" * 100)).mkdir()
    known = tmp_path / "k"
    known.symlink_to("d" * 100)
    server = grpc.server(ThreadPoolExecutor(1))
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("pluginregistration.Registration", {"GetInfo": handler}),)
    )
    assert server.add_insecure_port(f"unix:{known}/deaf.sock")
    server.start()
    taken = Taken()
    registry = Counted(known, {"CSIPlugin": taken})
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(registry.run)
            with trio.fail_after(60):
                while not taken.names:  # noqa: ASYNC110 (another thread answers)
                    await trio.sleep(0.02)
                looks = registry.looks
                (known / "another").mkdir()
                while registry.looks == looks:  # noqa: ASYNC110
                    await trio.sleep(0.02)
            assert registry._retry_at == {}, "a time that is past would make this a loop without a pause"
            nursery.cancel_scope.cancel()
    finally:
        server.stop(None)
    assert taken.names == ["deaf.test"]


async def test_what_a_driver_left_beside_its_staged_volume_ends_nothing(tmp_path: Path) -> None:
    places = Places(tmp_path, tmp_path)
    verbs: Any = None
    drivers = CsiDrivers(verbs, "n1", lambda name: None)
    client = CsiClient(str(tmp_path / "csi.sock"))
    client._capabilities = frozenset()
    drivers._clients["d.test"] = client
    folder = places.plugin_dir / "d.test" / "digest"
    (folder / GLOBAL).mkdir(parents=True)
    (folder / "vol_data.json").write_text('{"driverName":"d.test","volumeHandle":"v"}')
    (folder / "of-the-driver").touch()
    staging = Staging(verbs, drivers, places)
    assert await staging.left_over("d.test") == [(folder / GLOBAL, "v")]
    await Leaving(staging).leave("d.test", "v", folder / GLOBAL, NOBODY, lambda: None)
    assert [path.name for path in folder.iterdir()] == ["of-the-driver"]
    client.close()


class Slow(Driver):
    """It refuses to stage a volume, when it is let."""

    def __init__(self, state: Path) -> None:
        super().__init__("d.test", state)
        self.asked, self.may_answer = threading.Event(), threading.Event()

    def _NodeStageVolume(self, request: Any) -> Any:
        self.asked.set()
        self.may_answer.wait(60)
        raise RuntimeError("no")


async def test_a_driver_is_heard_out_though_the_pod_is_deleted(tmp_path: Path) -> None:
    verbs: Any = None
    drivers, driver, places = CsiDrivers(verbs, "n1", lambda name: None), Slow(tmp_path / "state"), Places(tmp_path, tmp_path)
    staging = Staging(verbs, drivers, places)
    spec = {"driver": "d.test", "volumeHandle": "v"}
    source = VolumeSource("data", "csi", spec, volume="pv", access_modes=("ReadWriteOnce",))
    serving = Serving(driver, tmp_path / "csi.sock")
    drivers._clients["d.test"] = CsiClient(str(serving.socket))
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(staging.stage, source, {}, None)
            await trio.to_thread.run_sync(driver.asked.wait, 60)
            nursery.cancel_scope.cancel()
            driver.may_answer.set()
        await staging.unstage("d.test", "v", places.staging(source), "u")
    finally:
        drivers._clients["d.test"].close()
        serving.close()
    assert [name for name, _ in driver.calls if name.endswith("tageVolume")] == ["NodeStageVolume"]


async def test_a_driver_that_does_not_let_go_is_asked_again_and_holds_up_nobody(tmp_path: Path) -> None:
    verbs: Any = None
    drivers, driver, places = (
        CsiDrivers(verbs, "n1", lambda name: None),
        Driver("d.test", tmp_path / "state"),
        Places(tmp_path, tmp_path),
    )
    staging = Staging(verbs, drivers, places)
    leaving, gone = Leaving(staging), trio.Event()
    source = VolumeSource("data", "csi", {"driver": "d.test", "volumeHandle": "v"}, volume="pv", access_modes=("ReadWriteOnce",))
    path = places.staging(source)
    serving = Serving(driver, tmp_path / "csi.sock")
    drivers._clients["d.test"] = CsiClient(str(serving.socket))
    driver.fail("NodeUnstageVolume", grpc.StatusCode.INVALID_ARGUMENT, "not yet", times=2)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(leaving.run)
            with trio.fail_after(60):
                await staging.stage(source, {}, None)
                await leaving.leave("d.test", "v", path, "u", gone.set)
                assert path.exists()
                await staging.stage(source, {}, None)
                await gone.wait()
            assert not path.exists()
            nursery.cancel_scope.cancel()
    finally:
        drivers._clients["d.test"].close()
        serving.close()
    calls = [name for name, _ in driver.calls if name.endswith("tageVolume")]
    assert calls.count("NodeStageVolume") == 2, "nobody knows what the refusal left behind"
    assert calls.count("NodeUnstageVolume") == 3 and calls[-1] == "NodeUnstageVolume"


async def test_a_driver_that_was_started_anew_is_the_one_that_is_asked(tmp_path: Path) -> None:
    verbs: Any = None
    drivers = CsiDrivers(verbs, "n1", lambda name: None)
    expansions = Expansions(verbs, "n1", time.time)
    places = Places(tmp_path, tmp_path)
    tokens = TokenSource(verbs, time.time)
    volumes = CsiVolumes(
        verbs, "n1", drivers, tokens, VolumesInUse(),
        places=places, clock=time.time, expansions=expansions, tell=lambda *event: None,
    )  # fmt: skip
    volumes._published["u", "data"] = ("d.test", "v", str(tmp_path))
    assert await volumes.usages() == {}, "nobody is there to tell"
    serving = Serving(Driver("d.test", tmp_path / "state"), tmp_path / "csi.sock")
    try:
        for _ in range(2):
            volumes._usages = (float("-inf"), {})
            old, drivers._clients["d.test"] = drivers.get("d.test"), CsiClient(str(serving.socket))
            if old is not None:
                old.close()
            assert (await volumes.usages())["u", "data"][3:] == (1000, 990)
    finally:
        drivers._clients["d.test"].close()
        serving.close()
