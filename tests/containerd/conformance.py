"""What every containerd.protocol.Runtime must do. A test module makes a ``pods`` fixture and inherits RuntimeConformance.

The sandboxes use the host's network, so that nothing of a pod network is needed or left.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio
from msgspec.structs import replace

from edgekube.containerd.model import (
    ContainerConfig,
    ContainerStatus,
    DnsConfig,
    Mount,
    Namespaces,
    Resources,
    RuntimeFailure,
    SandboxConfig,
    Security,
)
from edgekube.containerd.protocol import Runtime

BUSYBOX = "docker.io/library/busybox:1.36"
#: Terminates at once on SIGTERM, although it is PID 1.
POLITE = ("sh", "-c", "trap 'exit 0' TERM; sleep 1000 & wait")
#: PID 1 without a handler: the kernel drops SIGTERM.
STUBBORN = ("sleep", "1000")


@dataclass
class Pods:
    """Makes pods on a runtime, each removed at the end of its block."""

    runtime: Runtime
    cgroup_parent: str
    logs: Path
    image: str = BUSYBOX

    def sandbox_config(self, name: str = "web", *, shared_pids: bool = False) -> SandboxConfig:
        uid = secrets.token_hex(8)
        return SandboxConfig(
            name=name,
            uid=uid,
            namespace="default",
            attempt=0,
            hostname="",
            log_directory=str(self.logs / uid),
            dns=DnsConfig(servers=("10.43.0.10",), searches=("default.svc.cluster.local",), options=("ndots:5",)),
            labels={"app": name},
            annotations={"note": "kept"},
            cgroup_parent=f"{self.cgroup_parent}/pod{uid}",
            security=Security(namespaces=Namespaces(network="NODE", pid="POD" if shared_pids else "CONTAINER")),
        )

    @asynccontextmanager
    async def sandbox(self, *, shared_pids: bool = False) -> AsyncIterator[tuple[str, SandboxConfig]]:
        config = self.sandbox_config(shared_pids=shared_pids)
        sandbox_id = await self.runtime.run_sandbox(config)
        try:
            yield sandbox_id, config
        finally:
            with trio.CancelScope(shield=True):
                await self.runtime.stop_sandbox(sandbox_id)
                await self.runtime.remove_sandbox(sandbox_id)

    def container_config(self, *command: str, **changes: object) -> ContainerConfig:
        config = ContainerConfig(name="main", attempt=0, image=self.image, command=command, log_path="main.log")
        return replace(config, **changes)

    async def container(self, sandbox: tuple[str, SandboxConfig], *command: str, **changes: object) -> str:
        shared = sandbox[1].security.namespaces
        changes.setdefault("security", Security(namespaces=shared))
        container = await self.runtime.create_container(sandbox[0], self.container_config(*command, **changes), sandbox[1])
        await self.runtime.start_container(container)
        return container

    async def ended(self, container_id: str) -> ContainerStatus:
        """The status once the container has exited; waits for the runtime's events, not for a clock."""
        with trio.fail_after(60):
            async with self.runtime.events() as events:
                while True:
                    status = await self.runtime.container_status(container_id)
                    if status.state == "EXITED":
                        return status
                    with trio.move_on_after(0.25):  # the relist that an agent has too, for an event before the subscription
                        await anext(aiter(events))

    async def run(self, *command: str, **changes: object) -> tuple[ContainerStatus, str]:
        """Status and log of a container that ends by itself."""
        async with self.sandbox() as sandbox:
            status = await self.ended(await self.container(sandbox, *command, **changes))
            return status, (Path(sandbox[1].log_directory) / "main.log").read_text()


