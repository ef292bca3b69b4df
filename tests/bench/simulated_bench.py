"""A thousand nodes and ten thousand pods on the real control plane; only the agents are simulated, behind the client's Protocol.

    python -m tests.bench.simulated_bench [--nodes 1000] [--pods 10000] [--roll 500] [--rest 20] [--profile PHASE]

Registry on SQLite, all controllers, the scheduler: in this process, as in a server. Nodes are objects; each is followed by an
agent that watches its own pods, as a real one does, and a few tasks do for all of them what they would: a pod that is bound runs
and is ready, one that is deleted goes. Heartbeats are left out at first, so that rest is rest; then each node renews its Lease.

Prints JSON: seconds (of the clock and of CPU) from the first Deployment's creation until every pod runs; seconds of rolling one
Deployment behind a Service; CPU at rest in percent of a core; CPU and bytes written for a heartbeat; memory. The floor is what it
takes to create as many pods, bound already, with nobody watching. PHASE is schedule, roll or rest: where its time went, on
standard error.
"""

from __future__ import annotations

import argparse
import cProfile
import gc
import os
import pstats
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import orjson
import trio
import trio.testing

from edgekube import limits
from edgekube.api import podstate, times
from edgekube.api.kinds import BUILT_IN, DEPLOYMENT, EVENT, LEASE, NAMESPACE, NODE, POD, SERVICE, SERVICEACCOUNT
from edgekube.api.objects import Object, is_deleting, name_of, namespace_of, uid_of
from edgekube.api.verbs import MERGE_PATCH, DeleteOptions, ListOptions, UserInfo, Verbs, WatchEvent
from edgekube.reconcile.follow import follow
from edgekube.reconcile.loops import run_controllers
from edgekube.reconcile.recorder import Recorder
from edgekube.reconcile.scheduling import run_scheduler
from edgekube.registry.local import LocalVerbs
from edgekube.registry.state import Registry
from edgekube.store.sqlite import open_store
from tests.bench.process import cost_of

USER = UserInfo("system:edgekube", groups=("system:masters",))
LEASES = "kube-node-lease"
VOLATILE = frozenset(kind.resource for kind in BUILT_IN if not kind.durable)
REPLICAS = 100
WORKERS = 8


class Agents:
    """What a thousand agents would do."""

    def __init__(self, verbs: Verbs) -> None:
        self._verbs = verbs
        self._send, self._receive = trio.open_memory_channel[tuple[str, str, str, bool]](1_000_000)
        self._started: set[str] = set()
        self.running: set[str] = set()
        self._serial = 0

    async def follow(self, node: str) -> None:
        await follow(self._verbs, POD, _Node(self), ListOptions(field_selector=f"spec.nodeName={node}"))

    def heard(self, pod: Object) -> None:
        uid = uid_of(pod)
        if is_deleting(pod):
            self._send.send_nowait((namespace_of(pod), name_of(pod), uid, False))
        elif uid not in self._started:
            self._started.add(uid)
            self._send.send_nowait((namespace_of(pod), name_of(pod), uid, True))
        elif podstate.is_ready(pod):
            self.running.add(uid)

    def gone(self, pod: Object) -> None:
        self.running.discard(uid_of(pod))
        self._started.discard(uid_of(pod))

    async def work(self) -> None:
        async for namespace, name, uid, start in self._receive:
            try:
                if start:
                    await self._start(namespace, name, uid)
                else:
                    options = DeleteOptions(grace_period_seconds=0, precondition_uid=uid)
                    await self._verbs.delete(POD, namespace, name, options)
            except Exception as error:  # gone, or deleted meanwhile: an agent would not mind
                if getattr(error, "reason", "") not in ("NotFound", "Conflict"):
                    raise

    async def _start(self, namespace: str, name: str, uid: str) -> None:
        self._serial += 1
        address = f"10.{42 + self._serial // 65536}.{self._serial // 256 % 256}.{self._serial % 256}"
        conditions = [
            {"type": type_, "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}
            for type_ in ("PodScheduled", "PodReadyToStartContainers", "Initialized", "ContainersReady", "Ready")
        ]
        status = {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}], "conditions": conditions}
        patch = {"metadata": {"uid": uid}, "status": status}
        await self._verbs.patch(POD, namespace, name, patch, patch_type=MERGE_PATCH, subresource="status")


