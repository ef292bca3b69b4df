"""The planner's word becomes the kernel's: when a pod may start, what a refusal leads to, and what a restart leaves standing."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
import trio
import trio.testing

from edgekube import limits
from edgekube.api.pod_address import project
from edgekube.api.verbs import ADDED, DELETED, WatchEvent
from edgekube.network.kernel import Kernel
from edgekube.network.policies.enforcer import Enforcer
from edgekube.network.policies.planner import Planner
from edgekube.network.policies.table import TABLE
from edgekube.network.table_losses import open_news
from tests.lab.booting import fresh_prefix
from tests.lab.inside import call_in
from tests.lab.shell import run

pytestmark = pytest.mark.root

Object = dict[str, Any]
OURS, THEIRS = "10.42.1.2", "10.42.2.2"
CLOSED: Object = {
    "metadata": {"name": "closed", "namespace": "shop", "resourceVersion": "3"},
    "spec": {
        "podSelector": {"matchLabels": {"app": "db"}},
        "ingress": [{"from": [{"podSelector": {"matchLabels": {"app": "web"}}}]}],
    },
}


@pytest.fixture(scope="module")
def namespace() -> Iterator[list[str]]:
    """The command line that nft is to be run by, in a namespace of these tests."""
    name = fresh_prefix()
    run(["ip", "netns", "add", name])
    try:
        yield ["nsenter", f"--net=/run/netns/{name}"]
    finally:
        run(["ip", "netns", "delete", name])


class Node(Kernel):
    """An enforcer whose lists, and whose way to the kernel, the test holds in its hand."""

    def __init__(self, namespace: list[str], memory: Path | None = None) -> None:
        super().__init__(namespace)
        self._namespace = namespace
        self.gate: trio.Event | None = None  # while there is one, scripts wait for it
        self.scripts: list[str] = []
        self.applied = trio.Event()
        self.spoil = 0  # so many scripts are made wrong on their way
        self.enforcer = Enforcer(Planner("n1", resolvers=["10.43.0.10"]), self, memory)

    def news(self) -> socket.socket:
        return call_in(Path(self._namespace[1].removeprefix("--net=")).name, open_news)

    async def apply(self, script: str) -> None:
        if self.gate is not None:
            await self.gate.wait()
        self.scripts.append(script)
        if self.spoil:
            self.spoil -= 1
            script += "add rule inet edgekube_policy nowhere drop\n"
        await super().apply(script)
        self.applied.set()
        self.applied = trio.Event()

    def list(self, *policies: Object, pods: list[Object] | None = None) -> None:
        for source, items in (
            (self.enforcer.namespaces, [orjson.dumps({"metadata": {"name": "shop", "resourceVersion": "1"}})]),
            (self.enforcer.policies, [orjson.dumps(policy) for policy in policies]),
            (self.enforcer.pods, [project(orjson.dumps(each)) for each in pods or []]),
        ):
            source.begin()
            source.add(items)
            source.finish(10)

    def tell(self, obj: Object, verb: str = ADDED) -> None:
        source = self.enforcer.policies if "podSelector" in obj["spec"] else self.enforcer.pods
        raw = orjson.dumps(obj)
        source.apply(WatchEvent(verb, raw if source is self.enforcer.policies else project(raw)))

    def kernel(self, *what: str) -> str:
        return run([*self._namespace, "nft", "list", *(what or ("table",)), *TABLE.split()])

    def isolated(self) -> bool:
        return OURS in run([*self._namespace, "nft", "list", "map", *TABLE.split(), "ingress_pods_4"])


@asynccontextmanager
async def running(node: Node) -> AsyncIterator[None]:
    async with trio.open_nursery() as nursery:
        with trio.fail_after(60):
            await nursery.start(node.enforcer.run)
        yield
        nursery.cancel_scope.cancel()


def pod(name: str, app: str, revision: int, node: str = "n1", ips: tuple[str, ...] = (), phase: str = "Pending") -> Object:
    metadata = {"name": name, "namespace": "shop", "uid": f"{name}-{revision}", "labels": {"app": app}}
    return {
        "metadata": {**metadata, "resourceVersion": str(revision)},
        "spec": {"nodeName": node, "containers": [{"name": "main"}]},
        "status": {"phase": phase, "podIPs": [{"ip": ip} for ip in ips]},
    }


async def test_a_pod_that_a_policy_isolates_waits_for_the_rules_and_no_other_does(namespace: list[str]) -> None:
    node = Node(namespace)
    node.list(CLOSED)
    async with running(node):
        node.gate = trio.Event()
        with trio.fail_after(60):
            await node.enforcer.protect(pod("web-0", "web", 4), ["10.42.1.9"])
        started = trio.Event()

        async def start() -> None:
            await node.enforcer.protect(pod("db-0", "db", 5), [OURS])
            started.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(start)
            await trio.testing.wait_all_tasks_blocked()
            assert not started.is_set() and not node.isolated()
            node.gate.set()
            with trio.fail_after(60):
                await started.wait()
            assert node.isolated(), "it may start: its rules are in the kernel"
        with trio.fail_after(60):
            await node.enforcer.protect(pod("db-0", "db", 5), [OURS])  # a second container of the pod waits for nothing


async def test_nobody_starts_before_the_policies_are_known(namespace: list[str]) -> None:
    node = Node(namespace)
    async with trio.open_nursery() as nursery:
        started = trio.Event()

        async def start() -> None:
            await node.enforcer.protect(pod("web-0", "web", 4), ["10.42.1.9"])
            started.set()

        nursery.start_soon(start)
        nursery.start_soon(node.enforcer.run)
        await trio.testing.wait_all_tasks_blocked()
        assert not started.is_set()
        node.list()
        with trio.fail_after(60):
            await started.wait()
        nursery.cancel_scope.cancel()
    assert started.is_set()


async def test_the_agents_word_stands_until_the_api_says_the_same_or_the_pod_goes(namespace: list[str]) -> None:
    node = Node(namespace)
    node.list(CLOSED, pods=[pod("db-0", "db", 5)])
    async with running(node):
        await node.enforcer.protect(pod("db-0", "db", 5), [OURS])
        node.tell({**pod("db-0", "db", 5), "metadata": {**pod("db-0", "db", 5)["metadata"], "resourceVersion": "6"}})
        assert not node.enforcer.planner.unsettled() and node.isolated(), "the API has no address yet: that changes nothing"
        told = pod("db-0", "db", 5, ips=(OURS,), phase="Running")
        told["metadata"]["resourceVersion"] = "7"
        node.tell(told)
        node.tell({**told, "metadata": {**told["metadata"], "resourceVersion": "8"}}, DELETED)
        assert node.enforcer.planner.unsettled() == {OURS}


async def test_news_of_a_namesake_that_went_before_changes_nothing(namespace: list[str]) -> None:
    """A StatefulSet's pod comes back under its name; the API's word on its end arrives after the agent's on its beginning."""
    node = Node(namespace)
    old = pod("db-0", "db", 5, ips=("10.42.1.77",), phase="Running")
    node.list(CLOSED, pods=[old])
    async with running(node):
        await node.enforcer.protect(pod("db-0", "db", 9), [OURS])
        old["metadata"]["resourceVersion"] = "8"
        node.tell(old, DELETED)
        assert not node.enforcer.planner.unsettled() and node.isolated()


