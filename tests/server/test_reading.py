"""Reading as the documentation has it: revisions, forms, what is refused and with which words."""

from __future__ import annotations

import base64

import pytest
import yaml

from edgekube import limits
from edgekube.api.protobuf import _entries, decode_protobuf
from tests.registry.cluster import config_map
from tests.server.custom import DEFINITIONS, definition
from tests.server.custom import path as custom_path
from tests.server.running import Api

CONFIGMAPS = "/api/v1/namespaces/default/configmaps"
META = "g=meta.k8s.io;v=v1"
TABLE = f"application/json;as=Table;{META}"
ONE = f"application/json;as=PartialObjectMetadata;{META}"
MANY = f"application/json;as=PartialObjectMetadataList;{META}"
MATCH = "resourceVersionMatch"


async def _make(api: Api, *names: str) -> None:
    for name in names:
        assert (await api.ask("POST", CONFIGMAPS, config_map(name))).status == 201


@pytest.mark.parametrize(
    ("query", "causes"),
    [
        (f"{MATCH}=Exact", ["resourceVersionMatch is forbidden unless resourceVersion is provided"]),
        (f"resourceVersion=0&{MATCH}=Exact", ['resourceVersionMatch "exact" is forbidden for resourceVersion "0"']),
        (f"resourceVersion=1&{MATCH}=Some", ['Unsupported value: "Some": supported values: "Exact", "NotOlderThan", ""']),
        (f"resourceVersion=1&{MATCH}=Exact&continue=x", ["resourceVersionMatch is forbidden when continue is provided"]),
        ("sendInitialEvents=false", ["sendInitialEvents is forbidden for list"]),
        (
            f"{MATCH}=Some&continue=x&sendInitialEvents=1",
            [
                "resourceVersionMatch is forbidden unless resourceVersion is provided",
                "resourceVersionMatch is forbidden when continue is provided",
                'Unsupported value: "Some": supported values: "Exact", "NotOlderThan", ""',
                "sendInitialEvents is forbidden for list",
            ],
        ),
        ("watch=1&sendInitialEvents=true", ["sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"]),
        (
            f"watch=1&{MATCH}=NotOlderThan",
            ["resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"],
        ),
        (
            f"watch=1&{MATCH}=Exact&sendInitialEvents=true&continue=x",
            [
                "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
                'Unsupported value: "Exact": supported values: "NotOlderThan"',
                "resourceVersionMatch is forbidden when continue is provided",
            ],
        ),
    ],
)
async def test_combinations_that_mean_nothing(api: Api, query: str, causes: list[str]) -> None:
    answered = (await api.ask("GET", f"{CONFIGMAPS}?{query}")).json
    assert (answered["code"], answered["reason"]) == (422, "Invalid")
    assert [cause["message"].removeprefix("Forbidden: ") for cause in answered["details"]["causes"]] == causes


async def test_a_revision_that_has_not_come(api: Api) -> None:
    await _make(api, "a")
    for path in (
        f"{CONFIGMAPS}?resourceVersion=99999999",
        f"{CONFIGMAPS}?resourceVersion=99999999&{MATCH}=NotOlderThan",
        f"{CONFIGMAPS}?resourceVersion=99999999&{MATCH}=Exact",
        f"{CONFIGMAPS}?watch=1&resourceVersion=99999999&sendInitialEvents=true&{MATCH}=NotOlderThan",
        f"{CONFIGMAPS}/a?resourceVersion=99999999",
    ):
        answered = await api.ask("GET", path)
        status = answered.json
        assert (status["code"], status["reason"], answered.headers["retry-after"]) == (504, "Timeout", "1"), path
        assert status["message"].startswith("Timeout: Too large resource version: 99999999, current: "), path
        assert status["details"]["causes"] == [
            {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}
        ], path  # fmt: skip


async def test_a_revision_that_is_none(api: Api) -> None:
    await _make(api, "a")
    for path in f"{CONFIGMAPS}?resourceVersion=x", f"{CONFIGMAPS}/a?resourceVersion=x":
        status = (await api.ask("GET", path)).json
        assert status["code"] == 400
        assert 'strconv.ParseUint: parsing "x": invalid syntax' in status["message"]
    assert (await api.ask("GET", f"{CONFIGMAPS}/a?resourceVersion=0")).status == 200


