"""The agent's own door: who may come in, and what logs, exec and port-forward give through it."""

from __future__ import annotations

import datetime
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import orjson
import pytest
import trio
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, TextMessage

from edgekube.agent.access import DelegatedAccess
from edgekube.agent.server import AgentServer
from edgekube.api.objects import Object
from edgekube.pki.authority import load_or_create_authority
from edgekube.pki.certificates import admin_subject, agent_client_subject, ensure, node_subject, subject_of
from edgekube.wire.client import open_connection
from edgekube.wire.protocol import ByteStream
from edgekube.wire.server import Server, open_listeners
from edgekube.wire.tls import ServerTls, client_context
from tests.agent.conftest import Node, container

pytestmark = pytest.mark.root


def is_api_server(der: bytes | None) -> bool:
    if der is None:
        return False
    from cryptography import x509

    return subject_of(x509.load_der_x509_certificate(der))[0] == "kube-apiserver-kubelet-client"


@dataclass
class Door:
    port: int
    contexts: dict[str, ssl.SSLContext]

    async def get(self, path: str, who: str = "api-server") -> tuple[int, bytes]:
        context = self.contexts[who]
        async with open_connection("127.0.0.1", self.port, context=context, server_hostname="edge-1") as connection:
            response = await connection.request("GET", path, {})
            return response.status, await response.read(1 << 24)

    @asynccontextmanager
    async def websocket(self, path: str) -> AsyncIterator[WebSocket]:
        context = self.contexts["api-server"]
        async with open_connection("127.0.0.1", self.port, context=context, server_hostname="edge-1") as connection:
            headers = {
                "upgrade": "websocket",
                "connection": "Upgrade",
                "sec-websocket-version": "13",
                "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
                "sec-websocket-protocol": "v4.channel.k8s.io",
            }
            response, stream = await connection.upgrade("GET", path, headers)
            assert stream is not None, (response.status, await response.read(65536))
            assert response.headers["sec-websocket-protocol"] == "v4.channel.k8s.io"
            yield WebSocket(stream)
            await stream.aclose()


class WebSocket:
    """Frames over a raw stream whose handshake is done."""

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream
        self._frames = Connection(ConnectionType.CLIENT)

    async def send(self, channel: int, data: bytes) -> None:
        await self._stream.send_all(self._frames.send(BytesMessage(data=bytes([channel]) + data)))

    async def read_all(self) -> dict[int, bytes]:
        """What came on each channel until the other side closed."""
        found: dict[int, bytes] = {}
        message = b""
        while data := await self._stream.receive_some():
            self._frames.receive_data(data)
            for event in self._frames.events():
                if isinstance(event, CloseConnection):
                    return found
                if isinstance(event, BytesMessage | TextMessage):
                    message += event.data if isinstance(event.data, bytes | bytearray) else event.data.encode()
                    if event.message_finished:
                        if message:
                            found[message[0]] = found.get(message[0], b"") + message[1:]
                        message = b""
        return found


async def _knows_nobody(group: str, kind: str, obj: Object) -> Object:
    return {**obj, "status": {}}


@pytest.fixture
async def door(node: Node, tmp_path: Path) -> AsyncIterator[Door]:
    now = datetime.datetime.now(datetime.UTC)
    authority = load_or_create_authority(tmp_path / "pki", now=now)
    ca = tmp_path / "ca.crt"
    ca.write_bytes(authority.certificate_pem)
    serving = ensure(authority, tmp_path / "pki", "agent", node_subject("edge-1", ["edge-1", "127.0.0.1"]), now=now)
    contexts: dict[str, ssl.SSLContext] = {"nobody": client_context(ca_path=ca)}
    for who, subject in (("api-server", agent_client_subject()), ("admin", admin_subject())):
        pair = ensure(authority, tmp_path / "pki", who, subject, now=now)
        contexts[who] = client_context(ca_path=ca, cert_path=pair.certificate, key_path=pair.key)
    assert node.pods is not None
    access = DelegatedAccess(_knows_nobody, "edge-1", clock=time.time)
    server = Server(AgentServer(node.pods, is_api_server, access), tls=ServerTls(serving.certificate, serving.key, ca))
    async with trio.open_nursery() as nursery:
        ports = await nursery.start(server.serve, open_listeners(0, "127.0.0.1"))
        yield Door(ports[0], contexts)
        nursery.cancel_scope.cancel()


