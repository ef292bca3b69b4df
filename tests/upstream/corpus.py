"""Objects to ask about, and what is made of them.

Enters: samples of every kind (tests.server.samples), richer ones (bases/*.yaml), manifests of Kubernetes' own tree.
Leaves: objects; bodies that differ from an object in one place each.
Holds: the same in each run. Pure but for reading files.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import yaml

from edgekube.api.kinds import BUILT_IN, Kind
from tests.server.samples import STORED, sample_of

BASES: Final = Path(__file__).parent / "bases"
_BY_TYPE: Final = {(kind.api_version, kind.kind): kind for kind in BUILT_IN}
#: In place of a string, of a number, of anything.
_STRINGS: Final = ("", "-Bad_Value!", "a" * 300, "a", "b.c/d", "10.0.0.1")
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


def mutations(obj: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """(what was done, the body), for each place of the object."""
    for where, value in list(_places(obj, ())):
        if where[:1] in {(each,) for each in _SAYS_WHAT_IT_IS}:
            continue
        for what, changed in _instead(value):
            yield f"{_told(where)} {what}", _with(obj, where, changed)
        if where:
            yield f"{_told(where)} left out", _without(obj, where)
        if isinstance(value, dict):
            yield f"{_told(where)} with an unknown field", _with(obj, where, {**value, "bogusField": 1})


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