async def test_a_token_that_expired_goes_on_inconsistently(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """As chunking.go of the conformance suite walks it."""
    await _make(api, "a", "b", "c", "d")
    first = (await api.ask("GET", f"{CONFIGMAPS}?limit=1")).json["metadata"]["continue"]
    await _make(api, "e")
    with monkeypatch.context() as patched:
        patched.setattr(limits, "LIST_REVISION_AGE_SECONDS_MAX", -1)
        expired = await api.ask("GET", f"{CONFIGMAPS}?limit=2&continue={first}")
    assert (expired.status, expired.json["reason"]) == (410, "Expired")
    assert "use the continue token in this response" in expired.json["message"]
    token = expired.json["metadata"]["continue"]
    page = (await api.ask("GET", f"{CONFIGMAPS}?limit=2&continue={token}")).json
    assert [item["metadata"]["name"] for item in page["items"]] == ["b", "c"]
    rest = page["metadata"]["remainingItemCount"]
    last = (await api.ask("GET", f"{CONFIGMAPS}?limit=2&continue={page['metadata']['continue']}")).json
    assert len(last["items"]) == rest
    assert last["metadata"] == {"resourceVersion": page["metadata"]["resourceVersion"]}, "one revision from here on"
    bad = await api.ask("GET", f"{CONFIGMAPS}?continue={base64.b64encode(b'nonsense').decode()}")
    assert bad.status == 400 and bad.json["message"].startswith("invalid continue token: ")


async def test_how_many_are_left_is_told_of_whole_lists_only(api: Api) -> None:
    await _make(api, "a", "b", "c")
    assert (await api.ask("GET", f"{CONFIGMAPS}?limit=1")).json["metadata"]["remainingItemCount"] >= 2
    selected = (await api.ask("GET", f"{CONFIGMAPS}?limit=1&labelSelector=!nothing")).json["metadata"]
    assert selected["continue"] and "remainingItemCount" not in selected


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (f"{CONFIGMAPS}?fieldSelector=data.x%3D1",
         '"data.x" is not a known field selector: only "metadata.name", "metadata.namespace"'),
        ("/api/v1/pods?fieldSelector=spec.x%3D1", "field label not supported: spec.x"),
        ("/api/v1/secrets?fieldSelector=data%3D1", "field label not supported: data"),
        ("/apis/batch/v1/jobs?fieldSelector=spec.x%3D1", 'field label "spec.x" not supported for Job'),
        ("/apis/resource.k8s.io/v1/resourceslices?fieldSelector=spec.x%3D1",
         "field label not supported for resource.k8s.io/v1, Kind=ResourceSlice: spec.x"),
        ("/apis/apps/v1/deployments?fieldSelector=status.replicas%3D1",
         '"status.replicas" is not a known field selector: only "metadata.name", "metadata.namespace"'),
    ],
)  # fmt: skip
async def test_fields_that_cannot_be_selected(api: Api, path: str, message: str) -> None:
    status = (await api.ask("GET", path)).json
    assert status["code"] == 400 and message in status["message"]


# --- forms


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("", "application/json"),
        ("*/*", "application/json"),
        ("application/json; charset=utf-8", "application/json"),
        ("application/vnd.kubernetes.protobuf, */*", "application/json"),
        ("application/vnd.kubernetes.protobuf,application/json", "application/json"),
        ("application/json;q=0.5, application/yaml", "application/yaml"),
        ("application/yaml;q=0.1, */*;q=0.2", "application/json"),
        ("*/*, application/yaml", "application/yaml"),
        ("application/json;sv=v1, application/yaml", "application/json"),
        ("application/cbor, application/yaml;q=0.3", "application/yaml"),
    ],
)
async def test_what_is_accepted(api: Api, accept: str, content_type: str) -> None:
    answered = await api.ask("GET", CONFIGMAPS, accept=accept)
    assert (answered.status, answered.headers["content-type"]) == (200, content_type)


@pytest.mark.parametrize("accept", ["application/json;as=X", "application/yaml;stream=watch"])
async def test_what_is_not_acceptable(api: Api, accept: str) -> None:
    answered = await api.ask("GET", CONFIGMAPS, accept=accept)
    assert (answered.status, answered.json["reason"]) == (406, "NotAcceptable")
    served = "application/json, application/yaml, application/vnd.kubernetes.protobuf"
    assert answered.json["message"] == f"only the following media types are accepted: {served}"


async def test_bodies_that_nobody_reads(api: Api) -> None:
    for content_type in "application/cbor", "text/plain", "application/xml":
        answered = await api.ask("POST", CONFIGMAPS, b"x", content_type=content_type)
        assert (answered.status, answered.json["reason"]) == (415, "UnsupportedMediaType")
        assert answered.json["message"] == (
            "the body of the request was in an unknown format - accepted media types include: application/json, "
            "application/yaml, application/vnd.kubernetes.protobuf"
        )


