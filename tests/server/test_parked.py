"""Agents without an address leave connections at the server; it reaches them through those, and through nobody else's."""

from __future__ import annotations

import datetime
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
import trio

from edgekube import limits
from edgekube.agent.tunnels import PATH, PROTOCOL, keep_tunnels
from edgekube.api.errors import StatusError
from edgekube.api.kinds import NODE, POD
from edgekube.api.node_identity import NodeIdentity
from edgekube.pki.authority import load_or_create_authority
from edgekube.pki.certificates import SERVER_NAME, node_subject
from edgekube.server.agents import NodeAgents
from edgekube.wire.client import HttpConnection
from edgekube.wire.protocol import ByteStream, Disconnected, Request, Responder
from edgekube.wire.server import Server, open_listeners
from edgekube.wire.tls import ServerTls, client_context
from edgekube.wire.transport import Transport, connect
from tests.registry.cluster import pod
from tests.server.secured import Secured, admin, node, secured_api

PODS = "/api/v1/namespaces/default/pods"
PI_1, PI_2 = node("pi-1"), node("pi-2")


class Agent:
    """Stands where agent.server would: what it answers carries its name."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.following = 0
        self.changed = trio.Event()

    async def __call__(self, request: Request, responder: Responder) -> None:
        if request.path == "/healthz":
            await responder.send(200, {}, b"ok")
        elif request.path.startswith("/exec"):
            stream = await responder.upgrade()
            await stream.send_all(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: SPDY/3.1\r\nconnection: Upgrade\r\n\r\n")
            while data := await stream.receive_some():
                await stream.send_all(self.name.encode() + b":" + data)
            await stream.aclose()
        elif "follow" in request.query:
            await self._follow(responder)
        else:
            await responder.send(200, {"content-type": "text/plain"}, f"{self.name} {request.path}".encode())

    async def _follow(self, responder: Responder) -> None:
        await responder.start(200, {"content-type": "text/plain"})
        await responder.write(b"first\n")
        self._count(1)
        try:
            await trio.sleep_forever()
        finally:
            self._count(-1)

    def _count(self, by: int) -> None:
        self.following += by
        changed, self.changed = self.changed, trio.Event()
        changed.set()

    async def until_following(self, number: int) -> None:
        with trio.fail_after(60):
            while self.following != number:
                await self.changed.wait()


@pytest.fixture
async def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Secured]:
    """Two nodes that say no address; each runs one pod. An agent that is on its way is waited for as long as it takes."""
    monkeypatch.setattr(limits, "TUNNEL_WAIT_SECONDS", 60.0)
    async with secured_api(tmp_path) as secured:
        for subject, name in ((PI_1, "pi-1"), (PI_2, "pi-2")):
            await secured.register(subject)
            await secured.verbs.create(NODE, "", {"metadata": {"name": name}})
            await secured.verbs.create(POD, "default", pod(f"on-{name}", nodeName=name))
        yield secured


@asynccontextmanager
async def agent(api: Secured, name: str = "pi-1") -> AsyncIterator[Agent]:
    made = Agent(name)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keep_tunnels, api.dial(node(name)), made)
        yield made
        nursery.cancel_scope.cancel()


@contextmanager
def nobody_on_the_way() -> Iterator[None]:
    """Whoever has no tunnel now is not waited for."""
    patient, limits.TUNNEL_WAIT_SECONDS = limits.TUNNEL_WAIT_SECONDS, 0.1
    yield
    limits.TUNNEL_WAIT_SECONDS = patient


async def log_of(api: Secured, name: str) -> str:
    answer = await api.ask(admin(), "GET", f"{PODS}/on-{name}/log")
    assert answer.status == 200, answer.body
    return answer.text


@asynccontextmanager
async def session(api: Secured, name: str = "pi-1") -> AsyncIterator[ByteStream]:
    """An exec, as kubectl opens it."""
    connection = HttpConnection(await api.dial(admin())(), "api")
    with trio.fail_after(60):
        headers = {"connection": "Upgrade", "upgrade": "SPDY/3.1", "x-stream-protocol-version": "v4.channel.k8s.io"}
        response, stream = await connection.upgrade("POST", f"{PODS}/on-{name}/exec?command=sh&stdout=1", headers)
        assert stream is not None, await response.read(1 << 16)
        yield stream
        await stream.aclose()


async def test_logs_and_exec_without_a_route_to_the_node(api: Secured) -> None:
    async with agent(api):
        assert await log_of(api, "pi-1") == "pi-1 /containerLogs/default/on-pi-1/main"
        async with session(api) as stream:
            await stream.send_all(b"hello")
            assert await stream.receive_some() == b"pi-1:hello"
            await stream.send_eof()
            assert await stream.receive_some() == b""
        answer = await api.ask(admin(), "GET", "/api/v1/nodes/pi-1/proxy/stats/summary")
        assert (answer.status, answer.text) == (200, "pi-1 /stats/summary")


async def test_each_node_is_asked_through_its_own_connections(api: Secured) -> None:
    async with agent(api, "pi-1"):
        assert (await log_of(api, "pi-1")).startswith("pi-1 ")
        with nobody_on_the_way():
            answer = await api.ask(admin(), "GET", f"{PODS}/on-pi-2/log")
        assert (answer.status, answer.json["reason"]) == (503, "ServiceUnavailable")
        async with agent(api, "pi-2"):
            assert [(await log_of(api, name)).split()[0] for name in ("pi-1", "pi-2", "pi-1")] == ["pi-1", "pi-2", "pi-1"]


async def test_a_connection_that_is_taken_is_replaced(api: Secured) -> None:
    """Ten followers of logs at once through an agent that keeps two connections ready; each one's end frees its connection."""
    async with agent(api) as made, trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(lambda: api.ask(admin(), "GET", f"{PODS}/on-pi-1/log?follow=true"))
        await made.until_following(10)
        assert await log_of(api, "pi-1") == "pi-1 /containerLogs/default/on-pi-1/main"
        nursery.cancel_scope.cancel()
    async with agent(api) as made:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(lambda: api.ask(admin(), "GET", f"{PODS}/on-pi-1/log?follow=true"))
                await made.until_following(1)
                scope.cancel()
        await made.until_following(0)


