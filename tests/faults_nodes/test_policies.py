"""Policies when things break: the agent is killed, the node loses power while its server cannot be heard."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator

import pytest

from tests.e2e.namespace import Namespace, fresh_namespace
from tests.lab import inside
from tests.lab.cluster import until
from tests.lab.clusters import MultiCluster
from tests.lab.program import Program

#: Without a token and without the list of Services, which a node that boots alone cannot have.
WORLD = """
    apiVersion: v1
    kind: Pod
    metadata: {name: web, labels: {app: web}}
    spec:
      nodeName: n2
      terminationGracePeriodSeconds: 0
      automountServiceAccountToken: false
      enableServiceLinks: false
      containers: [{name: main, image: 'edgekube.local/demo:1'}]
    ---
    apiVersion: networking.k8s.io/v1
    kind: NetworkPolicy
    metadata: {name: closed}
    spec: {podSelector: {matchLabels: {app: web}}, ingress: [{from: [{podSelector: {matchLabels: {app: friend}}}]}]}
"""


@pytest.fixture
def closed(cluster3: MultiCluster) -> Iterator[Namespace]:
    """A pod on n2 that nobody may reach."""
    with fresh_namespace(cluster3.server, "closed") as ns:
        ns.apply(WORLD)
        ns.ready("pod/web")
        until(lambda: not reached(cluster3, ns.field("pod/web", ".status.podIP")))
        yield ns


def served(namespace: str, address: str) -> bool:
    try:
        return "ok" in inside.fetch(namespace, address, 8080, "/healthz", timeout_seconds=1)
    except OSError:
        return False


def reached(cluster: MultiCluster, address: str) -> bool:
    """From another node; the pod's own node always gets through."""
    return served(cluster.node("n3").namespace, address)


def isolated(agent: Program) -> list[str]:
    """Addresses of the node's isolated pods: after a boot also those from before, until the API has told otherwise."""
    said = agent.node.run(["nft", "list", "map", "inet", "edgekube_policy", "ingress_pods_4"], check=False)
    return re.findall(r"([0-9.]+) : goto", said)


def test_rules_outlive_the_agent_and_its_next_start(cluster3: MultiCluster, closed: Namespace) -> None:
    address = closed.field("pod/web", ".status.podIP")
    agent = cluster3.program("n2")
    agent.stop(signal.SIGKILL)
    assert not reached(cluster3, address)
    agent.start()
    assert not reached(cluster3, address)
    closed.kubectl("delete", "networkpolicy", "closed")
    until(lambda: reached(cluster3, address))


def test_a_node_that_boots_without_its_server_isolates_its_pods(cluster3: MultiCluster, closed: Namespace) -> None:
    agent = cluster3.program("n2")
    memory = agent.data_dir / "agent/policies.json"
    until(lambda: memory.exists() and "closed" in memory.read_text(), seconds=90)
    with cluster3.lan.silence("n1"):
        agent.power_off()
        agent.node.power_on()
        agent.launch()
        # The pod has a new address now, which only this node knows.
        address = until(lambda: next((each for each in isolated(agent) if served(agent.node.namespace, each)), ""))
        assert not reached(cluster3, address)
    cluster3.wait_until_ready()
    until(lambda: closed.field("pod/web", ".status.podIP") == address)
    assert not reached(cluster3, address)