class _Node:
    """The Sink of one node's pods."""

    def __init__(self, agents: Agents) -> None:
        self._agents = agents
        self._revision = 0

    def begin(self) -> None: ...

    def add(self, items: Sequence[bytes]) -> None:
        for item in items:
            self._agents.heard(orjson.loads(item))

    def finish(self, revision: int) -> None:
        self._revision = revision

    def progressed(self, revision: int) -> None:
        self._revision = revision

    def resume_from(self) -> int:
        return self._revision

    def apply(self, event: WatchEvent) -> None:
        pod = event.object()
        self._revision = int(pod["metadata"]["resourceVersion"])
        if event.type == "DELETED":
            self._agents.gone(pod)
        else:
            self._agents.heard(pod)


def lease(number: int) -> Object:
    now = times.rfc3339_micro(time.time())
    spec = {"holderIdentity": f"n{number:04}", "leaseDurationSeconds": 40, "renewTime": now}
    metadata = {"name": f"n{number:04}", "namespace": LEASES}
    return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}


def deployment(name: str, replicas: int) -> Object:
    container = {"name": "c", "image": "app:1", "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [container]}},
        },
    }


async def make_node(verbs: Verbs, number: int) -> None:
    name = f"n{number:04}"
    labels = {"kubernetes.io/hostname": name, "topology.kubernetes.io/zone": f"z{number % 10}"}
    await verbs.create(NODE, "", {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}, "spec": {}})
    amounts = {"cpu": "8", "memory": "16Gi", "pods": "110"}
    ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "ready"}
    patch = {"status": {"allocatable": amounts, "capacity": amounts, "conditions": [ready]}}
    await verbs.patch(NODE, "", name, patch, subresource="status")


async def at_once(count: int, do: Callable[[int], Awaitable[object]]) -> None:
    """From a few tasks, as clients would."""
    numbers = iter(range(count))

    async def some() -> None:
        for number in numbers:
            await do(number)

    async with trio.open_nursery() as nursery:
        for _ in range(WORKERS):
            nursery.start_soon(some)


async def until(true: Callable[[], bool], seconds: float) -> None:
    with trio.fail_after(seconds):
        while not true():  # noqa: ASYNC110  # a clock for people, not a wait for a test
            await trio.sleep(0.05)


@contextmanager
def profiled(wanted: bool) -> Iterator[None]:
    profiler = cProfile.Profile()
    if wanted:
        profiler.enable()
    yield
    if wanted:
        profiler.disable()
        pstats.Stats(profiler, stream=sys.stderr).sort_stats(os.environ.get("SORT", "tottime")).print_stats(60)


async def floor_seconds(count: int) -> float:
    with tempfile.TemporaryDirectory() as directory:
        async with open_store(Path(directory) / "state.db") as store:
            registry = Registry(store)
            await registry.load()
            verbs = LocalVerbs(registry, USER)
            await basics(verbs)
            template = deployment("floor", 1)["spec"]["template"]

            async def make(number: int) -> None:
                pod = {
                    "apiVersion": "v1",
                    "kind": "Pod",
                    "metadata": {"name": f"p{number}", "namespace": "default", "labels": template["metadata"]["labels"]},
                    "spec": {**template["spec"], "nodeName": f"n{number % 1000:04}"},
                }
                await verbs.create(POD, "default", pod)

            started = time.process_time()
            await at_once(count, make)
            return time.process_time() - started


