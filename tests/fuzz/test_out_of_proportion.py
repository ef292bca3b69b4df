"""Requests that could cost far more than their size: memory and time stay in proportion, and the answer is short."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import orjson
import pytest

from edgekube.api.objects import Object
from tests.fuzz.serving import Fuzzed
from tests.registry.cluster import config_map, deployment
from tests.server.custom import DEFINITIONS, custom, definition, path, version

CONFIGMAPS = "/api/v1/namespaces/default/configmaps"
BIG = "/apis/apps/v1/namespaces/default/deployments/big"
#: A name of a field as long as a body lets it be.
LONG = "K" * 800_000
#: What one such request may add to the process, this test's own copies of question and answer included.
MORE_MEGABYTES_MAX = 150
SECONDS_MAX = 20


def megabytes(what: str) -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(what))
    return int(line.split()[1]) // 1024


def numbered(count: int, **value: Any) -> dict[str, Any]:
    return {f"u{number}": dict(value) or 1 for number in range(count)}


def schema_of(inner: Object) -> bytes:
    return orjson.dumps(definition("Bomb", version(schema={"type": "object", "properties": {LONG: inner}})))


def wrong_schemas() -> bytes:
    return schema_of({"type": "object", "properties": numbered(1000, type="strange")})


def patched(count: int) -> bytes:
    env = [{"name": f"E{number}", "value": "w"} for number in reversed(range(count))]
    return orjson.dumps({"spec": {"template": {"spec": {"containers": [{"name": "main", "env": env}]}}}})


def spaced() -> bytes:
    return orjson.dumps({"metadata": {"name": "new"}, LONG: numbered(2000)}, option=orjson.OPT_INDENT_2)


def twice() -> bytes:
    return b'{"%s":{%s"b":1}}' % (LONG.encode(), b'"a" : 1,' * 2000)


def unknown() -> bytes:
    return orjson.dumps(custom("Long", "a", spec={LONG: numbered(1000)}))


def aliased() -> bytes:
    return b'? &k "%s"\n: 1\n' % LONG.encode() + b"? *k\n: 1\n" * 1000


LAUGHS = b'a: &a ["lol","lol"]\n' + b"".join(
    b"%c: &%c [%s]\n" % (98 + i, 98 + i, b",".join([b"*%c" % (97 + i)] * 9)) for i in range(12)
)
OWNERS = [{"apiVersion": "v1", "kind": "ConfigMap", "name": f"a{number}", "uid": f"{number}"} for number in range(10_000)]
LIST = [{"name": f"n{number}", "a": "b"} for number in range(10_000)]
COPIES = [{"op": "copy", "from": "/data", "path": f"/data/k{number}"} for number in range(9_000)]
DRY: Object = {"dryRun": "All"}
STRICT: Object = {**DRY, "fieldValidation": "Strict"}
JSON, YAML = "application/json", "application/yaml"

ASKED: dict[str, tuple[str, str, Object, str, Any]] = {
    "fields below a long name": ("POST", CONFIGMAPS, DRY, JSON, spaced),
    "repeated fields below a long name": ("POST", CONFIGMAPS, STRICT, JSON, twice),
    "unknown fields below a long name": ("POST", DEFINITIONS, DRY, JSON, lambda: schema_of({"type": "object", **numbered(1000)})),
    "strictly": ("POST", DEFINITIONS, STRICT, JSON, lambda: schema_of({"type": "object", **numbered(1000)})),
    "wrong schemas below a long name": ("POST", DEFINITIONS, DRY, JSON, wrong_schemas),
    "unknown custom fields below a long name": ("POST", path("longs"), STRICT, JSON, unknown),
    "a YAML key again and again": ("POST", CONFIGMAPS, STRICT, YAML, aliased),
    "YAML that multiplies itself": ("POST", CONFIGMAPS, DRY, YAML, lambda: LAUGHS),
    "a number of a million digits": ("POST", CONFIGMAPS, DRY, YAML, lambda: b"a: " + b"9" * 1_000_000),
    "400000 times one field": ("POST", CONFIGMAPS, STRICT, JSON, lambda: b'{"data":{%s"b":""}}' % (b'"a":"",' * 400_000)),
    "ten thousand owners": ("POST", CONFIGMAPS, DRY, JSON, lambda: orjson.dumps(config_map("own", ownerReferences=OWNERS))),
    "copies of copies": ("PATCH", f"{CONFIGMAPS}/a", DRY, "application/json-patch+json", lambda: orjson.dumps(COPIES)),
    "a strategic patch of 5000 items": ("PATCH", BIG, DRY, "application/strategic-merge-patch+json", lambda: patched(5000)),
    "an apply of 10000 items": ("PATCH", path("longs", "b"), {**DRY, "fieldManager": "a"}, "application/apply-patch+yaml",
                                lambda: orjson.dumps(custom("Long", "b", list=LIST))),
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def objects(server: Fuzzed) -> None:
    item = {"type": "object", "properties": {"name": {"type": "string"}, "a": {"type": "string"}}, "required": ["name"]}
    keyed = {"type": "array", "items": item, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}
    open_map = {"type": "object", "additionalProperties": {"type": "object", "properties": {"n": {"type": "integer"}}}}
    server.must(
        "POST",
        DEFINITIONS,
        definition("Long", version(schema={"type": "object", "properties": {"spec": open_map, "list": keyed}})),
    )
    server.must("POST", CONFIGMAPS, config_map("a"))
    big = deployment("big")
    big["spec"]["template"]["spec"]["containers"][0]["env"] = [{"name": f"E{number}", "value": "v"} for number in range(5000)]
    server.must("POST", BIG.rpartition("/")[0], big)


@pytest.mark.parametrize("what", ASKED)
def test_a_request_costs_in_proportion(server: Fuzzed, what: str) -> None:
    method, target, query, content_type, body = ASKED[what]
    sent = body()
    Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here
    before, began = megabytes("VmRSS"), time.perf_counter()
    answer = server.ask(method, target, sent, query=query, content_type=content_type)
    assert answer.status in (200, 201, 400, 413, 422), answer.body[:1000]
    assert len(answer.body) < 8 << 20
    assert megabytes("VmHWM") - before < MORE_MEGABYTES_MAX
    assert time.perf_counter() - began < SECONDS_MAX
