"""How long network policies take to reach the packet filter, and what a new connection under them costs.

    python -m tests.bench.policy_bench [--counts 100,1000,5000]

Prints JSON. For each count there are as many policies as pods, each policy isolating one pod both ways; ``spread``: 110 of the
pods are on this node, as a node holds at most; ``all_here``: all of them, which no node has (up to 1,000). ``load``: from what
the API lists to the kernel, of which ``plan`` is ours; then one change at a time, until the kernel has it: ``peer`` (a pod
elsewhere that an own policy allows comes or goes), ``own_pod`` (the agent's wait before it starts a pod), ``policy`` (its rules
change), ``namespace`` (relabelled), and ``flood`` (100 pods at once). Floors of the same run: ``floor_load``, the bare command
with the same text; ``floor_start``, with nothing to do. ``connect``: TCP connections between two pods of this node, in turns
without the table, with it (one policy each), and with a hundred policies on the receiver.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import click
import msgspec
import orjson
import trio

from edgekube.api.pod_address import PodAddress
from edgekube.api.verbs import DELETED, MODIFIED, WatchEvent
from edgekube.network.kernel import Kernel
from edgekube.network.policies.enforcer import Enforcer
from edgekube.network.policies.model import policy_of
from edgekube.network.policies.planner import Planner
from tests.bench.process import cost_of
from tests.network.policies.rig import DNS, Rig

Object = dict[str, Any]
_CHANGES = 30
_HERE = 110
_ALL_HERE_MAX = 1000


class World:
    """``count`` pods and policies; a namespace has fifty of each."""

    def __init__(self, count: int, here: int) -> None:
        self.count = count
        self.namespaces = max(1, count // 50)
        self.here = here
        self.revision = 1

    def pod(self, number: int) -> Object:
        self.revision += 1
        node = "n1" if number < self.here else f"n{2 + number % 50}"
        metadata = {
            "name": f"web-{number}-6d4cf56db6-x7k2p", "namespace": f"team-{number % self.namespaces}",
            "uid": f"{number:08d}-1f0c-4b7e",
            "labels": {"app": f"a{number // self.namespaces}", "tier": "web"}, "resourceVersion": str(self.revision),
        }  # fmt: skip
        ports = [{"name": "http", "containerPort": 8080, "protocol": "TCP"}]
        address = f"10.{64 + number // 60000}.{number // 250 % 240}.{number % 250 + 2}"
        return {
            "kind": "PodAddress", "apiVersion": "internal.edgekube.io/v1", "metadata": metadata, "nodeName": node,
            "phase": "Running", "podIPs": [address], "ports": ports,
        }  # fmt: skip

    def policy(self, number: int, port: int = 8080) -> Object:
        namespace = number % self.namespaces
        group = number // self.namespaces
        peers: list[Object] = [
            {"podSelector": {"matchLabels": {"app": f"a{(group + 1) % 50}"}}},
            {"namespaceSelector": {"matchLabels": {"team": f"{(namespace + 1) % self.namespaces}"}}},
        ]
        spec = {
            "podSelector": {"matchLabels": {"app": f"a{group}"}},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [{"from": peers, "ports": [{"port": port}]}],
            "egress": [{"to": [*peers, {"ipBlock": {"cidr": "0.0.0.0/0", "except": ["10.0.0.0/8"]}}]}],
        }
        return {"metadata": {"name": f"np-{number}", "namespace": f"team-{namespace}", "resourceVersion": "1"}, "spec": spec}

    def namespace(self, number: int, more: str = "") -> Object:
        self.revision += 1
        labels = {"team": f"{number}", **({"more": more} if more else {})}
        return {"metadata": {"name": f"team-{number}", "labels": labels, "resourceVersion": str(self.revision)}}


def _milliseconds(seconds: list[float]) -> dict[str, float]:
    ordered = sorted(seconds)
    return {"p50_ms": round(statistics.median(ordered) * 1e3, 2), "max_ms": round(ordered[-1] * 1e3, 2)}


def _compact(obj: Object) -> bytes:
    """As it comes over the wire: what orjson gives keeps the room that it was made in, which would count as ours."""
    return bytes(memoryview(orjson.dumps(obj)))


def _bare(script: str) -> float:
    began = time.perf_counter()
    subprocess.run(["nft", "-f", "-"], input=script.encode(), check=True)
    return time.perf_counter() - began


class _Recording(Kernel):
    """Remembers the last script, so that the bare command can be given the same; tells when there was one."""

    def __init__(self) -> None:
        super().__init__()
        self.script = ""
        self.done = trio.Event()

    async def apply(self, script: str) -> None:
        self.script = script
        await super().apply(script)
        self.done.set()


async def _measure(kernel: _Recording, change: Callable[[int], object]) -> list[float]:
    took = []
    for number in range(_CHANGES):
        await trio.sleep(0.02)  # one by one: a change that follows another closely waits for more
        kernel.done = trio.Event()
        began = time.perf_counter()
        change(number)
        await kernel.done.wait()
        took.append(time.perf_counter() - began)
    return took


async def _program(count: int, here: int) -> dict[str, Any]:
    """Within a namespace of its own, as the daemon does it: small changes in process."""
    world, kernel = World(count, here), _Recording()
    before = cost_of(os.getpid()).rss_mb
    enforcer = Enforcer(Planner("n1", resolvers=[DNS]), kernel)
    listed = {
        enforcer.policies: [_compact(world.policy(number)) for number in range(count)],
        enforcer.namespaces: [_compact(world.namespace(number)) for number in range(world.namespaces)],
        enforcer.pods: [_compact(world.pod(number)) for number in range(count)],
    }

    def tell(source: Any, obj: Object, verb: str = MODIFIED) -> None:
        source.apply(WatchEvent(verb, orjson.dumps(obj)))

    async with trio.open_nursery() as nursery:
        began = time.perf_counter()
        for source, items in listed.items():
            source.begin()
            source.add(items)
            source.finish(1)
        enforcer.planner.unsettled()
        plan = time.perf_counter() - began
        await nursery.start(enforcer.run)
        load, whole = time.perf_counter() - began, kernel.script
        listed.clear()
        rss = cost_of(os.getpid()).rss_mb
        # Pod 0 of this node allows team-1, where this one is.
        extra = world.pod(min(count - 1, here) // world.namespaces * world.namespaces + 1 % world.namespaces)
        extra["metadata"] |= {"name": "extra", "uid": "extra"}
        extra |= {"nodeName": "n9", "podIPs": ["10.99.9.9"]}

        def peer(number: int) -> None:
            extra["metadata"]["resourceVersion"] = str(world.revision + number)
            tell(enforcer.pods, extra, DELETED if number % 2 else MODIFIED)

        peers = await _measure(kernel, peer)
        policies = await _measure(kernel, lambda number: tell(enforcer.policies, world.policy(0, 9000 + number)))
        neighbour = 1 % world.namespaces

        def relabel(number: int) -> None:
            labelled = world.namespace(neighbour)
            if not number % 2:
                del labelled["metadata"]["labels"]
            tell(enforcer.namespaces, labelled)

        namespaces = await _measure(kernel, relabel)
        own, mine = [], world.pod(0)
        pod = {"metadata": mine["metadata"], "spec": {"nodeName": "n1", "containers": []}}
        for number in range(_CHANGES):
            await trio.sleep(0.02)
            began = time.perf_counter()
            await enforcer.protect(pod, [f"10.98.0.{number + 2}"])
            own.append(time.perf_counter() - began)
        await trio.sleep(0.05)
        kernel.done = trio.Event()
        began = time.perf_counter()
        for number in range(100):
            each = world.pod(neighbour)
            each["metadata"] |= {"name": f"flood-{number}", "uid": f"flood-{number}"}
            each |= {"nodeName": "n9", "podIPs": [f"10.97.0.{number + 2}"]}
            tell(enforcer.pods, each)
        await kernel.done.wait()
        flood = time.perf_counter() - began
        nursery.cancel_scope.cancel()
    return {
        "load_ms": round(load * 1e3, 1),
        "plan_ms": round(plan * 1e3, 1),
        "floor_load_ms": round(min(_bare(whole) for _ in range(2)) * 1e3, 1),
        "script_kb": len(whole) // 1024,
        "peer": _milliseconds(peers),
        "own_pod": _milliseconds(own),
        "policy": _milliseconds(policies),
        "namespace": _milliseconds(namespaces),
        "flood_of_100_ms": round(flood * 1e3, 1),
        "floor_start": _milliseconds([_bare("") for _ in range(10)]),
        "rss_mb": round(rss, 1),
        "rss_before_mb": round(before, 1),
    }


_CONNECT = """
import json, socket, statistics, sys, time
took = []
for _ in range(1000):
    began = time.perf_counter()
    with socket.create_connection((sys.argv[1], 80)) as one:
        took.append(time.perf_counter() - began)
        one.recv(1)
