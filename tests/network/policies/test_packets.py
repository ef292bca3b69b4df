"""Policies in a kernel: a table of cases, each tried between all pods, over both families, and judged by the oracle."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from edgekube.network.policies.model import policy_of
from edgekube.network.policies.planner import Planner
from tests.network.policies.oracle import World
from tests.network.policies.rig import DNS, NODES, OUTSIDE, Rig, Target, pod_id
from tests.network.policies.test_decisions import told

pytestmark = pytest.mark.root

Object = dict[str, Any]
NAMESPACES = {name: {"ns": name, "kubernetes.io/metadata.name": name} for name in ("x", "y", "z")}


def pod(namespace: str, name: str, node: str, number: int) -> Object:
    return {
        "kind": "PodAddress",
        "apiVersion": "internal.edgekube.io/v1",
        "metadata": {
            "name": name, "namespace": namespace, "uid": f"{namespace}{name}", "labels": {"pod": name}, "resourceVersion": "1",
        },
        "nodeName": node,
        "phase": "Running",
        "podIPs": [f"10.42.{NODES[node]}.{number}", f"fd42:{NODES[node]}::{number}"],
        "ports": [
            {"name": "serve-80", "containerPort": 80, "protocol": "TCP"},
            # One name, two numbers: which one is meant depends on the pod that is asked.
            {"name": "odd", "containerPort": 80 if name == "a" else 81, "protocol": "TCP"},
            {"name": "serve-80-udp", "containerPort": 80, "protocol": "UDP"},
        ],
    }  # fmt: skip


PODS = [pod("x", "a", "n1", 2), pod("x", "b", "n2", 2), pod("y", "a", "n1", 3), pod("y", "b", "n2", 3), pod("z", "c", "n1", 4)]


def policy(name: str, namespace: str, **spec: Any) -> Object:
    return {"metadata": {"name": name, "namespace": namespace}, "spec": {"podSelector": {}, **spec}}


def pods(**labels: str) -> Object:
    return {"podSelector": {"matchLabels": labels}}


def namespaces(**labels: str) -> Object:
    return {"namespaceSelector": {"matchLabels": labels}}


def block(cidr: str, *excepts: str) -> Object:
    return {"ipBlock": {"cidr": cidr, **({"except": list(excepts)} if excepts else {})}}


def expression(key: str, operator: str, *values: str) -> Object:
    return {"matchExpressions": [{"key": key, "operator": operator, "values": list(values)}]}


KUBE_DNS = {**namespaces(**{"kubernetes.io/metadata.name": "kube-system"}), **pods(**{"k8s-app": "kube-dns"})}
A: Object = {"matchLabels": {"pod": "a"}}
CASES: dict[str, list[Object]] = {
    "default deny ingress": [policy("p", "x")],
    "default deny egress": [policy("p", "x", policyTypes=["Egress"])],
    "default deny all, everywhere": [policy("p", name, policyTypes=["Ingress", "Egress"]) for name in NAMESPACES],
    "allow all ingress beside a default deny": [policy("p", "x"), policy("q", "x", ingress=[{}])],
    "allow all egress": [policy("p", "x", policyTypes=["Egress"], egress=[{}])],
    "an empty list of peers is everybody": [policy("p", "x", ingress=[{"from": []}])],
    "pods of the same namespace": [policy("p", "x", podSelector=A, ingress=[{"from": [pods(pod="b")]}])],
    "a namespace": [policy("p", "x", podSelector=A, ingress=[{"from": [namespaces(ns="y")]}])],
    "pods of a namespace, both must match": [
        policy("p", "x", podSelector=A, ingress=[{"from": [{**namespaces(ns="y"), **pods(pod="b")}]}])
    ],
    "pods here or a namespace, either may match": [
        policy("p", "x", podSelector=A, ingress=[{"from": [namespaces(ns="z"), pods(pod="b")]}])
    ],
    "expressions": [
        policy("p", "x", podSelector=expression("pod", "In", "a", "c"),
               ingress=[{"from": [{"namespaceSelector": expression("ns", "NotIn", "x", "y")}]}])
    ],
    "one port": [policy("p", "x", ingress=[{"ports": [{"port": 81}]}])],
    "a port of one protocol": [policy("p", "x", ingress=[{"ports": [{"protocol": "UDP", "port": 80}]}])],
    "a port only from a peer": [policy("p", "x", ingress=[{"from": [namespaces(ns="y")], "ports": [{"port": 80}]}])],
    "a named port": [policy("p", "x", ingress=[{"ports": [{"port": "serve-80"}]}])],
    "a named port that each pod numbers itself": [policy("p", "x", ingress=[{"ports": [{"port": "odd"}]}])],
    "a named port outwards is the destination's": [
        policy("p", "x", policyTypes=["Egress"], egress=[{"to": [namespaces(ns="y")], "ports": [{"port": "odd"}]}])
    ],
    "a range of ports": [policy("p", "x", ingress=[{"ports": [{"port": 80, "endPort": 81}]}])],
    "policies add up": [
        policy("p", "x", podSelector=A, ingress=[{"from": [namespaces(ns="y")], "ports": [{"port": 80}]}]),
        policy("q", "x", podSelector=A, ingress=[{"from": [namespaces(ns="z")], "ports": [{"port": 81}]}]),
    ],
    "both ends have to agree": [
        policy("p", "x", podSelector=A, policyTypes=["Egress"], egress=[{"to": [namespaces(ns="y")]}]),
        policy("q", "y", podSelector=A, ingress=[{"from": [namespaces(ns="z")]}]),
    ],
    "addresses": [policy("p", "x", podSelector=A, ingress=[{"from": [block("10.42.2.0/24"), block(f"{OUTSIDE[1]}/128")]}])],
    "addresses, but not some of them": [
        policy("p", "x", policyTypes=["Egress"], egress=[
            {"to": [block("10.42.0.0/16", "10.42.2.0/24", "10.42.2.2/32", "10.42.1.3/32"), block("::/0", "fd42::/16")]}
        ])
    ],
    "the world, but not the cluster": [
        policy("p", "y", policyTypes=["Egress"], egress=[{"to": [block("0.0.0.0/0", "10.42.0.0/15", "10.43.0.0/16")]}])
    ],
    "names may be looked up, nothing else": [
        policy("p", "x", policyTypes=["Egress"], egress=[{"to": [KUBE_DNS], "ports": [{"protocol": "UDP", "port": 53}]}])
    ],
}  # fmt: skip


def world(policies: list[Object]) -> World:
    labels = {**NAMESPACES, "kube-system": {"kubernetes.io/metadata.name": "kube-system"}}
    return World(labels, PODS, policies)


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    rig = Rig()
    try:
        rig.build(PODS)
        yield rig
    finally:
        rig.close()


class Cluster:
    """A planner for each node; what it says is in force."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self.planners = {node: Planner(node, families=(4, 6), resolvers=[DNS]) for node in NODES}
        for node, planner in self.planners.items():
            for name, labels in world([]).namespaces.items():
                planner.put_namespace(name, labels)
            for each in PODS:
                planner.put_pod(told(each))
            rig.nft(node, planner.everything().text)

    def enforce(self, policies: list[Object]) -> None:
        for planner in self.planners.values():
            wanted = [policy_of(each) for each in policies]
            for namespace, name in planner.policy_keys():
                if (namespace, name) not in [(each.namespace, each.name) for each in wanted]:
                    planner.remove_policy(namespace, name)
            for each in wanted:
                planner.put_policy(each)
        self.apply()

    def apply(self) -> None:
        for node, planner in self.planners.items():
            if text := planner.script().text:
                self._rig.nft(node, text)