async def test_a_list_has_the_metadata_of_a_list(api: Api) -> None:
    await _make(api, "a")
    assert (await api.ask("GET", CONFIGMAPS, accept=MANY)).json["kind"] == "PartialObjectMetadataList"
    assert (await api.ask("GET", f"{CONFIGMAPS}/a", accept=ONE)).json["kind"] == "PartialObjectMetadata"
    refused = await api.ask("GET", CONFIGMAPS, accept=ONE)
    assert (refused.status, refused.json["reason"]) == (406, "NotAcceptable")
    assert "you requested PartialObjectMetadata, but the requested object is a list" in refused.json["message"]
    assert (await api.ask("GET", f"{CONFIGMAPS}/a", accept=MANY)).status == 406


async def test_a_list_in_yaml(api: Api) -> None:
    await _make(api, "a")
    answered = await api.ask("GET", CONFIGMAPS, accept="application/yaml")
    listed = yaml.safe_load(answered.body)
    assert listed["kind"] == "ConfigMapList" and "a" in [item["metadata"]["name"] for item in listed["items"]]
    error = await api.ask("GET", f"{CONFIGMAPS}/none", accept="application/yaml")
    assert error.status == 404


async def test_people_get_line_breaks(api: Api) -> None:
    await _make(api, "a")
    path = f"{CONFIGMAPS}/a"
    assert b"\n  " not in (await api.ask("GET", path)).body
    assert b"\n  " in (await api.ask("GET", f"{path}?pretty=true")).body
    assert b"\n  " in (await api.ask("GET", path, user_agent="curl/8.0")).body
    assert b"\n  " in (await api.ask("GET", path, accept="application/json;pretty=1")).body
    assert b"\n  " not in (await api.ask("GET", f"{path}?pretty=false", user_agent="curl/8.0")).body
    assert b"\n  " not in (await api.ask("GET", f"{path}?pretty=yes")).body


async def test_a_stream_of_events_is_json(api: Api) -> None:
    await _make(api, "a")
    query = f"{CONFIGMAPS}?watch=1&timeoutSeconds=1"
    refused = await api.ask("GET", query, accept="application/yaml")
    assert refused.status == 406 and "application/json;stream=watch" in refused.json["message"]
    async with api.watch(query, accept="application/json;stream=watch") as lines:
        assert (await lines.next())["type"] == "ADDED"


