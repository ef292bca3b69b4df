"""Nodes without a cluster: network namespaces with a pod each, on two segments that a router joins. No containerd.

a, b --- segment 1 (192.0.2.0/24) --- router --- segment 2 (198.51.100.0/24) --- c
"""

from __future__ import annotations

import errno
import json
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Final

from edgekube.network.addresses import SYSCTLS, SYSCTLS_IPV6
from edgekube.network.peers import Member
from edgekube.network.routes import PeerRoutes, Wishes
from tests.lab.booting import fresh_prefix
from tests.lab.inside import call_in
from tests.lab.shell import run

HERE = Path(__file__).parent
CLUSTER: Final = (ip_network("10.42.0.0/16"), ip_network("fd42::/48"))
SEGMENTS: Final = {1: "192.0.2", 2: "198.51.100"}
PORT: Final = 8080
#: linux/in.h, linux/in6.h: level, MTU_DISCOVER, MTU.
_PATH_MTU: Final = {socket.AF_INET: (socket.IPPROTO_IP, 10, 14), socket.AF_INET6: (socket.IPPROTO_IPV6, 23, 24)}
#: A node as a careful distribution sets it up: strict about where packets come from.
_NODE: Final = {
    **SYSCTLS,
    **SYSCTLS_IPV6,
    "net/ipv4/conf/all/rp_filter": "1",
    "net/ipv4/conf/default/rp_filter": "1",
}


class Node:
    def __init__(self, fabric: Fabric, name: str, number: int) -> None:
        self.fabric = fabric
        self.name = name
        self.number = number
        self.address = ""
        self.pod = f"10.42.{number}.2"
        self.pod6 = f"fd42:0:0:{number}::2"
        self.known: list[Node] = []
        self.routes = PeerRoutes(self.wishes, self.command([]))

    def member(self) -> Member:
        cidrs = (ip_network(f"10.42.{self.number}.0/24"), ip_network(f"fd42:0:0:{self.number}::/64"))
        return Member(self.name, (ip_address(self.address),), cidrs, created=self.name)

    def wishes(self) -> Wishes:
        return Wishes(self.member(), tuple(node.member() for node in self.known), CLUSTER)

    def command(self, command: Sequence[str]) -> list[str]:
        return self.fabric.command(self.name, command)

    def run(self, *command: str, check: bool = True) -> str:
        return run(self.command(command), check=check)

    def in_pod(self, *command: str, check: bool = True) -> str:
        return run(self.fabric.command(f"{self.name}-pod", command), check=check)

    def ask(self, address: str, *, from_node: bool = False, port: int = PORT) -> str:
        """Who answers there, and from which address it saw the question come."""
        script = [sys.executable, "-S", str(HERE / "ask.py"), "tcp", address, str(port), "1"]
        return (self.run(*script) if from_node else self.in_pod(*script)).strip()

    def packets(self, way: str, device: str = "eth0") -> int:
        """``way``: tx or rx. A large packet that is to be cut later counts as one."""
        (link,) = json.loads(self.run("ip", "-j", "-s", "link", "show", "dev", device))
        return int(link["stats64"][way]["packets"])

    def datagram(self, address: str, size_bytes: int) -> str:
        """What comes of an unfragmented UDP datagram from the pod to a pod, IP header included in its size."""
        family, header_bytes = (socket.AF_INET6, 48) if ":" in address else (socket.AF_INET, 28)
        with call_in(self.fabric.namespace(f"{self.name}-pod"), lambda: socket.socket(family, socket.SOCK_DGRAM)) as sender:
            level, discover, mtu = _PATH_MTU[family]
            sender.setsockopt(level, discover, 2)  # IP_PMTUDISC_DO
            sender.settimeout(20)
            sender.connect((address, PORT))
            try:
                sender.send(bytes(size_bytes - header_bytes))
                return f"{len(sender.recv(65536)) + header_bytes} came back"
            except OSError as error:
                if error.errno == errno.EMSGSIZE:
                    return f"at most {sender.getsockopt(level, mtu)}"
                return os.strerror(error.errno or 0)


