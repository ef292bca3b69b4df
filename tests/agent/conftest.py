"""A node of the tests' own: containerd in a private network namespace, the API on a SQLite store, the agent between them.

Nothing is left on the host: the network namespace takes pods' interfaces and routes with it, and containerd's directory, mounts,
processes and cgroups have a name of their own and are removed.
"""

from __future__ import annotations

import ctypes
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import trio
from trio._core import _thread_cache

from edgekube.agent.pods import Pods
from edgekube.agent.run import run_agent
from edgekube.api.errors import StatusError
from edgekube.api.kinds import EVENT, NAMESPACE, POD, SERVICEACCOUNT
from edgekube.api.objects import Object
from edgekube.api.verbs import ListOptions, UserInfo
from edgekube.containerd.cri import CriRuntime, connect
from edgekube.containerd.supervisor import Supervisor, instance_of, supervise
from edgekube.network import cni
from edgekube.node_rules import NodeRules
from edgekube.pki.token_keys import TokenKeys
from edgekube.pki.tokens import TokenIssuer
from edgekube.registry.local import LocalVerbs
from edgekube.registry.state import Registry
from edgekube.settings import Settings
from edgekube.store.sqlite import open_store
from tests.lab.images import make_busybox_archive

IMAGE = "docker.io/library/busybox:1.36"
_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


