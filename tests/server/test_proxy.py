"""HTTP to pods, services and nodes through the API server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from edgekube.api.errors import StatusError
from edgekube.api.kinds import ENDPOINTSLICE, POD, SERVICE
from edgekube.registry.service_places import Place, ready_endpoints
from edgekube.server.proxy import parts_of
from edgekube.wire.client import HttpConnection
from edgekube.wire.protocol import Request, Responder
from edgekube.wire.server import Server, open_listeners
from edgekube.wire.transport import connect
from tests.registry.cluster import pod, service
from tests.server.running import Api, running_api

PAGE = '<a href="/rewriteme">test</a>'


async def web(request: Request, responder: Responder) -> None:
    """Answers with what it was asked."""
    body = await request.body.read(1 << 20)
    if request.path == "/page":
        await responder.send(200, {"content-type": "text/html; charset=utf-8", "access-control-allow-origin": "*"}, PAGE.encode())
        return
    if request.path == "/socket":
        assert request.headers["sec-websocket-key"] == "x" and "authorization" not in request.headers
        stream = await responder.upgrade()
        await stream.send_all(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\r\n")
        while data := await stream.receive_some():
            await stream.send_all(data.upper())
        await stream.aclose()
        return
    if request.path == "/moved":
        await responder.send(302, {"location": "/login/?next=a"})
        return
    said = f"{request.method} {request.path}?{request.query} {body.decode()} {request.headers.get('authorization', '-')}"
    await responder.send(203, {"content-type": "text/plain", "x-seen": "yes"}, said.encode())


class Everywhere:
    """server.agents.AgentConnections: every node's agent is the same listener."""

    port = 0

    async def open(self, node_name: str) -> HttpConnection:
        return HttpConnection(await connect("127.0.0.1", self.port), f"{node_name}:10250")

    def is_here(self, node_name: str) -> bool:
        return True


@asynccontextmanager
async def with_web(tmp_path: Path) -> AsyncIterator[tuple[Api, int]]:
    server, agents = Server(web, tls=None), Everywhere()
    async with trio.open_nursery() as nursery:
        port = agents.port = (await nursery.start(server.serve, open_listeners(0, "127.0.0.1")))[0]
        async with running_api(tmp_path, agents, reachable=lambda address: True) as api:
            containers = [{"name": "main", "image": "demo:1", "ports": [{"name": "web", "containerPort": port}]}]
            await api.verbs.create(POD, "default", pod("p", nodeName="pi", containers=containers))
            status = {"phase": "Running", "podIP": "127.0.0.1", "podIPs": [{"ip": "127.0.0.1"}]}
            await api.verbs.patch(POD, "default", "p", {"status": status}, subresource="status")
            yield api, port
        await server.drain(1)
        nursery.cancel_scope.cancel()


async def test_a_pod(tmp_path: Path) -> None:
    async with with_web(tmp_path) as (api, port):
        for name in ("p", f"p:{port}", "p:web", f"http:p:{port}"):
            answered = await api.ask("POST", f"/api/v1/namespaces/default/pods/{name}/proxy/a%2Fb/?c=d", b"hello")
            assert answered.status == 203, answered.text
            assert answered.text == "POST /a%2Fb/?c=d hello -"
            assert answered.headers["x-seen"] == "yes"


async def test_a_service_goes_to_a_ready_endpoint(tmp_path: Path) -> None:
    async with with_web(tmp_path) as (api, port):
        await api.verbs.create(SERVICE, "default", service("web", ports=[{"name": "http", "port": 80}]))
        path = "/api/v1/namespaces/default/services/web:http/proxy/x"
        assert (await api.ask("GET", path)).status == 503
        slice_ = {
            "metadata": {"name": "web-1", "labels": {"kubernetes.io/service-name": "web"}},
            "addressType": "IPv4",
            "endpoints": [
                {"addresses": ["192.0.2.1"], "conditions": {"ready": False}},
            ],
            "ports": [{"name": "http", "port": port, "protocol": "TCP"}],
        }
        await api.verbs.create(ENDPOINTSLICE, "default", slice_)
        assert (await api.ask("GET", path)).status == 503
        assert (await api.ask("GET", path.replace(":http", ":ftp"))).status == 503


