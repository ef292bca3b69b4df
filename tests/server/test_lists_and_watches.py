"""Lists and watches over HTTP: pages, revisions, bookmarks, selectors, Tables."""

from __future__ import annotations

import pytest

from tests.registry.cluster import config_map, pod
from tests.server.running import Api

CONFIGMAPS = "/api/v1/namespaces/default/configmaps"
PODS = "/api/v1/namespaces/default/pods"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
PARTIAL = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"


async def some(api: Api, *names: str) -> None:
    for name in names:
        assert (await api.ask("POST", CONFIGMAPS, config_map(name, labels={"name": name}))).status == 201


async def test_pages(api: Api) -> None:
    await some(api, "a", "b", "c")
    first = (await api.ask("GET", f"{CONFIGMAPS}?limit=2")).json
    assert [item["metadata"]["name"] for item in first["items"]] == ["a", "b"]
    assert first["metadata"]["remainingItemCount"] == 1
    await some(api, "b2")
    second = (await api.ask("GET", f"{CONFIGMAPS}?limit=2&continue={first['metadata']['continue']}")).json
    assert [item["metadata"]["name"] for item in second["items"]] == ["c"]
    assert second["metadata"] == {"resourceVersion": first["metadata"]["resourceVersion"]}


async def test_a_token_of_somebody_else(api: Api) -> None:
    answered = await api.ask("GET", f"{CONFIGMAPS}?limit=2&continue=abc")
    assert (answered.status, answered.json["reason"]) == (400, "BadRequest")


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("resourceVersion=0", 200),
        ("resourceVersion=1", 200),
        ("resourceVersion=abc", 400),
        ("resourceVersion=999999999", 504),
        ("resourceVersionMatch=Exact", 422),
        ("resourceVersion=0&resourceVersionMatch=Exact", 422),
        ("resourceVersion=1&resourceVersionMatch=Sometimes", 422),
        ("sendInitialEvents=true", 422),
        ("labelSelector=a%20in%20(", 400),
        ("fieldSelector=spec.nodeName%3Dx", 400),
        ("limit=many", 400),
    ],
)
async def test_queries(api: Api, query: str, status: int) -> None:
    assert (await api.ask("GET", f"{CONFIGMAPS}?{query}")).status == status


async def test_a_list_at_an_exact_revision(api: Api) -> None:
    await some(api, "a")
    revision = (await api.ask("GET", CONFIGMAPS)).json["metadata"]["resourceVersion"]
    await some(api, "b")
    past = (await api.ask("GET", f"{CONFIGMAPS}?resourceVersion={revision}&resourceVersionMatch=Exact")).json
    assert [item["metadata"]["name"] for item in past["items"]] == ["a"]


async def test_a_table(api: Api) -> None:
    await some(api, "a")
    table = (await api.ask("GET", CONFIGMAPS, accept=TABLE)).json
    assert (table["kind"], table["apiVersion"]) == ("Table", "meta.k8s.io/v1")
    assert [column["name"] for column in table["columnDefinitions"]] == ["Name", "Data", "Age"]
    row = table["rows"][0]
    assert row["cells"][:2] == ["a", 1]
    assert (row["object"]["kind"], row["object"]["metadata"]["name"]) == ("PartialObjectMetadata", "a")
    one = (await api.ask("GET", f"{CONFIGMAPS}/a?includeObject=Object", accept=TABLE)).json
    assert one["rows"][0]["object"]["kind"] == "ConfigMap"
    none = (await api.ask("GET", f"{CONFIGMAPS}/a?includeObject=None", accept=TABLE)).json
    assert none["rows"][0]["object"] is None


async def test_only_metadata(api: Api) -> None:
    await some(api, "a")
    listed = (await api.ask("GET", CONFIGMAPS, accept=PARTIAL)).json
    assert listed["kind"] == "PartialObjectMetadataList"
    assert set(listed["items"][0]) == {"kind", "apiVersion", "metadata"}


async def test_json_goes_before_protobuf(api: Api) -> None:
    answered = await api.ask("GET", CONFIGMAPS, accept="application/vnd.kubernetes.protobuf,application/json")
    assert answered.status == 200


async def test_a_watch_from_now_on(api: Api) -> None:
    await some(api, "a")
    revision = (await api.ask("GET", CONFIGMAPS)).json["metadata"]["resourceVersion"]
    async with api.watch(f"{CONFIGMAPS}?watch=true&resourceVersion={revision}") as lines:
        await some(api, "b")
        event = await lines.next()
        assert (event["type"], event["object"]["metadata"]["name"]) == ("ADDED", "b")
        await api.ask("DELETE", f"{CONFIGMAPS}/b")
        event = await lines.next()
        assert (event["type"], event["object"]["metadata"]["name"]) == ("DELETED", "b")


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/watch/configmaps",
        "/api/v1/watch/namespaces/default/configmaps",
        "/api/v1/watch/namespaces/default/configmaps/a",
        "/api/v1/namespaces/default/configmaps/a?watch=true",
    ],
)
async def test_the_old_paths_of_a_watch(api: Api, path: str) -> None:
    await some(api, "a")
    async with api.watch(f"{path}{'&' if '?' in path else '?'}fieldSelector=metadata.name%3Da") as lines:
        event = await lines.next()
        assert (event["type"], event["object"]["metadata"]["name"]) == ("ADDED", "a")