async def test_what_nft_refuses_is_followed_by_the_whole_table(namespace: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "NFT_RETRY_SECONDS", 0.01)
    node = Node(namespace)
    node.list(CLOSED)
    async with running(node):
        node.spoil = 2
        with trio.fail_after(60):
            await node.enforcer.protect(pod("db-0", "db", 5), [OURS])
        assert node.isolated() and node.scripts[-1].startswith(f"add table {TABLE}\ndelete table {TABLE}\n")


async def test_the_rules_of_the_run_before_stand_until_a_whole_plan_replaces_them(namespace: list[str]) -> None:
    first = Node(namespace)
    db = pod("db-0", "db", 5, ips=(OURS,), phase="Running")
    first.list(CLOSED, pods=[db, pod("web-0", "web", 6, "n2", (THEIRS,), "Running")])
    async with running(first):
        before = first.kernel()
    assert OURS in before and THEIRS in before
    second = Node(namespace)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(second.enforcer.run)
        await trio.testing.wait_all_tasks_blocked()
        assert second.kernel() == before, "nothing is known yet, so nothing is touched"
        nursery.cancel_scope.cancel()
    second.list(CLOSED, pods=[db])
    async with running(second):
        assert OURS in second.kernel() and THEIRS not in second.kernel()
    assert len(second.scripts) == 1, "in one transaction"


async def test_while_the_api_is_silent_what_was_known_before_counts(
    namespace: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = tmp_path / "policies.json"
    before = Node(namespace, memory)
    web = pod("web-0", "web", 6, "n2", (THEIRS,), "Running")
    before.list(CLOSED, pods=[pod("db-0", "db", 5, ips=("10.42.1.7",), phase="Running"), web])
    async with running(before):
        with trio.fail_after(60):
            await before.enforcer.remembered.wait()
    run([*namespace, "nft", "flush", "ruleset"])  # the power went

    monkeypatch.setattr(limits, "POLICY_SILENCE_SECONDS", 0.01)
    after = Node(namespace, memory)
    async with running(after):
        with trio.fail_after(60):
            await after.enforcer.protect(pod("db-0", "db", 5), [OURS])
        assert after.isolated() and THEIRS in after.kernel(), "closed, but to whom it was open"
        remembered = memory.read_bytes()
        after.list(pods=[web])
        with trio.fail_after(60):
            while after.isolated():
                await after.applied.wait()
        assert memory.read_bytes() == remembered, "written now and then, not with every change"


async def test_what_cannot_be_read_is_no_leave_to_start(
    namespace: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "POLICY_SILENCE_SECONDS", 0.01)
    (tmp_path / "policies.json").write_bytes(b"half of")
    node = Node(namespace, tmp_path / "policies.json")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(node.enforcer.run)
        with trio.move_on_after(0.5) as waited:
            await node.enforcer.protect(pod("db-0", "db", 5), [OURS])
        assert waited.cancelled_caught
        node.list(CLOSED)
        with trio.fail_after(60):
            await node.enforcer.protect(pod("db-0", "db", 5), [OURS])
        nursery.cancel_scope.cancel()


async def test_a_table_that_somebody_deletes_comes_back_by_itself(namespace: list[str]) -> None:
    node = Node(namespace)
    node.list(CLOSED, pods=[pod("db-0", "db", 5, ips=(OURS,), phase="Running")])
    async with running(node):
        before = node.kernel()
        run([*namespace, "nft", "flush", "ruleset"])
        with trio.fail_after(60):
            while len(node.scripts) < 2:
                await node.applied.wait()
        assert node.kernel() == before


async def test_a_pod_on_the_hosts_network_is_not_waited_for() -> None:
    enforcer = Enforcer(Planner("n1"))
    on_host = pod("proxy", "db", 5)
    on_host["spec"]["hostNetwork"] = True
    with trio.fail_after(60):
        await enforcer.protect(on_host, ["192.0.2.1"])
    assert enforcer.applied == 0
