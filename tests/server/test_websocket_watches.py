"""Watches over WebSockets, as Java's fabric8 and browsers ask for them."""

from __future__ import annotations

import base64

import orjson
import pytest
from wsproto import events

from edgekube.api.protobuf import PROTOBUF_TYPE
from tests.registry.cluster import config_map
from tests.server.listening import Listener, listening
from tests.server.running import Api

CONFIGMAPS = "/api/v1/namespaces/default/configmaps"


def bearer(token: str) -> str:
    return "base64url.bearer.authorization.k8s.io." + base64.urlsafe_b64encode(token.encode()).decode().rstrip("=")


async def heard(listener: Listener) -> tuple[str, str]:
    event = orjson.loads(await listener.message())
    return event["type"], event["object"]["metadata"].get("name", "")


async def test_each_event_is_a_message(api: Api) -> None:
    await api.ask("POST", CONFIGMAPS, config_map("a"))
    async with listening(api.port, f"{CONFIGMAPS}?watch=true") as listener:
        assert listener.response.headers["sec-websocket-accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        assert "sec-websocket-protocol" not in listener.response.headers
        assert await heard(listener) == ("ADDED", "a")
        await api.ask("POST", CONFIGMAPS, config_map("b"))
        await api.ask("DELETE", f"{CONFIGMAPS}/b")
        assert [await heard(listener), await heard(listener)] == [("ADDED", "b"), ("DELETED", "b")]
        await listener.say(events.Ping(b"there?"))
        assert await listener.hear() == events.Pong(b"there?")
        await listener.say(events.CloseConnection(1000))
        assert await listener.ended()


async def test_it_ends_when_its_time_is_up(api: Api) -> None:
    async with listening(api.port, f"{CONFIGMAPS}?watch=true&timeoutSeconds=1") as listener:
        assert await listener.hear() == events.CloseConnection(1000, "")


async def test_an_expired_revision_is_an_event(api: Api) -> None:
    async with listening(api.port, f"{CONFIGMAPS}?watch=true&resourceVersion=99999999") as listener:
        event = orjson.loads(await listener.message())
        assert (event["type"], event["object"]["code"], event["object"]["reason"]) == ("ERROR", 410, "Expired")
        assert await listener.hear() == events.CloseConnection(1000, "")


async def test_protobuf_comes_in_binary_messages(api: Api) -> None:
    await api.ask("POST", CONFIGMAPS, config_map("a"))
    async with listening(api.port, f"{CONFIGMAPS}?watch=true", accept=PROTOBUF_TYPE) as listener:
        message = await listener.message()
        assert isinstance(message, bytes) and b"ADDED" in message


async def test_a_browsers_token_is_among_its_protocols(api: Api) -> None:
    offered = f"{bearer('admin')}, binary.k8s.io, other"
    async with listening(api.port, f"{CONFIGMAPS}?watch=true", authorization="", sec_websocket_protocol=offered) as listener:
        assert listener.response.headers["sec-websocket-protocol"] == "binary.k8s.io"


@pytest.mark.parametrize(
    "offered",
    [
        bearer("admin"),  # nothing is left to answer with
        f"{bearer('nobody-knows-it')}, binary.k8s.io",
        f"{bearer('admin')}, {bearer('admin')}, binary.k8s.io",
        f"{bearer('admin')}=, binary.k8s.io",
        "base64url.bearer.authorization.k8s.io.!, binary.k8s.io",
        "base64url.bearer.authorization.k8s.io._w, binary.k8s.io",  # no UTF-8
        "binary.k8s.io",
    ],
)
async def test_what_is_no_token_opens_nothing(api: Api, offered: str) -> None:
    answered = await api.ask(
        "GET", f"{CONFIGMAPS}?watch=true", user="", upgrade="websocket", connection="Upgrade", sec_websocket_protocol=offered
    )
    assert (answered.status, answered.json["reason"]) == (401, "Unauthorized")


async def test_a_token_among_protocols_is_for_websockets_alone(api: Api) -> None:
    answered = await api.ask("GET", CONFIGMAPS, user="", sec_websocket_protocol=f"{bearer('admin')}, binary.k8s.io")
    assert answered.status == 401


async def test_what_is_no_websocket_request_is_refused(api: Api) -> None:
    answered = await api.ask("GET", f"{CONFIGMAPS}?watch=true", upgrade="websocket", connection="Upgrade")
    assert (answered.status, answered.json["reason"]) == (400, "BadRequest")
