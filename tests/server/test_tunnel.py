"""Logs, exec and port-forward go to the node's agent; here a small HTTP server stands where the agent would."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from wsproto.events import CloseConnection

from edgekube.api import errors
from edgekube.api.kinds import POD
from edgekube.server.tunnel import container_of
from edgekube.wire.client import HttpConnection
from edgekube.wire.protocol import Request, Responder
from edgekube.wire.server import Server, open_listeners
from edgekube.wire.transport import connect
from tests.registry.cluster import pod
from tests.server.listening import listening
from tests.server.running import Api, running_api

PODS = "/api/v1/namespaces/default/pods"


class Agent:
    """server.agents.AgentConnections to one listener, and what it was asked."""

    def __init__(self) -> None:
        self.port = 0
        self.asked: list[tuple[str, str, dict[str, str]]] = []
        self.left = trio.Event()

    async def open(self, node_name: str) -> HttpConnection:
        if node_name != "pi":
            raise errors.unavailable(f"the agent of node {node_name} cannot be reached")
        return HttpConnection(await connect("127.0.0.1", self.port), "pi:10250")

    def is_here(self, node_name: str) -> bool:
        return True

    async def handle(self, request: Request, responder: Responder) -> None:
        self.asked.append((request.method, f"{request.path}?{request.query}", dict(request.headers)))
        if request.path.startswith("/containerLogs"):
            await self._logs(request, responder)
        elif request.headers.get("x-refuse"):
            await responder.send(403, {"content-type": "text/plain"}, b"not this protocol")
        else:
            stream = await responder.upgrade()
            await stream.send_all(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: SPDY/3.1\r\nconnection: Upgrade\r\n\r\n")
            while data := await stream.receive_some():
                await stream.send_all(data.upper())
            await stream.send_all(b" BYE")
            await stream.aclose()

    async def _logs(self, request: Request, responder: Responder) -> None:
        if "previous" in request.query:
            text = b'previous terminated container "main" in pod "p" not found'
            await responder.send(400, {"content-type": "text/plain"}, text)
            return
        await responder.start(200, {"content-type": "text/plain"})
        await responder.write(b"first\n")
        if "follow" in request.query:
            try:
                await trio.sleep_forever()
            finally:
                self.left.set()
        await responder.end()


@asynccontextmanager
async def with_agent(tmp_path: Path) -> AsyncIterator[tuple[Api, Agent]]:
    agent = Agent()
    server = Server(agent.handle, tls=None)
    async with trio.open_nursery() as nursery:
        agent.port = (await nursery.start(server.serve, open_listeners(0, "127.0.0.1")))[0]
        async with running_api(tmp_path, agent) as api:
            await api.verbs.create(POD, "default", pod("p", nodeName="pi"))
            yield api, agent
        await server.drain(1)
        nursery.cancel_scope.cancel()


async def test_logs(tmp_path: Path) -> None:
    async with with_agent(tmp_path) as (api, agent):
        answered = await api.ask("GET", f"{PODS}/p/log?tailLines=5&timestamps=true&container=main")
        assert (answered.status, answered.text) == (200, "first\n")
        method, target, headers = agent.asked[0]
        assert (method, target) == ("GET", "/containerLogs/default/p/main?timestamps=true&tailLines=5")
        assert "authorization" not in headers
        refused = await api.ask("GET", f"{PODS}/p/log?previous=true")
        assert (refused.status, refused.json["reason"]) == (400, "BadRequest")
        assert refused.json["message"] == 'previous terminated container "main" in pod "p" not found'


@pytest.mark.parametrize(
    ("protocol", "message"), [("binary.k8s.io", b"first\n"), ("base64.binary.k8s.io", "Zmlyc3QK"), ("", b"first\n")]
)
async def test_logs_over_a_websocket(tmp_path: Path, protocol: str, message: bytes | str) -> None:
    """What a browser asks for, and Kubernetes' own suite."""
    async with with_agent(tmp_path) as (api, _):
        offered = f"other, {protocol}" if protocol else ""
        async with listening(api.port, f"{PODS}/p/log?container=main", sec_websocket_protocol=offered) as listener:
            assert listener.response.headers.get("sec-websocket-protocol", "") == protocol
            assert await listener.message() == message
            assert await listener.hear() == CloseConnection(1000, "")
        refused = await api.ask("GET", f"{PODS}/p/log", upgrade="websocket", connection="Upgrade")
        assert refused.status == 400


