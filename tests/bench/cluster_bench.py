"""One node, measured: memory, start, idle cost, API latency, pod start; floors in the same run. Prints JSON.

    sudo .venv/bin/python -m tests.bench.cluster_bench [--idle-minutes 10] [--quick]

Everything runs in a lab node on this machine: other load on it shows in the figures, so the floors are what to compare with.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.bench.process import children_named, cost_of
from tests.lab.images import make_busybox_archive
from tests.lab.lan import Lan
from tests.lab.node import Node
from tests.lab.shell import CommandFailed

ROOT = Path(__file__).resolve().parents[2]
PAUSE_SECONDS = 0.01
IDLE_PODS = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: idle}
spec:
  replicas: 5
  selector: {matchLabels: {app: idle}}
  template:
    metadata: {labels: {app: idle}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - {name: c, image: "busybox:1.36", imagePullPolicy: IfNotPresent, command: [sleep, "1000000"]}
"""


class Bench:
    def __init__(self, node: Node) -> None:
        self.node = node
        self.log = node.disk / "log"
        self.kubeconfig = node.data_dir / "server" / "kubeconfig.yaml"

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        return self.node.run(["kubectl", f"--kubeconfig={self.kubeconfig}", *arguments], stdin=stdin)

    def script(self, module: str, *arguments: str) -> dict[str, Any]:
        command = ["env", f"PYTHONPATH={ROOT}", sys.executable, "-m", f"tests.bench.{module}", *arguments]
        result: dict[str, Any] = json.loads(self.node.run(command, timeout_seconds=300))
        return result

    def server_pid(self) -> int:
        """The server's pid as the host numbers it: the process of this node's data directory."""
        marker = f"--data-dir={self.node.data_dir}".encode()
        (pid,) = [int(p) for p in os.listdir("/proc") if p.isdecimal() and _is_server(int(p), marker)]
        return pid

    def start(self) -> dict[str, float]:
        """Boot the server; seconds until /readyz says ok and until the Node is Ready."""
        began = time.perf_counter()
        command = [sys.executable, "-m", "edgekube", "server", f"--data-dir={self.node.data_dir}"]
        self.process = self.node.start([*command, f"--cgroup-parent={self.node.cgroup}"], self.log)
        readyz = self._until(lambda: "ok" in self.node.run(["curl", "-sk", "https://127.0.0.1:6443/readyz"], check=False))
        ready = self._until(self._node_is_ready)
        return {"readyz_s": round(readyz - began, 3), "node_ready_s": round(ready - began, 3)}

    def _until(self, happened: Any) -> float:
        deadline = time.perf_counter() + 60
        while time.perf_counter() < deadline:
            if self.process.poll() is not None:
                raise RuntimeError(f"the server ended:\n{self.log.read_text()[-3000:]}")
            if happened():
                return time.perf_counter()
            time.sleep(PAUSE_SECONDS)
        raise RuntimeError(f"not within 60 s:\n{self.log.read_text()[-3000:]}")

    def _node_is_ready(self) -> bool:
        path = "{.items[*].status.conditions[?(@.type=='Ready')].status}"
        try:
            return self.kubectl("get", "nodes", "-o", f"jsonpath={path}") == "True"
        except CommandFailed:
            return False

    def stop(self) -> None:
        os.kill(self.server_pid(), 15)
        self.process.wait(timeout=30)

    def per_request(self, what: str, count: int, clients: int) -> dict[str, Any]:
        pid = self.server_pid()
        before = cost_of(pid).cpu_seconds
        result = self.script("api_load", str(self.kubeconfig), what, str(count), str(clients))
        result["cpu_us_per_request"] = round((cost_of(pid).cpu_seconds - before) / count * 1e6)
        return result

    def api(self, scale: int) -> dict[str, Any]:
        pki = self.node.data_dir / "server" / "pki"
        script = [sys.executable, "-S", str(ROOT / "tests/bench/tls_floor.py")]
        floor = self.node.start([*script, str(pki / "server.crt"), str(pki / "server.key"), "7443"], self.node.disk / "floor.log")
        try:
            floors = {
                f"clients_{n}": self.script(
                    "api_load", str(self.kubeconfig), "floor", str(1000 * scale), str(n), "127.0.0.1:7443"
                )
                for n in (1, 8)
            }
            watch_floor = self.script("watch_load", str(self.kubeconfig), "50", "100", "127.0.0.1:7443")
        finally:
            floor.kill()
            floor.wait()
        return {
            "floor_https_answer": floors,
            "get": self.per_request("get", 500 * scale, 1),
            "get_8": self.per_request("get", 1000 * scale, 8),
            "create": self.per_request("create", 250 * scale, 1),
            "create_8": self.per_request("create", 500 * scale, 8),
            "put": self.per_request("put", 250 * scale, 1),
            "merge_patch": self.per_request("patch", 250 * scale, 1),
            "list_configmaps": self._list(scale),
            "watch_100": self.script("watch_load", str(self.kubeconfig), "50", "100", "-"),
            "floor_watch_100": watch_floor,
        }

    def _list(self, scale: int) -> dict[str, Any]:
        """A list of exactly 1,000 ConfigMaps."""
        self.kubectl("delete", "configmaps", "--all", "--wait=false")
        self.script("api_load", str(self.kubeconfig), "create", "996", "4")
        count = len(self.kubectl("get", "configmaps", "-o", "name").split())
        return {"objects": count, **self.per_request("list", 20 * scale, 1)}

    def idle(self, minutes: float) -> dict[str, Any]:
        self.kubectl("apply", "-f", "-", stdin=IDLE_PODS)
        self.kubectl("rollout", "status", "deployment/idle", "--timeout=60s")
        time.sleep(20)
        pid = self.server_pid()
        (runtime,) = children_named(self.node.pid, "containerd")[:1]
        shims = children_named(self.node.pid, "containerd-shim")
        before, runtime_before = cost_of(pid), cost_of(runtime)
        time.sleep(minutes * 60)
        after, runtime_after = cost_of(pid), cost_of(runtime)
        seconds = minutes * 60
        return {
            "pods": 5,
            "minutes": minutes,
            "server_and_agent_rss_mb": round(after.rss_mb, 1),
            "server_and_agent_pss_mb": round(after.pss_mb, 1),
            "threads": after.threads,
            "cpu_percent_of_a_core": round((after.cpu_seconds - before.cpu_seconds) / seconds * 100, 2),
            "written_kb": round((after.written_bytes - before.written_bytes) / 1000, 1),
            "containerd_rss_mb": round(runtime_after.rss_mb, 1),
            "containerd_cpu_percent": round((runtime_after.cpu_seconds - runtime_before.cpu_seconds) / seconds * 100, 2),
            "containerd_written_kb": round((runtime_after.written_bytes - runtime_before.written_bytes) / 1000, 1),
            "shims_rss_mb": round(sum(cost_of(shim).rss_mb for shim in shims), 1),
        }

    def pods(self) -> dict[str, Any]:
        socket = Path("/run/edgekube/containerd/containerd.sock")
        found = {
            "floor_bare_cri": self.script("cri_floor", str(socket), self.node.cgroup, "20"),
            "through_the_api": self.script("pod_start", str(self.kubeconfig), "20"),
        }
        # What comes next is measured on a node that does nothing else.
        self.kubectl("wait", "pods", "-l", "bench=start", "--for=delete", "--timeout=60s")
        time.sleep(5)
        return found


def _is_server(pid: int, marker: bytes) -> bool:
    try:
        words = (Path("/proc") / str(pid) / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return marker in words and words[0] != b"nsenter"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--idle-minutes", type=float, default=10)
    parser.add_argument("--quick", action="store_true", help="fewer requests")
    options = parser.parse_args()
    scale = 1 if options.quick else 4
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as directory, Lan(f"ekb{os.getpid() % 10000}") as lan:
        node = Node(lan, "n1", "192.0.2.1", Path(directory))
        node.power_on()
        try:
            bench = Bench(node)
            images = node.data_dir / "agent" / "images"
            images.mkdir(parents=True)
            make_busybox_archive(images / "busybox.tar")
            results["first_start"] = bench.start()
            bench.stop()
            results["second_start"] = bench.start()
            results["idle"] = bench.idle(options.idle_minutes)
            results["pods"] = bench.pods()
            results["api"] = bench.api(scale)
            cost = cost_of(bench.server_pid())
            results["after_all"] = {"rss_mb": round(cost.rss_mb, 1), "cpu_seconds": cost.cpu_seconds}
        finally:
            node.close()
    print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
