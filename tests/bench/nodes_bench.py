"""Several nodes, measured: joining, a new address, the network between pods, an agent's cost; with floors. Prints JSON.

    sudo .venv/bin/python -m tests.bench.nodes_bench [--idle-seconds 60] [--load-seconds 3]

Three lab nodes on one switch, a fourth behind a router. Everything shares this machine's cores, so only what is set beside a
floor can be compared: pod to pod against the same bytes through one bare veth pair, and from node to node. The line between the
routers cuts everything into packets of its MTU, as a wire does. tests.bench.network_path_bench takes the path apart.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from tests.bench.process import cost_of
from tests.lab import inside
from tests.lab.booting import fresh_prefix
from tests.lab.clusters import MultiCluster, many_nodes
from tests.lab.lan import Lan
from tests.lab.program import Program
from tests.lab.router import routed
from tests.lab.shell import run
from tests.lab.subnet import FAR

_PORT: Final = 7000
_SCRIPT: Final = str(Path(__file__).with_name("tcp_load.py"))
_POD: Final = """---
apiVersion: v1
kind: Pod
metadata: {name: on-%(node)s}
spec:
  nodeName: %(node)s
  terminationGracePeriodSeconds: 0
  containers: [{name: c, image: 'busybox:1.36', command: [sleep, '1000000']}]
"""


def seconds_until(happened: Callable[[], bool], *, limit_seconds: float = 60) -> float:
    began = time.perf_counter()
    while time.perf_counter() - began < limit_seconds:
        if happened():
            return round(time.perf_counter() - began, 3)
        time.sleep(0.01)
    raise RuntimeError(f"not within {limit_seconds} s")


def joining(cluster: MultiCluster) -> dict[str, float]:
    """From the start of ``edgekube agent`` until its Node is Ready: a machine with a token, then the same one as a member."""
    agent = cluster.new_agent(cluster.lan, "n9", "192.0.2.9")
    agent.launch()
    joined = seconds_until(lambda: "n9" in cluster.ready())
    agent.power_off()
    cluster.server.kubectl("delete", "node", "n9")
    agent.node.power_on()
    agent.launch()
    again = seconds_until(lambda: "n9" in cluster.ready())
    cluster.server.edgekube("node", "remove", "n9", "--data-dir", str(cluster.server.data_dir), check=False)
    agent.node.close()
    cluster.agents.remove(agent)
    return {"with_token_s": joined, "member_after_power_off_s": again}


def new_address(cluster: MultiCluster, pod_address: str) -> dict[str, float]:
    """n2 gets another address: until the API says so, and until n1 reaches n2's pod again."""
    began = time.perf_counter()
    cluster.node("n2").change_address("192.0.2.72")
    told = seconds_until(lambda: _internal_address(cluster, "n2") == "192.0.2.72")
    seconds_until(lambda: _refuses(cluster.server.node.namespace, pod_address))
    return {"node_status_s": told, "pod_reached_s": round(time.perf_counter() - began, 3)}


def _internal_address(cluster: MultiCluster, name: str) -> str:
    status = cluster.server.request("GET", f"/api/v1/nodes/{name}").json()["status"]
    return next(str(each["address"]) for each in status["addresses"] if each["type"] == "InternalIP")


def _refuses(namespace: str, address: str) -> bool:
    """The pod's kernel answered that nobody listens: the way there and back is whole."""
    try:
        inside.connect(namespace, address, 1, timeout_seconds=0.2).close()
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
    return True


def load(source: str, target: str, address: str, seconds: float) -> dict[str, Any]:
    """Between two network namespaces."""
    with _serving(target):
        command = ["nsenter", f"--net={source}", sys.executable, "-S", _SCRIPT, "ask", address, str(_PORT), str(seconds)]
        result: dict[str, Any] = json.loads(run(command, timeout_seconds=60))
    return result


