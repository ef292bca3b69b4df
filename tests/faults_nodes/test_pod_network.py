"""Pods on other nodes, in a cluster of two stacks: on one segment and across a router, while addresses change and nodes go."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from functools import partial
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from edgekube.network.forwarding import DEVICE, PROTOCOL
from tests.e2e.namespace import Namespace, document, fresh_namespace
from tests.lab import inside
from tests.lab.cluster import until
from tests.lab.clusters import MultiCluster, many_nodes
from tests.lab.lan import Lan
from tests.lab.router import routed
from tests.lab.subnet import FAR_TWO_STACKS, TWO_STACKS

RANGES = ["--cluster-cidr", "10.42.0.0/16,fd42::/48", "--service-cidr", "10.43.0.0/16,fd43::/112"]
#: Says who asked; sends back what it is sent.
POD = """
    apiVersion: v1
    kind: Pod
    metadata: {{name: on-{node}, labels: {{app: who}}}}
    spec:
      nodeName: {node}
      terminationGracePeriodSeconds: 0
      containers:
        - name: main
          image: busybox:1.36
          command:
            - sh
            - -c
            - |
              mkdir -p /www/cgi-bin
              printf '#!/bin/sh\\necho\\necho on-{node} $REMOTE_ADDR\\n' >/www/cgi-bin/who
              chmod +x /www/cgi-bin/who
              nc -ll -p 9000 -e cat &
              exec httpd -f -p 8080 -h /www
          readinessProbe: {{httpGet: {{path: /cgi-bin/who, port: 8080}}, periodSeconds: 1, timeoutSeconds: 20}}
    ---
"""
SERVICE = """
    apiVersion: v1
    kind: Service
    metadata: {name: who}
    spec:
      ipFamilyPolicy: RequireDualStack
      selector: {app: who}
      ports: [{port: 80, targetPort: 8080}]
"""


class World:
    """n1 and n2 on one segment, n3 on another one, a pod on each."""

    def __init__(self, cluster: MultiCluster, ns: Namespace) -> None:
        self.cluster = cluster
        self.ns = ns

    def addresses(self, node: str) -> list[str]:
        """Of the node's pod, IPv4 first."""
        return [each["ip"] for each in self.ns.get(f"pod/on-{node}")["status"].get("podIPs") or ()]

    def ask(self, node: str, *addresses: str, port: int = 8080) -> list[str]:
        """Who answers the node's pod at each of these, and whom it takes the asker for."""
        hosts = " ".join(f"[{address}]" if ":" in address else address for address in addresses)
        answers = self.ns.sh(
            f"on-{node}", f"for a in {hosts}; do timeout 30 wget -q -O- http://$a:{port}/cgi-bin/who; done; true"
        )
        return [f"{name} {asker.strip('[]').removeprefix('::ffff:')}" for name, asker in map(str.split, answers.splitlines())]

    def answers(self, node: str, addresses: list[str], expected: list[str]) -> bool:
        return self.ask(node, *addresses) == expected

    def reaches_all(self, node: str, address: str, names: set[str]) -> bool:
        return {answer.split()[0] for answer in self.ask(node, *[address] * 20, port=80)} == names

    def routes(self, node: str) -> str:
        return self.cluster.node(node).run(["ip", "route", "show", "proto", str(PROTOCOL)])

    def internal_ips(self, node: str) -> list[str]:
        addresses = self.cluster.server.get(f"node/{node}")["status"]["addresses"]
        return [each["address"] for each in addresses if each["type"] == "InternalIP"]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    disk = tmp_path_factory.mktemp("nodes")
    with many_nodes(disk, 2, subnet=TWO_STACKS, server_arguments=RANGES) as cluster:
        with Lan(cluster.lan.prefix, name="far", subnet=FAR_TWO_STACKS) as far, routed(cluster.lan, far):
            cluster.new_agent(far, "n3", "198.51.100.3").launch()
            cluster.wait_until_ready()
            with fresh_namespace(cluster.server, "podnet") as ns:
                ns.apply("".join(POD.format(node=name) for name in ("n1", "n2", "n3")) + SERVICE)
                ns.ready("pod/on-n1", "pod/on-n2", "pod/on-n3")
                yield World(cluster, ns)
            cluster.node("n3").close()
        unexpected = cluster.unexpected()
    assert not unexpected, unexpected


