"""Decisions of the scheduler alone: no API, no agents, no disk.

    python -m tests.bench.scheduler_bench [--nodes 1000] [--pods 10000] [--profile SHAPE]

Prints JSON: pods placed a second for each shape of pods, milliseconds of a preemption in a full cluster, memory that the picture
of the cluster takes. The floor is what it costs to decode the same pods and count their requests, without choosing anything.
"""

from __future__ import annotations

import argparse
import cProfile
import os
import pstats
import sys
import time
from collections.abc import Iterator

import orjson

from edgekube.api.objects import Object
from edgekube.scheduler.cluster import Cluster
from edgekube.scheduler.facts import node_facts, pod_facts
from edgekube.scheduler.place import Placed, Unplaced, place
from edgekube.scheduler.pods import pending_pod
from edgekube.scheduler.preemption import Preemption, preempt
from edgekube.scheduler.profiles import Profile
from edgekube.scheduler.terms import selector_of
from tests.bench.process import cost_of
from tests.scheduler.worlds import container, node, pod

ZONES = 10
REPLICAS = 50
HOST, ZONE = "kubernetes.io/hostname", "topology.kubernetes.io/zone"


def cluster_of_nodes(count: int) -> Cluster:
    cluster = Cluster()
    for i in range(count):
        cluster.set_node(node_facts(node(f"n{i:04}", cpu="8", memory="16Gi", labels={ZONE: f"z{i % ZONES}"})))
    return cluster


def wishes(shape: str, app: str) -> Object:
    selector = {"matchLabels": {"app": app}}
    if shape == "spread":
        constraint = {"topologyKey": ZONE, "maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule", "labelSelector": selector}
        return {"topologySpreadConstraints": [constraint]}
    term = {"topologyKey": HOST, "labelSelector": selector}
    if shape == "anti-affinity":
        return {"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}}
    if shape == "preferences":
        near = {"weight": 50, "podAffinityTerm": {"topologyKey": ZONE, "labelSelector": selector}}
        return {"affinity": {"podAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [near]}}}
    return {}


def manifests(shape: str, count: int) -> Iterator[bytes]:
    for i in range(count):
        app = f"app-{i // REPLICAS}"
        # "different": no two pods ask for the same, so that nothing can be remembered.
        cpu = f"{100 + i % 397}m" if shape == "different" else "100m"
        owner = app if shape == "deployment" else ""
        made = pod(f"p{i}", container(cpu, "64Mi"), labels={"app": app}, owner=owner, **wishes(shape, app))
        yield orjson.dumps(made)


def placed_per_second(shape: str, nodes: int, pods: int) -> tuple[float, Cluster]:
    cluster, profile = cluster_of_nodes(nodes), Profile()
    raw = list(manifests(shape, pods))
    for i in range(pods // REPLICAS + 1):
        cluster.surroundings.owners[f"app-{i}"] = selector_of({"matchLabels": {"app": f"app-{i}"}})
    started = time.process_time()
    for each in raw:
        wanted = pending_pod(orjson.loads(each))
        answer = place(wanted, cluster, profile)
        assert isinstance(answer, Placed), answer
        cluster.assume(wanted.facts, answer.node)
    return pods / (time.process_time() - started), cluster


def floor(pods: int) -> float:
    raw = list(manifests("plain", pods))
    started = time.process_time()
    for each in raw:
        pod_facts(orjson.loads(each))
    return pods / (time.process_time() - started)


def preemption_ms(nodes: int) -> float:
    cluster, profile = cluster_of_nodes(nodes), Profile()
    for i in range(nodes):
        for number in range(10):
            each = pod(f"p{i}-{number}", container("800m", "64Mi"), on=f"n{i:04}", priority=number % 3)
            cluster.set_pod(pod_facts(each))
    rounds = 10
    started = time.process_time()
    for i in range(rounds):
        wanted = pending_pod(pod(f"urgent{i}", container("1500m", "64Mi"), priority=100))
        answer = place(wanted, cluster, profile)
        assert isinstance(answer, Unplaced)
        found = preempt(wanted, answer, cluster, profile)
        assert isinstance(found, Preemption) and len(found.victims) == 2
    return 1e3 * (time.process_time() - started) / rounds


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument("--pods", type=int, default=10000)
    parser.add_argument("--profile", default="")
    given = parser.parse_args()
    shapes = ("plain", "deployment", "different", "spread", "anti-affinity", "preferences")
    profiler = cProfile.Profile()
    found: dict[str, object] = {"nodes": given.nodes, "pods": given.pods, "floor_pods_per_second": round(floor(given.pods))}
    for shape in shapes if not given.profile else (given.profile,):
        before = cost_of(os.getpid()).rss_mb
        if given.profile:
            profiler.enable()
        rate, cluster = placed_per_second(shape, given.nodes, given.pods)
        profiler.disable()
        found[f"{shape}_pods_per_second"] = round(rate)
        if shape == "plain":
            found["plain_memory_mb"] = round(cost_of(os.getpid()).rss_mb - before, 1)
        del cluster
    if given.profile:
        pstats.Stats(profiler, stream=sys.stderr).sort_stats("tottime").print_stats(25)
    else:
        found["preemption_ms"] = round(preemption_ms(given.nodes), 1)
    print(orjson.dumps(found, option=orjson.OPT_INDENT_2).decode())


if __name__ == "__main__":
    main()