print(statistics.median(took) * 1e6)
"""


def _pod(name: str, number: int) -> Object:
    metadata = {"name": "a", "namespace": name, "uid": name, "labels": {"app": name}, "resourceVersion": "1"}
    return {
        "kind": "PodAddress", "apiVersion": "internal.edgekube.io/v1", "metadata": metadata, "nodeName": "n1", "phase": "Running",
        "podIPs": [f"10.42.1.{number}", f"fd42:1::{number}"],
    }  # fmt: skip


def _connections(rig: Rig, pods: list[Object]) -> dict[str, float]:
    """Median of the rounds' medians, in microseconds."""

    def table(policies: int) -> str:
        planner = Planner("n1", families=(4, 6), resolvers=[DNS])
        for pod in pods:
            planner.put_pod(msgspec.convert(pod, PodAddress))
        if policies:
            spec: Object = {
                "podSelector": {},
                "policyTypes": ["Egress"],
                "egress": [{"to": [{"ipBlock": {"cidr": "10.42.0.0/16"}}]}],
            }
            planner.put_policy(policy_of({"metadata": {"name": "out", "namespace": "c"}, "spec": spec}))
        for number in range(policies):
            allowed = {"cidr": "10.42.1.2/32" if number == policies - 1 else "192.0.2.0/24"}
            rule: Object = {"from": [{"ipBlock": allowed}], "ports": [{"port": 80}]}
            policy = {"metadata": {"name": f"p{number}", "namespace": "s"}, "spec": {"podSelector": {}, "ingress": [rule]}}
            planner.put_policy(policy_of(policy))
        return planner.everything().text

    ways = {
        "without": "add table inet edgekube_policy\ndelete table inet edgekube_policy",
        "no_policy": table(0),
        "one_policy_each": table(1),
        "hundred_policies": table(100),
    }
    took: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(5):
        for name, script in ways.items():
            rig.nft("n1", script)
            took[name].append(float(rig.inside("ca", [sys.executable, "-S", "-c", _CONNECT, "10.42.1.3"])))
    return {name: round(statistics.median(each), 1) for name, each in took.items()}


@click.command()
@click.option("--counts", default="100,1000,5000")
@click.option("--inside", type=(int, int), default=(0, 0), hidden=True)
def main(counts: str, inside: tuple[int, int]) -> None:
    if inside[0]:
        print(json.dumps(trio.run(_program, *inside)))
        return
    rig = Rig()
    result: dict[str, Any] = {}
    try:
        pods = [_pod("c", 2), _pod("s", 3)]
        rig.build(pods)
        result["connect_p50_us"] = _connections(rig, pods)
        for count in (int(each) for each in counts.split(",")):
            for name, here in (("spread", min(_HERE, count)), ("all_here", count)):
                if here <= _ALL_HERE_MAX:
                    again = [sys.executable, "-m", "tests.bench.policy_bench", "--inside", str(count), str(here)]
                    done = subprocess.run(rig.command("n1", again), check=True, capture_output=True, timeout=600)
                    result.setdefault(name, {})[count] = json.loads(done.stdout)
    finally:
        rig.close()
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