def echo(line: socket.socket, text: bytes) -> bytes:
    line.sendall(text)
    back = b""
    while len(back) < len(text):
        piece = line.recv(65536)
        assert piece, "the pod hung up"
        back += piece
    return back


def everybody_answers(namespace: str, address: str, port: int) -> bool:
    try:
        seen = {inside.fetch(namespace, address, port, "/cgi-bin/who").split()[0] for _ in range(30)}
    except OSError:
        return False
    return seen == {"on-n1", "on-n2", "on-n3"}


def test_every_pod_reaches_every_other_one_by_its_own_address_of_both_families(world: World) -> None:
    assert "via 192.0.2.2 dev eth0" in world.routes("n1")
    assert f"dev {DEVICE} onlink" in world.routes("n1")
    names = ("n1", "n2", "n3")
    addresses = {name: world.addresses(name) for name in names}
    assert all(len(pair) == 2 and ":" in pair[1] for pair in addresses.values())
    for one in names:
        expected = [f"on-{other} {own}" for other in names for own in addresses[one]]
        # What is Ready is reached from other nodes a moment later.
        until(partial(world.answers, one, [address for other in names for address in addresses[other]], expected))
    everybody = {f"on-{name}" for name in names}
    for address in world.ns.get("service/who")["spec"]["clusterIPs"]:
        until(partial(world.reaches_all, "n3", address, everybody))
        for name in ("n1", "n3"):  # a node reaches Services, too
            until(partial(everybody_answers, world.cluster.node(name).namespace, address, 80))


def test_a_node_port_leads_across_the_router_in_both_families(world: World) -> None:
    """Who asks from outside is sent on under an address to which the far node knows the way back."""
    world.ns.kubectl("patch", "service/who", "-p", '{"spec": {"type": "NodePort"}}')
    port = int(world.ns.field("service/who", ".spec.ports[0].nodePort"))

    for address in ("192.0.2.1", "2001:db8::1"):
        until(partial(everybody_answers, world.cluster.lan.namespace, address, port))


def test_much_gets_across_the_router(world: World) -> None:
    for address in world.addresses("n3"):
        with inside.connect(world.cluster.node("n1").namespace, address, 9000, timeout_seconds=30) as line:
            text = bytes(range(256)) * 100
            assert all(echo(line, text) == text for _ in range(40))


def test_what_somebody_removes_comes_back_at_once(world: World) -> None:
    node = world.cluster.node("n1")
    before = world.routes("n1")
    for damage in ("ip route flush proto 142", f"ip link delete {DEVICE}", "nft flush ruleset"):
        node.run(damage.split())
        until(lambda: world.routes("n1") == before)
        until(lambda: "inet edgekube_nodes" in node.run(["nft", "list", "tables"]))

    def reached() -> bool:
        try:
            return inside.fetch(node.namespace, world.addresses("n3")[0], 8080, "/cgi-bin/who").startswith("on-n3")
        except OSError:
            return False

    until(reached)