@pytest.fixture(scope="module")
def cluster(rig: Rig) -> Cluster:
    return Cluster(rig)


def expectation(policies: list[Object]) -> dict[tuple[str, Target], bool]:
    """Everybody tries everybody."""
    judge = world(policies)
    expected: dict[tuple[str, Target], bool] = {}
    for family in (0, 1):
        places = {pod_id(each): each["podIPs"][family] for each in PODS} | {"out": OUTSIDE[family]}
        for source, here in places.items():
            for destination, there in places.items():
                ports = (("tcp", 80), ("tcp", 81), ("udp", 80)) if source != destination else (("tcp", 80),)
                for protocol, port in ports:
                    expected[source, (protocol, there, port)] = judge.allows(here, there, protocol, port)
            if source != "out" and family == 0:
                expected[source, ("udp", DNS, 53)] = judge.allows(here, DNS, "udp", 53)
    # The node itself: to its own pods always, and back.
    for each in PODS:
        expected[each["nodeName"], ("tcp", each["podIPs"][0], 80)] = True
        expected[pod_id(each), ("tcp", f"192.0.2.{NODES[each['nodeName']]}", 9000)] = True
    return expected


@pytest.mark.parametrize("case", CASES)
def test_everybody_reaches_exactly_whom_they_may(rig: Rig, cluster: Cluster, case: str) -> None:
    expected = expectation(CASES[case])
    cluster.enforce(CASES[case])
    assert len(set(expected.values())) == (1 if "empty list" in case or "allow all" in case else 2), "the case refuses something"
    assert rig.mismatches(expected) == []