async def test_one_node_cannot_fill_the_server(api: Secured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "TUNNELS_PER_NODE_MAX", 4)
    async with agent(api) as made:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                for _ in range(4):
                    nursery.start_soon(lambda: api.ask(admin(), "GET", f"{PODS}/on-pi-1/log?follow=true"))
                await made.until_following(4)
                response, stream = await HttpConnection(await api.dial(PI_1)(), "x").upgrade("GET", PATH, HEADERS)
                assert (response.status, stream) == (429, None)
                scope.cancel()
        await made.until_following(0)
        assert (await log_of(api, "pi-1")).startswith("pi-1 ")


HEADERS = {"connection": "Upgrade", "upgrade": PROTOCOL}


async def test_who_may_leave_connections(api: Secured) -> None:
    with trio.fail_after(60):
        for path_headers, status in ((HEADERS, 403), ({}, 403)):
            async with api.client(admin()) as client:
                answered, _, _ = await client.fetch("GET", PATH, path_headers, max_bytes=1 << 16)
                assert answered == status
        async with api.client(None) as stranger:
            assert (await stranger.fetch("GET", PATH, HEADERS, max_bytes=1 << 16))[0] == 401
            token = {**HEADERS, "authorization": "Bearer x"}
            assert (await stranger.fetch("GET", PATH, token, max_bytes=1 << 16))[0] == 401
        unknown = await HttpConnection(await api.dial(node("pi-3"))(), "x").upgrade("GET", PATH, HEADERS)
        assert (unknown[0].status, unknown[1]) == (401, None)
    assert (await api.ask(PI_1, "GET", PATH)).status == 400


