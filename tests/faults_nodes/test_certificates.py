"""Certificates of a running cluster: replaced under load, expired in a drawer, and judged on a board that boots in 1970."""

from __future__ import annotations

import datetime
import http.client
import json
import shutil
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from edgekube.api import times
from edgekube.pki.authority import load_or_create_authority
from edgekube.pki.certificates import node_client_subject, node_serving_subject
from edgekube.pki.clock import read_floor
from edgekube.pki.requests import request_pem
from tests.lab import inside
from tests.lab.agents import Agent
from tests.lab.cluster import Cluster, until
from tests.lab.clusters import MultiCluster, many_nodes
from tests.lab.faketime import boots_in_1970
from tests.lab.shell import CommandFailed


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MultiCluster]:
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed: these tests look at the cluster through it")
    with many_nodes(tmp_path_factory.mktemp("nodes"), 2) as cluster:
        yield cluster
        unexpected = cluster.unexpected()
    assert not unexpected, unexpected


def certificates(server: Cluster, *arguments: str) -> str:
    return server.edgekube("certificate", *arguments, "--data-dir", str(server.data_dir))


def told(server: Cluster) -> Any:
    return json.loads(certificates(server, "list", "--json"))


class Watching:
    """One watch of nodes and one connection, from beginning to end."""

    def __init__(self, server: Cluster) -> None:
        self._socket = server.tls(timeout_seconds=120)
        self._connection = http.client.HTTPConnection("127.0.0.1")
        self._connection.sock = self._socket
        self._connection.request("GET", "/api/v1/nodes?watch=true")
        self._response = self._connection.getresponse()
        self.not_ready: list[str] = []
        self.seen: set[str] = set()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        while line := self._response.readline():
            node = json.loads(line)["object"]
            name = node["metadata"]["name"]
            if not any(each["type"] == "Ready" and each["status"] == "True" for each in node["status"]["conditions"]):
                self.not_ready.append(name)
            self.seen |= {f"{name}:{label}" for label in node["metadata"].get("labels", {})}

    def close(self) -> None:
        self._socket.shutdown(2)
        self._thread.join(30)
        self._connection.close()


def test_the_authority_is_replaced_and_nobody_notices(cluster: MultiCluster, tmp_path: Path) -> None:
    server = cluster.server
    old_bundle = (server.data_dir / "server/pki/ca.crt").read_bytes()
    old_kubeconfig = tmp_path / "old.yaml"
    old_kubeconfig.write_bytes(server.kubeconfig.read_bytes())
    server.kubectl("run", "web", "--image=busybox:1.36", "--restart=Never", overrides("n2"), "--", "sleep", "3600")
    server.kubectl("wait", "pod/web", "--for=condition=Ready", "--timeout=120s")
    watching = Watching(server)
    at_start = Mounted(cluster, "web")
    assert at_start.reads_itself()

    assert "there is a new authority" in certificates(server, "rotate-ca")
    until(lambda: (said := told(server))["phase"] == "signing" and not said["holdingOld"])
    report = told(server)
    new = next(each["fingerprint"] for each in report["authorities"] if each["signs"])
    assert [node["authority"] for node in report["nodes"]] == [new[:16]]
    bundle = server.get("configmap", "kube-root-ca.crt", "-n", "default")["data"]["ca.crt"]
    assert bundle.count("BEGIN CERTIFICATE") == 2
    assert "pi" not in server.kubectl("--kubeconfig", str(old_kubeconfig), "get", "nodes"), "the old kubeconfig works on"
    server.kubectl("exec", "web", "--", "true")
    assert at_start.reads_itself(), "a program that has read its CA once, before, works on"
    until(lambda: Mounted(cluster, "web").authorities.count("BEGIN") == 2, seconds=120)

    assert "the old authority is dropped" in certificates(server, "rotate-ca", "--finish")
    server.kubectl("exec", "web", "--", "true")
    assert "signed by unknown authority" in server.refused("--kubeconfig", str(old_kubeconfig), "get", "nodes")
    until(lambda: server.get("configmap", "kube-root-ca.crt", "-n", "default")["data"]["ca.crt"].count("BEGIN") == 1)
    agent = cluster.agents[0]
    until(lambda: (agent.data_dir / "agent/pki/ca.crt").read_bytes() != old_bundle)
    until(lambda: (agent.data_dir / "agent/pki/ca.crt").read_text().count("BEGIN") == 1)

    until(lambda: Mounted(cluster, "web").authorities.count("BEGIN") == 1, seconds=120)
    assert Mounted(cluster, "web").reads_itself()
    with pytest.raises(ssl.SSLCertVerificationError):
        at_start.reads_itself()

    server.kubectl("label", "node", "n2", "rotated=yes")
    until(lambda: "n2:rotated" in watching.seen)
    assert watching.not_ready == []
    watching.close()
    assert cluster.ready() == {"n1", "n2"}