def test_a_node_with_a_new_address_is_found_and_connections_of_pods_live_on(world: World) -> None:
    pod = world.addresses("n2")[0]
    before = {p["metadata"]["name"]: p["status"]["containerStatuses"][0]["containerID"] for p in world.ns.get("pods")["items"]}
    near, far = (inside.connect(world.cluster.node(name).namespace, pod, 9000, timeout_seconds=30) for name in ("n1", "n3"))
    with near, far:
        assert echo(near, b"one") == b"one" and echo(far, b"one") == b"one"
        world.cluster.node("n2").change_address("192.0.2.77")
        until(lambda: world.internal_ips("n2") == ["192.0.2.77", "2001:db8::4d"])
        until(lambda: "via 192.0.2.77 dev eth0" in world.routes("n1"))
        assert echo(near, b"two") == b"two" and echo(far, b"two") == b"two"
    until(lambda: world.ns.get("pod/on-n2")["status"]["hostIP"] == "192.0.2.77")
    after = {p["metadata"]["name"]: p["status"]["containerStatuses"][0]["containerID"] for p in world.ns.get("pods")["items"]}
    assert after == before, "no container was touched"
    addresses = {name: world.addresses(name)[0] for name in ("n1", "n2", "n3")}
    answers = [f"on-{name} {addresses['n2']}" for name in ("n1", "n3")]
    until(lambda: world.ask("n2", addresses["n1"], addresses["n3"]) == answers)
    for name in ("n1", "n3"):
        until(partial(world.answers, name, [addresses["n2"]], [f"on-n2 {addresses[name]}"]))


SQUATTER = """
    apiVersion: v1
    kind: Node
    metadata: {{name: squatter}}
    spec: {{podCIDR: {ranges[0]}, podCIDRs: {ranges}}}
"""


def test_a_node_deleted_by_mistake_keeps_its_range_and_one_whose_range_is_gone_begins_anew(world: World) -> None:
    server = world.cluster.server

    def ranges(*, not_of: str = "") -> list[str]:
        """Of the Node n2, when it is another one than that of this uid."""
        node = server.request("GET", "/api/v1/nodes/n2").json()
        other = node["metadata"].get("uid", "") not in ("", not_of)
        return list(node["spec"].get("podCIDRs") or ()) if other else []

    def uid() -> str:
        return str(server.get("node/n2")["metadata"]["uid"])

    former, first = ranges(), uid()
    server.kubectl("delete", "node/n2", "--wait=false")
    assert until(lambda: ranges(not_of=first)) == former
    # Again, and now another node has the range: what n2's pods have would lead there.
    server.kubectl("create", "-f", "-", stdin=document(SQUATTER.format(ranges=former)))
    second = uid()
    server.kubectl("delete", "node/n2", "--wait=false")
    now = until(lambda: ranges(not_of=second))
    assert now != former

    def moved() -> bool:
        held = world.addresses("n2")
        return len(held) == 2 and all(ip_address(ip) in ip_network(cidr) for ip, cidr in zip(held, now, strict=True))

    until(moved)
    world.ns.ready("pod/on-n2")
    until(lambda: world.ask("n1", *world.addresses("n2")) == [f"on-n2 {own}" for own in world.addresses("n1")])
    server.kubectl("delete", "node/squatter")


def test_a_node_that_is_removed_loses_its_routes_everywhere(world: World, tmp_path: Path) -> None:
    cidr = world.cluster.server.get("node/n3")["spec"]["podCIDR"]
    assert cidr in world.routes("n1")
    world.cluster.program("n3").stop()
    world.cluster.server.kubectl("delete", "node/n3")
    for name in ("n1", "n2"):
        until(lambda name=name: cidr not in world.routes(name))  # type: ignore[misc]
        forwards = json.loads(world.cluster.node(name).run(["bridge", "-j", "fdb", "show", "dev", DEVICE]))
        assert "198.51.100.3" not in {entry.get("dst") for entry in forwards}


def test_the_server_with_a_new_address_tells_pods_and_nodes(world: World) -> None:
    world.cluster.server.node.change_address("192.0.2.66")

    def endpoints() -> list[str]:
        answer = world.cluster.server.request("GET", "/api/v1/namespaces/default/endpoints/kubernetes").json()
        return [each["ip"] for each in answer["subsets"][0]["addresses"]]

    until(lambda: endpoints() == ["192.0.2.66"])
    facts = world.cluster.server.get("-n", "kube-system", "configmap/edgekube-cluster")["data"]
    assert "https://192.0.2.66:6443" in facts["servers"]