@pytest.fixture(scope="module")
def private_network() -> Iterator[None]:
    """This thread, and what it starts, in a network namespace of its own for a while."""
    before = os.open("/proc/self/ns/net", os.O_RDONLY)
    idle_seconds, _thread_cache.IDLE_TIMEOUT = _thread_cache.IDLE_TIMEOUT, 0.1  # type: ignore[assignment]
    assert _libc.unshare(_CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    try:
        yield
    finally:
        assert _libc.setns(before, _CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
        os.close(before)
        # Threads that trio keeps for its next work were born in that namespace: they end when they have been idle for a while.
        for thread in threading.enumerate():
            if thread.name.startswith("Trio thread"):
                thread.join(60)
                assert not thread.is_alive(), "the next module would have its threads in another network"
        _thread_cache.IDLE_TIMEOUT = idle_seconds


@dataclass
class Place:
    settings: Settings
    base: Path

    @property
    def address(self) -> Path:
        return self.settings.containerd_state / "containerd.sock"


def _clear(place: Place) -> None:
    """Whatever containerd left: processes, mounts, cgroups, files."""

    async def stop() -> None:
        with suppress(Exception):
            async with connect(place.address) as runtime:
                with trio.move_on_after(60):
                    for sandbox in await runtime.list_sandboxes():
                        await runtime.stop_sandbox(sandbox.id)
                        await runtime.remove_sandbox(sandbox.id)
        await Supervisor(await trio.to_thread.run_sync(instance_of, place.settings)).stop()

    trio.run(stop)
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if str(place.address).encode() in (process / "cmdline").read_bytes().split(b"\0"):
                os.kill(int(process.name), signal.SIGKILL)
    mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    for mount in sorted((path for path in mounts if path.startswith(f"{place.base}/")), reverse=True):
        subprocess.run(["umount", "-l", mount], check=False)
    parent = place.settings.cgroup_parent.lstrip("/")
    for root in (Path("/sys/fs/cgroup"), *Path("/sys/fs/cgroup").glob("*/")):
        tree = root / parent
        if tree.is_dir():
            for folder, _, _ in os.walk(tree, topdown=False):
                with suppress(OSError):
                    os.rmdir(folder)
    shutil.rmtree(place.base)


@pytest.fixture(scope="module")
def place(private_network: None) -> Iterator[Place]:
    base = Path(tempfile.mkdtemp(prefix="ekagent-", dir="/tmp"))
    settings = Settings(
        node_name="edge-1",
        data_dir=base / "data",
        run_dir=base / "run",
        node_ip="127.0.0.1",
        cgroup_parent=f"/ekagent{secrets.token_hex(4)}",
        # However full the disk of the machine that runs the tests.
        node=NodeRules(eviction_hard=(("memory.available", "16Mi"), ("nodefs.available", "1%")), image_gc_high_percent=100),
    )
    made = Place(settings, base)
    settings.cni_conf_dir.mkdir(parents=True)
    cni.write(settings.cni_conf_dir, cni.conflist(pod_cidrs=["10.199.0.0/24"], mtu=1500, leases_dir=base / "leases"))
    archive = base / "busybox.tar"
    make_busybox_archive(archive)

    async def prepare() -> None:
        async with supervise(settings) as address, connect(address) as runtime:
            await runtime.import_archive(archive)

    try:
        trio.run(prepare)
        yield made
    finally:
        _clear(made)


@dataclass
class Node:
    """A node under test: the API to speak with, and the agent to start, kill and start again."""

    place: Place
    #: An administrator's.
    verbs: LocalVerbs
    #: The agent's, with a node's rights.
    agent_verbs: LocalVerbs
    registry: Registry
    runtime: CriRuntime
    nursery: trio.Nursery
    pods: Pods | None = None
    _scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    _ended: trio.Event = field(default_factory=trio.Event)

    async def start(self) -> Pods:
        self._scope, self._ended = trio.CancelScope(), trio.Event()
        self.pods = await self.nursery.start(self._run)
        assert self.pods is not None
        return self.pods

    async def _run(self, *, task_status: trio.TaskStatus[Pods]) -> None:
        with self._scope:
            await run_agent(
                self.place.settings, self.agent_verbs, self.runtime, authorize=bool, tls=None, task_status=task_status
            )
        self._ended.set()

    async def stop(self) -> None:
        """As kill -9 does: at once, without a word to any container."""
        self._scope.cancel()
        await self._ended.wait()

    async def create(self, name: str, containers: list[Object] | None = None, **spec: Any) -> Object:
        body: Object = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": "default", "labels": {"app": name}},
            "spec": {
                "nodeName": self.place.settings.node_name,
                "automountServiceAccountToken": False,
                "containers": containers or [container("main", "sleep 1000")],
                "terminationGracePeriodSeconds": 1,
                **spec,
            },
        }
        return await self.verbs.create(POD, "default", body)

    async def pod(self, name: str) -> Object:
        return await self.verbs.get(POD, "default", name)

    async def until(self, name: str, true_of: Callable[[Object], Any], seconds: float = 90) -> Object:
        """The pod, once this is true of it (by watching, not by asking again and again)."""
        seen: Object = {}
        with trio.move_on_after(seconds):
            first = await self.verbs.list(POD, "default", ListOptions(field_selector=f"metadata.name={name}"))
            for seen in first.objects():
                if true_of(seen):
                    return seen
            selection = ListOptions(field_selector=f"metadata.name={name}", revision=first.revision)
            async with self.verbs.watch(POD, "default", selection) as events:
                async for event in events:
                    if event.type in ("ADDED", "MODIFIED"):
                        seen = event.object()
                        if true_of(seen):
                            return seen
        raise AssertionError(f"{name}: not within {seconds} s; status: {seen.get('status')}; events: {await self.events(name)}")

    async def until_running(self, name: str, seconds: float = 90) -> Object:
        return await self.until(name, lambda pod: pod["status"]["phase"] == "Running" and is_ready(pod), seconds)

    async def until_gone(self, name: str, seconds: float = 90) -> None:
        with trio.fail_after(seconds):
            while True:
                listed = await self.verbs.list(POD, "default", ListOptions(field_selector=f"metadata.name={name}"))
                if not listed.items:
                    return
                selection = ListOptions(field_selector=f"metadata.name={name}", revision=listed.revision)
                async with self.verbs.watch(POD, "default", selection) as events:
                    async for event in events:
                        if event.type == "DELETED":
                            return

    async def delete(self, name: str) -> None:
        await self.verbs.delete(POD, "default", name)
        await self.until_gone(name)

    async def run_in(self, pod: Object, *command: str, name: str = "main") -> str:
        """What the command printed in the pod's container."""
        status = next(item for item in pod["status"]["containerStatuses"] if item["name"] == name)
        result = await self.runtime.exec_sync(status["containerID"].removeprefix("containerd://"), command, 60)
        assert result.exit_code == 0, (result.stdout, result.stderr)
        return result.stdout.decode()

    async def events(self, name: str) -> list[tuple[str, str]]:
        selection = ListOptions(field_selector=f"involvedObject.name={name}")
        return [(event["reason"], event["message"]) for event in (await self.verbs.list(EVENT, "default", selection)).objects()]

    async def eventually(self, holds: Callable[[], Awaitable[bool]], seconds: float = 90) -> None:
        """For what nobody can be told of: asked until it holds."""
        with trio.fail_after(seconds):
            while True:
                if await holds():
                    return
                await trio.sleep(0.02)

    async def until_event(self, name: str, reason: str, beginning: str) -> None:
        async def recorded() -> bool:
            return any(found == reason and message.startswith(beginning) for found, message in await self.events(name))

        await self.eventually(recorded)


def container(name: str, script: str, **more: Any) -> Object:
    return {"name": name, "image": IMAGE, "command": ["/bin/sh", "-c", script], **more}


def is_ready(pod: Object) -> bool:
    conditions = {item["type"]: item["status"] for item in pod["status"].get("conditions") or []}
    return conditions.get("Ready") == "True"


@asynccontextmanager
async def a_node(place: Place, database: Path) -> AsyncIterator[Node]:
    async with open_store(database) as store, connect(place.address) as runtime, trio.open_nursery() as nursery:
        issuer = TokenIssuer(TokenKeys.load_or_create(database.parent), "https://edgekube.test", time.time)
        registry = Registry(store, token_issuer=issuer)
        await registry.load()
        verbs = LocalVerbs(registry, UserInfo("admin", groups=("system:masters",)))
        agent_verbs = LocalVerbs(registry, UserInfo("system:node:edge-1", groups=("system:nodes",)))
        for name in ("default", "kube-node-lease"):
            with suppress(StatusError):
                await verbs.create(NAMESPACE, "", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        with suppress(StatusError):
            account: Object = {
                "apiVersion": "v1",
                "kind": "ServiceAccount",
                "metadata": {"name": "default", "namespace": "default"},
            }
            await verbs.create(SERVICEACCOUNT, "default", account)
        yield Node(place, verbs, agent_verbs, registry, runtime, nursery)
        nursery.cancel_scope.cancel()


@pytest.fixture
async def node(place: Place, tmp_path: Path) -> AsyncIterator[Node]:
    """With its agent running; pods that a test leaves are taken down by the next agent, which finds them unknown to its API."""
    async with a_node(place, tmp_path / "state.db") as made:
        await made.start()
        yield made
        await made.stop()
