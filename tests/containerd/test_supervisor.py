"""Whoever dies, containers live: containerd killed, edgekube killed, neither there, wrong settings."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import trio
from msgspec.structs import replace as with_changes

from edgekube import limits
from edgekube.containerd import host, supervisor
from edgekube.containerd.cri import connect
from edgekube.containerd.host import RuntimeUnavailable
from edgekube.containerd.model import RuntimeFailure
from edgekube.containerd.supervisor import Supervisor, check_foreign, instance_of, rotate_log, supervise
from tests.containerd.conformance import POLITE, Pods
from tests.containerd.conftest import Place

pytestmark = pytest.mark.root


def pid_of(place: Place) -> int:
    return int((place.settings.containerd_state / "containerd.pid").read_text().split()[0])


def configuration_of(place: Place) -> str:
    """The digest of the configuration that containerd was started with."""
    return (place.settings.containerd_state / "containerd.pid").read_text().split()[2]


@asynccontextmanager
async def a_running_container(place: Place, archive: Path, tmp_path: Path) -> AsyncIterator[tuple[Pods, str]]:
    """The supervised runtime with one container in it."""
    async with supervise(place.settings) as address, connect(address) as runtime:
        await runtime.import_archive(archive)
        pods = Pods(runtime, place.cgroup, tmp_path / "logs")
        async with pods.sandbox() as sandbox:
            yield pods, await pods.container(sandbox, *POLITE)


async def _back(pods: Pods) -> None:
    """Until the runtime answers again on the connection that it had."""
    with trio.fail_after(60):
        while True:
            try:
                await pods.runtime.list_containers()
                return
            except RuntimeFailure:
                await trio.sleep(0.01)


async def test_killed_containerd_comes_back_and_containers_never_notice(
    own_place: Place, busybox_archive: Path, tmp_path: Path
) -> None:
    async with a_running_container(own_place, busybox_archive, tmp_path) as (pods, container):
        started = (await pods.runtime.container_status(container)).started_at_ns
        first = pid_of(own_place)
        async with pods.runtime.events() as events:
            os.kill(first, signal.SIGKILL)
            before = trio.current_time()
            with trio.fail_after(60):  # the stream of hints ends, so that its reader subscribes again
                assert [event async for event in events] == []
        await _back(pods)
        assert trio.current_time() - before < 60
        assert pid_of(own_place) != first
        status = await pods.runtime.container_status(container)
        assert (status.state, status.started_at_ns) == ("RUNNING", started)
        assert (await pods.runtime.exec_sync(container, ["echo", "alive"], 10)).stdout == b"alive\n"


async def test_it_is_restarted_again_and_again(own_place: Place) -> None:
    async with supervise(own_place.settings) as address, connect(address) as runtime:
        pids = {pid_of(own_place)}
        for _ in range(3):
            os.kill(pid_of(own_place), signal.SIGKILL)
            with trio.fail_after(60):
                while pid_of(own_place) in pids:  # noqa: ASYNC110 (a file has no event)
                    await trio.sleep(0.01)
                pids.add(pid_of(own_place))
                await supervisor.wait_until_initialized(runtime)
        assert len(pids) == 4


async def test_a_new_edgekube_adopts_what_runs(own_place: Place, busybox_archive: Path, tmp_path: Path) -> None:
    async with a_running_container(own_place, busybox_archive, tmp_path) as (pods, container):
        pid = pid_of(own_place)
        async with supervise(own_place.settings) as address, connect(address) as runtime:
            assert pid_of(own_place) == pid
            assert (await runtime.container_status(container)).state == "RUNNING"
            # The adopted one is not our child and is watched all the same.
            os.kill(pid, signal.SIGKILL)
            await _back(Pods(runtime, "", tmp_path))
        assert (await pods.runtime.container_status(container)).state == "RUNNING"


_EDGEKUBE = """
import sys, trio
from pathlib import Path
from edgekube.containerd.supervisor import supervise
from edgekube.settings import Settings

async def main():
    async with supervise(Settings("test", data_dir=Path(sys.argv[1]), run_dir=Path(sys.argv[2]))):
        print("ready", flush=True)
        await trio.sleep_forever()

