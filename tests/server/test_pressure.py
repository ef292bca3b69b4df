"""Odd input and many clients: the server answers, loses nothing and stays up."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
import trio

from edgekube import limits
from tests.registry.cluster import config_map, pod
from tests.server.running import Api

CONFIGMAPS = "/api/v1/namespaces/default/configmaps"
PODS = "/api/v1/namespaces/default/pods"


async def test_one_of_many_writers_wins_each_revision(api: Api) -> None:
    current = (await api.ask("POST", CONFIGMAPS, config_map("a"))).json
    for round_ in range(3):
        answers: list[Any] = []

        async def write(number: int, held: Any, round_: int, answers: list[Any]) -> None:
            answers.append(await api.ask("PUT", f"{CONFIGMAPS}/a", {**held, "data": {"by": f"{round_}-{number}"}}))

        async with trio.open_nursery() as nursery:
            for number in range(32):
                nursery.start_soon(write, number, current, round_, answers)
        won = [answered for answered in answers if answered.status == 200]
        assert len(won) == 1
        assert {answered.json["reason"] for answered in answers if answered.status != 200} == {"Conflict"}
        current = (await api.ask("GET", f"{CONFIGMAPS}/a")).json
        assert current == won[0].json


async def test_patches_at_once_are_all_kept(api: Api) -> None:
    await api.ask("POST", CONFIGMAPS, config_map("a", {"first": "1"}))
    merge = {"content_type": "application/merge-patch+json"}
    statuses: list[int] = []

    async def patch(number: int) -> None:
        statuses.append((await api.ask("PATCH", f"{CONFIGMAPS}/a", {"data": {f"k{number}": "v"}}, **merge)).status)

    async with trio.open_nursery() as nursery:
        for number in range(32):
            nursery.start_soon(patch, number)
    kept = (await api.ask("GET", f"{CONFIGMAPS}/a")).json["data"]
    assert len(kept) == 1 + statuses.count(200)
    assert set(statuses) <= {200, 409}
    assert statuses.count(200) >= 5


async def test_one_of_many_creators_wins(api: Api) -> None:
    statuses: list[int] = []

    async def create(number: int) -> None:
        statuses.append((await api.ask("POST", CONFIGMAPS, config_map("a", {"by": str(number)}))).status)

    async with trio.open_nursery() as nursery:
        for number in range(32):
            nursery.start_soon(create, number)
    assert sorted(statuses) == [201] + [409] * 31


async def test_hundreds_of_watchers_see_each_change(api: Api) -> None:
    revision = (await api.ask("GET", CONFIGMAPS)).json["metadata"]["resourceVersion"]
    seen: list[str] = []
    opened = trio.Event()
    waiting = 500

    async def watch() -> None:
        nonlocal waiting
        async with api.watch(f"{CONFIGMAPS}?watch=1&resourceVersion={revision}") as lines:
            waiting -= 1
            if not waiting:
                opened.set()
            seen.append((await lines.next())["object"]["metadata"]["name"])

    async with trio.open_nursery() as nursery:
        for _ in range(500):
            nursery.start_soon(watch)
        with trio.fail_after(60):
            await opened.wait()
        await api.ask("POST", CONFIGMAPS, config_map("a"))
    assert seen == ["a"] * 500


async def test_a_watcher_that_does_not_read_holds_nobody_up(api: Api) -> None:
    await api.ask("POST", CONFIGMAPS, config_map("a"))
    merge = {"content_type": "application/merge-patch+json"}
    async with api.watch(f"{CONFIGMAPS}?watch=1") as lines:
        assert (await lines.next())["type"] == "ADDED"
        for number in range(40):
            body = {"data": {"key": f"{number}" + "x" * 500_000}}
            assert (await api.ask("PATCH", f"{CONFIGMAPS}/a", body, **merge)).status == 200
        await api.ask("DELETE", f"{CONFIGMAPS}/a")
        events = []
        while (event := await lines.next()) is not None:
            events.append(event["type"])
            if event["type"] == "DELETED":
                break
    assert set(events[:-1]) <= {"MODIFIED"}, "in order, and then either all of it or the end"


@pytest.mark.parametrize("size", [limits.REQUEST_BODY_BYTES_MAX + 1, 8 << 20])
async def test_a_body_that_is_too_large(api: Api, size: int) -> None:
    answered = await api.ask("POST", CONFIGMAPS, b'{"x":"' + b"a" * size + b'"}')
    assert (answered.status, answered.json["reason"]) == (413, "RequestEntityTooLarge")
    assert answered.json["message"] == "Request entity too large: limit is 3145728"
    assert (await api.ask("GET", "/livez")).status == 200


@pytest.mark.parametrize("body", [b'{"a":' * 5000 + b"1" + b"}" * 5000, b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"])
async def test_a_body_that_is_too_deep(api: Api, body: bytes) -> None:
    for path, method, content_type in (
        (CONFIGMAPS, "POST", "application/json"),
        (CONFIGMAPS, "POST", "application/yaml"),
        (f"{CONFIGMAPS}/a", "PATCH", "application/merge-patch+json"),
    ):
        await api.ask("POST", CONFIGMAPS, config_map("a"))
        answered = await api.ask(method, path, body, content_type=content_type)
        assert (answered.status, answered.json["reason"]) == (400, "BadRequest"), (method, content_type)


async def test_large_yaml_holds_nobody_up(api: Api) -> None:
    data = "".join(f"  key-{number}: 'some text {number}'\n" for number in range(30_000))
    text = f"metadata: {{name: a}}\ndata:\n{data}".encode()
    answered: list[str] = []

    async def create() -> None:
        made = await api.ask("POST", f"{CONFIGMAPS}?dryRun=All", text, content_type="application/yaml")
        assert made.status in (201, 422), made.text[:200]
        answered.append("yaml")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(create)
        for _ in range(5):
            assert (await api.ask("GET", "/livez")).status == 200
        answered.append("health")
    assert answered == ["health", "yaml"]


async def test_many_headers(api: Api) -> None:
    few: dict[str, Any] = {f"x_{number}": "v" for number in range(50)}
    assert (await api.ask("GET", CONFIGMAPS, **few)).status == 200
    many: dict[str, Any] = {f"x_{number}": "v" for number in range(500)}
    assert (await api.ask("GET", CONFIGMAPS, **many)).status == 431
    assert (await api.ask("GET", CONFIGMAPS, x_long="v" * 100_000)).status == 431
    assert (await api.ask("GET", CONFIGMAPS)).status == 200


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("limit=9223372036854775807", 200),
        ("limit=9223372036854775808", 400),
        ("limit=-1", 200),
        ("limit=0", 200),
        ("continue=nonsense", 400),
        ("limit=1_0", 400),
        ("resourceVersion=99999999999999999999999", 400),
        ("resourceVersion=-1", 400),
        ("timeoutSeconds=x", 400),
        ("labelSelector=" + "a%3Db%2C" * 1000 + "c%3Dd", 200),
        ("labelSelector=%00", 400),
        ("fieldSelector=metadata.name%3D%2E%2E%2F", 200),
        ("watch=1&timeoutSeconds=99999999999999999999", 400),
        ("watch=1&timeoutSeconds=x", 400),
        ("watch=1&resourceVersion=abc", 500),
        ("watch=1&labelSelector=%21%21", 400),
    ],
)
async def test_odd_queries(api: Api, query: str, status: int) -> None:
    await api.ask("POST", CONFIGMAPS, config_map("a"))
    answered = await api.ask("GET", f"{CONFIGMAPS}?{query}")
    assert answered.status == status, answered.text
    assert status == 200 or answered.json["kind"] == "Status"


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/namespaces/default/configmaps/%2e%2e",
        "/api/v1/namespaces/default/configmaps/a%00b",
        "/api/v1/namespaces/%2F/configmaps",
        "/api/v1//configmaps",
        "/api/v1/namespaces/default/configmaps/%ff%fe",
        "/api//v1/pods",
        "/apis//v1/pods",
        "/api/v1/namespaces//pods",
    ],
)
async def test_odd_paths(api: Api, path: str) -> None:
    answered = await api.ask("GET", path)
    assert answered.status in (200, 301, 400, 404), answered.text
    assert (await api.ask("POST", path, config_map("a"))).status in (201, 301, 400, 404, 405, 422)


@pytest.mark.parametrize(
    "body",
    [
        {"metadata": None},
        {"metadata": []},
        {"metadata": {"name": "p", "labels": None, "annotations": None}, "spec": None},
        {"metadata": {"name": "p"}, "spec": []},
        {"metadata": {"name": "p"}, "spec": {"containers": None}},
        {"metadata": {"name": "p"}, "spec": {"containers": [None]}},
        {"metadata": {"name": "p"}, "spec": {"containers": [{}]}},
        {"metadata": {"name": "p"}, "spec": {"containers": {"name": "x"}}},
        {"metadata": {"name": "p", "ownerReferences": [None]}, "spec": {"containers": [{"name": "a", "image": "b"}]}},
        {"metadata": {"name": "p", "finalizers": [None]}, "spec": {"containers": [{"name": "a", "image": "b"}]}},
        {"metadata": {"name": "p", "creationTimestamp": "yesterday"}},
        {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "a", "image": "b", "resources": {"limits": {"cpu": "x"}}}]}},
        [],
        5,
        None,
        "text",
    ],
)
async def test_odd_bodies_are_refused_and_never_a_fault(api: Api, body: Any) -> None:
    for method, path in (("POST", PODS), ("PUT", f"{PODS}/old")):
        await api.ask("POST", PODS, pod("old"))
        answered = await api.ask(method, path, orjson.dumps(body))
        assert answered.status in (400, 422), (method, answered.text)
    for content_type in ("merge-patch+json", "json-patch+json", "strategic-merge-patch+json"):
        answered = await api.ask("PATCH", f"{PODS}/old", orjson.dumps(body), content_type=f"application/{content_type}")
        # Upstream has 500 for strategic patches that it did not foresee; a fault of ours would say so.
        assert answered.status in (200, 400, 422) or "Internal error" not in answered.text, (content_type, answered.text)
    assert (await api.ask("GET", f"{PODS}/old")).json["metadata"]["name"] == "old"
