"""OpenAPI over HTTP: hashes and caching, forms, and what a real kubectl explains from it."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

from tests.server.custom import DEFINITIONS, GROUP, definition, version
from tests.server.kubectl import Kubectl
from tests.server.running import Api
from tests.server.secured import admin, secured_api

PROTOBUF_2 = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
FOO = {
    "type": "object",
    "description": "Foo CRD for Testing",
    "properties": {
        "spec": {
            "type": "object",
            "description": "Specification of Foo",
            "properties": {
                "bars": {
                    "type": "array",
                    "description": "List of Bars and their specs.",
                    "items": {
                        "type": "object",
                        "required": ["name"],
                        "properties": {
                            "name": {"type": "string", "description": "Name of Bar."},
                            "bazs": {"type": "array", "description": "List of Bazs.", "items": {"type": "string"}},
                            "limit": {"anyOf": [{"type": "integer"}, {"type": "string"}], "x-kubernetes-int-or-string": True},
                            "maybe": {"type": "object", "nullable": True, "properties": {"a": {"type": "string"}}},
                        },
                    },
                }
            },
        }
    },
}


async def _index(api: Api) -> dict[str, str]:
    return {key: entry["serverRelativeURL"] for key, entry in (await api.ask("GET", "/openapi/v3")).json["paths"].items()}


async def test_a_document_is_kept_by_its_hash(api: Api) -> None:
    url = (await _index(api))["apis/apps/v1"]
    answered = await api.ask("GET", url)
    assert answered.headers["cache-control"] == "public, immutable"
    assert answered.headers["expires"] and answered.headers["vary"] == "Accept"
    etag = answered.headers["etag"]
    assert etag.strip('"') == url.partition("hash=")[2]
    again = await api.ask("GET", url, if_none_match=etag)
    assert (again.status, again.body) == (304, b"")
    plain = await api.ask("GET", "/openapi/v3/apis/apps/v1", accept_encoding="gzip")
    assert plain.json == answered.json and plain.headers["cache-control"] == "no-cache, private"
    old = await api.ask("GET", "/openapi/v3/apis/apps/v1?hash=0123")
    assert (old.status, old.headers["location"]) == (301, url)
    assert (await api.ask("GET", "/openapi/v3/apis/nobody/v1")).status == 404


async def test_the_index_has_an_etag(api: Api) -> None:
    answered = await api.ask("GET", "/openapi/v3")
    assert (await api.ask("GET", "/openapi/v3", if_none_match=answered.headers["etag"])).status == 304


async def test_a_form_that_is_not_served_is_not_acceptable(api: Api) -> None:
    protobuf = "application/com.github.proto-openapi.spec.v3@v1.0+protobuf"
    assert (await api.ask("GET", "/openapi/v3/api/v1", accept=protobuf)).status == 406
    assert (await api.ask("GET", "/openapi/v2", accept="text/html")).status == 406
    answered = await api.ask("GET", "/openapi/v2", accept=f"{PROTOBUF_2}, application/json;q=0.5")
    assert answered.headers["content-type"] == PROTOBUF_2.replace("@", "."), "Go's clients take no @ in a media type"
    assert answered.body.startswith(b"\x0a\x032.0")
    assert (await api.ask("GET", "/openapi/v2", accept="application/json")).json["swagger"] == "2.0"


async def test_custom_kinds_come_and_go(api: Api) -> None:
    before = await _index(api)
    assert (await api.ask("POST", DEFINITIONS, definition("Foo", version(schema=FOO)))).status == 201
    after = await _index(api)
    key = f"apis/{GROUP}/v1"
    assert set(after) - set(before) == {key}
    assert {each: after[each] for each in before} == before
    name = "com.example.stable.v1.Foo"
    document = (await api.ask("GET", after[key])).json
    schema = document["components"]["schemas"][name]
    bars = schema["properties"]["spec"]["properties"]["bars"]
    assert bars == FOO["properties"]["spec"]["properties"]["bars"]  # type: ignore[index]
    assert schema["x-kubernetes-group-version-kind"] == [{"group": GROUP, "version": "v1", "kind": "Foo"}]
    patch = document["paths"][f"/apis/{GROUP}/v1/namespaces/{{namespace}}/foos/{{name}}"]["patch"]
    assert set(patch["requestBody"]["content"]) == {
        "application/apply-patch+yaml", "application/json-patch+json", "application/merge-patch+json"
    }  # fmt: skip
    second = (await api.ask("GET", "/openapi/v2")).json["definitions"][name]["properties"]["spec"]["properties"]["bars"]
    assert second["items"]["properties"]["limit"] == {"x-kubernetes-int-or-string": True}
    assert second["items"]["properties"]["maybe"] == {}
    stored = (await api.ask("GET", f"{DEFINITIONS}/foos.{GROUP}")).json
    stored["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["description"] = "Another"
    assert (await api.ask("PUT", f"{DEFINITIONS}/foos.{GROUP}", stored)).status == 200
    changed = await _index(api)
    assert changed[key] != after[key]
    assert (await api.ask("GET", changed[key])).json["components"]["schemas"][name]["description"] == "Another"
    stored = (await api.ask("GET", f"{DEFINITIONS}/foos.{GROUP}")).json
    stored["spec"]["versions"][0]["served"] = False
    assert (await api.ask("PUT", f"{DEFINITIONS}/foos.{GROUP}", stored)).status == 200
    assert await _index(api) == before
    assert name not in (await api.ask("GET", "/openapi/v2")).json["definitions"]


async def test_a_kind_that_preserves_what_is_unknown_is_any_object_in_version_2(api: Api) -> None:
    await api.ask("POST", DEFINITIONS, definition("Any"))
    answered: dict[str, Any] = (await api.ask("GET", "/openapi/v2")).json["definitions"]["com.example.stable.v1.Any"]
    named = [{"group": GROUP, "version": "v1", "kind": "Any"}]
    assert answered == {"type": "object", "x-kubernetes-group-version-kind": named}


async def test_both_ways_of_compression_give_the_same(api: Api) -> None:
    url = (await _index(api))["api/v1"]
    assert (await api.ask("GET", url)).body == (await api.ask("GET", url, accept_encoding="gzip")).body
    head = await api.ask("HEAD", url)
    assert (head.status, head.body) == (200, b"")


async def test_kubectl_explains(tmp_path: Path, kubectl: Kubectl) -> None:
    async with secured_api(tmp_path) as secured:
        text = await kubectl(secured, "explain", "deployments.spec.strategy.rollingUpdate.maxSurge")
        assert "GROUP:      apps" in text and "FIELD: maxSurge <IntOrString>" in text
        assert "The maximum number of pods that can be scheduled above the desired number of pods" in text.replace("\n    ", " ")
        text = await kubectl(secured, "explain", "pods", "--recursive")
        assert "livenessProbe" in text and "<[]Container> -required-" in text
        text = await kubectl(secured, "explain", "pods.spec.containers.ports", "--output=plaintext-openapiv2")
        assert "containerPort" in text and "<integer> -required-" in text
        assert "does not exist" in await kubectl(secured, "explain", "pods.spec.nothing", check=False)
        created = await secured.ask(admin(), "POST", DEFINITIONS, definition("Foo", version(schema=FOO)))
        assert created.status == 201
        text = await kubectl(secured, "explain", "foos.spec.bars")
        assert "FIELD: bars <[]Object>" in text and "List of Bazs." in text and "<string> -required-" in text
        assert "Foo CRD for Testing" in await kubectl(secured, "explain", "foos", "--output=plaintext-openapiv2")
        await secured.ask(admin(), "POST", DEFINITIONS, definition("Any"))
        assert "<empty>" in await kubectl(secured, "explain", "anys")


async def test_kubectl_checks_fields_with_the_server_or_by_itself(tmp_path: Path, kubectl: Kubectl) -> None:
    async with secured_api(tmp_path) as secured:
        pod = '{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a"},"spec":{"containers":[{"name":"c","image":"i"}],"nope":1}}'
        refused = await kubectl(secured, "create", "-f", "-", "--validate=strict", stdin=pod, check=False)
        assert 'unknown field "spec.nope"' in refused
        made = await kubectl(secured, "create", "-f", "-", "--validate=warn", "--dry-run=client", stdin=pod)
        assert "pod/a created (dry run)" in made


def test_gzip_is_gzip() -> None:
    from edgekube.server.openapi import _compressed

    assert zlib.decompress(_compressed([b"a", b"b"]), 31) == b"ab"
