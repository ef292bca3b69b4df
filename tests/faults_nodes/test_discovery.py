"""The server gets a new DHCP lease: its agents find it again by themselves, whatever a stranger announces meanwhile."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from tests.e2e_nodes.test_pairing import rogue
from tests.lab.cluster import until
from tests.lab.clusters import MultiCluster

NEW = "192.0.2.101"


def test_a_server_with_a_new_lease_is_found_again(cluster3: MultiCluster) -> None:
    """The last test of this module's cluster: it keeps the new address."""
    server = cluster3.server
    facts = server.get("configmap", "-n", "kube-system", "edgekube-cluster")["data"]
    leases = {name: renewed(cluster3, name) for name in ("n2", "n3")}
    with rogue(cluster3, cluster_id=facts["cluster-id"], cluster_name=facts["cluster-name"]):
        server.node.change_address(NEW)
        for agent in cluster3.agents:
            found = until(partial(line_of, agent.log, "server found by mDNS"), seconds=120)
            assert f"{NEW}:6443" in found and "192.0.2.66" not in found
        # They are heard again, and nobody was asked who only knows the cluster's name.
        for name, before in leases.items():
            until(partial(renewed_since, cluster3, name, before))
        until(lambda: {"n1", "n2", "n3"} <= cluster3.ready())
        assert any(line_of(agent.log, "announces this cluster with another CA") for agent in cluster3.agents)


def line_of(log: Path, part: str) -> str:
    return next((line for line in log.read_text().splitlines() if part in line), "")


def renewed(cluster: MultiCluster, name: str) -> str:
    lease = cluster.server.request("GET", f"/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{name}").json()
    return str(lease["spec"]["renewTime"])


def renewed_since(cluster: MultiCluster, name: str, before: str) -> bool:
    return renewed(cluster, name) > before
