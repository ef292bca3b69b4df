"""fieldValidation, as upstream's own tests ask it: unknown and repeated fields, in JSON, YAML and patches."""

from __future__ import annotations

import orjson
import pytest

from tests.registry.cluster import deployment
from tests.server.running import Api

DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"

JSON = b"""{"apiVersion": "apps/v1", "kind": "Deployment",
 "metadata": {"name": "dupename", "name": "web", "labels": {"app": "web"}, "unknownMeta": "metaVal"},
 "spec": {"unknown1": "val1", "unknownDupe": "a", "unknownDupe": "b", "paused": true, "paused": false,
  "selector": {"matchLabels": {"app": "web"}},
  "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [
   {"name": "web", "image": "web:1", "unknownNested": "v", "imagePullPolicy": "Always", "imagePullPolicy": "Never"}]}}}}"""
YAML = b"""apiVersion: apps/v1
kind: Deployment
metadata:
  name: dupename
  name: web
  unknownMeta: metaVal
spec:
  unknown1: val1
  paused: true
  paused: false
  selector:
    matchLabels: {app: web}
  template:
    metadata:
      labels: {app: web}
    spec:
      containers:
      - name: web
        image: web:1
        unknownNested: v
"""
C = "spec.template.spec.containers[0]"


async def test_json(api: Api) -> None:
    refused = await api.ask("POST", f"{DEPLOYMENTS}?fieldValidation=Strict", JSON)
    assert (refused.status, refused.json["reason"]) == (400, "BadRequest")
    assert refused.json["message"] == (
        'Deployment in version "v1" cannot be handled as a Deployment: strict decoding error: duplicate field "metadata.name", '
        'unknown field "metadata.unknownMeta", unknown field "spec.unknown1", unknown field "spec.unknownDupe", duplicate field '
        f'"spec.paused", unknown field "{C}.unknownNested", duplicate field "{C}.imagePullPolicy"'
    )
    warned = await api.ask("POST", DEPLOYMENTS, JSON)
    assert warned.status == 201
    assert warned.headers["warning"].count("299 - ") == 7
    silent = await api.ask("POST", f"{DEPLOYMENTS}?fieldValidation=Ignore&dryRun=All", JSON.replace(b'"web",', b'"two",', 1))
    assert (silent.status, "warning" in silent.headers) == (201, False)


async def test_yaml(api: Api) -> None:
    refused = await api.ask("POST", f"{DEPLOYMENTS}?fieldValidation=Strict", YAML, content_type="application/yaml")
    assert refused.json["message"].partition("strict decoding error: ")[2] == (
        'yaml: unmarshal errors:\n  line 5: key "name" already set in map\n  line 10: key "paused" already set in map, '
        f'unknown field "metadata.unknownMeta", unknown field "{C}.unknownNested", unknown field "spec.unknown1"'
    )
    warned = await api.ask("POST", DEPLOYMENTS, YAML, content_type="application/yaml")
    assert warned.headers["warning"].startswith('299 - "line 5: key \\"name\\" already set in map", 299 - "line 10: key')