@contextmanager
def _serving(target: str) -> Iterator[None]:
    command = ["nsenter", f"--net={target}", sys.executable, "-S", _SCRIPT, "serve", str(_PORT)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdin is not None and server.stdout is not None
        server.stdout.readline()
        try:
            yield
        finally:
            server.stdin.close()


def bare_veth(seconds: float) -> dict[str, Any]:
    """The floor: two namespaces and one veth pair."""
    names = [f"{fresh_prefix()}-{end}" for end in ("a", "b")]
    for name in names:
        run(["ip", "netns", "add", name])
    try:
        run(["ip", "-n", names[0], "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", names[1]])
        for number, name in enumerate(names, 1):
            run(["ip", "-n", name, "address", "add", f"192.0.2.{number}/24", "dev", "eth0"])
            run(["ip", "-n", name, "link", "set", "eth0", "up"])
        return load(f"/run/netns/{names[0]}", f"/run/netns/{names[1]}", "192.0.2.2", seconds)
    finally:
        for name in names:
            run(["ip", "netns", "delete", name], check=False)


def pod_namespace(program: Program) -> str:
    """Of the node's only pod."""
    (pid,) = program.processes("sleep")
    return f"/proc/{pid}/ns/net"


def network(cluster: MultiCluster, addresses: dict[str, str], seconds: float) -> dict[str, Any]:
    places = {name: pod_namespace(cluster.program(name)) for name in addresses}
    nodes = {name: f"/run/netns/{cluster.node(name).namespace}" for name in addresses}
    return {
        "floor_bare_veth": bare_veth(seconds),
        "node_to_node": load(nodes["n2"], nodes["n3"], cluster.node("n3").address, seconds),
        "pod_to_pod_same_segment": load(places["n2"], places["n3"], addresses["n3"], seconds),
        "node_to_node_across_a_router": load(nodes["n2"], nodes["n4"], cluster.node("n4").address, seconds),
        "pod_to_pod_across_a_router": load(places["n2"], places["n4"], addresses["n4"], seconds),
        "floor_bare_veth_again": bare_veth(seconds),
    }


def idle(cluster: MultiCluster, seconds: float) -> dict[str, Any]:
    """What an agent with one pod costs while nothing happens."""
    agent = cluster.program("n3")
    before = cost_of(agent.pid)
    time.sleep(seconds)
    after = cost_of(agent.pid)
    return {
        "agent_rss_mb": round(after.rss_mb, 1),
        "agent_pss_mb": round(after.pss_mb, 1),
        "agent_cpu_percent_of_a_core": round((after.cpu_seconds - before.cpu_seconds) / seconds * 100, 2),
        "agent_written_kb": round((after.written_bytes - before.written_bytes) / 1000, 1),
        "server_rss_mb": round(cost_of(cluster.server.pid).rss_mb, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--idle-seconds", type=float, default=60)
    parser.add_argument("--load-seconds", type=float, default=3)
    options = parser.parse_args()
    results: dict[str, Any] = {"cores": os.cpu_count()}
    with tempfile.TemporaryDirectory(prefix="edgekube-bench-") as directory, many_nodes(Path(directory), 3) as cluster:
        results["three_nodes_up_s"] = round(cluster.up_seconds, 2)
        results["agent_start_to_ready"] = joining(cluster)
        with Lan(cluster.lan.prefix, name="far", subnet=FAR) as far, routed(cluster.lan, far):
            cluster.new_agent(far, "n4", "198.51.100.4").launch()
            cluster.wait_until_ready()
            names = [program.name for program in cluster.programs]
            cluster.server.kubectl("apply", "-f", "-", stdin="".join(_POD % {"node": name} for name in names))
            cluster.server.kubectl("wait", "pods", "--all", "--for=condition=Ready", "--timeout=60s")
            pods = cluster.server.get("pods")["items"]
            addresses = {pod["spec"]["nodeName"]: pod["status"]["podIP"] for pod in pods}
            for name in ("n2", "n3", "n4"):
                seconds_until(lambda name=name: _refuses(cluster.server.node.namespace, addresses[name]))  # type: ignore[misc]
            results["network"] = network(cluster, addresses, options.load_seconds)
            results["new_address"] = new_address(cluster, addresses["n2"])
            results["idle"] = idle(cluster, options.idle_seconds)
            cluster.node("n4").close()
    print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