async def test_only_the_api_server_is_let_in(node: Node, door: Door) -> None:
    assert await door.get("/healthz") == (200, b"ok")
    for path in ("/pods", "/healthz"):
        assert (await door.get(path, "nobody"))[0] == 401
        assert (await door.get(path, "admin"))[0] == 403
    status, body = await door.get("/pods")
    assert (status, orjson.loads(body)["kind"]) == (200, "PodList")
    assert (await door.get("/nothing"))[0] == 404


async def test_logs(node: Node, door: Door) -> None:
    await node.create("talks", [container("main", "for n in 1 2 3; do echo line $n; done; echo oops >&2; sleep 1000")])
    await node.until_running("talks")

    async def complete() -> bool:
        return b"oops" in (await door.get("/containerLogs/default/talks/main"))[1]

    await node.eventually(complete)
    assert sorted((await door.get("/containerLogs/default/talks/main"))[1].splitlines()) == [
        b"line 1",
        b"line 2",
        b"line 3",
        b"oops",
    ]
    assert (await door.get("/containerLogs/default/talks/main?stream=Stdout&tailLines=0"))[1] == b""
    assert (await door.get("/containerLogs/default/talks/main?stream=Stdout&limitBytes=6"))[1] == b"line 1"
    _, stamped = await door.get("/containerLogs/default/talks/main?timestamps=true&sinceSeconds=1000")
    assert stamped.startswith(b"20") and len(stamped.splitlines()) == 4

    for path, status, words in (
        ("/containerLogs/default/nobody/main", 404, 'pods "nobody" not found'),
        ("/containerLogs/default/talks/other", 400, "container other is not valid for pod talks"),
        (
            "/containerLogs/default/talks/main?previous=true",
            400,
            'previous terminated container "main" in pod "talks" not found',
        ),
        ("/containerLogs/default/talks/main?tailLines=x", 400, "tailLines must be a number, got 'x'"),
    ):
        answered, body = await door.get(path)
        assert (answered, orjson.loads(body)["message"]) == (status, words)


async def test_following_a_log_ends_with_the_container(node: Node, door: Door) -> None:
    await node.create("counts", [container("main", "for n in 1 2 3; do echo $n; sleep 0.3; done")], restartPolicy="Never")
    await node.until("counts", lambda pod: pod["status"]["phase"] in ("Running", "Succeeded"))
    with trio.fail_after(60):
        assert await door.get("/containerLogs/default/counts/main?follow=true") == (200, b"1\n2\n3\n")


async def test_exec_gives_streams_and_the_exit_code(node: Node, door: Door) -> None:
    await node.create("shell")
    await node.until_running("shell")
    command = "/exec/default/shell/main?output=1&error=1&command=sh&command=-c&command=echo%20out;echo%20err>%262;exit%207"
    async with door.websocket(command) as websocket:
        channels = await websocket.read_all()
    assert channels[1] == b"out\n"
    assert channels[2] == b"err\n"
    failure = orjson.loads(channels[3])
    assert failure["reason"] == "NonZeroExitCode"
    assert failure["details"]["causes"] == [{"reason": "ExitCode", "message": "7"}]

    async with door.websocket("/exec/default/shell/main?input=1&output=1&command=head&command=-c&command=5") as websocket:
        await websocket.send(0, b"hello and more")
        assert (await websocket.read_all())[1] == b"hello"

    assert (await door.get("/exec/default/shell/main?output=1"))[0] == 400
    assert (await door.get("/exec/default/shell/none?command=ls"))[0] == 404