@pytest.mark.parametrize(
    ("content_type", "body", "told"),
    [
        (
            "application/merge-patch+json",
            b'{"spec": {"unknown1": "a", "unknownDupe": "a", "unknownDupe": "b", "paused": true, "paused": false}}',
            'duplicate field "spec.unknownDupe", duplicate field "spec.paused", unknown field "spec.unknown1", '
            'unknown field "spec.unknownDupe"',
        ),
        (
            "application/strategic-merge-patch+json",
            b'{"spec": {"unknown1": "a", "paused": true, "paused": false}}',
            'duplicate field "spec.paused", unknown field "spec.unknown1"',
        ),
        (
            "application/json-patch+json",
            b'[{"op": "add", "path": "/spec/unknown1", "value": "a", "foo": "bar"},'
            b' {"op": "add", "path": "/spec/unknown2", "path": "/spec/unknown3", "value": "a"}]',
            'json patch unknown field "[0].foo", json patch duplicate field "[1].path", unknown field "spec.unknown1", '
            'unknown field "spec.unknown3"',
        ),
    ],
)
async def test_patches(api: Api, content_type: str, body: bytes, told: str) -> None:
    await api.ask("POST", DEPLOYMENTS, deployment("web"))
    refused = await api.ask("PATCH", f"{DEPLOYMENTS}/web?fieldValidation=Strict", body, content_type=content_type)
    assert (refused.status, refused.json["reason"]) == (422, "Invalid")
    assert refused.json["message"].startswith(' "" is invalid: patch: Invalid value: "')
    assert refused.json["message"].partition("strict decoding error: ")[2] == told
    assert refused.json["details"]["causes"][0]["field"] == "patch"
    warned = await api.ask("PATCH", f"{DEPLOYMENTS}/web", body, content_type=content_type)
    assert (warned.status, warned.headers["warning"].count("299 - ")) == (200, told.count(" field "))
    silent = await api.ask("PATCH", f"{DEPLOYMENTS}/web?fieldValidation=Ignore", body, content_type=content_type)
    assert (silent.status, "warning" in silent.headers) == (200, False)


async def test_a_strategic_patch_is_shown_as_it_is(api: Api) -> None:
    await api.ask("POST", DEPLOYMENTS, deployment("web"))
    body = b'{"spec": {"replicas": "three", "paused": true}}'
    refused = await api.ask("PATCH", f"{DEPLOYMENTS}/web", body, content_type="application/strategic-merge-patch+json")
    assert (refused.status, refused.json["message"]) == (
        422,
        ' "" is invalid: patch: Invalid value: "map[spec:map[paused:true replicas:three]]": unrecognized type: int32',
    )


@pytest.mark.parametrize(
    ("content_type", "body", "message"),
    [
        (
            "application/merge-patch+json",
            {"metadata": {"uid": "other"}},
            'Deployment.apps "web" is invalid: metadata.uid: Invalid value: "other": field is immutable',
        ),
        (
            "application/merge-patch+json",
            {"kind": "Bogus"},
            'no kind "Bogus" is registered for version "apps/v1" in scheme "pkg/runtime/scheme.go:111"',
        ),
        (
            "application/json-patch+json",
            [{"op": "replace", "path": "/kind", "value": "Pod"}, {"op": "replace", "path": "/apiVersion", "value": "v1"}],
            "converting (v1.Pod) to (apps.Deployment): unknown conversion",
        ),
    ],
)
async def test_patches_that_would_make_something_else(api: Api, content_type: str, body: object, message: str) -> None:
    """A patch has no precondition: what it must not change is told as any wrong field is."""
    await api.ask("POST", DEPLOYMENTS, deployment("web"))
    refused = await api.ask("PATCH", f"{DEPLOYMENTS}/web", orjson.dumps(body), content_type=content_type)
    assert (refused.status, refused.json["reason"]) == (422, "Invalid")
    assert refused.json["message"].endswith(message)


@pytest.mark.parametrize("content_type", ["application/merge-patch+json", "application/strategic-merge-patch+json"])
async def test_a_patch_cannot_give_a_generation(api: Api, content_type: str) -> None:
    """Of a kind that has none, and of one that has."""
    await api.ask("POST", "/api/v1/namespaces/default/configmaps", {"metadata": {"name": "a"}})
    await api.ask("POST", DEPLOYMENTS, deployment("web"))
    body = orjson.dumps({"metadata": {"generation": 7}})
    patched = await api.ask("PATCH", "/api/v1/namespaces/default/configmaps/a", body, content_type=content_type)
    assert patched.status == 200 and "generation" not in patched.json["metadata"]
    assert (await api.ask("PATCH", f"{DEPLOYMENTS}/web", body, content_type=content_type)).json["metadata"]["generation"] == 1


