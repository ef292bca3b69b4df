"""Boards on one switch and nothing else: no DHCP server, no router, no name of a server. They have link-local addresses, find the
server by mDNS, and are a cluster."""

from __future__ import annotations

from pathlib import Path

from tests.faults_nodes.world import World
from tests.lab.clusters import many_nodes
from tests.lab.subnet import LINK_LOCAL


def test_a_switch_is_enough(tmp_path: Path) -> None:
    with many_nodes(tmp_path, 3, subnet=LINK_LOCAL, server_is_named=False) as cluster:
        for program in cluster.programs:
            assert "default" not in program.node.run(["ip", "route"])
        world = World(cluster)
        pods = world.settle()
        assert {pod.node for pod in pods.values()} == {"n1", "n2", "n3"}
        assert world.internal_address("n2") == cluster.node("n2").address
        assert world.sh("on-n3", "nslookup web.world.svc.cluster.local").count("10.43.") >= 2
        unexpected = cluster.unexpected()
    assert not unexpected, unexpected