async def basics(verbs: Verbs) -> None:
    for name in ("default", LEASES):
        await verbs.create(NAMESPACE, "", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
    await verbs.create(SERVICEACCOUNT, "default", account)


async def measure(given: argparse.Namespace, found: dict[str, object]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        ttl_seconds = {EVENT.resource: limits.EVENT_TTL_SECONDS}
        opened = open_store(Path(directory) / "state.db", volatile_resources=VOLATILE, ttl_seconds=ttl_seconds)
        async with opened as store, trio.open_nursery() as nursery:
            registry = Registry(store)
            await registry.load()
            verbs = LocalVerbs(registry, USER)
            await basics(verbs)
            recorder = Recorder(verbs)
            nursery.start_soon(recorder.run)
            controllers = partial(run_controllers, verbs, recorder, cluster_cidr="10.0.0.0/8", root_ca=lambda: "PEM")
            # Heartbeats are left out: no node is to be missed for that.
            await nursery.start(partial(controllers, node_grace_seconds=3600))
            await nursery.start(run_scheduler, verbs, recorder)
            agents = Agents(verbs)
            for _ in range(WORKERS):
                nursery.start_soon(agents.work)
            started = time.perf_counter()
            await at_once(given.nodes, partial(make_node, verbs))
            for number in range(given.nodes):
                nursery.start_soon(agents.follow, f"n{number:04}")
            found["make_nodes_seconds"] = round(time.perf_counter() - started, 1)
            found["rss_with_nodes_mb"] = round(cost_of(os.getpid()).rss_mb)
            with profiled(given.profile == "schedule"):
                started, cpu = time.perf_counter(), time.process_time()
                names = [f"app-{i}" for i in range(given.pods // REPLICAS)]
                await at_once(len(names), lambda i: verbs.create(DEPLOYMENT, "default", deployment(names[i], REPLICAS)))
                wanted = len(names) * REPLICAS
                await until(lambda: len(agents.running) >= wanted, 3600)
                took = time.perf_counter() - started
            found |= {"schedule_seconds": round(took, 1), "scheduled_pods_per_second": round(wanted / took, 1)}
            found["schedule_cpu_seconds"] = round(time.process_time() - cpu, 1)
            found["rss_with_pods_mb"] = round(cost_of(os.getpid()).rss_mb)
            print(orjson.dumps(found).decode(), file=sys.stderr)  # what comes next takes a while, too
            await roll(given, verbs, agents, found)
            print(orjson.dumps(found).decode(), file=sys.stderr)
            await trio.sleep(5)
            with profiled(given.profile == "rest"):
                before = time.process_time()
                await trio.sleep(given.rest)
                found["rest_cpu_percent"] = round(100 * (time.process_time() - before) / given.rest, 2)
            found["rss_at_rest_mb"] = round(cost_of(os.getpid()).rss_mb)
            await heartbeats(given, verbs, found)
            nursery.cancel_scope.cancel()


async def heartbeats(given: argparse.Namespace, verbs: Verbs, found: dict[str, object]) -> None:
    """Every node once, and again: the second time nothing is new but the time."""
    await at_once(given.nodes, lambda number: verbs.create(LEASE, LEASES, lease(number)))
    before = cost_of(os.getpid())
    await at_once(given.nodes, lambda number: verbs.patch(LEASE, LEASES, f"n{number:04}", lease(number)))
    await trio.testing.wait_all_tasks_blocked(0.1)
    after = cost_of(os.getpid())
    found["heartbeat_cpu_ms"] = round((after.cpu_seconds - before.cpu_seconds) * 1000 / given.nodes, 2)
    found["heartbeats_written_bytes"] = after.written_bytes - before.written_bytes


async def roll(given: argparse.Namespace, verbs: Verbs, agents: Agents, found: dict[str, object]) -> None:
    before = len(agents.running)
    ports = [{"port": 80, "protocol": "TCP", "targetPort": 80}]
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "roll"}, "spec": {"selector": {"app": "roll"}}}
    await verbs.create(SERVICE, "default", service | {"spec": {"selector": {"app": "roll"}, "ports": ports}})
    await verbs.create(DEPLOYMENT, "default", deployment("roll", given.roll))
    await until(lambda: len(agents.running) >= before + given.roll, 3600)

    async def settled(generation: int) -> None:
        with trio.fail_after(3600):
            while True:
                status = (await verbs.get(DEPLOYMENT, "default", "roll")).get("status") or {}
                counts = [status.get(key) for key in ("replicas", "updatedReplicas", "availableReplicas")]
                if status.get("observedGeneration") == generation and counts == [given.roll] * 3:
                    return
                await trio.sleep(0.1)

    await settled(1)
    with profiled(given.profile == "roll"):
        started, cpu = time.perf_counter(), time.process_time()
        patch = {"spec": {"template": {"metadata": {"annotations": {"v": "2"}}}}}
        await verbs.patch(DEPLOYMENT, "default", "roll", patch)
        await settled(2)
        found["roll_seconds"] = round(time.perf_counter() - started, 1)
        found["roll_cpu_seconds"] = round(time.process_time() - cpu, 1)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument("--pods", type=int, default=10000)
    parser.add_argument("--roll", type=int, default=500)
    parser.add_argument("--rest", type=float, default=20)
    parser.add_argument("--profile", default="")
    given = parser.parse_args()
    found: dict[str, object] = {"nodes": given.nodes, "pods": given.pods, "roll": given.roll}
    gc.set_threshold(limits.GC_YOUNG_OBJECTS_MAX)  # as a server
    found["floor_create_cpu_seconds"] = round(trio.run(floor_seconds, given.pods), 1)
    trio.run(measure, given, found)
    print(orjson.dumps(found, option=orjson.OPT_INDENT_2).decode())


if __name__ == "__main__":
    main()