@pytest.mark.parametrize(
    ("query", "status", "field"),
    [
        ("tailLines=-1", 422, "tailLines"),
        ("limitBytes=0", 422, "limitBytes"),
        ("sinceSeconds=0", 422, "sinceSeconds"),
        ("sinceSeconds=5&sinceTime=2026-01-02T03:04:05Z", 422, "sinceSeconds"),
        ("stream=Both", 422, "stream"),
        ("stream=Stdout&tailLines=5", 422, "tailLines"),
        ("tailLines=x", 400, ""),
        ("sinceTime=yesterday", 400, ""),
        ("container=nobody", 400, ""),
    ],
)
async def test_logs_that_cannot_be_asked_for(tmp_path: Path, query: str, status: int, field: str) -> None:
    async with with_agent(tmp_path) as (api, agent):
        refused = await api.ask("GET", f"{PODS}/p/log?{query}")
        assert refused.status == status, refused.text
        if field:
            assert [cause["field"] for cause in refused.json["details"]["causes"]] == [field]
            assert refused.json["details"]["kind"] == "PodLogOptions"
        assert agent.asked == []


async def test_several_containers_must_be_told_apart(tmp_path: Path) -> None:
    async with with_agent(tmp_path) as (api, _):
        two = [{"name": "one", "image": "demo:1"}, {"name": "two", "image": "demo:1"}]
        init = [{"name": "first", "image": "demo:1"}]
        await api.verbs.create(POD, "default", pod("q", nodeName="pi", containers=two, initContainers=init))
        refused = await api.ask("GET", f"{PODS}/q/log")
        assert (refused.status, refused.json["message"]) == (
            400,
            "a container name must be specified for pod q, choose one of: [one two] or one of the init containers: [first]",
        )
        for name in ("one", "two", "first"):
            assert (await api.ask("GET", f"{PODS}/q/log?container={name}")).status == 200
        missing = await api.ask("POST", f"{PODS}/q/exec?command=ls&container=nobody", connection="Upgrade", upgrade="SPDY/3.1")
        assert (missing.status, missing.json["message"]) == (400, "container nobody is not valid for pod q")


async def test_a_pod_without_a_node_has_written_nothing(tmp_path: Path) -> None:
    async with with_agent(tmp_path) as (api, _):
        await api.verbs.create(POD, "default", pod("waiting"))
        answered = await api.ask("GET", f"{PODS}/waiting/log")
        assert (answered.status, answered.body) == (204, b"")
        refused = await api.ask("POST", f"{PODS}/waiting/exec?command=ls", connection="Upgrade", upgrade="SPDY/3.1")
        assert (refused.status, refused.json["message"]) == (400, "pod waiting does not have a host assigned")


async def test_a_reader_who_leaves_ends_the_agents_side(tmp_path: Path) -> None:
    async with with_agent(tmp_path) as (api, agent):
        with trio.fail_after(60):
            async with api.http.request("GET", f"{PODS}/p/log?follow=true", {"authorization": "Bearer admin"}) as response:
                assert await response.receive_some() == b"first\n"
            await agent.left.wait()


async def test_exec_splices_both_ways_and_half_closes(tmp_path: Path) -> None:
    async with with_agent(tmp_path) as (api, agent):
        connection = HttpConnection(await connect("127.0.0.1", api.port), "api")
        headers = {
            "authorization": "Bearer admin",
            "connection": "Upgrade",
            "upgrade": "SPDY/3.1",
            "x-stream-protocol-version": "v5.channel.k8s.io, v4.channel.k8s.io",
        }
        target = f"{PODS}/p/exec?command=sh&command=-c&command=a%20b&stdin=true&stdout=true&tty=false"
        with trio.fail_after(60):
            response, stream = await connection.upgrade("POST", target, headers)
            assert response.status == 101
            assert stream is not None
            await stream.send_all(b"hello")
            assert await stream.receive_some() == b"HELLO"
            await stream.send_eof()
            rest = b""
            while data := await stream.receive_some():
                rest += data
            assert rest == b" BYE"
            await stream.aclose()
        method, asked, sent = agent.asked[0]
        assert (method, asked) == ("POST", "/exec/default/p/main?command=sh&command=-c&command=a+b&input=1&output=1")
        assert sent["x-stream-protocol-version"] == "v4.channel.k8s.io"
        assert "authorization" not in sent