async def test_port_forward_reaches_the_pod(node: Node, door: Door) -> None:
    listening = {"tcpSocket": {"port": 8080}, "periodSeconds": 1}
    script = "mkdir /w; echo hi > /w/index.html; httpd -f -p 8080 -h /w"
    await node.create("port", [container("main", script, readinessProbe=listening)])
    await node.until_running("port")
    async with door.websocket("/portForward/default/port?port=8080") as websocket:
        await websocket.send(0, b"GET /index.html HTTP/1.0\r\n\r\n")
        with trio.fail_after(60):
            found = b""
            while b"hi\n" not in found:
                data = await websocket._stream.receive_some()
                found += data
                assert data


async def test_a_port_of_a_pod_is_dialled_for_the_api_server_alone(node: Node, door: Door) -> None:
    listening = {"tcpSocket": {"port": 8080}, "periodSeconds": 1}
    script = "mkdir /w; echo hi > /w/index.html; httpd -f -p 8080 -h /w"
    await node.create("web", [container("main", script, readinessProbe=listening)])
    await node.until_running("web")
    upgrade = {"connection": "Upgrade", "upgrade": "edgekube-dial"}

    async def dialled(path: str, who: str = "api-server") -> tuple[int, bytes]:
        async with open_connection("127.0.0.1", door.port, context=door.contexts[who], server_hostname="edge-1") as connection:
            response, stream = await connection.upgrade("GET", path, upgrade)
            if stream is None:
                return response.status, await response.read(1 << 16)
            await stream.send_all(b"GET /index.html HTTP/1.0\r\n\r\n")
            found = b""
            while data := await stream.receive_some():
                found += data
            await stream.aclose()
            return response.status, found

    with trio.fail_after(60):
        status, page = await dialled("/dial/default/web/8080")
        assert (status, page.endswith(b"hi\n")) == (101, True)
        assert (await dialled("/dial/default/web/9"))[0] == 503
        assert (await dialled("/dial/default/nobody/8080"))[0] == 404
        assert (await dialled("/dial/default/web/8080", "admin"))[0] == 403
        assert (await dialled("/dial/default/web/8080", "nobody"))[0] == 401
        assert (await door.get("/dial/default/web/8080"))[0] == 400


async def test_statistics_come_from_cgroups(node: Node, door: Door) -> None:
    await node.create("busy")
    await node.until_running("busy")
    status, body = await door.get("/stats/summary")
    assert status == 200
    [stats] = [item for item in orjson.loads(body)["pods"] if item["podRef"]["name"] == "busy"]
    assert stats["cpu"]["usageCoreNanoSeconds"] > 0
    assert stats["memory"]["workingSetBytes"] > 0
    status, body = await door.get("/metrics/resource")
    assert status == 200
    text = body.decode()
    for name in ("container_cpu_usage_seconds_total", "container_memory_working_set_bytes", "container_start_time_seconds"):
        assert f'{name}{{container="main",namespace="default",pod="busy"}} ' in text
    assert 'pod_memory_working_set_bytes{namespace="default",pod="busy"} ' in text
    assert (await door.get("/metrics/resource", "nobody"))[0] == 401
    text = (await door.get("/metrics/cadvisor"))[1].decode()
    assert 'container="main",id="' in text and 'namespace="default",pod="busy"' in text
    [network] = [
        line for line in text.splitlines() if line.startswith("container_network_receive_bytes_total") and "busy" in line
    ]
    assert 'interface="eth0"' in network and float(network.rpartition(" ")[2]) >= 0
    assert "kubelet_running_pods " in (await door.get("/metrics"))[1].decode()
    running = orjson.loads((await door.get("/runningpods/"))[1])["items"]
    assert "busy" in [pod["metadata"]["name"] for pod in running]
    assert orjson.loads((await door.get("/configz"))[1])["kubeletconfig"]["clusterDomain"] == "cluster.local"
    assert (await door.get("/logs/"))[1].startswith(b"<!doctype html>")
    assert (await door.get("/logs/?query=a;b"))[0] == 422
    assert (await door.get("/stats/nothing"))[0] == 404