async def test_a_patch_cannot_take_the_name_away(api: Api) -> None:
    await api.ask("POST", DEPLOYMENTS, deployment("web"))
    lost = "the name of the object (web based on URL) was undeterminable: name must be provided"
    other = "the name of the object (other) does not match the name on the URL (web)"
    for where in ("", "/status", "/scale"):
        for name, message in ((None, lost), ("other", other)):
            body = orjson.dumps({"metadata": {"name": name}})
            refused = await api.ask("PATCH", f"{DEPLOYMENTS}/web{where}", body, content_type="application/merge-patch+json")
            assert (refused.status, refused.json["message"]) == (400, message), where
    body = b'{"kind":"Bogus"}'
    refused = await api.ask("PATCH", f"{DEPLOYMENTS}/web/scale", body, content_type="application/merge-patch+json")
    assert refused.json["message"].endswith(
        'no kind "Bogus" is registered for version "autoscaling/v1" in scheme "pkg/runtime/scheme.go:111"'
    )


@pytest.mark.parametrize("body", [b"{", b"5", b"null", b'"x"'])
async def test_a_merge_patch_that_nobody_looks_at_closely(api: Api, body: bytes) -> None:
    await api.ask("POST", DEPLOYMENTS, deployment("web"))
    path = f"{DEPLOYMENTS}/web?fieldValidation=Ignore"
    refused = await api.ask("PATCH", path, body, content_type="application/merge-patch+json")
    assert (refused.status, refused.json["message"]) == (400, "Invalid JSON Patch")


async def test_a_strategic_patch_does_not_say_of_which_kind_something_is(api: Api) -> None:
    await api.ask("POST", DEPLOYMENTS, deployment("web"))
    body = b'{"kind":"Bogus","apiVersion":"x/v9","metadata":{"labels":{"a":"b"}}}'
    patched = await api.ask("PATCH", f"{DEPLOYMENTS}/web", body, content_type="application/strategic-merge-patch+json")
    assert (patched.status, patched.json["kind"], patched.json["metadata"]["labels"]["a"]) == (200, "Deployment", "b")


async def test_a_patch_that_takes_the_revision_away_is_refused_where_a_put_without_one_is(api: Api) -> None:
    leases = "/apis/coordination.k8s.io/v1/namespaces/default/leases"
    await api.ask("POST", leases, {"metadata": {"name": "a"}})
    body = b'{"metadata":{"resourceVersion":null}}'
    refused = await api.ask("PATCH", f"{leases}/a", body, content_type="application/merge-patch+json")
    assert (refused.status, refused.json["message"]) == (
        422,
        'leases.coordination.k8s.io "a" is invalid: metadata.resourceVersion: Invalid value: 0: must be specified for an update',
    )


@pytest.mark.parametrize(
    ("content_type", "body", "status", "message"),
    [
        ("application/merge-patch+json", b"[]", 400, "cannot unmarshal array into Go value of type map[string]interface {}"),
        ("application/json-patch+json", b"{}", 400, "cannot unmarshal object into Go value of type []handlers.jsonPatchOp"),
        (
            "application/json-patch+json",
            b'[{"op":"test","path":"/spec/replicas","value":9}]',
            422,
            "the server rejected our request due to an error in our request",
        ),
        ("application/merge-patch+json", b"{", 400, "error decoding patch: unexpected end of JSON input"),
        ("application/strategic-merge-patch+json", b"[]", 400, "json: cannot unmarshal array into Go value of type map"),
        (
            "application/json-patch+json",
            b'[{"op":"add","path":5}]',
            400,
            "error decoding patch: json: cannot unmarshal number into Go struct field jsonPatchOp.path of type string",
        ),
        ("application/merge-patch+json", b"null", 400, "Invalid JSON Patch"),
        ("application/strategic-merge-patch+json", b'{"$patch":"x"}', 500, "unknown patch type: x in map: map[$patch:x]"),
        ("application/bogus", b"{}", 415, "415: Unsupported Media Type"),
    ],
)
async def test_patches_that_are_none(api: Api, content_type: str, body: bytes, status: int, message: str) -> None:
    await api.ask("POST", DEPLOYMENTS, deployment("web"))
    refused = await api.ask("PATCH", f"{DEPLOYMENTS}/web", body, content_type=content_type)
    assert refused.status == status
    assert message in refused.json["message"]
