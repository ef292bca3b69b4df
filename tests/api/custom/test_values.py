"""Formats, patterns, numbers, junctors and JSONPath."""

from __future__ import annotations

import random
import time
from typing import Any

import pytest

from edgekube.api.custom import checking
from edgekube.api.custom.formats import is_of, is_supported
from edgekube.api.custom.jsonpath import JsonPath
from edgekube.api.custom.schema import compile_schema
from edgekube.api.custom.structural import check_structural
from edgekube.api.objects import Object

FORMATS = [
    ("ipv4", "10.0.0.1", "10.0.0"),
    ("ipv6", "fe80::1", "1.2.3.4"),
    ("cidr", "10.0.0.0/8", "10.0.0.0"),
    ("mac", "00:11:22:aa:bb:cc", "0:1"),
    ("uri", "https://example.com/x", "nothing"),
    ("email", "a@example.com", "a@"),
    ("hostname", "a.example.com", "-a"),
    ("uuid", "c56a4180-65aa-42ec-a945-5fd21dec0538", "c56a"),
    ("uuid4", "c56a4180-65aa-42ec-a945-5fd21dec0538", "c56a4180-65aa-12ec-a945-5fd21dec0538"),
    ("isbn10", "0321751043", "0321751044"),
    ("isbn13", "978-0321751041", "978-0321751042"),
    ("creditcard", "4111-1111-1111-1111", "4111-1111"),
    ("ssn", "123-45-6789", "12-3"),
    ("hexcolor", "#FFF", "#FFFF"),
    ("rgbcolor", "rgb(1,2,3)", "rgb(1,2,300)"),
    ("byte", "YWI=", "YWI"),
    ("date", "2020-02-29", "2021-02-29"),
    ("date-time", "2014-12-15T19:30:20.000Z", "2014-12-15"),
    ("duration", "1h30m", "soon"),
    ("duration", "22 ns", "22 parsecs"),
    ("bsonobjectid", "507f1f77bcf86cd799439011", "507f"),
    ("k8s-short-name", "web-1", "Web"),
    ("k8s-long-name", "web.example.com", "web..com"),
    ("password", "anything", None),
]


@pytest.mark.parametrize(("name", "good", "bad"), FORMATS, ids=[f"{name}-{good}" for name, good, _ in FORMATS])
def test_formats(name: str, good: str, bad: str | None) -> None:
    assert is_supported(("string",), name)
    assert is_of(name, good)
    assert bad is None or not is_of(name, bad)


def _judged(schema: Object, value: Any) -> list[str]:
    return [f"{cause.field}: {cause.message}" for cause in checking.check(compile_schema(schema), value)]


def _of_text(value: str, pattern: str) -> list[str]:
    return _judged({"type": "object", "properties": {"s": {"type": "string", "pattern": pattern}}}, {"s": value})


def test_patterns() -> None:
    assert _of_text("abc", "b") == [], "anywhere in the text"
    assert _of_text("abc", "^b") == ["s: Invalid value: \"abc\": s in body should match '^b'"]
    started = time.perf_counter()
    assert len(_of_text("a" * 20_000 + "!", "^(a+)+$")) == 1
    assert time.perf_counter() - started < 5
    states = "(?:a|b)*a(?:a|b){900}c"
    [told] = _of_text("".join(random.Random(1).choices("ab", k=20_000)), states)
    assert told.endswith(f"'{states}, but pattern is invalid: regular expression needs too many steps for this text'")
    [cause] = check_structural({"type": "object", "properties": {"s": {"type": "string", "pattern": "[a"}}}, "schema")
    wrong = "must be a valid regular expression, but isn't: error parsing regexp: missing closing ]: `[a`"
    assert (cause.field, cause.message) == ("schema.properties[s].pattern", f'Invalid value: "[a": {wrong}')


def test_junctors_say_what_came_nearest() -> None:
    either = {"anyOf": [{"required": ["a"]}, {"required": ["b"]}]}
    schema = {"type": "object", "properties": {"spec": {"type": "object", **either}}}
    assert _judged(schema, {"spec": {"b": 1}}) == []
    assert _judged(schema, {"spec": {}}) == [
        '<nil>: Invalid value: "": "spec" must validate at least one schema (anyOf)',
        "spec.a: Required value",
    ]
    one = {"type": "object", "properties": {"spec": {"type": "object", "oneOf": either["anyOf"]}}}
    assert _judged(one, {"spec": {"a": 1, "b": 2}}) == [
        '<nil>: Invalid value: "": "spec" must validate one and only one schema (oneOf). Found 2 valid alternatives'
    ]
    none = {"type": "object", "properties": {"spec": {"type": "object", "not": {"required": ["a"]}}}}
    assert _judged(none, {"spec": {"a": 1}}) == ['<nil>: Invalid value: "": "spec" must not validate the schema (not)']
    every = {"type": "object", "properties": {"spec": {"type": "integer", "allOf": [{"minimum": 1}, {"maximum": 3}]}}}
    assert _judged(every, {"spec": 5}) == [
        "spec: Invalid value: 5: spec in body should be less than or equal to 3",
        '<nil>: Invalid value: "": "spec" must validate all the schemas (allOf)',
    ]


def test_numbers() -> None:
    def of(**schema: Any) -> Object:
        return {"type": "object", "properties": {"n": schema}}

    assert _judged(of(type="integer"), {"n": 1.0}) == []
    assert _judged(of(type="integer"), {"n": 1.5}) == ['n: Invalid value: "number": n in body must be of type integer: "number"']
    assert _judged(of(type="number"), {"n": 1}) == []
    assert _judged(of(type="integer"), {"n": True}) != []
    assert _judged(of(type="integer", minimum=3, exclusiveMinimum=True), {"n": 3}) == [
        "n: Invalid value: 3: n in body should be greater than 3"
    ]
    assert _judged(of(type="integer", multipleOf=2), {"n": 3}) == ["n: Invalid value: 3: n in body should be a multiple of 2"]
    assert _judged(of(type="integer", format="int32"), {"n": 1 << 31}) == [
        '<nil>: Invalid value: "": Checked value must be of type integer with format int32 in n'
    ]
    assert _judged(of(type="string", format="ipv4"), {"n": "x"}) == ['n: Invalid value: "x": n in body must be of type ipv4: "x"']
    assert _judged(of(type="string", nullable=True), {"n": None}) == []
    assert _judged(of(type="string"), {"n": None}) == ['n: Invalid value: "null": n in body must be of type string: "null"']


PATHS = [
    (".a.b", [1]), (".list[0].n", [10]), (".list[-1].n", [30]), (".list[0:2].n", [10, 20]), (".list[*].n", [10, 20, 30]),
    ("['a']['b']", [1]), (".list[?(@.name==\"y\")].n", [20]), (".list[?(@.n>10)].name", ["y", "z"]), ("..n", [10, 20, 30]),
    (".list[0,2].n", [10, 30]), (".dotted\\.key", ["d"]), (".none.at.all", []), (".list[?(@.extra)].n", [30]),
]  # fmt: skip


@pytest.mark.parametrize(("path", "found"), PATHS, ids=[path for path, _ in PATHS])
def test_json_paths(path: str, found: list[Any]) -> None:
    rows = [{"name": "x", "n": 10}, {"name": "y", "n": 20}, {"name": "z", "n": 30, "extra": True}]
    assert JsonPath(path).find({"a": {"b": 1}, "list": rows, "dotted.key": "d"}) == found


@pytest.mark.parametrize("path", [".a[", ".a[x]", "a", ".a[::0]"])
def test_what_is_no_json_path(path: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        JsonPath(path)
