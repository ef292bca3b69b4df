"""An attacker on the same wire, and one who has carried off a board's files: refused, and told of in the log."""

from __future__ import annotations

import http.client
import re
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.namespace import Namespace
from tests.lab import inside
from tests.lab.cluster import API_PORT
from tests.lab.clusters import MultiCluster
from tests.lab.guest import Guest, guest
from tests.lab.program import Program

AGENT_PORT = 10250
DNS = "10.43.0.10"
#: Without any secret, and meant to be read by anybody.
OPEN = ("/healthz", "/livez", "/readyz", "/version", "/edgekube/v1/cluster")
ASKED = (
    "/api/v1/secrets", "/api/v1/nodes", "/apis", "/metrics", "/openapi/v3", "/edgekube/v1/tunnel", "/edgekube/v1/certificates",
    "/pods", "/runningpods/", "/stats/summary", "/exec/kube-system/a/b?command=id", "/run/kube-system/a/b", "/logs/",
    "/containerLogs/kube-system/a/b", "/portForward/kube-system/a", "/dial/kube-system/a/22", "/configz", "/debug/pprof/",
)  # fmt: skip

PODS = """
    apiVersion: v1
    kind: Secret
    metadata: {name: of-n3}
    stringData: {key: treasure}
    ---
    apiVersion: v1
    kind: Pod
    metadata: {name: on-n3}
    spec:
      nodeName: n3
      terminationGracePeriodSeconds: 0
      containers:
        - name: main
          image: busybox:1.36
          command: [sleep, "1000"]
          env: [{name: KEY, valueFrom: {secretKeyRef: {name: of-n3, key: key}}}]
"""


@pytest.fixture
def attacker(cluster3: MultiCluster) -> Iterator[Guest]:
    """A laptop that somebody has plugged in."""
    with guest(cluster3.lan, "mallory", "192.0.2.66") as laptop:
        yield laptop


def files_of(program: Program) -> Path:
    """The node's data directory, as somebody has it who took the card out."""
    return Path(f"/proc/{program.node.pid}/root{program.data_dir}")


def context(authority: Path, certificate: Path | None = None, key: Path | None = None) -> ssl.SSLContext:
    made = ssl.create_default_context(cafile=str(authority))
    made.check_hostname = False
    if certificate is not None:
        made.load_cert_chain(certificate, key)
    return made


def asked(attacker: Guest, address: str, port: int, path: str, tls: ssl.SSLContext, method: str = "GET") -> int:
    """The status of an answer; 0 when TLS or the other side ended it."""
    raw = inside.connect(attacker.namespace, address, port)
    try:
        connection = http.client.HTTPConnection(address)
        connection.sock = tls.wrap_socket(raw, server_hostname="kubernetes.default.svc")
        connection.request(method, path)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        raw.close()


def stolen(cluster: MultiCluster, name: str) -> ssl.SSLContext:
    """What a board's files open: its certificate as a client."""
    pki = files_of(cluster.program(name)) / "agent/pki"
    return context(pki / "ca.crt", pki / "client.crt", pki / "node.key")


def listening(program: Program, kind: str) -> set[tuple[str, int]]:
    """(address, port) of what listens on the node, loopback left out."""
    found = set()
    for line in program.node.run(["ss", "-Hln", kind]).splitlines():
        address, _, port = line.split()[3].rpartition(":")
        address = address.strip("[]").partition("%")[0]
        if not address.startswith("127.") and address != "::1":
            found.add((address, int(port)))
    return found


def test_only_the_known_ports_listen_and_each_refuses_strangers(cluster3: MultiCluster, attacker: Guest) -> None:
    authority = files_of(cluster3.server) / "server/pki/ca.crt"
    for program in cluster3.programs:
        wanted = {API_PORT, AGENT_PORT} if program is cluster3.server else {AGENT_PORT}
        found = listening(program, "-t")
        assert {port for address, port in found if address != DNS} == wanted, found
        assert {port for address, port in found if address == DNS} == {53, 9153}, "names, and how many were asked for"
        assert {port for address, port in listening(program, "-u") if address != DNS} <= {5353, 8472}, "mDNS and VXLAN"
        for port in wanted:
            answers = {path: asked(attacker, program.node.address, port, path, context(authority)) for path in ASKED}
            assert set(answers.values()) <= {401, 403}, answers
            posted = asked(attacker, program.node.address, port, "/exec/kube-system/a/b", context(authority), "POST")
            assert posted in (401, 403)
    for path in OPEN:
        assert asked(attacker, cluster3.server.node.address, API_PORT, path, context(authority)) in (200, 403)
    said = cluster3.server.log.read_text()
    assert re.search(r"refused code=401 method=GET path='/[^']*' peer=192\.0\.2\.66:", said), "the log tells of it"
    assert re.search(r"refused code=401 .* peer=192\.0\.2\.66:", cluster3.program("n2").log.read_text())