class Mounted:
    """What a pod on n2 has in /var/run/secrets/kubernetes.io/serviceaccount at this moment, used as its client would."""

    def __init__(self, cluster: MultiCluster, pod: str) -> None:
        self._cluster = cluster
        self._pod = pod
        place = "/var/run/secrets/kubernetes.io/serviceaccount"
        self.authorities = cluster.server.kubectl("exec", pod, "--", "cat", f"{place}/ca.crt")
        self.token = cluster.server.kubectl("exec", pod, "--", "cat", f"{place}/token")

    def reads_itself(self) -> bool:
        """Ask the API by its Service, from n2. 403: it is known, and has no rights; that takes a verified server, too."""
        context = ssl.create_default_context(cadata=self.authorities)
        sock = inside.connect(self._cluster.node("n2").namespace, "10.43.0.1", 443, timeout_seconds=30)
        connection = http.client.HTTPConnection("kubernetes.default.svc")
        connection.sock = context.wrap_socket(sock, server_hostname="kubernetes.default.svc")
        try:
            connection.request(
                "GET", f"/api/v1/namespaces/default/pods/{self._pod}", headers={"authorization": f"Bearer {self.token}"}
            )
            return connection.getresponse().status == 403
        finally:
            connection.close()


def overrides(node: str) -> str:
    return f'--overrides={{"spec":{{"nodeName":"{node}","terminationGracePeriodSeconds":0}}}}'


def test_a_power_cut_in_the_middle_is_made_good_and_a_node_that_is_away_is_waited_for(cluster: MultiCluster) -> None:
    server, agent = cluster.server, cluster.agents[0]
    agent.stop()
    certificates(server, "rotate-ca")
    assert told(server)["waitingFor"] == ["n2"]
    server.power_off()
    server.node.power_on()
    server.start()
    report = told(server)
    assert (report["phase"], report["waitingFor"]) == ("trusting", ["n2"])
    with pytest.raises(CommandFailed, match=r"n2[^$]*--force"):
        certificates(server, "rotate-ca", "--finish")
    agent.start()
    until(lambda: (said := told(server))["phase"] == "signing" and not said["holdingOld"])
    server.power_off()
    server.node.power_on()
    server.start()
    assert told(server)["phase"] == "signing"
    certificates(server, "rotate-ca", "--finish")
    assert told(server)["phase"] == "settled"
    cluster.wait_until_ready()


def test_a_board_that_lay_in_a_drawer_comes_back_by_itself(cluster: MultiCluster) -> None:
    agent = cluster.agents[0]
    agent.stop()
    put_expired_certificates(cluster.server, agent)
    (agent.node.disk / "token").write_text("")
    before = (agent.data_dir / "agent/pki/node.key").read_bytes()
    agent.start()
    log = agent.log.read_text()
    assert "asking for new certificates: it has expired" in log and "new certificates are in use" in log
    assert (agent.data_dir / "agent/pki/node.key").read_bytes() != before
    expires = until(lambda: next(node["notAfter"] for node in told(cluster.server)["nodes"]))
    assert times.parse(expires) > time.time() + 300 * 86400


def put_expired_certificates(server: Cluster, agent: Agent) -> None:
    """As if a year had passed: certificates for the node's own key that ended yesterday."""
    authority = load_or_create_authority(server.data_dir / "server/pki", now=datetime.datetime.now(datetime.UTC))
    pki = agent.data_dir / "agent/pki"
    key = serialization.load_pem_private_key((pki / "node.key").read_bytes(), password=None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    client, serving = x509.ObjectIdentifier("1.3.6.1.5.5.7.3.2"), x509.ObjectIdentifier("1.3.6.1.5.5.7.3.1")
    yesterday = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
    for name, subject, usage in (("client", node_client_subject("n2"), client), ("serving", node_serving_subject("n2"), serving)):
        pem = authority.sign_request(
            x509.load_pem_x509_csr(request_pem(key, subject).encode()),
            key_usages=frozenset(),
            extended_usages=[usage],
            now=yesterday - datetime.timedelta(days=365),
            lifetime=datetime.timedelta(days=365),
        )
        (pki / f"{name}.crt").write_bytes(pem)


def test_a_board_that_boots_in_1970_joins_runs_pods_and_comes_back(cluster: MultiCluster) -> None:
    server = cluster.server
    cluster._token = ""  # it pinned an authority that is gone
    board = cluster.new_agent(cluster.lan, "n3", "192.0.2.3")
    for boot in ("first", "later"):
        board.launch(*boots_in_1970())
        cluster.wait_until_ready("n3")
        pod = f"in-1970-{boot}"
        server.kubectl(
            "run", pod, "--image=busybox:1.36", "--restart=Never", overrides("n3"), "--", "sh", "-c", "echo hello; sleep 3600"
        )
        server.kubectl("wait", f"pod/{pod}", "--for=condition=Ready", "--timeout=120s")
        assert "hello" in server.kubectl("logs", pod)
        lease = server.get("lease", "n3", "-n", "kube-node-lease")["spec"]["renewTime"]
        assert abs(times.parse(lease) - time.time()) < 600, "it knows what time it is"
        assert board.stop() == 0
        floor = read_floor((board.data_dir / "time-floor").read_text())
        assert floor is not None and abs(floor - time.time()) < 600
    log = board.log.read_text()
    assert "the clock was behind" in log and "may not be set" in log