def test_without_policies_everybody_reaches_everybody(rig: Rig, cluster: Cluster) -> None:
    cluster.enforce([])
    assert all(expectation([]).values())
    assert rig.mismatches(expectation([])) == []


def test_a_relabelled_pod_and_a_relabelled_namespace_count_at_once(rig: Rig, cluster: Cluster) -> None:
    cluster.enforce([policy("p", "x", podSelector=A, ingress=[{"from": [{**namespaces(ns="y"), **pods(pod="b")}]}])])
    target: Target = ("tcp", PODS[0]["podIPs"][0], 80)
    assert rig.mismatches({("yb", target): True, ("ya", target): False}) == []
    renamed = {**PODS[2], "metadata": {**PODS[2]["metadata"], "labels": {"pod": "b"}}}
    for planner in cluster.planners.values():
        planner.put_pod(told(renamed))
    cluster.apply()
    assert rig.mismatches({("yb", target): True, ("ya", target): True}) == []
    for planner in cluster.planners.values():
        planner.put_namespace("y", {"ns": "elsewhere"})
    cluster.apply()
    assert rig.mismatches({("yb", target): False, ("ya", target): False}) == []
    for planner in cluster.planners.values():
        planner.put_pod(told(PODS[2]))
        planner.put_namespace("y", NAMESPACES["y"])
    cluster.apply()


