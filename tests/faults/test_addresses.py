"""A server that is switched on before anybody plugs a cable in: a cluster of one, whatever address it has by and by."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from tests.lab import inside
from tests.lab.cluster import Cluster, until
from tests.lab.node import Node

pytestmark = pytest.mark.root

POD = """
apiVersion: v1
kind: Pod
metadata: {name: one}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{name: main, image: 'busybox:1.36', command: [sleep, '10000']}]
"""


@pytest.fixture
def adrift(node: Node) -> Iterator[Cluster]:
    """Without an address, and started."""
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed: these tests look at the cluster through it")
    without_address(node)
    cluster = Cluster(node)
    cluster.put_images()
    cluster.start()
    try:
        yield cluster
    finally:
        cluster.stop()


def without_address(node: Node) -> None:
    node.run(["ip", "address", "flush", "dev", "eth0"])


def test_the_node_follows_its_address_from_no_cable_to_a_lease_and_back(adrift: Cluster) -> None:
    node = adrift.node

    def internal_ip() -> str:
        found = adrift.request("GET", "/api/v1/nodes/n1").json()["status"].get("addresses") or ()
        return next((str(each["address"]) for each in found if each["type"] == "InternalIP"), "")

    def endpoint() -> str:
        found = adrift.request("GET", "/api/v1/namespaces/default/endpoints/kubernetes").json().get("subsets")
        return str(found[0]["addresses"][0]["ip"]) if found else ""

    def reached(address: str) -> bool:
        """By its new address, and pods find the API there."""
        if internal_ip() != address or endpoint() != address:
            return False
        try:
            inside.connect(node.namespace, "10.43.0.1", 443, timeout_seconds=2).close()
        except OSError:
            return False
        return True

    until(lambda: reached("10.43.0.10"))
    adrift.kubectl("wait", "--for=create", "serviceaccount/default", "--timeout=90s")
    adrift.kubectl("apply", "-f", "-", stdin=POD)
    adrift.kubectl("wait", "--for=condition=Ready", "pod/one", "--timeout=90s")
    container = adrift.get("pod/one")["status"]["containerStatuses"][0]["containerID"]
    server = adrift.pid

    # A switch without DHCP, as avahi-autoipd leaves it.
    node.run(["ip", "address", "add", "169.254.7.8/16", "dev", "eth0", "scope", "link"])
    until(lambda: reached("169.254.7.8"))
    # Then somebody connects it to the router.
    node.run(["ip", "address", "add", "192.0.2.9/24", "dev", "eth0"])
    until(lambda: reached("192.0.2.9"))
    until(lambda: adrift.get("pod/one")["status"]["hostIP"] == "192.0.2.9")
    without_address(node)
    until(lambda: reached("10.43.0.10"))

    assert adrift.pid == server, "nothing was started anew"
    assert adrift.get("pod/one")["status"]["containerStatuses"][0]["containerID"] == container
    assert adrift.get("pod/one")["status"]["containerStatuses"][0]["restartCount"] == 0