class RuntimeConformance:
    async def test_says_what_it_is(self, pods: Pods) -> None:
        assert re.fullmatch(r"[a-z]+://\d+\.\d+\.\d+.*", await pods.runtime.version())
        assert (await pods.runtime.conditions())["RuntimeReady"] == (True, "")

    async def test_sandbox_lives_and_dies(self, pods: Pods) -> None:
        config = pods.sandbox_config()
        sandbox_id = await pods.runtime.run_sandbox(config)
        [listed] = [row for row in await pods.runtime.list_sandboxes() if row.id == sandbox_id]
        assert (listed.name, listed.uid, listed.namespace, listed.attempt) == ("web", config.uid, "default", 0)
        assert (listed.state, listed.labels, listed.annotations) == ("READY", {"app": "web"}, {"note": "kept"})
        status = await pods.runtime.sandbox_status(sandbox_id)
        assert (status.sandbox.id, status.network, status.ips) == (sandbox_id, "NODE", ())
        await pods.runtime.stop_sandbox(sandbox_id)
        assert (await pods.runtime.sandbox_status(sandbox_id)).sandbox.state == "NOTREADY"
        await pods.runtime.remove_sandbox(sandbox_id)
        assert sandbox_id not in [row.id for row in await pods.runtime.list_sandboxes()]

    async def test_undoing_twice_is_fine(self, pods: Pods) -> None:
        async with pods.sandbox() as sandbox:
            container = await pods.container(sandbox, *POLITE)
            for _ in range(2):
                await pods.runtime.stop_container(container, 5)
            for _ in range(2):
                await pods.runtime.remove_container(container)
            await pods.runtime.stop_container(container, 5)
            for _ in range(2):
                await pods.runtime.stop_sandbox(sandbox[0])
            for _ in range(2):
                await pods.runtime.remove_sandbox(sandbox[0])
            await pods.runtime.stop_sandbox(sandbox[0])

    async def test_container_lives_and_dies(self, pods: Pods) -> None:
        async with pods.sandbox() as sandbox:
            config = pods.container_config(*POLITE, labels={"a": "b"}, annotations={"c": "d"})
            container = await pods.runtime.create_container(sandbox[0], config, sandbox[1])
            assert (await pods.runtime.container_status(container)).state == "CREATED"
            await pods.runtime.start_container(container)
            status = await pods.runtime.container_status(container)
            assert (status.state, status.name, status.attempt, status.exit_code) == ("RUNNING", "main", 0, 0)
            assert (status.labels, status.annotations) == ({"a": "b"}, {"c": "d"})
            assert 0 < status.created_at_ns <= status.started_at_ns
            assert status.finished_at_ns == 0
            assert status.image_ref.startswith("sha256:") or "@sha256:" in status.image_ref
            [row] = [row for row in await pods.runtime.list_containers() if row.id == container]
            assert (row.sandbox_id, row.state, row.labels) == (sandbox[0], "RUNNING", {"a": "b"})
            await pods.runtime.stop_container(container, 10)
            status = await pods.runtime.container_status(container)
            assert (status.state, status.exit_code, status.reason) == ("EXITED", 0, "Completed")
            assert status.finished_at_ns >= status.started_at_ns
            await pods.runtime.remove_container(container)
            with pytest.raises(RuntimeFailure) as gone:
                await pods.runtime.container_status(container)
            assert gone.value.code == "NOT_FOUND"

    async def test_exit_codes_and_reasons(self, pods: Pods) -> None:
        completed, _ = await pods.run("true")
        assert (completed.exit_code, completed.reason) == (0, "Completed")
        failed, _ = await pods.run("sh", "-c", "exit 7")
        assert (failed.exit_code, failed.reason) == (7, "Error")

    async def test_memory_limit_ends_in_oom_killed(self, pods: Pods) -> None:
        limit = Resources(memory_limit_bytes=16 * 1024 * 1024)
        async with pods.sandbox() as sandbox:
            container = await pods.container(sandbox, "tail", "-c", "200000000", "/dev/zero", resources=limit)
            killed = await pods.ended(container)
            with trio.fail_after(60):  # that memory ran out is told of by a way of its own, which may be the longer one
                while killed.reason != "OOMKilled":
                    await trio.sleep(0.05)
                    killed = await pods.runtime.container_status(container)
            assert killed.exit_code == 137

    async def test_missing_command_fails_at_start(self, pods: Pods) -> None:
        async with pods.sandbox() as sandbox:
            config = pods.container_config("/no/such/command")
            container = await pods.runtime.create_container(sandbox[0], config, sandbox[1])
            with pytest.raises(RuntimeFailure, match="no such file or directory"):
                await pods.runtime.start_container(container)
            assert (await pods.runtime.container_status(container)).state == "EXITED"

    async def test_stop_kills_after_the_timeout(self, pods: Pods) -> None:
        async with pods.sandbox() as sandbox:
            container = await pods.container(sandbox, *STUBBORN)
            before = trio.current_time()
            await pods.runtime.stop_container(container, 1)
            assert trio.current_time() - before > 0.9
            status = await pods.runtime.container_status(container)
            assert (status.state, status.exit_code, status.reason) == ("EXITED", 137, "Error")

    async def test_stop_by_a_signal_of_its_own(self, pods: Pods) -> None:
        async with pods.sandbox() as sandbox:
            script = "trap 'exit 3' USR1; trap '' TERM; echo ready; while :; do sleep 0.1; done"
            container = await pods.container(sandbox, "sh", "-c", script)
            async with _tail(Path(sandbox[1].log_directory) / "main.log", "ready"):
                await pods.runtime.stop_container(container, 60, "SIGUSR1")
            status = await pods.ended(container)  # of which containerd's CRI part may hear after containerd itself
            assert (status.state, status.exit_code) == ("EXITED", 3)
            await pods.runtime.stop_container(container, 60, "SIGUSR1")

    async def test_stop_by_its_signal_kills_after_the_timeout_too(self, pods: Pods) -> None:
        async with pods.sandbox() as sandbox:
            container = await pods.container(sandbox, *STUBBORN)
            await pods.runtime.stop_container(container, 1, "SIGWINCH")
            status = await pods.runtime.container_status(container)
            assert (status.state, status.exit_code) == ("EXITED", 137)

    async def test_log_lines_are_in_cri_format(self, pods: Pods) -> None:
        _, log = await pods.run("sh", "-c", "echo out; echo err >&2; printf half")
        lines = sorted(line.split(" ", 1)[1] for line in log.splitlines())
        assert lines == ["stderr F err", "stdout F out", "stdout P half"] or lines == [
            "stderr F err",
            "stdout F half",
            "stdout F out",
        ]
        assert all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+(Z|[+-]\d\d:\d\d) ", line) for line in log.splitlines())

    async def test_reopened_log_goes_to_a_new_file(self, pods: Pods) -> None:
        async with pods.sandbox() as sandbox:
            container = await pods.container(sandbox, "sh", "-c", "echo before; read go < /pipe/fifo; echo after", **_pipe(pods))
            log = Path(sandbox[1].log_directory) / "main.log"
            async with _tail(log, "before"):
                log.rename(log.with_suffix(".1"))
                await pods.runtime.reopen_log(container)
            await trio.to_thread.run_sync(lambda: (pods.logs / "fifo").write_text("go\n"))
            await pods.ended(container)
            assert "stdout F before" in log.with_suffix(".1").read_text()
            assert "stdout F after" in log.read_text()
            assert "before" not in log.read_text()

    async def test_environment_mounts_and_working_directory(self, pods: Pods, tmp_path: Path) -> None:
        (tmp_path / "greeting").write_text("hello\n")
        status, log = await pods.run(
            "sh",
            "-c",
            "cat greeting; echo $NAME; touch x 2>/dev/null || echo readonly; grep -c ndots:5 /etc/resolv.conf",
            env=(("NAME", "edge"),),
            mounts=(Mount("/data", str(tmp_path), readonly=True),),
            working_dir="/data",
        )
        assert [line.split(" ", 3)[3] for line in log.splitlines()] == ["hello", "edge", "readonly", "1"]
        assert status.exit_code == 0

    async def test_runs_as_the_given_user(self, pods: Pods) -> None:
        security = Security(
            namespaces=Namespaces(network="NODE"), run_as_user=1234, run_as_group=2345, drop_capabilities=("ALL",)
        )
        _, log = await pods.run("sh", "-c", "id -u; id -g; grep CapEff /proc/self/status", security=security)
        assert [line.split(" ", 3)[3].split()[-1] for line in log.splitlines()] == ["1234", "2345", "0" * 16]

    async def test_exec_sync(self, pods: Pods) -> None:
        async with pods.sandbox() as sandbox:
            container = await pods.container(sandbox, *POLITE)
            result = await pods.runtime.exec_sync(container, ["sh", "-c", "echo out; echo err >&2; exit 3"], 60)
            assert (result.exit_code, result.stdout, result.stderr) == (3, b"out\n", b"err\n")

    async def test_exec_sync_times_out_and_is_killed(self, pods: Pods) -> None:
        async with pods.sandbox() as sandbox:
            container = await pods.container(sandbox, *POLITE)
            with pytest.raises(RuntimeFailure) as late:
                await pods.runtime.exec_sync(container, ["sleep", "777"], 1)
            assert late.value.code == "DEADLINE_EXCEEDED"
            processes = (await pods.runtime.exec_sync(container, ["ps"], 60)).stdout
            assert b"777" not in processes

    async def test_streams_have_urls_on_loopback(self, pods: Pods) -> None:
        async with pods.sandbox() as sandbox:
            container = await pods.container(sandbox, *POLITE)
            exec_url = await pods.runtime.exec_url(container, ["sh"], stdin=True, stdout=True, stderr=True, tty=False)
            attach_url = await pods.runtime.attach_url(container, stdin=False, stdout=True, stderr=True, tty=False)
            forward_url = await pods.runtime.port_forward_url(sandbox[0], [80])
            for url, verb in ((exec_url, "exec"), (attach_url, "attach"), (forward_url, "portforward")):
                assert re.fullmatch(rf"http://127\.0\.0\.1:\d+/{verb}/\S+", url)

    async def test_shared_pid_namespace_reaps_orphans(self, pods: Pods) -> None:
        async with pods.sandbox(shared_pids=True) as sandbox:
            container = await pods.container(sandbox, *POLITE)
            # The inner shell ends at once, so its child becomes an orphan of PID 1, the sandbox's own process.
            await pods.runtime.exec_sync(container, ["sh", "-c", "(sleep 0.123 &)"], 60)
            with trio.fail_after(60):
                while True:  # until it has ended and was waited for
                    listing = (await pods.runtime.exec_sync(container, ["ps", "-o", "pid,stat,args"], 60)).stdout.decode()
                    assert re.search(r"^ *1 .*pause", listing, re.MULTILINE)
                    if "sleep 0.123" not in listing and " Z" not in listing:
                        break

    async def test_events_tell_of_start_and_exit(self, pods: Pods) -> None:
        async with pods.sandbox() as sandbox, pods.runtime.events() as events:
            container = await pods.container(sandbox, "true")
            topics: set[str] = set()
            with trio.fail_after(60):
                while not {"/tasks/start", "/tasks/exit"} <= topics:
                    event = await anext(aiter(events))
                    if event.container_id == container:
                        topics.add(event.topic)
            assert topics == {"/tasks/start", "/tasks/exit"}

    async def test_resources_can_change_in_place(self, pods: Pods) -> None:
        async with pods.sandbox() as sandbox:
            container = await pods.container(sandbox, *POLITE, resources=Resources(memory_limit_bytes=64 * 1024 * 1024))
            await pods.runtime.update_resources(container, Resources(memory_limit_bytes=96 * 1024 * 1024, cpu_shares=512))
            assert (await pods.runtime.container_status(container)).state == "RUNNING"

    async def test_cancelling_a_call_leaves_the_connection_usable(self, pods: Pods) -> None:
        async with pods.sandbox() as sandbox:
            container = await pods.container(sandbox, *POLITE)
            with trio.move_on_after(0.2) as patience:
                await pods.runtime.exec_sync(container, ["sleep", "30"], 60)
            assert patience.cancelled_caught
            assert (await pods.runtime.exec_sync(container, ["echo", "still here"], 60)).stdout == b"still here\n"

    async def test_unknown_ids_are_not_found(self, pods: Pods) -> None:
        for call in (
            pods.runtime.container_status("nosuch"),
            pods.runtime.sandbox_status("nosuch"),
            pods.runtime.start_container("nosuch"),
            pods.runtime.exec_sync("nosuch", ["true"], 1),
        ):
            with pytest.raises(RuntimeFailure) as missing:
                await call
            assert missing.value.code == "NOT_FOUND"

    async def test_images_come_from_archives(self, pods: Pods, busybox_archive: Path) -> None:
        assert await pods.runtime.import_archive(busybox_archive) == [BUSYBOX]
        image = await pods.runtime.image_status("busybox:1.36")
        assert image is not None
        assert BUSYBOX in image.tags
        assert image.id.startswith("sha256:")
        assert image.size_bytes > 0
        assert image.id in [row.id for row in await pods.runtime.list_images()]

    async def test_unknown_image(self, pods: Pods) -> None:
        assert await pods.runtime.image_status("edgekube.local/nosuch:1") is None
        await pods.runtime.remove_image("edgekube.local/nosuch:1")
        assert await pods.runtime.image_status("edgekube.local/nosuch:1") is None


def _pipe(pods: Pods) -> dict[str, object]:
    """A FIFO that the container waits at, so that the test decides when it goes on."""
    import os

    pods.logs.mkdir(parents=True, exist_ok=True)
    os.mkfifo(pods.logs / "fifo")
    return {"mounts": (Mount("/pipe", str(pods.logs)),)}


@asynccontextmanager
async def _tail(path: Path, text: str) -> AsyncIterator[None]:
    """Enter once ``text`` is in the file."""
    with trio.fail_after(60):
        while not path.exists() or text not in path.read_text():  # noqa: ASYNC110 (a file has no event)
            await trio.sleep(0.01)
    yield