async def test_a_websocket_passes_and_its_refusal_too(tmp_path: Path) -> None:
    async with with_web(tmp_path) as (api, _):
        headers = {"authorization": "Bearer admin", "upgrade": "websocket", "connection": "Upgrade", "sec-websocket-key": "x"}
        path = "/api/v1/namespaces/default/pods/p/proxy"
        with trio.fail_after(60):
            connection = HttpConnection(await connect("127.0.0.1", api.port), "api")
            response, stream = await connection.upgrade("GET", f"{path}/socket", headers)
            assert (response.status, response.headers["upgrade"]) == (101, "websocket") and stream is not None
            await stream.send_all(b"hello")
            assert await stream.receive_some() == b"HELLO"
            await stream.send_eof()
            assert await stream.receive_some() == b""
            await stream.aclose()
            connection = HttpConnection(await connect("127.0.0.1", api.port), "api")
            response, stream = await connection.upgrade("GET", f"{path}/moved", headers)
            assert (response.status, stream) == (302, None)
            connection.close()


async def test_an_upgrade_to_a_node_needs_the_right_to_run_things(tmp_path: Path) -> None:
    async with with_web(tmp_path) as (api, _):
        rule = {"verbs": ["get"], "apiGroups": [""], "resources": ["nodes/proxy"]}
        api.roles.put({"kind": "ClusterRole", "metadata": {"name": "looker"}, "rules": [rule]})
        reference = {"kind": "ClusterRole", "name": "looker", "apiGroup": "rbac.authorization.k8s.io"}
        subjects = [{"kind": "User", "name": "alice"}]
        api.roles.put({"kind": "ClusterRoleBinding", "metadata": {"name": "l"}, "roleRef": reference, "subjects": subjects})
        path = "/api/v1/nodes/pi/proxy"
        assert (await api.ask("GET", f"{path}/x", user="alice")).status == 203
        refused = await api.ask("GET", f"{path}/exec/a/b/c", user="alice", upgrade="websocket", connection="Upgrade")
        assert (refused.status, "cannot create resource" in refused.json["message"]) == (403, True)