async def test_a_certificate_of_another_authority_does_not_get_as_far_as_http(api: Secured, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = load_or_create_authority(tmp_path / "other", now=datetime.datetime.now(datetime.UTC))
    dial = api.dial(PI_1, other)
    with trio.fail_after(60), pytest.raises((OSError, Disconnected)):
        await HttpConnection(await dial(), "x").upgrade("GET", PATH, HEADERS)
    assert not api.parked.has("pi-1")


async def test_a_node_that_is_revoked_loses_what_it_has_at_once(api: Secured) -> None:
    async with agent(api):
        async with session(api) as stream:
            await stream.send_all(b"hello")
            assert await stream.receive_some() == b"pi-1:hello"
            await api.nodes.change("pi-1", revoked)
            assert await ended(stream)
        with trio.fail_after(60):
            while api.parked.has("pi-1"):
                await trio.lowlevel.checkpoint()
        with nobody_on_the_way():
            answer = await api.ask(admin(), "GET", f"{PODS}/on-pi-1/log")
        assert answer.status == 503
        refused, stream_again = await HttpConnection(await api.dial(PI_1)(), "x").upgrade("GET", PATH, HEADERS)
        assert (refused.status, stream_again) == (401, None)


async def test_a_pods_token_has_nothing_open_any_more_when_its_node_is_revoked(api: Secured) -> None:
    """The token lies on the stolen board's disk: what it was listening to, and the shells that it had open, end."""
    await api.register(PI_1)
    token = await _token_of_a_pod(api, "on-pi-1")
    headers = {"authorization": f"Bearer {token}"}
    async with agent(api, "pi-2"), api.client(None) as client:
        shell, watch = (
            HttpConnection(await _dial_as_nobody(api), "api"),
            "/api/v1/namespaces/default/secrets?watch=true&fieldSelector=type%3Dx",
        )
        upgrade = {**headers, "connection": "Upgrade", "upgrade": "SPDY/3.1"}
        with trio.fail_after(60):
            response, stream = await shell.upgrade("POST", f"{PODS}/on-pi-2/exec?command=sh", upgrade)
            assert stream is not None, await response.read(1 << 16)
            async with client.request("GET", watch, headers) as watching:
                assert watching.status == 200
                await stream.send_all(b"hello")
                assert await stream.receive_some() == b"pi-2:hello"
                await api.nodes.change("pi-1", revoked)
                assert await ended(stream)
                assert await watching.receive_some() == b"", "the watch has ended"


async def _token_of_a_pod(api: Secured, name: str) -> str:
    """Of the default account, which may do everything here."""
    binding = {
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "pods-may"},
        "roleRef": {"kind": "ClusterRole", "name": "cluster-admin"},
    }
    api.roles.put({**binding, "subjects": [{"kind": "ServiceAccount", "name": "default", "namespace": "default"}]})
    found = await api.verbs.get(POD, "default", name)
    reference = {"apiVersion": "v1", "kind": "Pod", "name": name, "uid": found["metadata"]["uid"]}
    request = {"kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1", "spec": {"boundObjectRef": reference}}
    answer = await api.ask(admin(), "POST", "/api/v1/namespaces/default/serviceaccounts/default/token", request)
    return str(answer.json["status"]["token"])


async def _dial_as_nobody(api: Secured) -> Transport:
    context = client_context(ca_path=api.directory / "ca.crt")
    return await connect("127.0.0.1", api.port, context=context, server_hostname=SERVER_NAME)


def revoked(before: NodeIdentity | None) -> NodeIdentity:
    assert before is not None
    return NodeIdentity(before.node_name, before.public_key, before.method, revoked="2026-01-01T00:00:00Z")


async def ended(stream: ByteStream) -> bool:
    try:
        return await stream.receive_some() == b""
    except Disconnected:
        return True


async def parked_by_hand(api: Secured) -> ByteStream:
    """A node that holds the other end itself."""
    response, stream = await HttpConnection(await api.dial(PI_1)(), "x").upgrade("GET", PATH, HEADERS)
    assert stream is not None, response.status
    with trio.fail_after(60):
        while not api.parked.has("pi-1"):
            await trio.lowlevel.checkpoint()
    return stream


async def test_a_connection_that_has_died_is_passed_over(api: Secured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "TUNNEL_ALIVE_SECONDS", 1.0)
    async with agent(api):
        assert (await log_of(api, "pi-1")).startswith("pi-1 ")
        dead = await parked_by_hand(api)  # the newest: tried first
        assert (await log_of(api, "pi-1")).startswith("pi-1 ")
        assert b"GET /healthz" in await dead.receive_some()
        await dead.aclose()