async def test_metadata_and_tables_are_watched_too(api: Api) -> None:
    await _make(api, "a")
    query = f"{CONFIGMAPS}?watch=1&sendInitialEvents=true&{MATCH}=NotOlderThan&allowWatchBookmarks=true"
    query += "&fieldSelector=metadata.name%3Da"
    async with api.watch(query, accept=ONE) as lines:
        added, mark = await lines.next(), await lines.next()
        assert added["object"]["kind"] == "PartialObjectMetadata" and "data" not in added["object"]
        assert mark["type"] == "BOOKMARK" and mark["object"]["kind"] == "PartialObjectMetadata"
        assert mark["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
    async with api.watch(query, accept=TABLE) as lines:
        added, mark = await lines.next(), await lines.next()
        assert [column["name"] for column in added["object"]["columnDefinitions"]] == ["Name", "Data", "Age"]
        row = mark["object"]["rows"][0]["object"]
        assert row["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}


async def test_large_answers_are_compressed_for_who_takes_it(api: Api) -> None:
    await api.ask("POST", CONFIGMAPS, {**config_map("big"), "data": {"k": "x" * 200_000}})
    small, large = f"{CONFIGMAPS}/kube-root-ca.crt", f"{CONFIGMAPS}/big"
    assert "content-encoding" not in (await api.ask("GET", small, accept_encoding="gzip")).headers
    assert (await api.ask("GET", large, accept_encoding="gzip")).headers["content-encoding"] == "gzip"
    assert "content-encoding" not in (await api.ask("GET", large)).headers


PROTOBUF = "application/vnd.kubernetes.protobuf"


async def test_who_takes_nothing_but_protobuf_gets_it(api: Api) -> None:
    """As protocol.go of the conformance suite asks: a client with AcceptContentTypes of protobuf alone."""
    await _make(api, "a")
    one = await api.ask("GET", f"{CONFIGMAPS}/a", accept=PROTOBUF)
    assert one.headers["content-type"] == PROTOBUF
    assert decode_protobuf(one.body) == (await api.ask("GET", f"{CONFIGMAPS}/a")).json
    listed = decode_protobuf((await api.ask("GET", CONFIGMAPS, accept=PROTOBUF)).body)
    expected = (await api.ask("GET", CONFIGMAPS)).json
    items = [{key: value for key, value in item.items() if key not in ("kind", "apiVersion")} for item in expected["items"]]
    assert listed == {**expected, "items": items}
    made = await api.ask("POST", CONFIGMAPS, config_map("b"), accept=PROTOBUF)
    assert (made.status, decode_protobuf(made.body)["metadata"]["name"]) == (201, "b")
    gone = await api.ask("DELETE", f"{CONFIGMAPS}/b", accept=PROTOBUF)
    assert gone.body.startswith(b"k8s\0") and b"Success" in gone.body
    partial = await api.ask("GET", CONFIGMAPS, accept=f"{PROTOBUF};as=PartialObjectMetadataList;{META}")
    assert partial.body.startswith(b"k8s\0") and b"PartialObjectMetadataList" in partial.body


async def test_errors_come_in_the_form_that_was_asked_for(api: Api) -> None:
    """Java's ProtoClient does not look at the type of an answer."""
    plain = (await api.ask("GET", f"{CONFIGMAPS}/none")).json
    raw = await api.ask("GET", f"{CONFIGMAPS}/none", accept=PROTOBUF)
    assert (raw.status, raw.headers["content-type"]) == (404, PROTOBUF)
    assert raw.body.startswith(b"k8s\0") and b'configmaps "none" not found' in raw.body  # tests/clients/java reads all of it
    text = await api.ask("GET", f"{CONFIGMAPS}/none", accept="application/yaml")
    assert (text.headers["content-type"], yaml.safe_load(text.text)) == ("application/yaml", plain)
    for accept in (f"{PROTOBUF}, application/json", "text/html, application/yaml;as=Table"):
        assert (await api.ask("GET", f"{CONFIGMAPS}/none", accept=accept)).json["kind"] == "Status"


async def test_metadata_clients_get_the_protobuf_that_they_ask_for_first(api: Api) -> None:
    """client-go's metadata client, whose users compare what a list gave with what they got alone."""
    await _make(api, "a")
    both = ",".join(f"{each};as=PartialObjectMetadataList;{META}" for each in (PROTOBUF, "application/json"))
    answered = await api.ask("GET", CONFIGMAPS, accept=both)
    assert answered.headers["content-type"] == PROTOBUF and answered.body.startswith(b"k8s\0")
    other = ",".join(reversed(both.split(",")))
    assert (await api.ask("GET", CONFIGMAPS, accept=other)).json["kind"] == "PartialObjectMetadataList"
    whole = await api.ask("GET", CONFIGMAPS, accept=f"{PROTOBUF},application/json")
    assert whole.json["kind"] == "ConfigMapList", "whole objects are JSON for whoever takes it"


async def test_events_come_in_frames(api: Api) -> None:
    await _make(api, "a")
    query = f"{CONFIGMAPS}?watch=1&timeoutSeconds=1&fieldSelector=metadata.name%3Da"
    answered = await api.ask("GET", query, accept=PROTOBUF)
    assert answered.headers["content-type"] == f"{PROTOBUF};stream=watch"
    length = int.from_bytes(answered.body[:4], "big")
    frame = dict(_entries(answered.body[4 : 4 + length]))
    assert frame[1] == b"ADDED"
    extension = frame[2]
    assert isinstance(extension, bytes)
    raw = dict(_entries(extension))[1]
    assert isinstance(raw, bytes)
    assert decode_protobuf(raw) == (await api.ask("GET", f"{CONFIGMAPS}/a")).json
    expired = await api.ask("GET", f"{CONFIGMAPS}?watch=1&resourceVersion=99999999", accept=PROTOBUF)
    assert b"ERROR" in expired.body[:12] and b"too old resource version" in expired.body


async def test_kinds_without_a_protobuf_form(api: Api) -> None:
    await api.ask("POST", DEFINITIONS, definition("Widget"))
    assert (await api.ask("GET", DEFINITIONS, accept=PROTOBUF)).headers["content-type"] == PROTOBUF
    path = custom_path("widgets")
    answered = await api.ask("GET", path, accept=PROTOBUF)
    assert (answered.status, answered.json["reason"]) == (406, "NotAcceptable")
    assert (await api.ask("GET", path, accept=f"{PROTOBUF}, */*")).headers["content-type"] == "application/json"


async def test_a_timeout_has_to_be_one(api: Api) -> None:
    for timeout in "invalid", "5", "1.2.3s", "s", "5 s":
        status = (await api.ask("GET", f"/version?timeout={timeout.replace(' ', '%20')}")).json
        assert (status["code"], status["reason"]) == (400, "BadRequest"), timeout
        assert "invalid timeout specified in the request URL" in status["message"]
    for timeout in "3m", "0s", "1h2m3.5s", "32s", "0":
        assert (await api.ask("GET", f"/version?timeout={timeout}")).status == 200, timeout
