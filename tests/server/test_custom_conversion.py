"""Versions that a webhook converts: a real HTTPS server beside the API."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edgekube.api.objects import Object
from tests.registry.hooks import Hooks, serving_hooks
from tests.server.custom import DEFINITIONS, custom, definition, path, version
from tests.server.running import Answer, Api


def _converting(request: Object) -> Object:
    """v1 has ``hostPort``, v2 has ``host`` and ``port``."""
    wanted = request["desiredAPIVersion"]
    made = []
    for obj in request["objects"]:
        new = {key: value for key, value in obj.items() if key not in ("host", "port", "hostPort")} | {"apiVersion": wanted}
        if wanted.endswith("v2"):
            new["host"], _, new["port"] = obj["hostPort"].partition(":")
        else:
            new["hostPort"] = f"{obj['host']}:{obj['port']}"
        made.append(new)
    return {"convertedObjects": made, "result": {"status": "Success"}}


@pytest.fixture
def hooks(tmp_path: Path) -> Iterator[Hooks]:
    with serving_hooks(tmp_path) as served:
        served.answers["/convert"] = _converting
        yield served


async def _defined(api: Api, hooks: Hooks, storage: str = "v1") -> None:
    def shape(*names: str) -> Object:
        return {"type": "object", "properties": {name: {"type": "string"} for name in names}}

    webhook = {"clientConfig": hooks.config("/convert"), "conversionReviewVersions": ["v1"]}
    made = await api.ask("POST", DEFINITIONS, definition(
        "Widget",
        version("v1", shape("hostPort"), storage=storage == "v1"),
        version("v2", shape("host", "port"), storage=storage == "v2"),
        conversion={"strategy": "Webhook", "webhook": webhook},
    ))  # fmt: skip
    assert made.status == 201, made.text


async def test_objects_are_read_and_written_in_every_version(api: Api, hooks: Hooks) -> None:
    await _defined(api, hooks)
    assert (await api.ask("POST", path("widgets"), custom("Widget", "one", hostPort="a:1"))).status == 201
    assert hooks.asked == []  # what is asked for as it is stored needs nobody
    new = await api.ask("POST", path("widgets", version="v2"), custom("Widget", "two", "v2", host="b", port="2"))
    assert (new.status, new.json["host"], new.json["apiVersion"]) == (201, "b", "stable.example.com/v2"), new.text
    assert (await api.ask("GET", path("widgets", "two"))).json["hostPort"] == "b:2"
    assert (await api.ask("GET", path("widgets", "one", version="v2"))).json["port"] == "1"
    before = len(hooks.asked)
    listed = (await api.ask("GET", path("widgets", version="v2"))).json
    assert [(item["host"], item["port"]) for item in listed["items"]] == [("a", "1"), ("b", "2")]
    assert len(hooks.asked) == before + 1  # one call for the whole list
    merge = "application/merge-patch+json"
    changed = await api.ask("PATCH", path("widgets", "one", version="v2"), {"port": "9"}, content_type=merge)
    assert (changed.status, changed.json["port"]) == (200, "9")
    assert (await api.ask("GET", path("widgets", "one"))).json["hostPort"] == "a:9"
    async with api.watch(path("widgets", version="v2") + "?watch=1&fieldSelector=metadata.name%3Done") as lines:
        assert (await lines.next())["object"]["port"] == "9"
        await api.ask("PATCH", path("widgets", "one"), {"hostPort": "a:8"}, content_type=merge)
        event = await lines.next()
        assert (event["type"], event["object"]["port"]) == ("MODIFIED", "8")
    gone = await api.ask("DELETE", path("widgets", "one", version="v2"))
    assert gone.status == 200, gone.text


async def test_what_comes_by_another_version_has_the_defaults_of_the_stored_one(api: Api) -> None:
    stored = {"type": "object", "properties": {"size": {"type": "integer", "default": 3}, "place": {"type": "string"}}}
    free = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    made = await api.ask(
        "POST", DEFINITIONS, definition("Widget", version("v1", stored), version("v1beta1", free, storage=False))
    )
    assert made.status == 201, made.text
    old = await api.ask("POST", path("widgets", version="v1beta1"), custom("Widget", "one", "v1beta1", place="x", extra=1))
    assert (old.status, old.json["size"]) == (201, 3) and "extra" not in old.json
    assert (await api.ask("GET", path("widgets", "one"))).json["size"] == 3


async def test_an_update_moves_an_object_to_the_version_that_is_stored_now(api: Api, hooks: Hooks) -> None:
    await _defined(api, hooks)
    made = (await api.ask("POST", path("widgets"), custom("Widget", "one", hostPort="a:1"))).json
    flip = [
        {"op": "replace", "path": "/spec/versions/0/storage", "value": False},
        {"op": "replace", "path": "/spec/versions/1/storage", "value": True},
    ]
    crd = await api.ask("PATCH", f"{DEFINITIONS}/widgets.stable.example.com", flip, content_type="application/json-patch+json")
    assert crd.json["status"]["storedVersions"] == ["v1", "v2"], crd.text
    again = await api.ask("PUT", path("widgets", "one"), made)
    assert again.status == 200, again.text
    assert again.json["metadata"]["resourceVersion"] != made["metadata"]["resourceVersion"]
    hooks.asked.clear()
    assert (await api.ask("GET", path("widgets", "one", version="v2"))).json["host"] == "a"
    assert hooks.asked == []


async def test_who_manages_a_field_is_known_in_every_version(api: Api, hooks: Hooks) -> None:
    await _defined(api, hooks)

    async def apply(manager: str, obj: Object, query: str = "") -> Answer:
        where = path("widgets", "one", version=obj["apiVersion"].rpartition("/")[2])
        asked = f"{where}?fieldManager={manager}{query}"
        return await api.ask("PATCH", asked, obj, content_type="application/apply-patch+yaml")

    first = await apply("me", custom("Widget", "one", hostPort="a:1"))
    assert first.status == 201, first.text
    other = custom("Widget", "one", "v2", host="b", port="1")
    refused = await apply("other", other)
    assert refused.json["message"] == 'Apply failed with 1 conflict: conflict with "me": .hostPort'
    forced = await apply("other", other, "&force=true")
    assert (forced.status, forced.json["host"]) == (200, "b"), forced.text
    assert [(each["manager"], each["apiVersion"]) for each in forced.json["metadata"]["managedFields"]] == [
        ("other", "stable.example.com/v2")
    ]
    refused = await apply("me", custom("Widget", "one", hostPort="c:2"))
    assert refused.json["message"] == 'Apply failed with 2 conflicts: conflicts with "other":\n- .host\n- .port'
    merge = "application/merge-patch+json"
    await api.ask("PATCH", path("widgets", "one") + "?fieldManager=hand", {"hostPort": "b:3"}, content_type=merge)
    shown = (await api.ask("GET", path("widgets", "one", version="v2"))).json
    assert {each["manager"]: each["fieldsV1"] for each in shown["metadata"]["managedFields"]} == {
        "other": {"f:host": {}},
        "hand": {"f:hostPort": {}},
    }


WRONG: list[tuple[Any, str]] = [
    (lambda _: {"result": {"status": "Failure", "message": "no"}}, " failed: no"),
    (lambda _: {"result": {"status": "Success"}, "convertedObjects": []}, " returned 0 objects, expected 1"),
    (
        lambda request: {"result": {"status": "Success"}, "convertedObjects": request["objects"]},
        " returned invalid converted object at index 0: invalid groupVersion (expected stable.example.com/v2, received "
        "stable.example.com/v1)",
    ),
    (
        lambda request: {
            "result": {"status": "Success"},
            "convertedObjects": [
                {**one, "apiVersion": request["desiredAPIVersion"], "metadata": {**one["metadata"], "name": "other"}}
                for one in request["objects"]
            ],
        },
        " returned invalid converted object at index 0: must have the same name: one != other",
    ),
    (lambda _: {"uid": "other"}, 'failed: expected response.uid="'),
]


@pytest.mark.parametrize(("answer", "words"), WRONG, ids=["refused", "too few", "unconverted", "renamed", "another's"])
async def test_what_a_webhook_may_not_answer(api: Api, hooks: Hooks, answer: Any, words: str) -> None:
    await _defined(api, hooks)
    await api.ask("POST", path("widgets"), custom("Widget", "one", hostPort="a:1"))
    hooks.answers["/convert"] = answer
    got = await api.ask("GET", path("widgets", "one", version="v2"))
    assert got.status == 500
    assert got.json["message"].startswith("conversion webhook for stable.example.com/v1, Kind=Widget")
    assert words in got.json["message"]


async def test_metadata_is_the_servers_but_for_labels_and_annotations(api: Api, hooks: Hooks) -> None:
    await _defined(api, hooks)
    await api.ask("POST", path("widgets"), custom("Widget", "one", hostPort="a:1"))

    def meddling(request: Object) -> Object:
        answer = _converting(request)
        for obj in answer["convertedObjects"]:
            obj["metadata"] |= {"labels": {"by": "hook"}, "finalizers": ["hook.example.com/x"], "generation": 99}
        return answer

    hooks.answers["/convert"] = meddling
    metadata = (await api.ask("GET", path("widgets", "one", version="v2"))).json["metadata"]
    assert (metadata["labels"], metadata["generation"], "finalizers" in metadata) == ({"by": "hook"}, 1, False)


async def test_a_webhook_that_is_away_is_told_of(api: Api, hooks: Hooks) -> None:
    await _defined(api, hooks)
    await api.ask("POST", path("widgets"), custom("Widget", "one", hostPort="a:1"))
    hooks.answers["/convert"] = (503, {}, b"later")
    got = await api.ask("GET", path("widgets", version="v2"))
    assert (got.status, "conversion webhook for stable.example.com/v1, Kind=Widget failed: " in got.text) == (500, True)
    assert (await api.ask("GET", path("widgets"))).status == 200
