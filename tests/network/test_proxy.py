"""The service proxy in a kernel: a node, three pods and an outside machine, each a network namespace; real connections."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from edgekube import limits
from edgekube.api.kinds import ENDPOINTSLICE, POD, SERVICE
from edgekube.network import nft
from edgekube.network.addresses import SYSCTLS, host_commands
from edgekube.network.proxy import ServiceProxy
from tests.lab.shell import run
from tests.network.cluster import Cluster, endpoint, piece, port, service

pytestmark = pytest.mark.root

HERE = Path(__file__).parent
NODE_IP, OUTSIDE_IP = "192.0.2.1", "192.0.2.100"
PODS = {"a": "10.42.0.2", "b": "10.42.0.3", "c": "10.42.0.4"}


class Rig:
    def __init__(self) -> None:
        self.prefix = f"ekp{os.getpid() % 100000}"
        self.namespaces: list[str] = []
        self.servers: list[subprocess.Popen[str]] = []
        self.node = self._namespace("node")

    def _namespace(self, name: str) -> str:
        namespace = f"{self.prefix}-{name}"
        run(["ip", "netns", "add", namespace])
        self.namespaces.append(namespace)
        run(["ip", "-n", namespace, "link", "set", "lo", "up"])
        return namespace

    def build(self) -> None:
        outside = self._namespace("out")
        self._cable(self.node, "eth0", outside, "eth0")
        run(["ip", "-n", self.node, "address", "add", f"{NODE_IP}/24", "dev", "eth0"])
        run(["ip", "-n", outside, "address", "add", f"{OUTSIDE_IP}/24", "dev", "eth0"])
        ranges = {"pod_cidr": "10.42.0.0/24", "service_cidr": "10.43.0.0/16", "cluster_dns": "10.43.0.10"}
        lines = host_commands(node_ip=NODE_IP, **ranges)
        run(["ip", "-n", self.node, "-batch", "-"], stdin="\n".join(lines) + "\n")
        self.inside("node", ["sysctl", "-q", "-w", *(f"{name.replace('/', '.')}={value}" for name, value in SYSCTLS.items())])
        for name, address in PODS.items():
            pod = self._namespace(name)
            # As the ptp plugin does it: a /32 route to the pod on the node's side, the gateway by link on the pod's.
            self._cable(self.node, f"veth{name}", pod, "eth0")
            run(["ip", "-n", self.node, "address", "add", "10.42.0.1/32", "dev", f"veth{name}"])
            run(["ip", "-n", self.node, "route", "add", f"{address}/32", "dev", f"veth{name}"])
            run(["ip", "-n", pod, "address", "add", f"{address}/24", "dev", "eth0"])
            run(["ip", "-n", pod, "route", "delete", "10.42.0.0/24"])
            run(["ip", "-n", pod, "route", "add", "10.42.0.1", "dev", "eth0"])
            run(["ip", "-n", pod, "route", "add", "default", "via", "10.42.0.1"])
            self.serve(name, name, address, 8080)

    def _cable(self, one: str, one_end: str, other: str, other_end: str) -> None:
        run(["ip", "-n", one, "link", "add", one_end, "type", "veth", "peer", "name", other_end, "netns", other])
        run(["ip", "-n", one, "link", "set", one_end, "up"])
        run(["ip", "-n", other, "link", "set", other_end, "up"])

    def command(self, where: str, command: list[str]) -> list[str]:
        return ["nsenter", f"--net=/run/netns/{self.prefix}-{where}", *command]

    def inside(self, where: str, command: list[str]) -> str:
        return run(self.command(where, command))

    def serve(self, where: str, name: str, address: str, number: int) -> None:
        line = self.command(where, [sys.executable, "-S", str(HERE / "echo.py"), name, address, str(number)])
        server = subprocess.Popen(line, stdout=subprocess.PIPE, text=True)
        self.servers.append(server)
        assert server.stdout is not None and server.stdout.readline() == "up\n"

    def ask(
        self,
        where: str,
        address: str,
        number: int,
        *,
        count: int = 1,
        protocol: str = "tcp",
        source: int = 0,
        source_ip: str = "",
    ) -> list[str]:
        script = [sys.executable, "-S", str(HERE / "ask.py"), protocol, address, str(number), str(count), str(source), source_ip]
        return self.inside(where, script).splitlines()

    def close(self) -> None:
        for server in self.servers:
            server.kill()
            server.wait()
        for namespace in self.namespaces:
            run(["ip", "netns", "delete", namespace], check=False)


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    rig = Rig()
    try:
        rig.build()
        yield rig
    finally:
        rig.close()


class Running:
    """A proxy at work on a cluster in the rig's node."""

    def __init__(self, rig: Rig) -> None:
        self.cluster = Cluster()
        self.moved = trio.Event()

        async def apply(script: str) -> None:
            await nft.apply(script, rig.command("node", ["nft"]))
            self.moved.set()
            self.moved = trio.Event()

        self.proxy = ServiceProxy(
            self.cluster.view,
            node_name="n1",
            pod_cidr="10.42.0.0/24",
            cluster_cidr="10.42.0.0/16",
            service_cidr="10.43.0.0/16",
            apply=apply,
        )

    async def put(self, *objects: dict[str, Any]) -> None:
        moved = self.moved
        for obj in objects:
            self.cluster.put(SERVICE if "addressType" not in obj else ENDPOINTSLICE, obj)
        with trio.fail_after(10):
            await moved.wait()


