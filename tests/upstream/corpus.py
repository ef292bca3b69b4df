"""Objects to ask about, and what is made of them.

Enters: samples of every kind (tests.server.samples), richer ones (bases/*.yaml), manifests of Kubernetes' own tree.
Leaves: objects; bodies that differ from an object in one place each.
Holds: the same in each run. Pure but for reading files.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

import yaml

from edgekube.api import schemas
from edgekube.api.kinds import BUILT_IN, Kind
from tests.server.samples import STORED, sample_of

BASES: Final = Path(__file__).parent / "bases"
_BY_TYPE: Final = {(kind.api_version, kind.kind): kind for kind in BUILT_IN}
#: In place of a string, of a number, of anything.
_STRINGS: Final = ("", "-Bad_Value!", "a" * 300, "a", "b.c/d", "10.0.0.1")
#: In place of an address, or of a range of them.
_ADDRESSES: Final = ("010.0.0.1", "::ffff:10.0.0.1", "fd00:0::1", "127.0.0.1", "10.1.2.3/8", "10.0.0.0/08", "fd00:0::/16")
_ADDRESS: Final = re.compile(r"[0-9a-f.]*[.:][0-9a-f.:]+(/[0-9]+)?")
#: By the format of a string.
_SOME: Final = {
    "byte": "YQ==",
    "date-time": "2026-01-01T00:00:00Z",
    "micro-time": "2026-01-01T00:00:00.000000Z",
    "quantity": "1",
    "int-or-string": 1,
}
_NUMBERS: Final = (-1, 0, 1, 70000, 2**31, 1.5)
_SAYS_WHAT_IT_IS: Final = ("apiVersion", "kind")


def kind_of(obj: dict[str, Any]) -> Kind | None:
    return _BY_TYPE.get((str(obj.get("apiVersion")), str(obj.get("kind"))))


def samples() -> Iterator[dict[str, Any]]:
    for kind in STORED:
        yield sample_of(kind).made(kind)


def bases() -> Iterator[dict[str, Any]]:
    for path in sorted(BASES.glob("*.yaml")):
        yield from objects_in(path)


def objects_in(path: Path) -> Iterator[dict[str, Any]]:
    """Of one manifest; nothing of what is none."""
    try:
        documents = list(yaml.safe_load_all(path.read_text()))
    except (yaml.YAMLError, UnicodeDecodeError):
        return
    for document in documents:
        if isinstance(document, dict) and document.get("kind") == "List":
            yield from (each for each in document.get("items") or () if isinstance(each, dict))
        elif isinstance(document, dict) and "apiVersion" in document:
            yield json.loads(json.dumps(document, default=str))


def upstreams_manifests(source: Path) -> Iterator[dict[str, Any]]:
    """``source``: the module k8s.io/kubernetes."""
    for folder in ("hack/testdata", "test/fixtures", "test/e2e/testing-manifests", "cluster/addons", "test/conformance"):
        for path in sorted([*(source / folder).rglob("*.yaml"), *(source / folder).rglob("*.json")]):
            yield from objects_in(path)


def mutations(obj: dict[str, Any], *others: dict[str, Any]) -> Iterator[tuple[str, list[Any]]]:
    """(what was done, the bodies), for each place of the object. ``others``: objects of the same shape, changed alike."""
    for where, value in list(_places(obj, ())):
        if where[:1] in {(each,) for each in _SAYS_WHAT_IT_IS}:
            continue
        for what, changed in _instead(value):
            yield from _alike(f"{_told(where)} {what}", partial(_with, where=where, value=changed), obj, *others)
        if where:
            yield from _alike(f"{_told(where)} left out", partial(_without, where=where), obj, *others)
        if isinstance(value, dict):
            more = {**value, "bogusField": 1}
            what = f"{_told(where)} with an unknown field"
            yield from _alike(what, partial(_with, where=where, value=more), obj, *others)


def _alike(what: str, change: Callable[[Any], Any], *objects: Any) -> Iterator[tuple[str, list[Any]]]:
    """Nothing, where one of them has no such place."""
    with suppress(KeyError, IndexError, TypeError):
        yield what, [change(each) for each in objects]


def additions(kind: Kind, obj: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """(what was done, the body): each field added that a struct of the object has not, with a value of its type."""
    name = schemas.name_of(kind.api_version, kind.kind)
    for where, value, node in _structs(obj, (), schemas.Node(ref=name or "")):
        for key, site in (node.properties or {}).items():
            if key not in value and (*where, key)[:1] not in {("status",), ("apiVersion",), ("kind",)}:
                yield f"{_told((*where, key))} added", _with(obj, (*where, key), _some(site))


def _structs(
    value: Any, where: tuple[str | int, ...], node: schemas.Node
) -> Iterator[tuple[tuple[str | int, ...], dict[str, Any], schemas.Node]]:
    node = node.resolved()
    if isinstance(value, dict) and node.properties:
        yield where, value, node
        for key, each in value.items():
            if key in node.properties:
                yield from _structs(each, (*where, key), node.properties[key])
    elif isinstance(value, dict) and node.additional is not None:
        for key, each in value.items():
            yield from _structs(each, (*where, key), node.additional)
    elif isinstance(value, list) and node.items is not None:
        for number, each in enumerate(value[:1]):
            yield from _structs(each, (*where, number), node.items)


def _some(site: schemas.Node) -> Any:
    """A value of the type, not a zero one."""
    node = site.resolved()
    match node.type:
        case "array":
            return [_some(node.items)] if node.items is not None else ["x"]
        case "object":
            return {"a": _some(node.additional)} if node.additional is not None else {}
        case "string":
            return _SOME.get(node.format, "x")
    return {"integer": 1, "number": 1.5, "boolean": True}.get(node.type, {})


def _places(value: Any, where: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    yield where, value
    if isinstance(value, dict):
        for key, each in value.items():
            yield from _places(each, (*where, key))
    elif isinstance(value, list):
        for number, each in enumerate(value[:2]):
            yield from _places(each, (*where, number))


def _instead(value: Any) -> Iterator[tuple[str, Any]]:
    yield "null", None
    if isinstance(value, str):
        yield from ((f"= {each[:20]!r}", each) for each in _STRINGS if each != value)
        yield "= 5", 5
        if _ADDRESS.fullmatch(value):
            yield from ((f"= {each!r}", each) for each in _ADDRESSES)
    elif isinstance(value, bool):
        yield f"= {not value}", not value
        yield "= 'x'", "x"
    elif isinstance(value, (int, float)):
        yield from ((f"= {each}", each) for each in _NUMBERS if each != value)
        yield "= 'x'", "x"
    elif isinstance(value, list):
        yield "= []", []
        yield "= {}", {}
        if value:
            yield "first twice", [value[0], *value]
    elif isinstance(value, dict):
        yield "= {}", {}
        yield "= 'x'", "x"


def _told(where: tuple[str | int, ...]) -> str:
    return ".".join(map(str, where)) or "all"


def _with(obj: Any, where: tuple[str | int, ...], value: Any) -> Any:
    if not where:
        return value
    changed = copy.deepcopy(obj)
    at = changed
    for step in where[:-1]:
        at = at[step]
    at[where[-1]] = value
    return changed


def _without(obj: Any, where: tuple[str | int, ...]) -> Any:
    changed = copy.deepcopy(obj)
    at = changed
    for step in where[:-1]:
        at = at[step]
    del at[where[-1]]
    return changed
