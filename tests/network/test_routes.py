"""Pods on other nodes, in a kernel: three nodes on two segments, real routes, a real tunnel, real connections."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from edgekube.network import node_rules, routes
from edgekube.network.forwarding import DEVICE, PORT, PROTOCOL, VNI
from edgekube.network.peers import tunnel_mac
from tests.lab.cluster import until
from tests.lab.inside import call_in
from tests.network import fabric
from tests.network.fabric import Fabric, Node

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def built() -> Iterator[Fabric]:
    made = Fabric()
    try:
        made.build()
        yield made
    finally:
        made.close()


@pytest.fixture
async def lan(built: Fabric) -> AsyncIterator[Fabric]:
    """All nodes know each other, and are where they were at first."""
    nodes = list(built.nodes.values())
    for node in nodes:
        node.known = nodes
        if node.address.rpartition(".")[0] != fabric.SEGMENTS[2 if node.name == "c" else 1]:
            built.plug(node, 2 if node.name == "c" else 1)
    await everywhere(built)
    yield built


async def everywhere(lan: Fabric) -> None:
    for node in lan.nodes.values():
        assert await node.routes.apply(), node.name


def routes_of(node: Node) -> str:
    return node.run("ip", "route", "show", "proto", str(PROTOCOL))


async def test_pods_of_one_segment_meet_by_a_route_and_across_a_router_through_the_tunnel(lan: Fabric) -> None:
    a, b, c = lan.nodes.values()
    assert f"10.42.2.0/24 via {b.address} dev eth0" in routes_of(a)
    assert f"10.42.3.0/24 via 10.42.3.0 dev {DEVICE} onlink" in routes_of(a)
    for one, other in ((a, b), (b, c), (c, a)):
        assert one.ask(other.pod) == f"{other.name} {one.pod}", "a pod sees the address of a pod, not of a node"
        assert one.ask(other.pod6) == f"{other.name} {one.pod6}"


async def test_a_node_reaches_pods_on_other_nodes_and_what_it_sends_is_answered_the_same_way(lan: Fabric) -> None:
    a, b, c = lan.nodes.values()
    assert a.ask(b.pod, from_node=True) == f"b {a.address}"
    # The router lets no pod's address pass, so an answer to the node's own address would be lost.
    assert a.ask(c.pod, from_node=True) == "c 10.42.1.0"
    assert c.ask(a.pod6, from_node=True) == "a fd42:0:0:3::"


async def test_a_second_look_changes_nothing_and_what_somebody_removed_comes_back(lan: Fabric) -> None:
    a, b, c = lan.nodes.values()
    before = a.routes.applied
    assert await a.routes.apply() and a.routes.applied == before
    for damage in (
        "ip route flush proto 142",
        f"ip link delete {DEVICE}",
        f"ip link set {DEVICE} down",
        f"ip address flush dev {DEVICE}",
        f"ip neighbour flush dev {DEVICE} nud permanent",
        f"bridge fdb delete {tunnel_mac('c')} dev {DEVICE} dst {c.address} self",
        "nft delete table inet edgekube_nodes",
    ):
        a.run(*damage.split())
        assert await a.routes.apply() and a.routes.applied > before, damage
        assert a.ask(b.pod) == f"b {a.pod}" and a.ask(c.pod) == f"c {a.pod}", damage
        before = a.routes.applied
        assert await a.routes.apply() and a.routes.applied == before, damage


async def test_packets_find_their_size(lan: Fabric) -> None:
    a, b, c = lan.nodes.values()
    assert a.datagram(b.pod, 1500) == "1500 came back", "the segment carries whole frames"
    for address in (c.pod, c.pod6):
        assert a.datagram(address, 1500) == "at most 1450"
        assert a.datagram(address, 1450) == "1450 came back"
    for address in (c.pod, c.pod6):
        forget_sizes(a)
        assert bulk(a, address, 2_000_000) == 2_000_000


async def test_a_path_that_carries_less_than_the_links_at_its_ends_still_carries_everything(lan: Fabric) -> None:
    a, _, c = lan.nodes.values()
    lan.run("router", "ip", "link", "set", "seg2", "mtu", "1400")
    try:
        assert a.datagram(c.pod, 1450) == "1450 came back", "in pieces"
        assert bulk(a, c.pod, 500_000) == bulk(c, a.pod, 500_000) == 500_000
    finally:
        lan.run("router", "ip", "link", "set", "seg2", "mtu", "1500")


async def test_the_tunnel_follows_the_size_of_the_link_below_it(lan: Fabric) -> None:
    a, _, c = lan.nodes.values()
    for size in (1400, 1500):
        a.run("ip", "link", "set", "eth0", "mtu", str(size))
        assert await a.routes.apply()
        (device,) = json.loads(a.run("ip", "-j", "link", "show", "dev", DEVICE))
        assert device["mtu"] == size - 50
        forget_sizes(a)
        assert a.datagram(c.pod, 1500) == f"at most {size - 50}"
        forget_sizes(a)


def forget_sizes(node: Node) -> None:
    for family in ("-4", "-6"):
        node.fabric.run(f"{node.name}-pod", "ip", family, "route", "flush", "cache")


def bulk(node: Node, address: str, size_bytes: int) -> int:
    """So many bytes come back when so many are sent to a pod. New connections have not learnt any size yet."""
    with connection(node, address) as line:
        sent = 0
        received = 0
        line.setblocking(True)
        chunk = b"x" * 50_000
        while sent < size_bytes:
            line.sendall(chunk)
            sent += len(chunk)
            while received < sent:
                received += len(line.recv(65536))
    return received


def connection(node: Node, address: str) -> socket.socket:
    """From the node's pod; the greeting is read."""
    pod = node.fabric.namespace(f"{node.name}-pod")
    made = call_in(pod, lambda: socket.create_connection((address, fabric.PORT), timeout=60))
    while made.recv(1) != b"\n":
        pass
    return made


