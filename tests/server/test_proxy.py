"""HTTP to pods, services and nodes through the API server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from edgekube.api.errors import StatusError
from edgekube.api.kinds import ENDPOINTSLICE, POD, SERVICE
from edgekube.server.proxy import parts_of, ready_endpoints
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


@asynccontextmanager
async def with_web(tmp_path: Path) -> AsyncIterator[tuple[Api, int]]:
    server, agents = Server(web, tls=None), Everywhere()
    async with trio.open_nursery() as nursery:
        port = agents.port = (await nursery.start(server.serve, open_listeners(0, "127.0.0.1")))[0]
        async with running_api(tmp_path, agents) as api:
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
    assert ready_endpoints(slice_, "http") == [("192.0.2.2", 8080), ("192.0.2.3", 8080)]