async def test_a_pod_of_another_node_is_dialled_by_its_agent(tmp_path: Path) -> None:
    """The agent's part is tests/agent/test_server.py; here its answer is made up: the page of the pod it was asked to dial."""
    dialled: list[str] = []

    async def agent(request: Request, responder: Responder) -> None:
        dialled.append(f"{request.path}?{request.query}")
        if request.path.endswith("/9"):
            await respond_unreachable(responder)
            return
        stream = await responder.upgrade()
        await stream.send_all(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: edgekube-dial\r\nconnection: Upgrade\r\n\r\n")
        assert (await stream.receive_some()).startswith(b"GET /x HTTP/1.1\r\n")
        await stream.send_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi")
        await stream.aclose()

    server, agents = Server(agent, tls=None), Elsewhere()
    async with trio.open_nursery() as nursery:
        agents.port = (await nursery.start(server.serve, open_listeners(0, "127.0.0.1")))[0]
        async with running_api(tmp_path, agents, reachable=lambda address: True) as api:
            await api.verbs.create(POD, "default", pod("p", nodeName="far"))
            status = {"phase": "Running", "podIP": "192.0.2.9", "podIPs": [{"ip": "192.0.2.9"}]}
            await api.verbs.patch(POD, "default", "p", {"status": status}, subresource="status")
            path = "/api/v1/namespaces/default/pods"
            for name in ("p:8080", "https:p:8443"):
                answered = await api.ask("GET", f"{path}/{name}/proxy/x")
                assert (answered.status, answered.text) == (200, "hi")
            refused = await api.ask("GET", f"{path}/p:9/proxy/x")
            assert (refused.status, refused.json["message"]) == (503, "error trying to reach service: 192.0.2.9:9: refused")
            await api.verbs.create(SERVICE, "default", service("web", ports=[{"port": 80}]))
            reference = {"kind": "Pod", "namespace": "default", "name": "p"}
            endpoint = {"addresses": ["192.0.2.9"], "nodeName": "far", "targetRef": reference}
            labels = {"kubernetes.io/service-name": "web"}
            slice_ = {"metadata": {"name": "web-1", "labels": labels}, "addressType": "IPv4", "endpoints": [endpoint]}
            await api.verbs.create(ENDPOINTSLICE, "default", {**slice_, "ports": [{"port": 8081, "protocol": "TCP"}]})
            assert (await api.ask("GET", "/api/v1/namespaces/default/services/web/proxy/x")).text == "hi"
        await server.drain(1)
        nursery.cancel_scope.cancel()
    assert dialled == [
        "/dial/default/p/8080?", "/dial/default/p/8443?tls=1", "/dial/default/p/9?", "/dial/default/p/8081?",
    ]  # fmt: skip


class Elsewhere(Everywhere):
    def is_here(self, node_name: str) -> bool:
        return False


async def respond_unreachable(responder: Responder) -> None:
    status = b'{"kind":"Status","apiVersion":"v1","status":"Failure","message":"192.0.2.9:9: refused","code":503}'
    await responder.send(503, {"content-type": "application/json"}, status)


async def test_links_lead_back_through_the_proxy(tmp_path: Path) -> None:
    async with with_web(tmp_path) as (api, port):
        root = f"/api/v1/namespaces/default/pods/p:{port}/proxy"
        page = await api.ask("GET", f"{root}/page")
        assert page.text == f'<a href="{root}/rewriteme">test</a>'
        assert "access-control-allow-origin" not in page.headers
        assert (await api.ask("GET", f"{root}/moved")).headers["location"] == f"{root}/login/?next=a"


async def test_a_root_without_its_slash_is_redirected(tmp_path: Path) -> None:
    async with with_web(tmp_path) as (api, _):
        root = "/api/v1/namespaces/default/pods/p/proxy"
        for method in ("GET", "HEAD"):
            answered = await api.ask(method, f"{root}?method={method}")
            assert (answered.status, answered.headers["location"]) == (301, f"{root}/?method={method}")
        assert (await api.ask("POST", f"{root}?method=POST", b"")).text.startswith("POST /?method=POST")


async def test_a_node_is_its_agent(tmp_path: Path) -> None:
    async with with_web(tmp_path) as (api, _):
        answered = await api.ask("GET", "/api/v1/nodes/pi/proxy/stats/summary")
        assert answered.text == "GET /stats/summary?  -"


def test_names() -> None:
    assert parts_of("a") == ("http", "a", "")
    assert parts_of("a:80") == ("http", "a", "80")
    assert parts_of("https:a:") == ("https", "a", "")
    with pytest.raises(StatusError):
        parts_of("ftp:a:1")


def test_only_ready_endpoints_of_the_port_are_chosen() -> None:
    slice_ = {
        "endpoints": [
            {"addresses": ["192.0.2.1"], "conditions": {"ready": False}},
            {"addresses": ["192.0.2.2"], "conditions": {"ready": True}},
            {"addresses": ["192.0.2.3"]},
        ],
        "ports": [{"name": "http", "port": 8080}, {"name": "metrics", "port": 9090}],
    }
    assert ready_endpoints(slice_, "http") == [Place("192.0.2.2", 8080), Place("192.0.2.3", 8080)]


def test_an_endpoint_by_name_is_not_where_the_server_connects_to() -> None:
    """The name would be looked up by this machine: localhost is one."""
    slice_ = {"addressType": "FQDN", "endpoints": [{"addresses": ["localhost"]}], "ports": [{"name": "http", "port": 8080}]}
    assert ready_endpoints(slice_, "http") == []


@pytest.mark.parametrize("address", ["localhost", "127.1", "::ffff:127.0.0.1"])
async def test_nor_can_it_claim_what_is_no_address(api: Api, address: str) -> None:
    await api.verbs.create(POD, "default", pod("p", nodeName="pi"))
    with pytest.raises(StatusError, match="Invalid value"):
        await api.verbs.patch(POD, "default", "p", {"status": {"podIP": address}}, subresource="status")


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "0.0.0.0", "224.0.0.251"])
async def test_a_pod_that_claims_an_address_of_this_machine_is_not_dialled(tmp_path: Path, address: str) -> None:
    """What listens on the server's loopback is none of those who may write a pod's status, or of the node that runs it."""
    server, agents = Server(web, tls=None), Everywhere()
    async with trio.open_nursery() as nursery:
        port = (await nursery.start(server.serve, open_listeners(0, "127.0.0.1")))[0]
        async with running_api(tmp_path, agents) as api:
            await api.verbs.create(POD, "default", pod("p", nodeName="pi"))
            await api.verbs.patch(POD, "default", "p", {"status": {"podIP": address}}, subresource="status")
            answer = await api.ask("GET", f"/api/v1/namespaces/default/pods/p:{port}/proxy/x")
            assert (answer.status, answer.json["message"]) == (400, "address not allowed")
        await server.drain(1)
        nursery.cancel_scope.cancel()