@asynccontextmanager
async def running(rig: Rig) -> AsyncIterator[Running]:
    it = Running(rig)
    it.cluster.follow_with_proxy(it.proxy)
    async with trio.open_nursery() as nursery:
        await nursery.start(it.proxy.run)
        yield it
        nursery.cancel_scope.cancel()


def all_pods() -> list[dict[str, Any]]:
    return [endpoint(address, nodeName="n1") for address in PODS.values()]


def names(answers: list[str]) -> Counter[str]:
    return Counter(answer.split()[0] for answer in answers)


async def test_a_cluster_address_reaches_every_endpoint_from_host_and_pod(rig: Rig) -> None:
    async with running(rig) as it:
        await it.put(piece("web", all_pods(), port(8080)), service("web", "10.43.0.9", port(80)))
        for where in ("node", "a"):
            assert set(names(rig.ask(where, "10.43.0.9", 80, count=60))) == {"a", "b", "c"}


async def test_a_pod_reaches_itself_through_its_service(rig: Rig) -> None:
    async with running(rig) as it:
        await it.put(piece("web", [endpoint(PODS["a"])], port(8080)), service("web", "10.43.0.9", port(80)))
        (answer,) = rig.ask("a", "10.43.0.9", 80)
        assert answer.split()[0] == "a"


async def test_pods_see_each_others_addresses(rig: Rig) -> None:
    async with running(rig) as it:
        await it.put(piece("web", [endpoint(PODS["b"])], port(8080)), service("web", "10.43.0.9", port(80)))
        assert rig.ask("a", "10.43.0.9", 80) == [f"b {PODS['a']}"]


async def test_without_endpoints_a_connection_is_refused_at_once_and_works_again_with_one(rig: Rig) -> None:
    async with running(rig) as it:
        await it.put(piece("web", [endpoint(PODS["b"])], port(8080)), service("web", "10.43.0.9", port(80), port(53, "u", "UDP")))
        await it.put(piece("web", [], port(8080)))
        for where in ("a", "node"):
            assert rig.ask(where, "10.43.0.9", 80) == ["ConnectionRefusedError"]
            refused = "PermissionError" if where == "node" else "ConnectionRefusedError"  # the kernel tells senders of its own so
            assert rig.ask(where, "10.43.0.9", 53, protocol="udp") == [refused], where
        assert rig.ask("a", "10.43.77.77", 80) == ["ConnectionRefusedError"], "an address that no Service has"
        await it.put(piece("web", [endpoint(PODS["b"])], port(8080)))
        assert names(rig.ask("a", "10.43.0.9", 80)) == {"b": 1}


async def test_a_node_port_is_open_to_the_outside_and_keeps_the_clients_address(rig: Rig) -> None:
    async with running(rig) as it:
        await it.put(piece("web", all_pods(), port(8080)), service("web", "10.43.0.9", port(80, nodePort=30080), type="NodePort"))
        answers = rig.ask("out", NODE_IP, 30080, count=40)
        assert set(names(answers)) == {"a", "b", "c"} and {a.split()[1] for a in answers} == {OUTSIDE_IP}
        assert set(names(rig.ask("a", NODE_IP, 30080, count=40))) == {"a", "b", "c"}, "a pod uses the node port, itself included"


async def test_a_deleted_service_is_gone(rig: Rig) -> None:
    async with running(rig) as it:
        await it.put(piece("web", all_pods(), port(8080)), service("web", "10.43.0.9", port(80, nodePort=30080), type="NodePort"))
        moved = it.moved
        it.cluster.remove(SERVICE, "shop", "web")
        await moved.wait()
        assert rig.ask("a", "10.43.0.9", 80) == ["ConnectionRefusedError"]
        assert rig.ask("out", NODE_IP, 30080) == ["ConnectionRefusedError"]
        for container in ("services", "endpoints", "node_ports", "node_endpoints"):
            assert "elements" not in rig.inside("node", ["nft", "list", "map", "ip", "edgekube", container])


async def test_client_affinity_sticks_while_other_endpoints_come_and_go(rig: Rig) -> None:
    async with running(rig) as it:
        sticky = partial(service, "web", "10.43.0.9", port(80, nodePort=30080), type="NodePort", sessionAffinity="ClientIP")
        await it.put(piece("web", all_pods(), port(8080)), sticky())
        (first,) = names(rig.ask("out", NODE_IP, 30080, count=20))
        (inside,) = names(rig.ask("a", "10.43.0.9", 80, count=20))
        other = next(name for name in PODS if name not in (first, inside))
        await it.put(piece("web", [endpoint(PODS[name]) for name in PODS if name != other], port(8080)))
        assert set(names(rig.ask("out", NODE_IP, 30080, count=20))) == {first}
        assert set(names(rig.ask("a", "10.43.0.9", 80, count=20))) == {inside}
        await it.put(piece("web", [endpoint(PODS[other])], port(8080)))
        assert set(names(rig.ask("out", NODE_IP, 30080, count=5))) == {other}, "its endpoint is gone: another one serves"