async def test_a_node_that_speaks_unasked_is_cut(api: Secured) -> None:
    stream = await parked_by_hand(api)
    await stream.send_all(b"HTTP/1.1 200 OK\r\n\r\n")
    with trio.fail_after(60):
        assert await ended(stream)
        while api.parked.has("pi-1"):
            await trio.lowlevel.checkpoint()


async def test_what_a_node_may_leave_idle_is_bounded(api: Secured) -> None:
    with trio.fail_after(60):
        streams = [await parked_by_hand(api) for _ in range(limits.TUNNELS_PARKED_PER_NODE_MAX)]
        response, stream = await HttpConnection(await api.dial(PI_1)(), "x").upgrade("GET", PATH, HEADERS)
        assert (response.status, stream) == (429, None)
        for stream in streams:
            await stream.aclose()


async def test_the_address_is_used_where_there_is_no_tunnel(api: Secured, tmp_path: Path) -> None:
    """An agent that the server can dial, known by its name; an agent with another node's name is not spoken to."""
    pair = api.pair(PI_1)
    server = Server(Agent("pi-1"), tls=ServerTls(pair.certificate, pair.key, tmp_path / "ca.crt"))
    async with trio.open_nursery() as nursery:
        port = (await nursery.start(server.serve, open_listeners(0, "127.0.0.1")))[0]
        status = {
            "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
        }
        for name in ("pi-1", "pi-2"):
            await api.verbs.patch(NODE, "", name, {"status": status}, subresource="status")
        assert (await log_of(api, "pi-1")).startswith("pi-1 ")
        with nobody_on_the_way():
            answer = await api.ask(admin(), "GET", f"{PODS}/on-pi-2/log")
        assert (answer.status, "pi-2" in answer.json["message"]) == (503, True)
        nursery.cancel_scope.cancel()


async def test_a_server_that_was_away_is_found_again(api: Secured) -> None:
    """The agent dials on until somebody answers, wherever that is then."""
    reachable, tried = False, trio.Event()
    dial = api.dial(PI_1)

    async def dial_when_reachable() -> Transport:
        if not reachable:
            tried.set()
            raise OSError("no route to host")
        return await dial()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(keep_tunnels, dial_when_reachable, Agent("pi-1"))
        with trio.fail_after(60):
            await tried.wait()
            reachable = True
            while not api.parked.has("pi-1"):
                await trio.lowlevel.checkpoint()
        assert (await log_of(api, "pi-1")).startswith("pi-1 ")
        nursery.cancel_scope.cancel()


async def test_an_agent_serves_nobody_but_its_clusters_server(api: Secured, tmp_path: Path) -> None:
    """A member of the cluster with a certificate of its own stands where the server was: the agent says nothing to it."""
    heard: list[str] = []

    async def impostor(request: Request, responder: Responder) -> None:
        heard.append(request.path)
        await responder.send(200, {}, b"")

    pair = api.pair(node_subject("pi-2", ["127.0.0.1"]))
    server = Server(impostor, tls=ServerTls(pair.certificate, pair.key, tmp_path / "ca.crt"))
    own = api.pair(PI_1)
    attempts = 0
    enough = trio.Event()

    async with trio.open_nursery() as nursery:
        port = (await nursery.start(server.serve, open_listeners(0, "127.0.0.1")))[0]

        async def dial() -> Transport:
            nonlocal attempts
            attempts += 1
            if attempts > limits.TUNNELS_IDLE_MAX:
                enough.set()
            context = client_context(ca_path=tmp_path / "ca.crt", cert_path=own.certificate, key_path=own.key)
            return await connect("127.0.0.1", port, context=context, server_hostname=SERVER_NAME)

        nursery.start_soon(keep_tunnels, dial, Agent("pi-1"))
        with trio.fail_after(60):
            await enough.wait()
        nursery.cancel_scope.cancel()
    assert heard == []


async def test_an_unknown_node_is_not_found(api: Secured) -> None:
    with pytest.raises(StatusError, match='nodes "pi-9" not found'):
        await NodeAgents(api.registry, lambda: client_context(ca_data=b"x")).open("pi-9")
