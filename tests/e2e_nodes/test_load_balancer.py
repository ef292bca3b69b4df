"""Addresses on the LAN: a neighbour that is no node reaches a Service by one, and finds it elsewhere when its node steps back."""

from __future__ import annotations

import contextlib
import json
import socket

import dnslib

from tests.e2e.namespace import Namespace
from tests.e2e_nodes.test_nodes import PAGE, WEB
from tests.lab import inside
from tests.lab.cluster import until
from tests.lab.clusters import MultiCluster
from tests.lab.lan import GATEWAY

BALANCED = """
    apiVersion: v1
    kind: Service
    metadata: {name: lan}
    spec: {type: LoadBalancer, selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
"""


def balanced(ns: Namespace, manifest: str = BALANCED) -> str:
    """The Service's address, once it has one."""
    ns.apply(manifest)
    return until(lambda: ns.field("service/lan", ".status.loadBalancer.ingress[0].ip"))


def page(cluster: MultiCluster, address: str) -> str:
    """What the neighbour gets; "" while nobody answers."""
    with contextlib.suppress(OSError):
        return inside.fetch(cluster.lan.namespace, address, 80, PAGE)
    return ""


def holder(cluster: MultiCluster, address: str) -> str:
    """The node whose MAC the neighbour sends to."""
    table = json.loads(cluster.lan.inside(["ip", "-j", "neighbour", "show", address]) or "[]")
    macs = {entry.get("lladdr") for entry in table}
    for program in cluster.programs:
        links = json.loads(program.node.run(["ip", "-j", "link", "show", "eth0"]))
        if links[0]["address"] in macs:
            return program.name
    return ""


def test_a_neighbour_reaches_a_service_by_its_address(cluster3: MultiCluster, ns: Namespace) -> None:
    ns.apply(WEB)
    ns.kubectl("rollout", "status", "deployment/web", "--timeout=90s")
    address = balanced(ns)
    assert address.startswith("192.0.2.20")
    pods = {pod["metadata"]["name"] for pod in ns.get("pods", "-l", "app=web")["items"]}
    # Every pod serves, wherever it is.
    until(lambda: {(page(cluster3, address) or "by nobody here").split()[2] for _ in range(40)} == pods)
    first = until(lambda: holder(cluster3, address))
    assert first in {"n1", "n2", "n3"}
    label = "node.kubernetes.io/exclude-from-external-load-balancers"
    cluster3.server.kubectl("label", "node", first, f"{label}=")
    try:
        until(lambda: holder(cluster3, address) not in ("", first))
        until(lambda: page(cluster3, address))
    finally:
        cluster3.server.kubectl("label", "node", first, f"{label}-")
    until(lambda: holder(cluster3, address) == first)
    ask = ["exec", min(pods), "--", "timeout", "20", "wget", "-q", "-O-", f"http://{address}{PAGE}"]
    until(lambda: ns.kubectl(*ask, check=False).startswith("Hello"))  # pods as well


def test_local_traffic_keeps_the_clients_address(cluster3: MultiCluster, ns: Namespace) -> None:
    """Only the node with the pod answers, and the pod sees who asks."""
    ns.apply(WEB.replace("replicas: 3", "replicas: 1"))
    ns.kubectl("rollout", "status", "deployment/web", "--timeout=90s")
    address = balanced(ns, BALANCED.replace("type: LoadBalancer,", "type: LoadBalancer, externalTrafficPolicy: Local,"))
    until(lambda: page(cluster3, address))
    node = ns.get("pods", "-l", "app=web")["items"][0]["spec"]["nodeName"]
    assert holder(cluster3, address) == node
    # The address may have been another test's a moment ago: of all flows, only this connection's.
    with inside.connect(cluster3.lan.namespace, address, 80) as line:
        own = ["--orig-src", GATEWAY, "--orig-dst", address, "--orig-port-src", str(line.getsockname()[1])]
        flows = cluster3.node(node).run(["conntrack", "-L", "-p", "tcp", *own])
    # What the pod answers to is the second dst of a flow.
    answered = {flow.split("dst=")[2].split()[0] for flow in flows.splitlines() if flow.count("dst=") == 2}
    assert answered == {GATEWAY}, "the neighbour's own address"


def asked_by_multicast(cluster: MultiCluster, name: str) -> str:
    """The address that the LAN knows the name by; "" when nobody answers."""
    with inside.call_in(cluster.lan.namespace, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as udp:
        udp.settimeout(0.5)
        udp.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(GATEWAY))
        udp.sendto(bytes(dnslib.DNSRecord.question(name, "A").pack()), ("224.0.0.251", 5353))
        try:
            return str(dnslib.DNSRecord.parse(udp.recv(9000)).short())
        except TimeoutError:
            return ""


def test_a_service_has_a_name_on_the_lan(cluster3: MultiCluster, ns: Namespace) -> None:
    named = BALANCED.replace("{name: lan}", "{name: lan, annotations: {edgekube.io/mdns-name: shelf}}")
    address = balanced(ns, named)
    until(lambda: asked_by_multicast(cluster3, "shelf.local") == address)
    ns.apply(named.replace("{name: lan,", "{name: second,"))
    assert "shelf.local belongs to Service" in ns.wait_for_event("second", "NameRefused")
    ns.kubectl("delete", "service", "lan")
    second = until(lambda: ns.field("service/second", ".status.loadBalancer.ingress[0].ip"))
    until(lambda: asked_by_multicast(cluster3, "shelf.local") == second)
    ns.kubectl("delete", "service", "second")
    until(lambda: asked_by_multicast(cluster3, "shelf.local") == "")