def test_what_was_connected_goes_on_and_nothing_new_comes(rig: Rig, cluster: Cluster) -> None:
    cluster.enforce([])
    address = PODS[1]["podIPs"][0]
    script = f"""
import socket, sys
server = socket.create_server(("{address}", 7000))
print("up", flush=True)
client, _ = server.accept()
while data := client.recv(10):
    client.sendall(data)
"""
    talk = f"""
import socket, sys
line = socket.create_connection(("{address}", 7000), timeout=10)
for word in sys.stdin:
    line.sendall(b"?"); print(line.recv(10).decode(), flush=True)
"""
    server = subprocess.Popen(rig.command("xb", [sys.executable, "-S", "-c", script]), stdout=subprocess.PIPE, text=True)
    client = None
    try:
        assert server.stdout is not None and server.stdout.readline() == "up\n"
        client = subprocess.Popen(
            rig.command("ya", [sys.executable, "-S", "-c", talk]),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        assert client.stdin is not None and client.stdout is not None
        client.stdin.write("1\n")
        assert client.stdout.readline() == "?\n"
        cluster.enforce([policy("p", "x"), policy("p", "y", policyTypes=["Egress"])])
        assert rig.programs["ya"].reaches([("tcp", address, 80)]) == []
        client.stdin.write("2\n")
        assert client.stdout.readline() == "?\n"
    finally:
        for process in (server, client):
            if process is not None:
                process.kill()
                process.wait()


def test_a_service_address_is_judged_as_the_pod_behind_it(rig: Rig, cluster: Cluster) -> None:
    """The proxy's translation comes first, whatever its priority: here a plain one, from a table of its own."""
    service: Target = ("tcp", "10.43.0.99", 8000)
    own: Target = ("tcp", "10.43.0.98", 8000)
    other, itself = PODS[1]["podIPs"][0], PODS[0]["podIPs"][0]
    nat = f"""
table ip translate {{
  chain p {{
    type nat hook prerouting priority dstnat
    ip daddr 10.43.0.99 tcp dport 8000 dnat to {other}:80
    ip daddr 10.43.0.98 tcp dport 8000 dnat to {itself}:80
  }}
  chain q {{
    type nat hook postrouting priority srcnat
    ip saddr {itself} ip daddr {itself} masquerade
  }}
}}
"""
    rig.nft("n1", nat)
    try:
        cluster.enforce([policy("p", "x", ingress=[{"from": [namespaces(ns="y")], "ports": [{"port": 80}]}])])
        assert rig.mismatches({("ya", service): True, ("zc", service): False}) == []
        cluster.enforce(
            [policy("p", "y", policyTypes=["Egress"], egress=[{"to": [namespaces(ns="x")], "ports": [{"port": 80}]}])]
        )
        assert rig.mismatches({("ya", service): True}) == []
        cluster.enforce([policy("p", "y", policyTypes=["Egress"], egress=[{"to": [block("10.43.0.0/16")]}])])
        assert rig.mismatches({("ya", service): False}) == []
        cluster.enforce([policy("p", "x", policyTypes=["Ingress", "Egress"])])
        assert rig.mismatches({("xa", own): True, ("xa", service): False}) == [], "a pod is never kept from itself"
    finally:
        rig.nft("n1", "delete table ip translate")


def test_a_pod_cannot_borrow_anothers_address(rig: Rig, cluster: Cluster) -> None:
    """ya takes zc's address, and an outsider's: neither leads to xa, whom z and the world may reach."""
    cluster.enforce([policy("p", "x", podSelector=A, ingress=[{"from": [namespaces(ns="z"), block("198.51.100.0/24")]}])])
    target = PODS[0]["podIPs"][0]
    borrowed = [PODS[4]["podIPs"][0], "198.51.100.77"]
    for address in borrowed:
        rig.ip("ya", f"address add {address}/32 dev lo")
    counter = "table inet seen { chain c { type filter hook forward priority -5; udp dport 4444 counter; }; }"
    rig.nft("n1", counter)
    try:
        script = (
            "import socket, sys\nfor a in sys.argv[2:]:\n s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n s.bind((a, 0))\n"
        )
        script += " s.sendto(b'x', (sys.argv[1], 4444))"
        send = ["python3", "-S", "-c", script, target]
        rig.inside("ya", [*send, *borrowed])
        assert "packets 0" in rig.inside("n1", ["nft", "list", "table", "inet", "seen"])
        rig.inside("ya", [*send, PODS[2]["podIPs"][0]])
        assert "packets 1" in rig.inside("n1", ["nft", "list", "table", "inet", "seen"]), "its own address does"
    finally:
        rig.nft("n1", "delete table inet seen")
        for address in borrowed:
            rig.ip("ya", f"address delete {address}/32 dev lo")


def test_the_kernel_holds_what_the_planner_wants_after_all_changes(rig: Rig, cluster: Cluster) -> None:
    """Every case after every other, by changes; then the same from nothing: nft lists the same table."""
    for policies in CASES.values():
        cluster.enforce(policies)
    changed = rig.inside("n1", ["nft", "-s", "list", "table", "inet", "edgekube_policy"])
    rig.nft("n1", cluster.planners["n1"].everything().text)
    anew = rig.inside("n1", ["nft", "-s", "list", "table", "inet", "edgekube_policy"])
    assert sorted(changed.splitlines()) == sorted(anew.splitlines())
    assert changed.count("chain") > 5


def test_every_protocol_is_one_that_nft_takes(rig: Rig, cluster: Cluster) -> None:
    """This kernel may have no SCTP sockets; the rules it must have."""
    ports = [{"protocol": "SCTP", "port": 7777}, {"protocol": "SCTP", "port": "odd"}, {"protocol": "SCTP"}]
    for each in ports:
        cluster.enforce([policy("p", "x", ingress=[{"ports": [each]}])])
    assert "meta l4proto sctp accept" in rig.inside("n1", ["nft", "list", "table", "inet", "edgekube_policy"])
