"""What clients should not send, over real sockets: each gets a clear answer, and the server stays up."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgekube import limits
from tests.bench.process import cost_of
from tests.lab.cluster import Answer, Cluster

pytestmark = pytest.mark.root

ROOT = Path(__file__).resolve().parents[2]
JSON = {"Content-Type": "application/json"}
MAPS = "/api/v1/namespaces/default/configmaps"


@pytest.fixture(scope="module", autouse=True)
def patient(cluster: Cluster) -> Iterator[tuple[socket.socket, socket.socket]]:
    """One that never says a word and one that stops in the middle of a line, from the first test on to the last."""
    with cluster.connect() as silent, cluster.tls() as slow:
        slow.sendall(b"GET /version HTT")
        yield silent, slow


def refusal(answer: Answer) -> tuple[int, str, str]:
    status = answer.json()
    assert status["kind"] == "Status"
    assert status["status"] == "Failure"
    return answer.status, status.get("reason", ""), status["message"]


@pytest.mark.parametrize(
    ("body", "media_type", "code", "words"),
    [
        ("{", "application/json", 400, "couldn't get version/kind"),
        ("", "application/json", 400, ""),
        ("[1, 2]", "application/json", 400, ""),
        ('{"metadata": {"name": 5}}', "application/json", 400, "cannot unmarshal number into Go struct field"),
        ('{"data": {"a": 1}, "metadata": {"name": "x"}}', "application/json", 400, "cannot unmarshal number"),
        ("a: b: c", "application/yaml", 400, ""),
        ("- just\n- a list\n", "application/yaml", 400, ""),
        ("[" * 100_000, "application/json", 400, ""),
        ("{}", "text/plain", 415, "the body of the request was in an unknown format"),
        ("<x/>", "application/xml", 415, "the body of the request was in an unknown format"),
        ('{"metadata": {}}', "application/json", 422, "name or generateName is required"),
        ('{"metadata": {"name": "Not A Name"}}', "application/json", 422, "a lowercase RFC 1123 subdomain"),
        ('{"kind": "Secret", "apiVersion": "v1", "metadata": {"name": "x"}}', "application/json", 400, "Secret"),
    ],
)  # fmt: skip
def test_bodies_that_are_no_objects(cluster: Cluster, body: str, media_type: str, code: int, words: str) -> None:
    answered, _, message = refusal(cluster.request("POST", MAPS, body, {"Content-Type": media_type}))
    assert answered == code, message
    assert words in message
    assert cluster.request("GET", "/readyz").status == 200


def test_unknown_fields(cluster: Cluster) -> None:
    body = json.dumps({"metadata": {"name": "strict"}, "data": {}, "dat": {}})
    strict = cluster.request("POST", f"{MAPS}?fieldValidation=Strict", body, JSON)
    assert refusal(strict)[:2] == (400, "BadRequest")
    assert 'strict decoding error: unknown field "dat"' in strict.json()["message"]
    warned = cluster.request("POST", f"{MAPS}?fieldValidation=Warn", body, JSON)
    assert warned.status == 201
    assert warned.headers["warning"] == '299 - "unknown field \\"dat\\""'
    assert cluster.request("DELETE", f"{MAPS}/strict").status == 200


def test_bodies_that_are_too_large(cluster: Cluster) -> None:
    body = json.dumps({"metadata": {"name": "large"}, "data": {"x": "y" * limits.REQUEST_BODY_BYTES_MAX}})
    try:
        assert refusal(cluster.request("POST", MAPS, body, JSON))[:2] == (413, "RequestEntityTooLarge")
    except (BrokenPipeError, ConnectionResetError):
        pytest.fail("the answer was lost: the server cut the connection while the body was still on its way")
    said = cluster.request("POST", MAPS, json.dumps({"metadata": {"name": "big"}, "data": {"x": "y" * 1_100_000}}), JSON)
    assert said.status == 422
    assert "Too long" in said.text


def test_paths_and_methods_that_do_not_exist(cluster: Cluster) -> None:
    assert refusal(cluster.request("GET", "/api/v1/nothings"))[:2] == (404, "NotFound")
    assert refusal(cluster.request("GET", f"{MAPS}/nobody"))[1:] == ("NotFound", 'configmaps "nobody" not found')
    assert refusal(cluster.request("PUT", MAPS, "{}", JSON))[:2] == (405, "MethodNotAllowed")
    assert refusal(cluster.request("PATCH", f"{MAPS}/kube-root-ca.crt", "{}", JSON))[:2] == (415, "UnsupportedMediaType")
    assert cluster.request("GET", "/nowhere").status == 404
    assert refusal(cluster.request("GET", f"{MAPS}?limit=many"))[0] == 400
    assert refusal(cluster.request("GET", f"{MAPS}?labelSelector=a=(b"))[0] == 400
    assert refusal(cluster.request("GET", f"{MAPS}?continue=garbage"))[0] == 400


def test_a_revision_that_has_not_been(cluster: Cluster) -> None:
    assert cluster.request("GET", f"{MAPS}?resourceVersion=999999999", timeout_seconds=90).status == 504


def test_connections_that_misbehave(cluster: Cluster) -> None:
    """Half-closed, lazy and garbled ones, all at once, beside the silent and the slow one; others are served meanwhile."""
    with contextlib.ExitStack() as stack:
        lazy = stack.enter_context(cluster.tls())
        lazy.sendall(
            f"POST {MAPS} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{{".encode()
        )
        garbled = stack.enter_context(cluster.connect())
        garbled.sendall(b"\x00\x01nothing that TLS knows\xff" * 50)
        plain = stack.enter_context(cluster.connect())
        plain.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        half = stack.enter_context(cluster.connect())
        half.shutdown(socket.SHUT_WR)
        odd = stack.enter_context(cluster.tls())
        odd.sendall(b"GET /version HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n")
        assert odd.recv(100).startswith(b"HTTP/1.1 400")

        assert cluster.request("GET", "/readyz").status == 200
        for broken in (garbled, half):
            assert ended_within(broken, 60)
        assert ended_within(plain, 60)
        gone = cluster.tls()
        gone.sendall(f"GET {MAPS}?watch=true HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert gone.recv(100).startswith(b"HTTP/1.1 200")
        gone.close()
    assert cluster.request("GET", "/readyz").status == 200
    assert "Traceback" not in cluster.log.read_text()


def ended_within(connection: socket.socket, seconds: float) -> bool:
    """The other side closes; what it says before is of no interest."""
    deadline = time.monotonic() + seconds
    try:
        while (left := deadline - time.monotonic()) > 0:
            connection.settimeout(left)
            if not connection.recv(65536):
                return True
    except TimeoutError:
        return False
    except OSError:
        return True
    return False


def test_many_connections_come_and_go(cluster: Cluster) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(200):
            stack.enter_context(cluster.connect())
        assert cluster.request("GET", "/readyz").status == 200
    assert cluster.request("GET", "/readyz").status == 200


def test_a_thousand_idle_connections_cost_little(cluster: Cluster) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(50):
            stack.enter_context(cluster.tls())
        before = cost_of(cluster.pid).rss_mb
        for _ in range(1000):
            stack.enter_context(cluster.tls())
        assert cost_of(cluster.pid).rss_mb - before < 64
        assert cluster.request("GET", "/readyz").status == 200
    assert cluster.request("GET", "/readyz").status == 200


def test_a_second_server_on_the_same_data(cluster: Cluster) -> None:
    """Same ports: refused for the ports. Other ports: refused for the database. The first one does not notice."""
    same = [*cluster.command()]
    other = [*same, "--https-port", "7443", "--agent-port", "17250", "--run-dir", "/run/other"]
    for command, words in ((same, "port is in use"), (other, "state.db")):
        wrapped = ["sh", "-c", '"$@" 2>&1; echo "exit $?"', "sh", "env", f"PYTHONPATH={ROOT}", *command]
        said = cluster.node.run(wrapped)
        assert said.endswith("exit 1\n"), said
        assert words in said
        assert "Traceback" not in said
    assert cluster.request("GET", "/readyz").status == 200
    assert cluster.running


def test_the_silent_and_the_slow_one_are_cut_in_the_end(cluster: Cluster, patient: tuple[socket.socket, socket.socket]) -> None:
    patience_seconds = max(limits.WIRE_HANDSHAKE_SECONDS, limits.WIRE_HEAD_SECONDS) + 60
    assert all(ended_within(connection, patience_seconds) for connection in patient)
    assert cluster.request("GET", "/readyz").status == 200
