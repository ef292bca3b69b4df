"""RemoteVerbs on the wire: what it asks, how it reads answers, when it asks again."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from urllib.parse import parse_qs

import orjson
import pytest
import trio
from trio.testing import MockClock

from edgekube.api.errors import StatusError, expired, not_found, too_many_requests
from edgekube.api.kinds import CONFIGMAP, DEPLOYMENT, NODE, POD
from edgekube.api.objects import Object
from edgekube.api.verbs import JSON_PATCH, DeleteOptions, ListOptions, WatchEvent
from edgekube.client.remote import RemoteVerbs
from edgekube.client.target import Target, fixed_target
from edgekube.wire.protocol import Request, Responder
from edgekube.wire.server import open_listeners
from tests.wire.serving import Identity, serving

Answer = Callable[[Request, Responder], Awaitable[None]]


@asynccontextmanager
async def remote(
    identity: Identity, answer: Answer, *, page_items: int = 500, timeout_seconds: float = 30
) -> AsyncIterator[RemoteVerbs]:
    async with serving(answer, identity) as at:
        target = fixed_target("127.0.0.1", at.port, identity.client(), "server", "secret-token")
        async with RemoteVerbs(target, page_items=page_items, timeout_seconds=timeout_seconds) as verbs:
            yield verbs


async def refuse(responder: Responder, error: StatusError) -> None:
    headers = {"content-type": "application/json"}
    if error.retry_after_seconds:
        headers["retry-after"] = str(error.retry_after_seconds)
    await responder.send(error.code, headers, orjson.dumps(error.status()))


def config_map(name: str) -> Object:
    return {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": name, "namespace": "default", "resourceVersion": "7"}}


async def test_each_verb_is_the_request_that_kubernetes_documents(identity: Identity) -> None:
    asked: list[tuple[str, str, str, object]] = []

    async def answer(request: Request, responder: Responder) -> None:
        body = await request.body.read(100_000)
        target = request.path + (f"?{request.query}" if request.query else "")
        asked.append((request.method, target, request.headers.get("content-type", ""), orjson.loads(body) if body else None))
        assert request.headers["authorization"] == "Bearer secret-token"
        assert request.headers["accept"] == "application/json" and request.headers["user-agent"].startswith("edgekube/")
        assert request.peer_certificate is not None
        await responder.send(200, {"content-type": "application/json"}, orjson.dumps(config_map("a")))

    given = {"metadata": {"name": "a", "namespace": "default"}}
    async with remote(identity, answer) as verbs:
        assert await verbs.get(CONFIGMAP, "default", "a") == config_map("a")
        await verbs.create(CONFIGMAP, "default", given)
        await verbs.create(POD, "default", {"target": {"name": "n"}}, subresource="binding", name="p")
        await verbs.update(DEPLOYMENT, given, subresource="status")
        await verbs.update(NODE, {"metadata": {"name": "n"}})
        await verbs.patch(CONFIGMAP, "default", "a", {"data": None})
        await verbs.patch(CONFIGMAP, "default", "a", [{"op": "remove", "path": "/data"}], patch_type=JSON_PATCH)
        await verbs.delete(POD, "default", "p", DeleteOptions(grace_period_seconds=0, precondition_uid="u"))
        await verbs.delete_collection(POD, "default", ListOptions(label_selector="a in (b,c)"))
        await verbs.get(CONFIGMAP, "default", "system:a/b c")
        counted = [line for family in verbs.figures.families for line in family.lines()]
    assert 'rest_client_requests_total{code="200",method="PATCH",host="server"} 2' in counted
    assert 'rest_client_request_duration_seconds_count{verb="GET",host="server"} 2' in counted
    default = "/api/v1/namespaces/default"
    options = {"kind": "DeleteOptions", "apiVersion": "v1"}
    json = "application/json"
    assert asked == [
        ("GET", f"{default}/configmaps/a", "", None),
        ("POST", f"{default}/configmaps", json, given),
        ("POST", f"{default}/pods/p/binding", json, {"target": {"name": "n"}}),
        ("PUT", "/apis/apps/v1/namespaces/default/deployments/a/status", json, given),
        ("PUT", "/api/v1/nodes/n", json, {"metadata": {"name": "n"}}),
        ("PATCH", f"{default}/configmaps/a", "application/merge-patch+json", {"data": None}),
        ("PATCH", f"{default}/configmaps/a", "application/json-patch+json", [{"op": "remove", "path": "/data"}]),
        ("DELETE", f"{default}/pods/p", json, options | {"gracePeriodSeconds": 0, "preconditions": {"uid": "u"}}),
        ("DELETE", f"{default}/pods?labelSelector=a+in+%28b%2Cc%29", json, options),
        ("GET", f"{default}/configmaps/system:a%2Fb%20c", "", None),
    ]


async def test_a_status_comes_out_as_it_went_in(identity: Identity) -> None:
    async def answer(request: Request, responder: Responder) -> None:
        await refuse(responder, not_found("apps", "deployments", "web"))

    async with remote(identity, answer) as verbs:
        with pytest.raises(StatusError) as error:
            await verbs.get(DEPLOYMENT, "default", "web")
    assert (error.value.code, error.value.reason, error.value.group, error.value.name) == (404, "NotFound", "apps", "web")
    assert error.value.message == 'deployments.apps "web" not found'


async def test_an_answer_that_is_no_status_keeps_its_code(identity: Identity) -> None:
    async def answer(request: Request, responder: Responder) -> None:
        await responder.send(403, {"content-type": "text/html"}, b"<h1>Proxy says no</h1>")

    async with remote(identity, answer) as verbs:
        with pytest.raises(StatusError, match="Proxy says no") as error:
            await verbs.get(NODE, "", "a")
    assert (error.value.code, error.value.reason) == (403, "Forbidden")


async def test_lists_are_fetched_in_pages_and_items_stay_bytes(identity: Identity) -> None:
    names = [f"n{n}" for n in range(5)]
    limits_seen: list[str] = []

    async def answer(request: Request, responder: Responder) -> None:
        query = parse_qs(request.query)
        begin = int(query.get("continue", ["0"])[0])
        limit = int(query.get("limit", ["100"])[0])
        limits_seen.append(query.get("limit", [""])[0])
        items = b",".join(b'{"metadata": {"name":"%s"} }' % name.encode() for name in names[begin : begin + limit])
        more = b',"continue":"%d","remainingItemCount":%d' % (begin + limit, len(names) - begin - limit)
        tail = more if begin + limit < len(names) else b""
        body = b'{"kind":"NodeList","metadata":{"resourceVersion":"42"%b},"items":[%b]}' % (tail, items)
        await responder.send(200, {"content-type": "application/json"}, body)

    async with remote(identity, answer, page_items=2) as verbs:
        everything = await verbs.list(NODE)
        head = b'{"kind":"Node","apiVersion":"v1",'  # which items of a list do not say
        assert everything.items == [head + b'"metadata": {"name":"%s"} }' % name.encode() for name in names]
        assert (everything.revision, everything.continue_token) == ("42", "")
        assert limits_seen == ["2", "2", "2"]
        page = await verbs.list(NODE, options=ListOptions(limit=3))
        assert (len(page.items), page.continue_token, page.remaining) == (3, "3", 2)
        rest = await verbs.list(NODE, options=ListOptions(limit=3, continue_token="3"))
        assert [item["metadata"]["name"] for item in rest.objects()] == ["n3", "n4"]


async def test_a_list_that_expires_between_pages_is_fetched_whole(identity: Identity) -> None:
    async def answer(request: Request, responder: Responder) -> None:
        query = parse_qs(request.query)
        if "continue" in query:
            await refuse(responder, expired("too old"))
        elif "limit" in query:
            await responder.send(200, {}, b'{"metadata":{"resourceVersion":"1","continue":"x"},"items":[{}]}')
        else:
            await responder.send(200, {}, b'{"metadata":{"resourceVersion":"9"},"items":[{},{}]}')

    async with remote(identity, answer) as verbs:
        result = await verbs.list(NODE)
        assert (len(result.items), result.revision) == (2, "9")


async def test_a_null_list_is_empty(identity: Identity) -> None:
    async def answer(request: Request, responder: Responder) -> None:
        await responder.send(200, {}, b'{"metadata":{"resourceVersion":"1"},"items":null}')

    async with remote(identity, answer) as verbs:
        assert (await verbs.list(NODE)).items == []


@pytest.mark.parametrize("size", [1, 3, 17, 1000])
async def test_events_come_whole_however_the_network_cuts_them(identity: Identity, size: int) -> None:
    said = (
        b'{"type":"ADDED","object":{"metadata": {"name":"a\\n"}}}\n'
        b'{"type":"MODIFIED","object":{"a":[1, 2]}}\n\n{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"9"}}}\n'
        b'{"type":"DELETED","object":{}}\n{"type":"ADDED","object":{"cut'
    )
    queries: list[dict[str, list[str]]] = []

    async def answer(request: Request, responder: Responder) -> None:
        queries.append(parse_qs(request.query))
        await responder.start(200, {"content-type": "application/json"})
        for begin in range(0, len(said), size):
            await responder.write(said[begin : begin + size])

    async with remote(identity, answer) as verbs:
        options = ListOptions(revision="7", label_selector="a=b", field_selector="spec.nodeName=n")
        async with verbs.watch(POD, "default", options) as events:
            heard = [event async for event in events]
    assert heard == [
        WatchEvent("ADDED", b'{"metadata": {"name":"a\\n"}}'),
        WatchEvent("MODIFIED", b'{"a":[1, 2]}'),
        WatchEvent("BOOKMARK", b'{"metadata":{"resourceVersion":"9"}}'),
        WatchEvent("DELETED", b"{}"),
    ]
    assert queries == [
        {
            "watch": ["true"],
            "allowWatchBookmarks": ["true"],
            "resourceVersion": ["7"],
            "labelSelector": ["a=b"],
            "fieldSelector": ["spec.nodeName=n"],
        }
    ]


async def test_an_error_event_is_raised(identity: Identity) -> None:
    async def answer(request: Request, responder: Responder) -> None:
        await responder.start(200, {})
        await responder.write(b'{"type":"ERROR","object":%b}\n' % orjson.dumps(expired("too old resource version").status()))

    async with remote(identity, answer) as verbs, verbs.watch(POD) as events:
        with pytest.raises(StatusError) as error:
            await anext(events)
    assert (error.value.reason, error.value.code) == ("Expired", 410)


async def test_leaving_a_watch_ends_it_at_the_server(identity: Identity) -> None:
    ended = trio.Event()

    async def answer(request: Request, responder: Responder) -> None:
        try:
            await responder.start(200, {})
            await responder.write(b'{"type":"ADDED","object":{}}\n')
            await trio.sleep_forever()
        finally:
            ended.set()

    async with remote(identity, answer) as verbs:
        async with verbs.watch(POD) as events:
            assert (await anext(events)).type == "ADDED"
        with trio.fail_after(60):
            await ended.wait()


async def test_429_with_retry_after_is_asked_again_and_without_is_not(identity: Identity, autojump_clock: MockClock) -> None:
    autojump_clock.autojump_threshold = 0.05
    times: list[float] = []

    async def answer(request: Request, responder: Responder) -> None:
        times.append(trio.current_time())
        if request.path.endswith("/never"):
            await refuse(responder, too_many_requests("budget", 0))
        elif len(times) < 3:
            await refuse(responder, too_many_requests("busy", 2))
        else:
            await responder.send(200, {}, orjson.dumps(config_map("a")))

    async with remote(identity, answer) as verbs:
        assert await verbs.create(CONFIGMAP, "default", config_map("a")) == config_map("a")
        assert [round(time - times[0]) for time in times] == [0, 2, 4]
        with pytest.raises(StatusError, match="budget"):
            await verbs.get(CONFIGMAP, "default", "never")
        assert len(times) == 4


async def test_a_server_that_is_away_for_a_moment_is_waited_for(identity: Identity, autojump_clock: MockClock) -> None:
    autojump_clock.autojump_threshold = 0.05

    async def answer(request: Request, responder: Responder) -> None:
        await responder.send(201, {}, orjson.dumps(config_map("a")))

    (listener,) = open_listeners(0, "127.0.0.1")
    gone = listener.getsockname()[1]
    listener.close()
    async with serving(answer, identity) as at:
        ports = [gone, gone, at.port]
        target = Target(lambda: ("127.0.0.1", ports.pop(0)), identity.client, "server")
        async with RemoteVerbs(target) as verbs:
            assert await verbs.create(CONFIGMAP, "default", config_map("a")) == config_map("a"), "nothing had been sent"
        target = Target(lambda: ("127.0.0.1", gone), identity.client, "server")
        async with RemoteVerbs(target) as verbs:
            with pytest.raises(StatusError, match="server: ") as error:
                await verbs.get(CONFIGMAP, "default", "a")
            assert error.value.reason == "ServiceUnavailable"


async def test_a_server_of_another_name_is_not_spoken_to(identity: Identity) -> None:
    asked = 0

    async def answer(request: Request, responder: Responder) -> None:
        nonlocal asked
        asked += 1
        await responder.send(200, {}, b"{}")

    async with serving(answer, identity) as at:
        target = fixed_target("127.0.0.1", at.port, identity.client(), "another")
        async with RemoteVerbs(target) as verbs:
            with pytest.raises(StatusError, match="certificate") as error:
                await verbs.get(NODE, "", "a")
    assert error.value.reason == "ServiceUnavailable" and asked == 0


async def test_a_server_that_does_not_answer_times_out(identity: Identity, autojump_clock: MockClock) -> None:
    autojump_clock.autojump_threshold = 0.05

    async def answer(request: Request, responder: Responder) -> None:
        await trio.sleep_forever()

    async with remote(identity, answer, timeout_seconds=12) as verbs:
        with pytest.raises(StatusError, match="within 12 s") as error:
            await verbs.get(NODE, "", "a")
        assert error.value.reason == "Timeout"
        assert trio.current_time() == pytest.approx(12, abs=1)
