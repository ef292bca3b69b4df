"""Two nodes, pods on both, a machine outside, each a network namespace of both families; a proxy works on the first node."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

from edgekube.api.kinds import ENDPOINTSLICE, NODE, POD, SERVICE
from edgekube.network.addresses import SYSCTLS, host_commands
from edgekube.network.kernel import Kernel
from edgekube.network.proxy import ServiceProxy
from edgekube.network.ranges import ranges_of
from tests.lab.booting import fresh_prefix
from tests.lab.inside import call_in
from tests.lab.shell import run
from tests.network.cluster import Cluster, endpoint

HERE = Path(__file__).parent
NODE_IP, OTHER_NODE_IP, OUTSIDE_IP = "192.0.2.1", "192.0.2.2", "192.0.2.100"
NODE_IP6, OTHER_NODE_IP6, OUTSIDE_IP6 = "2001:db8::1", "2001:db8::2", "2001:db8::100"
PODS = {"a": "10.42.0.2", "b": "10.42.0.3", "c": "10.42.0.4"}
PODS6 = {"a": "fd00:42::2", "b": "fd00:42::3", "c": "fd00:42::4"}
#: The pod of the other node.
FAR, FAR6 = "10.42.1.2", "fd00:42:0:1::2"
CLUSTER_CIDR, SERVICE_CIDR = "10.42.0.0/16,fd00:42::/48", "10.43.0.0/16,fd00:43::/108"
HERE_CIDRS = ("10.42.0.0/24", "fd00:42::/64")


class Rig:
    def __init__(self) -> None:
        self.prefix = fresh_prefix()
        self.namespaces: list[str] = []
        self.servers: list[subprocess.Popen[str]] = []

    def _namespace(self, name: str) -> str:
        namespace = f"{self.prefix}-{name}"
        run(["ip", "netns", "add", namespace])
        self.namespaces.append(namespace)
        # No waiting for addresses that nobody else can have.
        self.inside(name, ["sysctl", "-q", "-w", "net.ipv6.conf.default.accept_dad=0", "net.ipv6.conf.all.forwarding=1"])
        run(["ip", "-n", namespace, "link", "set", "lo", "up"])
        return namespace

    def build(self) -> None:
        lan = self._namespace("lan")
        run(["ip", "-n", lan, "link", "add", "br0", "type", "bridge"])
        run(["ip", "-n", lan, "link", "set", "br0", "up"])
        node = self._on_lan("node", NODE_IP, NODE_IP6)
        other = self._on_lan("other", OTHER_NODE_IP, OTHER_NODE_IP6)
        outside = self._on_lan("out", OUTSIDE_IP, OUTSIDE_IP6)
        lines = host_commands(node_ip=NODE_IP, pod_cidr=HERE_CIDRS[0], service_cidr="10.43.0.0/16", cluster_dns="10.43.0.10")
        run(["ip", "-n", node, "-batch", "-"], stdin="\n".join(lines) + "\n")
        run(["ip", "-n", node, "route", "add", "fd00:43::/108", "dev", "eth0"])
        self.inside("node", ["sysctl", "-q", "-w", *(f"{name.replace('/', '.')}={value}" for name, value in SYSCTLS.items())])
        self.inside("other", ["sysctl", "-q", "-w", "net.ipv4.ip_forward=1"])
        for namespace, gateway, cidrs in ((node, OTHER_NODE_IP, "10.42.1.0/24"), (other, NODE_IP, "10.42.0.0/24")):
            run(["ip", "-n", namespace, "route", "add", cidrs, "via", gateway])
        run(["ip", "-n", node, "route", "add", "fd00:42:0:1::/64", "via", OTHER_NODE_IP6])
        run(["ip", "-n", other, "route", "add", "fd00:42::/64", "via", NODE_IP6])
        # Addresses of Services that the LAN's router would send to the node.
        run(["ip", "-n", outside, "route", "add", "198.51.100.0/24", "via", NODE_IP])
        run(["ip", "-n", outside, "route", "add", "2001:db8:5::/64", "via", NODE_IP6])
        for outside_address in (OUTSIDE_IP, OUTSIDE_IP6):
            run(["ip", "-n", node, "route", "add", "default", "via", outside_address])
        for name in PODS:
            self._pod(name, node, PODS[name], PODS6[name])
        self._pod("far", other, FAR, FAR6)

    def _on_lan(self, name: str, address: str, address6: str) -> str:
        namespace = self._namespace(name)
        self._cable(namespace, "eth0", f"{self.prefix}-lan", f"to{name}")
        run(["ip", "-n", f"{self.prefix}-lan", "link", "set", f"to{name}", "master", "br0"])
        run(["ip", "-n", namespace, "address", "add", f"{address}/24", "dev", "eth0"])
        run(["ip", "-n", namespace, "address", "add", f"{address6}/64", "dev", "eth0"])
        return namespace

    def _pod(self, name: str, node: str, address: str, address6: str) -> None:
        pod = self._namespace(name)
        # As the ptp plugin does it: a host route to the pod on the node's side, the gateway by link on the pod's.
        self._cable(node, f"veth{name}", pod, "eth0")
        for own, gateway, bits in ((address, "10.42.0.1", 32), (address6, "fd00:42::1", 128)):
            option = ["nodad"] if bits == 128 else []
            run(["ip", "-n", node, "address", "add", f"{gateway}/{bits}", "dev", f"veth{name}", *option])
            run(["ip", "-n", node, "route", "add", f"{own}/{bits}", "dev", f"veth{name}"])
            run(["ip", "-n", pod, "address", "add", f"{own}/{bits}", "dev", "eth0", *option])
            run(["ip", "-n", pod, "route", "add", f"{gateway}/{bits}", "dev", "eth0"])
            run(["ip", "-n", pod, "route", "add", "default", "via", gateway])
        self.serve(name, name, "::", 8080)

    def _cable(self, one: str, one_end: str, other: str, other_end: str) -> None:
        run(["ip", "-n", one, "link", "add", one_end, "type", "veth", "peer", "name", other_end, "netns", other])
        run(["ip", "-n", one, "link", "set", one_end, "up"])
        run(["ip", "-n", other, "link", "set", other_end, "up"])

    def enter(self, where: str) -> list[str]:
        return ["nsenter", f"--net=/run/netns/{self.prefix}-{where}"]

    def inside(self, where: str, command: list[str]) -> str:
        return run([*self.enter(where), *command])

    def serve(self, where: str, name: str, address: str, number: int) -> None:
        line = [*self.enter(where), sys.executable, "-S", str(HERE / "echo.py"), name, address, str(number)]
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
        patience_seconds: float = 20,
    ) -> list[str]:
        """An answer or the error's name for each question; with little patience, to see that nothing answers."""
        script = [sys.executable, "-S", str(HERE / "ask.py"), protocol, address, str(number), str(count), str(source), source_ip]
        script.append(str(patience_seconds))
        return self.inside(where, script).splitlines()

    def sctp_init(self, where: str, address: str, number: int, there: str) -> tuple[str, str, int]:
        """Source, destination and port of an association's first packet, as they arrive at ``there``."""
        script = [sys.executable, "-S", str(HERE / "sctp_init.py")]
        waiting = subprocess.Popen([*self.enter(there), *script, "wait"], stdout=subprocess.PIPE, text=True)
        self.servers.append(waiting)
        assert waiting.stdout is not None and waiting.stdout.readline() == "up\n"
        self.inside(where, [*script, "send", address, str(number)])
        source, destination, arrived = waiting.stdout.readline().split()
        return source, destination, int(arrived)

    def close(self) -> None:
        for server in self.servers:
            server.kill()
            server.wait()
        for namespace in self.namespaces:
            run(["ip", "netns", "delete", namespace], check=False)


class RigKernel(Kernel):
    """The kernel as seen from the rig's node."""

    def __init__(self, rig: Rig) -> None:
        super().__init__(rig.enter("node"))
        self._namespace = f"{rig.prefix}-node"

    def news(self) -> socket.socket:
        return call_in(self._namespace, super().news)


class Running:
    """A proxy at work on a cluster in the rig's node."""

    def __init__(self, rig: Rig) -> None:
        self.cluster = Cluster()
        self.kernel = RigKernel(rig)
        ranges = ranges_of(HERE_CIDRS, CLUSTER_CIDR, SERVICE_CIDR)
        self.proxy = ServiceProxy(self.cluster.view, node_name="n1", ranges=ranges, kernel=self.kernel)

    async def put(self, *objects: dict[str, Any]) -> None:
        for obj in objects:
            kind = ENDPOINTSLICE if "addressType" in obj else SERVICE if "ports" in obj.get("spec", {}) else POD
            self.cluster.put(NODE if obj.get("kind") == "Node" else kind, obj)
        with trio.fail_after(60):
            await self.proxy.settled()

    async def remove_service(self, name: str) -> None:
        self.cluster.remove(SERVICE, "shop", name)
        with trio.fail_after(60):
            await self.proxy.settled()


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