trio.run(main)
"""


async def test_killed_edgekube_leaves_containerd_and_containers(own_place: Place, busybox_archive: Path, tmp_path: Path) -> None:
    paths = [str(own_place.settings.data_dir), str(own_place.settings.run_dir)]
    edgekube = await trio.to_thread.run_sync(
        lambda: subprocess.Popen([sys.executable, "-c", _EDGEKUBE, *paths], stdout=subprocess.PIPE, start_new_session=True)
    )
    try:
        assert edgekube.stdout is not None
        assert await trio.to_thread.run_sync(edgekube.stdout.readline) == b"ready\n"
        pid = pid_of(own_place)
        async with connect(own_place.address) as runtime:
            await runtime.import_archive(busybox_archive)
            pods = Pods(runtime, own_place.cgroup, tmp_path / "logs")
            async with pods.sandbox() as sandbox:
                container = await pods.container(sandbox, *POLITE)
                os.killpg(edgekube.pid, signal.SIGKILL)  # its whole process group, as a service manager would
                await trio.to_thread.run_sync(edgekube.wait)
                assert (await runtime.container_status(container)).state == "RUNNING"
                async with supervise(own_place.settings):
                    assert pid_of(own_place) == pid
                    assert (await runtime.exec_sync(container, ["echo", "alive"], 10)).stdout == b"alive\n"
    finally:
        edgekube.kill()
        await trio.to_thread.run_sync(edgekube.wait)
        assert edgekube.stdout is not None
        edgekube.stdout.close()


async def test_a_changed_configuration_restarts_containerd_only(own_place: Place, busybox_archive: Path, tmp_path: Path) -> None:
    async with a_running_container(own_place, busybox_archive, tmp_path) as (pods, container):
        pid, own = pid_of(own_place), configuration_of(own_place)
        instance = await trio.to_thread.run_sync(instance_of, own_place.settings)
        changed = Supervisor(with_changes(instance, cni_conf_dir=tmp_path))
        async with trio.open_nursery() as nursery:
            # The first supervisor sees a death and starts its own again; this one only has to win once.
            nursery.start_soon(changed.start)
            await changed_pid(own_place, pid)
            nursery.cancel_scope.cancel()
        with trio.fail_after(60):
            while configuration_of(own_place) != own:  # noqa: ASYNC110 (a file has no event)
                await trio.sleep(0.01)
        await _back(pods)
        assert (await pods.runtime.container_status(container)).state == "RUNNING"


async def changed_pid(place: Place, pid: int) -> None:
    with trio.fail_after(60):
        while pid_of(place) == pid:  # noqa: ASYNC110 (a file has no event)
            await trio.sleep(0.01)


async def test_stop_ends_containerd(own_place: Place) -> None:
    async with supervise(own_place.settings):
        pid = pid_of(own_place)
    stopping = Supervisor(await trio.to_thread.run_sync(instance_of, own_place.settings))
    await stopping.stop()
    assert not Path(f"/proc/{pid}/exe").exists()
    await stopping.stop()
    async with connect(own_place.address) as runtime:
        with pytest.raises(RuntimeFailure) as nobody:
            await runtime.version()
        assert nobody.value.code == "UNAVAILABLE"


async def test_a_pid_file_of_another_process_is_not_believed(own_place: Place) -> None:
    """After a power-off the pid may belong to anybody."""
    own_place.settings.containerd_state.mkdir(parents=True)
    (own_place.settings.containerd_state / "containerd.pid").write_text(f"{os.getpid()} 1 {'0' * 64}\n")
    async with supervise(own_place.settings):
        assert pid_of(own_place) != os.getpid()


async def test_a_containerd_that_no_pid_file_knows_is_replaced(own_place: Place) -> None:
    """edgekube was killed between starting containerd and writing down its pid."""
    async with supervise(own_place.settings):
        stray = pid_of(own_place)
    (own_place.settings.containerd_state / "containerd.pid").unlink()
    async with supervise(own_place.settings) as address, connect(address) as runtime:
        assert pid_of(own_place) != stray
        assert not Path(f"/proc/{stray}/exe").exists()
        assert (await runtime.conditions())["RuntimeReady"] == (True, "")


async def test_containerd_that_cannot_start_says_why(own_place: Place) -> None:
    instance = await trio.to_thread.run_sync(instance_of, own_place.settings)
    (instance.root / "io.containerd.metadata.v1.bolt").write_text("a file where containerd wants a directory")
    with pytest.raises(RuntimeUnavailable, match=r"containerd (ended|is gone|started without its CRI)[\s\S]*metadata"):
        await Supervisor(instance).start()
    assert not Path(f"/proc/{pid_of(own_place)}/exe").exists()


def test_no_containerd_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "SEARCH_PATH", "/nonexistent")
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(RuntimeUnavailable, match="containerd is not installed: apt-get install"):
        host.containerd_binary()


async def test_a_run_directory_too_deep_for_a_socket(own_place: Place) -> None:
    deep = replace(own_place.settings, run_dir=own_place.settings.run_dir / ("d" * 100))
    with pytest.raises(RuntimeUnavailable, match="--run-dir"):
        async with supervise(deep):
            raise AssertionError("it started")


async def test_a_named_runtime_is_used_and_not_touched(own_place: Place, place: Place) -> None:
    foreign = replace(own_place.settings, containerd_address=f"unix://{place.address}")
    async with supervise(foreign) as address, connect(address) as runtime:
        assert address == place.address
        assert (await runtime.version()).startswith("containerd://")
    assert not own_place.settings.containerd_root.exists()


async def test_a_named_runtime_that_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "_FOREIGN_SECONDS", 0.3)
    with pytest.raises(RuntimeUnavailable, match=rf"no container runtime answers on {tmp_path}/none\.sock"):
        await check_foreign(f"{tmp_path}/none.sock")


def test_overlay_is_tried_for_real(tmp_path: Path) -> None:
    assert host.overlay_works(tmp_path)
    assert list(tmp_path.iterdir()) == []
    # An overlay cannot have its upper directory on another overlay.
    merged, upper, work, lower = (tmp_path / name for name in ("merged", "upper", "work", "lower"))
    for path in (merged, upper, work, lower):
        path.mkdir()
    options = f"lowerdir={lower},upperdir={upper},workdir={work}"
    subprocess.run(["mount", "-t", "overlay", "-o", options, "overlay", str(merged)], check=True)
    try:
        assert not host.overlay_works(merged)
        assert supervisor._snapshotter(merged) == "native"
        assert supervisor._snapshotter(merged) == "native"
    finally:
        subprocess.run(["umount", str(merged)], check=True)


def test_log_is_bounded_while_its_writer_goes_on(tmp_path: Path) -> None:
    log = tmp_path / "containerd.log"
    with log.open("ab", buffering=0) as writer:
        writer.write(b"first\n" * 100)
        rotate_log(log, 100)
        assert log.read_bytes() == b""
        writer.write(b"second\n")
        rotate_log(log, 100)
        assert log.read_bytes() == b"second\n"
    assert (tmp_path / "containerd.log.1").read_bytes() == b"first\n" * 100
    rotate_log(tmp_path / "nosuch.log", limits.CONTAINERD_LOG_BYTES_MAX)
    assert not (tmp_path / "nosuch.log").exists()
