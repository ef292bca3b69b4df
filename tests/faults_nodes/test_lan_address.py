"""The node that answers for a Service's address dies, and a neighbour goes on being served; a partition has one winner."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator

import pytest

from edgekube import limits
from edgekube.api.address_pools import parse_pool
from edgekube.api.balancing import SEGMENTS
from edgekube.network.lan_addresses import holders
from tests.e2e.namespace import document
from tests.lab import inside
from tests.lab.cluster import until
from tests.lab.clusters import MultiCluster, many_nodes

POOL = "192.0.2.200-192.0.2.209"
PAGE = """
    apiVersion: v1
    kind: Pod
    metadata: {name: page, labels: {app: page}}
    spec:
      nodeName: n1
      terminationGracePeriodSeconds: 1
      containers: [{name: page, image: "edgekube.local/demo:1"}]
    ---
    apiVersion: v1
    kind: Service
    metadata: {name: page, annotations: {edgekube.io/load-balancer-ips: ADDRESS}}
    spec: {type: LoadBalancer, selector: {app: page}, ports: [{port: 80, targetPort: 8080}]}
"""


@pytest.fixture
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MultiCluster]:
    arguments = ["--load-balancer-pool", POOL, "--node-monitor-grace-seconds", str(limits.NODE_MONITOR_GRACE_SECONDS_MIN)]
    with many_nodes(tmp_path_factory.mktemp("nodes"), 2, server_arguments=arguments) as cluster:
        yield cluster


def address_of(node: str) -> str:
    """An address of the pool that this one of n1 and n2 answers for."""
    status = {"conditions": [{"type": "Ready", "status": "True"}]}
    nodes = [{"metadata": {"name": name, "annotations": {SEGMENTS: "192.0.2.0/24"}}, "status": status} for name in ("n1", "n2")]
    pool = parse_pool(POOL)
    ingress = [{"ip": address} for address in pool.addresses(4)]
    service = {"metadata": {"name": "any"}, "spec": {"type": "LoadBalancer"}, "status": {"loadBalancer": {"ingress": ingress}}}
    return next(address for address, holder in holders(pool, [service], nodes, lambda _: ()).items() if holder == node)


def served_by(cluster: MultiCluster, address: str) -> str:
    """The node that the neighbour's packets go to, if it serves the page; "" otherwise."""
    try:
        inside.fetch(cluster.lan.namespace, address, 80, "/healthz", timeout_seconds=5)
    except OSError:
        return ""
    entries = json.loads(cluster.lan.inside(["ip", "-j", "neighbour", "show", address]) or "[]")
    for program in cluster.programs:
        with contextlib.suppress(AssertionError):
            links = json.loads(program.node.run(["ip", "-j", "link", "show", "eth0"]))
            if links[0]["address"] in {entry.get("lladdr") for entry in entries}:
                return program.name
    return ""


def test_another_node_takes_the_address_over(cluster: MultiCluster) -> None:
    address = address_of("n2")
    cluster.server.kubectl("apply", "-f", "-", stdin=document(PAGE.replace("ADDRESS", address)))
    until(lambda: served_by(cluster, address) == "n2")

    # Nobody tells the second node: the neighbour still sees it, and the API is gone for it. It must not contradict for long.
    with cluster.lan.silence("n2", "n1"):
        until(lambda: served_by(cluster, address) == "n1", seconds=90)
    until(lambda: served_by(cluster, address) == "n2", seconds=90)

    cluster.program("n2").power_off()
    until(lambda: served_by(cluster, address) == "n1", seconds=90)