async def test_udp_moves_on_when_its_endpoint_is_replaced(rig: Rig) -> None:
    async with running(rig) as it:
        flows: list[list[str]] = []
        await it.put(
            piece("dns", [endpoint(PODS["b"])], port(8080, "d", "UDP")), service("dns", "10.43.0.53", port(53, "d", "UDP"))
        )
        flows.append(rig.ask("a", "10.43.0.53", 53, protocol="udp", source=4000))
        await it.put(piece("dns", [endpoint(PODS["c"])], port(8080, "d", "UDP")))
        # Flows are tracked in the node's namespace, where the daemon would run conntrack itself.
        rig.inside("node", ["sh", "-c", f"conntrack -D -p udp --orig-port-dst 53 --reply-src {PODS['b']} || test $? = 1"])
        flows.append(rig.ask("a", "10.43.0.53", 53, protocol="udp", source=4000))
        assert [names(flow) for flow in flows] == [{"b": 1}, {"c": 1}]


async def test_more_endpoints_than_chains_make_a_larger_table(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PROXY_TARGETS_FIRST", 1)
    async with running(rig) as it:
        await it.put(piece("one", [endpoint(PODS["a"])], port(8080)), service("one", "10.43.0.8", port(80)))
        await it.put(piece("web", all_pods(), port(8080)), service("web", "10.43.0.9", port(80)))
        assert set(names(rig.ask("node", "10.43.0.9", 80, count=60))) == {"a", "b", "c"}
        assert names(rig.ask("node", "10.43.0.8", 80)) == {"a": 1}


async def test_host_ports_lead_to_their_pod_until_it_ends(rig: Rig) -> None:
    pod = {
        "metadata": {"name": "a", "namespace": "shop"},
        "spec": {"nodeName": "n1", "containers": [{"name": "c", "ports": [{"hostPort": 9090, "containerPort": 8080}]}]},
        "status": {"phase": "Running", "podIP": PODS["a"]},
    }
    async with running(rig) as it:
        moved = it.moved
        it.cluster.put(POD, pod)
        await moved.wait()
        assert names(rig.ask("out", NODE_IP, 9090)) == {"a": 1} and names(rig.ask("b", NODE_IP, 9090)) == {"a": 1}
        moved = it.moved
        it.cluster.put(POD, {**pod, "status": {"phase": "Succeeded", "podIP": PODS["a"]}})
        await moved.wait()
        assert rig.ask("out", NODE_IP, 9090) == ["ConnectionRefusedError"]


async def test_host_ports_of_one_number_on_several_addresses(rig: Rig) -> None:
    def pod(name: str, host_ip: str) -> dict[str, Any]:
        ports = [{"hostPort": 9091, "hostIP": host_ip, "containerPort": 8080}]
        return {
            "metadata": {"name": name, "namespace": "shop"},
            "spec": {"nodeName": "n1", "containers": [{"name": "c", "ports": ports}]},
            "status": {"phase": "Running", "podIP": PODS[name]},
        }

    async with running(rig) as it:
        moved = it.moved
        it.cluster.put(POD, pod("a", "127.0.0.1"))
        it.cluster.put(POD, pod("b", NODE_IP))
        await moved.wait()
        assert names(rig.ask("node", "127.0.0.1", 9091)) == {"a": 1}, "from the loopback"
        assert names(rig.ask("node", "127.0.0.1", 9091, source_ip=NODE_IP)) == {"a": 1}, "to the loopback"
        assert names(rig.ask("node", NODE_IP, 9091)) == {"b": 1}
        assert names(rig.ask("out", NODE_IP, 9091)) == {"b": 1}
        # The links that carry this also take what a pod addresses to the loopback: the guard stands before everything else.
        assert 'iifname != "lo" ip daddr 127.0.0.0/8 drop' in rig.inside("node", ["nft", "list chain ip edgekube guard"])


async def test_pods_leave_the_cluster_under_the_nodes_address(rig: Rig) -> None:
    rig.serve("out", "world", OUTSIDE_IP, 7000)
    async with running(rig):
        assert rig.ask("a", OUTSIDE_IP, 7000) == [f"world {NODE_IP}"]


async def test_the_table_is_made_anew_when_nft_refuses_a_script(rig: Rig) -> None:
    async with running(rig) as it:
        await it.put(piece("web", [endpoint(PODS["b"])], port(8080)), service("web", "10.43.0.9", port(80)))
        rig.inside("node", ["nft", "delete", "table", "ip", "edgekube"])  # somebody meddled
        await it.put(piece("web", [endpoint(PODS["c"])], port(8080)))
        assert names(rig.ask("a", "10.43.0.9", 80)) == {"c": 1}
