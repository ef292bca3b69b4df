"""Names on every node: the cluster's from memory, those of a stub domain from the server that a ConfigMap names."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import dnslib

from tests.e2e.namespace import Namespace
from tests.e2e_nodes.test_nodes import WEB
from tests.lab import inside
from tests.lab.cluster import until
from tests.lab.clusters import MultiCluster
from tests.lab.lan import GATEWAY


@contextmanager
def factory_server(cluster: MultiCluster) -> Iterator[None]:
    """A name server on the LAN that knows press.factory.example."""
    made = inside.call_in(cluster.lan.namespace, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))

    def serve() -> None:
        while True:
            packet, peer = made.recvfrom(4096)
            query = dnslib.DNSRecord.parse(packet)
            if str(query.q.qname) == "stop.":
                return
            reply = query.reply()
            if str(query.q.qname) == "press.factory.example." and query.q.qtype == dnslib.QTYPE.A:
                reply.add_answer(dnslib.RR("press.factory.example", ttl=5, rdata=dnslib.A("192.0.2.99")))
            made.sendto(reply.pack(), peer)

    with made:
        made.bind((GATEWAY, 5353))
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield
        finally:
            with inside.call_in(cluster.lan.namespace, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as last:
                last.sendto(bytes(dnslib.DNSRecord.question("stop").pack()), (GATEWAY, 5353))
            thread.join()


def test_names_resolve_on_every_node(cluster3: MultiCluster, ns: Namespace) -> None:
    ns.apply(WEB)
    ns.kubectl("rollout", "status", "deployment/web", "--timeout=90s")
    pods = {pod["spec"]["nodeName"]: pod["metadata"]["name"] for pod in ns.get("pods")["items"]}
    assert set(pods) == {"n1", "n2", "n3"}
    address = ns.field("service/web", ".spec.clusterIP")
    for pod in pods.values():
        assert f"Address: {address}" in ns.exec(pod, "nslookup", f"web.{ns.name}.svc.cluster.local")
        # What is Ready is forwarded to a moment later.
        ask = ["exec", pod, "--", "timeout", "20", "wget", "-q", "-O-", "http://web"]
        until(lambda ask=ask: ns.kubectl(*ask, check=False).startswith("Hello"))  # type: ignore[misc]
        assert ns.sh(pod, "nslookup none.default.svc.cluster.local 2>&1 || true").count("NXDOMAIN") >= 1

    kubectl, look = cluster3.server.kubectl, "nslookup press.factory.example"
    stub = json.dumps({"factory.example": [f"{GATEWAY}:5353"]})
    kubectl("create", "configmap", "kube-dns", "-n", "kube-system", f"--from-literal=stubDomains={stub}")
    try:
        with factory_server(cluster3):
            until(lambda: all("192.0.2.99" in ns.sh(pod, f"{look} 2>&1 || true") for pod in pods.values()))
    finally:
        kubectl("delete", "configmap", "kube-dns", "-n", "kube-system")
    metrics = "http://10.43.0.10:9153/metrics"
    assert 'coredns_dns_responses_total{rcode="NXDOMAIN"}' in ns.wget(pods["n2"], metrics)
