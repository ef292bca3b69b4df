"""One node's agent, measured: pods up and down, at rest, under exec probes, its memory; with bare CRI calls. Prints JSON.

    sudo .venv/bin/python -m tests.bench.agent_bench [--rounds 3] [--pods 40] [--seconds 60]

The node is a worker of the lab (``edgekube agent``; the server is another node), and everything shares this machine: other load
shows in every time, so what counts is the ratio to the floor, and the CPU. ``rounds`` alternate between the two; medians are
printed, and each round.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from tests.bench.cri_floor import COUNTED, POLITE
from tests.bench.process import cost_of, cpu_of_tree, cpu_with_reaped
from tests.lab.cluster import until
from tests.lab.clusters import MultiCluster, many_nodes
from tests.lab.containers import running_containers
from tests.lab.node import ROOT

_SOCKET: Final = "/run/edgekube/containerd/containerd.sock"
_WORKER: Final = "n2"
#: The process gives memory back when it has been quiet for a while (daemon.memory).
QUIET_SECONDS: Final = 30


def deployment(name: str, replicas: int, node: str, probe: bool) -> str:
    """As JSON, which kubectl takes as well."""
    container: dict[str, Any] = {"name": "c", "image": "busybox:1.36", "command": POLITE, "imagePullPolicy": "IfNotPresent"}
    if probe:
        container["livenessProbe"] = {
            "exec": {"command": COUNTED},
            "periodSeconds": 1,
            "timeoutSeconds": 10,
            "failureThreshold": 100,
        }
    spec = {"nodeName": node, "terminationGracePeriodSeconds": 1, "containers": [container]}
    template = {"metadata": {"labels": {"app": name}}, "spec": spec}
    return json.dumps(
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name},
            "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template},
        }
    )


class Bench:
    def __init__(self, cluster: MultiCluster, seconds: float) -> None:
        self.cluster = cluster
        self.agent = cluster.program(_WORKER)
        self.seconds = seconds

    def script(self, node: str, module: str, *arguments: str) -> dict[str, Any]:
        command = ["env", f"PYTHONPATH={ROOT}", sys.executable, "-m", f"tests.bench.{module}", *arguments]
        found: dict[str, Any] = json.loads(self.cluster.node(node).run(command, timeout_seconds=600))
        return found

    def with_cpu(self, do: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """What it says, and the CPU seconds of edgekube with its children (nft, ip) and of all else on the node: containerd,
        shims, runc, CNI plugins, and what runs in containers."""
        edgekube, all_of_it = self._cpu()
        found = do()
        edgekube_after, all_after = self._cpu()
        used = edgekube_after - edgekube
        return {**found, "edgekube_cpu_s": round(used, 2), "runtime_cpu_s": round(all_after - all_of_it - used, 2)}

    def _cpu(self) -> tuple[float, float]:
        """edgekube's with its children that ended, and the whole node's. Its containerd may be its child or pid 1's."""
        return cpu_with_reaped(self.agent.pid), cpu_of_tree(self.agent.pid) + cpu_of_tree(self.agent.node.pid)

    def floor_pods(self, count: int) -> dict[str, Any]:
        return self.with_cpu(lambda: self.script(_WORKER, "cri_floor", _SOCKET, self.agent.node.cgroup, str(count)))

    def pods(self, count: int) -> dict[str, Any]:
        kubeconfig = str(self.cluster.server.kubeconfig)
        return self.with_cpu(lambda: self.script("n1", "pod_start", kubeconfig, str(count), _WORKER))

    def run_pods(self, name: str, count: int, *, node: str = _WORKER, probe: bool = False) -> None:
        self.cluster.server.kubectl("apply", "-f", "-", stdin=deployment(name, count, node, probe))
        self.cluster.server.kubectl("rollout", "status", f"deployment/{name}", "--timeout=300s", timeout_seconds=310)

    def end_pods(self, name: str) -> None:
        self.cluster.server.kubectl("delete", "deployment", name, "--cascade=foreground", "--timeout=300s", timeout_seconds=310)
        until(lambda: not running_containers(self.agent.node), seconds=120)

    def memory(self, pid: int) -> dict[str, Any]:
        cost = cost_of(pid)
        return {"rss_mb": round(cost.rss_mb, 1), "pss_mb": round(cost.pss_mb, 1), "threads": cost.threads}

    def idle(self) -> dict[str, Any]:
        (runtime,) = self.agent.processes("containerd")
        before, runtime_before = cost_of(self.agent.pid), cost_of(runtime)
        time.sleep(self.seconds)
        after, runtime_after = cost_of(self.agent.pid), cost_of(runtime)
        return {
            "pods": len(running_containers(self.agent.node)),
            "seconds": self.seconds,
            "cpu_percent_of_a_core": round((after.cpu_seconds - before.cpu_seconds) / self.seconds * 100, 2),
            "containerd_cpu_percent": round((runtime_after.cpu_seconds - runtime_before.cpu_seconds) / self.seconds * 100, 2),
            "written_kb": round((after.written_bytes - before.written_bytes) / 1000, 1),
            **self.memory(self.agent.pid),
        }

    def counted(self) -> int:
        """Commands that were run in the containers, of which each left a byte."""
        total = 0
        for pid in self.agent.processes("sh"):
            path = Path(f"/proc/{pid}/root/count")
            total += path.stat().st_size if path.exists() else 0
        return total

    def execs(self, do: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        before, began = self.counted(), time.monotonic()
        found = self.with_cpu(do)
        count, seconds = self.counted() - before, time.monotonic() - began
        edgekube = found["edgekube_cpu_s"] or found.get("client_cpu_seconds") or 0
        return {
            **found,
            "execs": count,
            "execs_per_second": round(count / seconds, 1),
            "runtime_cpu_ms_per_exec": round(found["runtime_cpu_s"] / max(1, count) * 1000, 2),
            "edgekube_cpu_ms_per_exec": round(edgekube / max(1, count) * 1000, 2),
        }

    def sleep(self) -> dict[str, Any]:
        time.sleep(self.seconds)
        return {}

    def floor_execs(self) -> dict[str, Any]:
        return self.script(_WORKER, "cri_floor", _SOCKET, "exec", str(self.seconds))


class Results(dict[str, Any]):
    """What was found so far is told on the way, too: a long run may end before its end."""

    def __setitem__(self, name: str, found: Any) -> None:
        super().__setitem__(name, found)
        print(json.dumps({name: found}), file=sys.stderr, flush=True)


def medians(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    return {name: round(statistics.median(each[name] for each in rounds), 2) for name in rounds[0]}


def starts_and_ends(bench: Bench, rounds: int, count: int) -> dict[str, Any]:
    floors, through = [], []
    for _ in range(rounds):
        floors.append(bench.floor_pods(count))
        through.append(bench.pods(count))
    floor, found = medians(floors), medians(through)
    return {
        "floor_bare_cri": floor,
        "through_the_api": found,
        "ratio": {name: round(found[name] / floor[name], 2) for name in floor if name.endswith("_ms")},
        "rounds": [{"floor": one, "api": other} for one, other in zip(floors, through, strict=True)],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pods", type=int, default=40)
    parser.add_argument("--seconds", type=float, default=60)
    options = parser.parse_args()
    results = Results(cores=os.cpu_count(), load_before=os.getloadavg()[0])
    with tempfile.TemporaryDirectory(prefix="edgekube-bench-") as directory, many_nodes(Path(directory), 2) as cluster:
        bench = Bench(cluster, options.seconds)
        time.sleep(QUIET_SECONDS)
        results["agent_without_pods"] = bench.memory(bench.agent.pid)
        bench.run_pods("idle", 5)
        time.sleep(QUIET_SECONDS)
        results["idle_5"] = bench.idle()
        bench.end_pods("idle")
        if options.rounds:
            results["pods"] = starts_and_ends(bench, options.rounds, options.pods)
        bench.run_pods("idle", options.pods)
        time.sleep(QUIET_SECONDS)
        results["idle_many"] = bench.idle()
        execs = {"floor_bare_cri": bench.execs(bench.floor_execs)}
        bench.end_pods("idle")
        bench.run_pods("probed", options.pods, probe=True)
        results["execs"] = execs | {"probes": bench.execs(bench.sleep)}
        bench.end_pods("probed")
        time.sleep(QUIET_SECONDS)
        results["after_all"] = bench.memory(bench.agent.pid)
    results["load_after"] = os.getloadavg()[0]
    print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
