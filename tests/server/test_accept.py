"""Which form of an answer a client may ask for, and by which method: upstream's router looks at built-in paths first."""

from __future__ import annotations

import pytest
import yaml

from tests.server.custom import DEFINITIONS, custom, definition, path
from tests.server.running import Api

CONFIGMAPS = "/api/v1/namespaces/default/configmaps"
_ROUTED = (
    "406: Not Acceptable\n\nAvailable representations: application/json, application/yaml, application/vnd.kubernetes.protobuf"
)
_STREAMS = ", application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch"
_ONLY = "only the following media types are accepted: application/json, application/yaml, application/vnd.kubernetes.protobuf"


@pytest.mark.parametrize("accept", ["application/*", "text/*", "text/html", "application/bogus", "application/JSON", "text/yaml"])
async def test_built_in_paths_know_no_wildcard_but_one(api: Api, accept: str) -> None:
    for where, message in (
        (CONFIGMAPS, _ROUTED + _STREAMS),
        (f"{CONFIGMAPS}/a", _ROUTED),
        ("/api", _ROUTED),
        ("/apis/apps/v1", _ROUTED),
        ("/version", "406: Not Acceptable\n\nAvailable representations: application/json"),
    ):
        answered = await api.ask("GET", where, accept=accept)
        assert (answered.status, answered.json["reason"], answered.json["message"]) == (406, "NotAcceptable", message), where


@pytest.mark.parametrize(
    "accept", ["", "*/*", "text/html, */*;q=0.1", "application/bogus, application/json;q=0.5", "application/json;sv=v1"]
)
async def test_what_names_a_form_that_there_is_gets_it(api: Api, accept: str) -> None:
    for where in (CONFIGMAPS, "/version"):
        answered = await api.ask("GET", where, accept=accept)
        assert (answered.status, answered.headers["content-type"]) == (200, "application/json"), where


async def test_discovery_has_no_tables(api: Api) -> None:
    table = "application/json;as=Table;v=v1;g=meta.k8s.io"
    answered = await api.ask("GET", "/apis", accept=table)
    assert (answered.status, answered.json["message"]) == (406, _ONLY)
    assert (await api.ask("GET", "/apis", accept=f"{table}, application/json")).status == 200


async def test_custom_kinds_are_behind_no_router(api: Api) -> None:
    made = await api.ask("POST", DEFINITIONS, definition())
    assert made.status == 201, made.text
    await api.ask("POST", path("widgets"), custom("Widget", "one", spec={"size": 1}))
    assert (await api.ask("GET", path("widgets"), accept="application/*")).status == 200
    assert (await api.ask("HEAD", f"{path('widgets')}/one")).status == 200
    assert (await api.ask("HEAD", CONFIGMAPS)).status == 405


async def test_yaml_is_written_as_upstream_writes_it(api: Api) -> None:
    data = {"a": "1", "b": "x\n  y\n", "c": "y", "d": "a: b", "e": "<<", "f": "1:20", "g": "x\n\ny", "y": "\x01", "10": ""}
    await api.ask("POST", CONFIGMAPS, {"metadata": {"name": "a"}, "data": data})
    answered = await api.ask("GET", f"{CONFIGMAPS}/a", accept="application/yaml")
    assert answered.text.partition("kind:")[0] == (
        'apiVersion: v1\ndata:\n  "10": ""\n  a: "1"\n  b: |\n    x\n      y\n  c: "y"\n  d: \'a: b\'\n  e: \'<<\'\n  f: "1:20"\n'
        '  g: |-\n    x\n\n    y\n  "y": "\\x01"\n'
    )
    assert yaml.safe_load(answered.text)["metadata"]["name"] == "a"


async def test_an_empty_list_in_other_forms(api: Api) -> None:
    """Where upstream makes a list of what it found, and of nothing none."""
    view = "application/json;as={};v=v1;g=meta.k8s.io"
    partial = await api.ask("GET", f"{CONFIGMAPS}?labelSelector=none", accept=view.format("PartialObjectMetadataList"))
    assert partial.json["items"] is None
    limits = await api.ask("GET", "/api/v1/namespaces/default/limitranges", accept=view.format("Table"))
    assert limits.json["rows"] is None
    assert [column["name"] for column in limits.json["columnDefinitions"]] == ["Name", "Created At"]
    pods = await api.ask("GET", "/api/v1/namespaces/default/pods", accept=view.format("Table"))
    assert pods.json["rows"] == []


@pytest.mark.parametrize(
    ("query", "status", "message"),
    [
        ("watch=1&limit=x", 400, 'strconv.ParseInt: parsing "x": invalid syntax'),
        ("watch=1&resourceVersion=x", 500, 'resourceVersion: Invalid value: "x": strconv.ParseUint: parsing "x": invalid syntax'),
        ("continue=bogus", 400, "invalid continue token: continue key is not valid: illegal base64 data at input byte 4"),
        ("continue=a%20b", 400, "invalid continue token: continue key is not valid: illegal base64 data at input byte 1"),
    ],
)
async def test_parameters_that_cannot_be_read(api: Api, query: str, status: int, message: str) -> None:
    answered = await api.ask("GET", f"{CONFIGMAPS}?{query}")
    assert (answered.status, answered.json["message"]) == (status, message)


async def test_names_of_managers_are_shown_as_go_shows_them(api: Api) -> None:
    answered = await api.ask("POST", f"{CONFIGMAPS}?fieldManager=a%07b", {"metadata": {"name": "a"}})
    assert 'fieldManager: Invalid value: "a\\ab": invalid character U+0007 (at position 1)' in answered.json["message"]


async def test_paths_of_which_there_is_nothing(api: Api) -> None:
    assert (await api.ask("GET", "/api/v1/namespaces/default/services/a/proxy")).json["message"] == 'services "a" not found'
    assert (await api.ask("GET", "/api/v1/namespaces/default/pods/a/proxy")).json["message"] == 'pods "a" not found'
    assert (await api.ask("PUT", "/api/v1/namespaces/default/pods/a/log")).status == 405
    unknown = await api.ask("GET", "/openapi/v3/apis/bogus/v1")
    assert (unknown.status, unknown.body) == (404, b"")
    assert "resourceVersion" not in (await api.ask("GET", "/api/v1/componentstatuses")).json["metadata"]