def test_plain_http_gets_a_hint_and_nothing_else(cluster3: MultiCluster, attacker: Guest) -> None:
    for port in (API_PORT, AGENT_PORT):
        with inside.connect(attacker.namespace, cluster3.server.node.address, port) as raw:
            raw.sendall(b"GET /api/v1/secrets HTTP/1.1\r\nhost: x\r\n\r\n")
            assert raw.recv(4096).startswith(b"HTTP/1.1 400 ")


def test_a_nodes_certificate_opens_nothing_of_another_nodes(cluster3: MultiCluster, ns: Namespace, attacker: Guest) -> None:
    ns.apply(PODS)
    ns.ready("pod/on-n3")
    own, other = stolen(cluster3, "n3"), stolen(cluster3, "n2")
    secrets = f"/api/v1/namespaces/{ns.name}/secrets"
    server = cluster3.server.node.address
    assert asked(attacker, server, API_PORT, f"{secrets}/of-n3", own) == 200, "its own pod's: that is what the pod needs"
    assert asked(attacker, server, API_PORT, f"{secrets}/of-n3", other) == 403
    for path in (secrets, "/api/v1/secrets", f"/api/v1/namespaces/{ns.name}/pods/on-n3", "/api/v1/pods",
                 f"/api/v1/namespaces/{ns.name}/pods/on-n3/log", "/api/v1/nodes/n3/proxy/pods",
                 "/api/v1/namespaces/kube-system/secrets/n3.node-identity"):  # fmt: skip
        assert asked(attacker, server, API_PORT, path, other) == 403, path
    assert asked(attacker, server, API_PORT, f"/api/v1/namespaces/{ns.name}/pods/on-n3/exec?command=id", other, "POST") == 403
    assert asked(attacker, server, API_PORT, "/api/v1/nodes/n3", other, "DELETE") == 403
    assert asked(attacker, server, API_PORT, f"/api/v1/namespaces/{ns.name}/pods/on-n3", other, "DELETE") == 403
    assert "no relationship found between node" in cluster3.server.log.read_text()


def test_a_nodes_certificate_opens_no_agent(cluster3: MultiCluster, attacker: Guest) -> None:
    for program in cluster3.programs:
        for path in ("/pods", "/stats/summary", "/exec/kube-system/a/b?command=id"):
            assert asked(attacker, program.node.address, AGENT_PORT, path, stolen(cluster3, "n2")) == 403


def test_certificates_serve_their_purpose_only(cluster3: MultiCluster, attacker: Guest) -> None:
    """A certificate to serve with is none to ask with; and no node's passes for the server's."""
    node, server = files_of(cluster3.program("n2")) / "agent/pki", files_of(cluster3.server) / "server/pki"
    address = cluster3.server.node.address
    for presented in (
        context(node / "ca.crt", node / "serving.crt", node / "node.key"),
        context(server / "ca.crt", server / "server.crt", server / "server.key"),
    ):
        for port in (API_PORT, AGENT_PORT):
            assert asked(attacker, address, port, "/pods", presented) in (0, 401)
            assert asked(attacker, address, port, "/api/v1/secrets", presented) in (0, 401)
    strict = ssl.create_default_context(cafile=str(node / "ca.crt"))
    with (
        inside.connect(attacker.namespace, cluster3.node("n3").address, AGENT_PORT) as raw,
        pytest.raises(ssl.SSLCertVerificationError, match="mismatch"),
    ):
        strict.wrap_socket(raw, server_hostname="kubernetes.default.svc")


def test_what_a_board_keeps_is_for_root_alone(cluster3: MultiCluster) -> None:
    kept = files_of(cluster3.program("n2")) / "agent/pki"
    assert {path.name: path.stat().st_mode & 0o077 for path in kept.glob("*.key")} == {"node.key": 0}
    assert not (files_of(cluster3.program("n2")) / "server").exists(), "nothing of the control plane is on an agent's card"