async def test_a_list_by_watching(api: Api) -> None:
    await some(api, "a", "b")
    query = "watch=1&sendInitialEvents=true&allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan"
    async with api.watch(f"{CONFIGMAPS}?{query}") as lines:
        seen = [await lines.next() for _ in range(3)]
        assert [event["type"] for event in seen] == ["ADDED", "ADDED", "BOOKMARK"]
        end = seen[2]["object"]
        assert end["kind"] == "ConfigMap"
        assert end["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
        assert int(end["metadata"]["resourceVersion"]) >= int(seen[1]["object"]["metadata"]["resourceVersion"])
        await some(api, "c")
        assert (await lines.next())["object"]["metadata"]["name"] == "c"


async def test_initial_events_need_their_match(api: Api) -> None:
    answered = await api.ask("GET", f"{CONFIGMAPS}?watch=1&sendInitialEvents=true")
    assert (answered.status, answered.json["reason"]) == (422, "Invalid")


async def test_a_watch_ends_in_time_with_a_bookmark(api: Api) -> None:
    async with api.watch(f"{CONFIGMAPS}?watch=1&resourceVersion=1&timeoutSeconds=1&allowWatchBookmarks=true") as lines:
        events = []
        while (event := await lines.next()) is not None:
            events.append(event)
    assert [event["type"] for event in events][-1] == "BOOKMARK"


async def test_a_watch_of_a_revision_that_never_was(api: Api) -> None:
    async with api.watch(f"{CONFIGMAPS}?watch=1&resourceVersion=99999999") as lines:
        event = await lines.next()
        assert event["type"] == "ERROR"
        assert (event["object"]["code"], event["object"]["reason"]) == (410, "Expired")
        assert await lines.next() is None


async def test_a_watched_table_describes_its_columns_once(api: Api) -> None:
    await some(api, "a", "b")
    async with api.watch(f"{CONFIGMAPS}?watch=1", accept=TABLE) as lines:
        first, second = await lines.next(), await lines.next()
    assert first["object"]["columnDefinitions"]
    assert second["object"]["columnDefinitions"] is None
    assert second["object"]["rows"][0]["cells"][0] == "b"


async def test_pods_of_one_node(api: Api) -> None:
    for name in ("p", "q"):
        await api.ask("POST", PODS, pod(name))
    before = (await api.ask("GET", "/api/v1/pods?fieldSelector=spec.nodeName%3Dpi")).json
    revision = before["metadata"]["resourceVersion"]
    assert before["items"] == []
    async with api.watch(f"/api/v1/pods?watch=1&resourceVersion={revision}&fieldSelector=spec.nodeName%3Dpi") as lines:
        await api.ask("POST", f"{PODS}/p/binding", {"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "pi"}})
        event = await lines.next()
        assert (event["type"], event["object"]["metadata"]["name"]) == ("ADDED", "p")
    bound = (await api.ask("GET", "/api/v1/pods?fieldSelector=spec.nodeName%3Dpi")).json
    assert [item["metadata"]["name"] for item in bound["items"]] == ["p"]
    async with api.watch("/api/v1/pods?watch=1&fieldSelector=spec.nodeName%3Dpi") as lines:
        event = await lines.next()
        assert (event["type"], event["object"]["metadata"]["name"]) == ("ADDED", "p")


async def test_draining_ends_watches_as_if_their_time_were_up(api: Api) -> None:
    async with api.watch(f"{CONFIGMAPS}?watch=1&resourceVersion=1") as lines:
        api.app.drain()
        while (event := await lines.next()) is not None:
            assert event["type"] != "ERROR"
    ready = await api.ask("GET", "/readyz?verbose", user="")
    assert ready.status == 500
    assert "[-]shutdown failed: reason withheld" in ready.text
    why = await api.ask("GET", "/readyz/shutdown", user="")
    assert (why.status, why.text) == (500, "internal server error: the server is shutting down\n")
    paths = (await api.ask("GET", "/")).json["paths"]
    assert {"/readyz", "/readyz/shutdown", "/livez/ping", "/healthz/ping", "/apis/apps/v1"} <= set(paths)


async def test_a_collection_is_deleted(api: Api) -> None:
    await some(api, "a", "b")
    answered = (await api.ask("DELETE", f"{CONFIGMAPS}?labelSelector=name%3Da")).json
    assert (answered["kind"], [item["metadata"]["name"] for item in answered["items"]]) == ("ConfigMapList", ["a"])
    assert [item["metadata"]["name"] for item in (await api.ask("GET", CONFIGMAPS)).json["items"]] == ["b"]