async def test_what_the_agent_refuses_is_passed_on(tmp_path: Path) -> None:
    async with with_agent(tmp_path) as (api, _):
        answered = await api.ask("GET", f"{PODS}/p/portforward", connection="Upgrade", upgrade="websocket", x_refuse="1")
        assert (answered.status, answered.json["reason"], answered.json["message"]) == (403, "Forbidden", "not this protocol")


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("none/log", 404),
        ("lost/log", 503),
        ("p/log?container=other", 400),
        ("p/exec?command=ls", 400),
        ("p/proxy/", 503),
        ("none/proxy/", 404),
        ("a:b:c:d/proxy/", 400),
    ],
)
async def test_requests_that_reach_no_container(tmp_path: Path, path: str, status: int) -> None:
    async with with_agent(tmp_path) as (api, _):
        await api.verbs.create(POD, "default", pod("waiting"))
        await api.verbs.create(POD, "default", pod("lost", nodeName="elsewhere"))
        answered = await api.ask("GET", f"{PODS}/{path}")
        assert answered.status == status, answered.text
        assert answered.json["kind"] == "Status"


async def test_reading_is_not_running(tmp_path: Path) -> None:
    """A WebSocket asks with GET; who may only get must not run things in a pod."""
    async with with_agent(tmp_path) as (api, agent):
        role = {"kind": "ClusterRole", "metadata": {"name": "reader"}}
        api.roles.put({**role, "rules": [{"apiGroups": [""], "resources": ["pods", "pods/exec"], "verbs": ["get"]}]})
        api.roles.put({
            "kind": "ClusterRoleBinding",
            "metadata": {"name": "readers"},
            "roleRef": {"kind": "ClusterRole", "name": "reader"},
            "subjects": [{"kind": "User", "name": "alice"}],
        })  # fmt: skip
        assert (await api.ask("GET", f"{PODS}/p", user="alice")).status == 200
        refused = await api.ask("GET", f"{PODS}/p/exec?command=sh", user="alice", connection="Upgrade", upgrade="websocket")
        assert refused.status == 403
        assert agent.asked == []


@pytest.mark.parametrize(
    ("method", "path", "verbs"),
    [
        ("GET", "/api/v1/watch/namespaces/default/pods/p/exec?command=sh", ["get", "list", "watch"]),
        ("GET", "/api/v1/watch/namespaces/default/pods/p/attach", ["get", "list", "watch"]),
        ("GET", "/api/v1/watch/namespaces/default/pods/p/portforward", ["get", "list", "watch"]),
        ("GET", "/api/v1/watch/nodes/pi/proxy/exec/default/p/main?command=sh", ["get", "list", "watch"]),
        ("PUT", f"{PODS}/p/exec?command=sh", ["update"]),
        ("PATCH", f"{PODS}/p/exec?command=sh", ["patch"]),
        ("DELETE", f"{PODS}/p/exec?command=sh", ["delete"]),
        ("PATCH", "/api/v1/nodes/pi/proxy/exec/default/p/main?command=sh", ["patch"]),
    ],
)
async def test_no_other_verb_runs_things_either(tmp_path: Path, method: str, path: str, verbs: list[str]) -> None:
    async with with_agent(tmp_path) as (api, agent):
        role = {"kind": "ClusterRole", "metadata": {"name": "reader"}}
        api.roles.put({**role, "rules": [{"apiGroups": ["*"], "resources": ["*"], "verbs": verbs}]})
        api.roles.put({
            "kind": "ClusterRoleBinding",
            "metadata": {"name": "readers"},
            "roleRef": {"kind": "ClusterRole", "name": "reader"},
            "subjects": [{"kind": "User", "name": "alice"}],
        })  # fmt: skip
        refused = await api.ask(method, path, user="alice", connection="Upgrade", upgrade="websocket")
        assert refused.status == 403
        assert agent.asked == []


async def test_a_subresource_is_not_watched(tmp_path: Path) -> None:
    async with with_agent(tmp_path) as (api, agent):
        for below in ("log", "exec", "proxy/", "status"):
            asked = await api.ask("GET", f"/api/v1/watch/namespaces/default/pods/p/{below}?timeoutSeconds=1")
            assert asked.status == 404, below
        assert agent.asked == []


def test_the_container_is_named_or_the_only_one() -> None:
    several = pod("p", containers=[{"name": "a"}, {"name": "b"}], initContainers=[{"name": "i"}])
    assert container_of(pod("p"), "") == "main"
    assert container_of(several, "i") == "i"
    with pytest.raises(errors.StatusError) as error:
        container_of(several, "")
    assert error.value.message == (
        "a container name must be specified for pod p, choose one of: [a b] or one of the init containers: [i]"
    )