class Fabric:
    """The nodes know nothing of each other yet."""

    def __init__(self) -> None:
        self.prefix = fresh_prefix()
        self._namespaces: list[str] = []
        self._servers: list[subprocess.Popen[str]] = []
        self.nodes: dict[str, Node] = {}

    def build(self) -> None:
        self._namespace("router")
        for number, network in SEGMENTS.items():
            self.run("router", "ip", "link", "add", f"seg{number}", "type", "bridge")
            self.run("router", "ip", "address", "add", f"{network}.254/24", "dev", f"seg{number}")
            self.run("router", "ip", "link", "set", f"seg{number}", "up")
        # As a careful router does it: what comes from an address that is not of the segment goes no further.
        for name in ("all", "default", "seg1", "seg2"):
            self.run("router", "sysctl", "-qw", f"net.ipv4.conf.{name}.rp_filter=1")
        self.run("router", "sysctl", "-qw", "net.ipv4.ip_forward=1")
        for number, (name, segment) in enumerate({"a": 1, "b": 1, "c": 2}.items(), 1):
            node = self.nodes[name] = Node(self, name, number)
            self._namespace(name)
            node.run("sysctl", "-qw", *(f"{key.replace('/', '.')}={value}" for key, value in _NODE.items()))
            self._cable(name, "eth0", "router", f"to-{name}")
            self.plug(node, segment)
            self._make_pod(node)

    def plug(self, node: Node, segment: int) -> None:
        """Into the switch of a segment, with a new address there."""
        self.run("router", "ip", "link", "set", f"to-{node.name}", "master", f"seg{segment}")
        node.run("ip", "-4", "address", "flush", "dev", "eth0")
        node.address = f"{SEGMENTS[segment]}.{node.number}"
        node.run("ip", "address", "add", f"{node.address}/24", "dev", "eth0")
        node.run("ip", "route", "replace", "default", "via", f"{SEGMENTS[segment]}.254")

    def run(self, where: str, *command: str) -> str:
        return run(self.command(where, command))

    def command(self, where: str, command: Sequence[str]) -> list[str]:
        return ["nsenter", f"--net=/run/netns/{self.namespace(where)}", *command]

    def namespace(self, where: str) -> str:
        return f"{self.prefix}-{where}"

    def _namespace(self, name: str) -> None:
        run(["ip", "netns", "add", self.namespace(name)])
        self._namespaces.append(self.namespace(name))
        self.run(name, "ip", "link", "set", "lo", "up")

    def _cable(self, one: str, one_end: str, other: str, other_end: str) -> None:
        self.run(one, "ip", "link", "add", one_end, "type", "veth", "peer", "name", other_end, "netns", self.namespace(other))
        self.run(one, "ip", "link", "set", one_end, "up")
        self.run(other, "ip", "link", "set", other_end, "up")

    def _make_pod(self, node: Node) -> None:
        """As the ptp plugin does it: a route to each address on the node's side, the gateway by link on the pod's."""
        pod = f"{node.name}-pod"
        self._namespace(pod)
        self._cable(node.name, "vethpod", pod, "eth0")
        for address, gateway, length in (
            (node.pod, f"10.42.{node.number}.1", 32),
            (node.pod6, f"fd42:0:0:{node.number}::1", 128),
        ):
            node.run("ip", "address", "add", f"{gateway}/{length}", "dev", "vethpod", *(["nodad"] if ":" in gateway else []))
            node.run("ip", "route", "add", f"{address}/{length}", "dev", "vethpod")
            self.run(pod, "ip", "address", "add", f"{address}/{length}", "dev", "eth0", *(["nodad"] if ":" in gateway else []))
            self.run(pod, "ip", "route", "add", f"{gateway}/{length}", "dev", "eth0")
            self.run(pod, "ip", "route", "add", "default", "via", gateway, *(["dev", "eth0"] if ":" in gateway else []))
        self.serve(pod, node.name, "::")

    def serve(self, where: str, name: str, address: str) -> None:
        line = self.command(where, [sys.executable, "-S", str(HERE / "pod.py"), name, address, str(PORT)])
        server = subprocess.Popen(line, stdout=subprocess.PIPE, text=True)
        self._servers.append(server)
        assert server.stdout is not None and server.stdout.readline() == "up\n"

    def close(self) -> None:
        for server in self._servers:
            server.kill()
            server.wait()
        for namespace in self._namespaces:
            run(["ip", "netns", "delete", namespace], check=False)