def echo(line: socket.socket, text: bytes) -> bytes:
    line.sendall(text)
    return line.recv(len(text), socket.MSG_WAITALL)


async def test_connections_live_through_a_node_that_moves_to_another_segment_and_back(lan: Fabric) -> None:
    a, b, c = lan.nodes.values()
    with connection(a, b.pod) as moving, connection(a, c.pod) as bystander:
        assert echo(moving, b"before") == b"before"
        for segment, way in ((2, DEVICE), (1, "eth0")):
            lan.plug(b, segment)
            await everywhere(lan)
            assert f"10.42.2.0/24 via {b.address if way == 'eth0' else '10.42.2.0'} dev {way}" in routes_of(a)
            assert f"10.42.2.0/24 via {b.address if way != 'eth0' else '10.42.2.0'} dev" in routes_of(c)
            assert echo(moving, b"after") == b"after" and echo(bystander, b"too") == b"too"


async def test_a_node_that_is_gone_loses_its_route_and_its_pods_addresses_go_nowhere(lan: Fabric) -> None:
    a, b, c = lan.nodes.values()
    with connection(a, b.pod) as bystander:
        a.known = [a, b]
        assert await a.routes.apply()
        assert "10.42.3.0/24" not in routes_of(a)
        assert c.address not in a.run("bridge", "fdb", "show", "dev", DEVICE)
        assert a.ask(c.pod) == "OSError: No route to host"
        assert echo(bystander, b"still here") == b"still here"
    a.known = []
    assert await a.routes.apply()
    assert DEVICE not in a.run("ip", "link", "show")
    assert routes_of(a).split() == ["unreachable", "10.42.0.0/16"]


async def test_only_nodes_speak_into_the_tunnel(lan: Fabric) -> None:
    a = lan.nodes["a"]
    # A frame of no meaning from c's end of the tunnel to a's, as anybody who knows their names can write it.
    frame = bytes.fromhex((tunnel_mac("a") + tunnel_mac("c")).replace(":", "")) + b"\x08\x00" + bytes(46)
    packet = struct.pack(">II", 0x08000000, VNI << 8) + frame

    def arrived() -> int:
        return a.packets("rx", DEVICE)

    def refused() -> int:
        return int(a.run("nft", "list", "chain", *node_rules.TABLE.split(), "tunnel").partition("packets ")[2].split()[0])

    def send(where: str) -> None:
        with call_in(lan.namespace(where), lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as speaker:
            speaker.sendto(packet, (a.address, PORT))

    was = arrived()
    send("c")
    until(lambda: arrived() == was + 1)
    assert refused() == 0
    send("router")
    until(lambda: refused() == 1)
    assert arrived() == was + 1


async def test_large_packets_enter_the_tunnel_and_leave_the_node_whole(lan: Fabric) -> None:
    """Cut to the MTU before that, each of them would go through routes and rules thirty times."""
    a, c = lan.nodes["a"], lan.nodes["c"]
    amount = 32 << 20
    with (
        call_in(lan.namespace("c-pod"), lambda: socket.create_server(("", 0))) as listener,
        call_in(lan.namespace("a-pod"), lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as sender,
    ):
        sender.settimeout(120)
        sender.connect((c.pod, listener.getsockname()[1]))
        receiver, _ = listener.accept()
        with receiver, ThreadPoolExecutor(1) as pool:
            before = a.packets("tx")
            arriving = pool.submit(_swallow, receiver)
            sender.sendall(bytes(amount))
            sender.shutdown(socket.SHUT_WR)
            assert arriving.result(timeout=120) == amount
    assert a.packets("tx") - before < amount / 1400 / 3


def _swallow(line: socket.socket) -> int:
    line.settimeout(120)
    total = 0
    while piece := line.recv(1 << 20):
        total += len(piece)
    return total


async def test_a_connection_is_remembered_once_and_not_again_as_the_packets_around_it(lan: Fabric) -> None:
    a, c = lan.nodes["a"], lan.nodes["c"]
    for node in (a, c):
        node.run("conntrack", "-F")
    assert a.ask(c.pod) == f"c {a.pod}"
    for node in (a, c):
        assert f"dst={c.pod} " in node.run("conntrack", "-L", "-p", "tcp")
        assert f"dport={PORT} " not in node.run("conntrack", "-L", "-p", "udp")


async def test_what_a_pod_sends_to_the_tunnels_port_elsewhere_is_tracked_as_anything_else(lan: Fabric) -> None:
    """Or it would leave with the pod's address, which nobody outside can answer."""
    a, c = lan.nodes["a"], lan.nodes["c"]
    for address in (f"{fabric.SEGMENTS[1]}.254", c.address):
        with call_in(lan.namespace("a-pod"), lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as speaker:
            speaker.sendto(b"?", (address, PORT))
        until(lambda address=address: f"dst={address} " in a.run("conntrack", "-L", "-p", "udp", "--orig-port-dst", str(PORT)))  # type: ignore[misc]


async def test_an_uninstall_leaves_nothing(lan: Fabric) -> None:
    a = lan.nodes["a"]
    routes.forget(a.command([]))
    assert not routes_of(a) and not a.run("ip", "-6", "route", "show", "proto", str(PROTOCOL))
    assert DEVICE not in a.run("ip", "link", "show") and "edgekube" not in a.run("nft", "list", "tables")
    routes.forget(a.command([]))
