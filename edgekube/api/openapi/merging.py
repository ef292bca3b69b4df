"""Version 2 documents of other API servers, made part of ours.

Enters: a document as another server answers it, and the group versions that are its.
Leaves: what of it is about them: paths and types; later, with names that mean one thing in the whole document.
Holds: types of ours stand for types of the same name there; of two others with one name and another content the second gets a new
name. Parameters that a document shares are written out. What cannot be told in the form that clients of version 2 read is refused
as a whole: nothing of theirs may break ours.
Source: k8s.io/kube-openapi pkg/aggregator; k8s.io/kube-aggregator pkg/controllers/openapi.
Next: api.openapi.document.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Any, Final, NamedTuple

import orjson

from edgekube.api.objects import Object

_TYPES: Final = "#/definitions/"
_PARAMETERS: Final = "#/parameters/"
_OF_KINDS: Final = "x-kubernetes-group-version-kind"
#: Types refer to types: as deep as real ones never go.
_DEPTH_MAX: Final = 64


class Foreign(NamedTuple):
    """Of another server."""

    paths: dict[str, Object]
    types: dict[str, Object]


def part_of(document: Any, group_versions: Collection[tuple[str, str]]) -> Foreign:
    """ValueError: this is no document of version 2, or not one that can be told."""
    from edgekube.api.openapi import swagger

    if not isinstance(document, dict) or document.get("swagger") != "2.0":
        raise ValueError("no OpenAPI document of version 2")
    try:
        parameters = document.get("parameters") or {}
        within = tuple(f"/apis/{group}/{version}/" for group, version in group_versions)
        paths = {
            path: _written_out(item, parameters) for path, item in document["paths"].items() if f"{path}/".startswith(within)
        }
        defined: dict[str, Object] = document.get("definitions") or {}
        wanted = set(_types_in(paths, 0))
        wanted |= {name for name, schema in defined.items() if _is_of(schema, group_versions)}
        types: dict[str, Object] = {}
        while wanted - types.keys():
            for name in wanted - types.keys():
                types[name] = defined.get(name) or {}
                wanted |= set(_types_in(types[name], 0))
        found = Foreign(paths, types)
        for _ in swagger.document(paths.items(), types.items()):
            pass  # what cannot be told shows here
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"a document that cannot be read: {error!r}") from error
    return found


def _is_of(schema: Object, group_versions: Collection[tuple[str, str]]) -> bool:
    return any((each.get("group"), each.get("version")) in group_versions for each in schema.get(_OF_KINDS) or ())


def _written_out(item: Object, parameters: Object) -> Object:
    def each_of(given: list[Object]) -> list[Object]:
        return [parameters[one["$ref"].removeprefix(_PARAMETERS)] if "$ref" in one else one for one in given]

    made: Object = {}
    for method, operation in item.items():
        if method == "parameters":
            made[method] = each_of(operation)
        elif isinstance(operation, dict) and "parameters" in operation:
            made[method] = {**operation, "parameters": each_of(operation["parameters"])}
        else:
            made[method] = operation
    return made


def _types_in(value: Any, depth: int) -> Iterator[str]:
    if depth > _DEPTH_MAX:
        raise ValueError("a document that is too deep")
    if isinstance(value, dict):
        for key, below in value.items():
            if key == "$ref" and isinstance(below, str):
                yield below.removeprefix(_TYPES)
            else:
                yield from _types_in(below, depth + 1)
    elif isinstance(value, list):
        for below in value:
            yield from _types_in(below, depth + 1)


class Merging:
    """Names, while documents are put together one after the other."""

    def __init__(self, is_ours: Callable[[str], bool]) -> None:
        self._is_ours = is_ours
        self._taken: dict[str, int] = {}
        #: Types of ours that others refer to.
        self.wanted: set[str] = set()

    def add(self, foreign: Foreign) -> Foreign:
        """As it stands in the whole document."""
        names: dict[str, str] = {}
        kept: dict[str, Object] = {}
        for name, schema in foreign.types.items():
            if self._is_ours(name):
                self.wanted.add(name)
                continue
            content, chosen, number = hash(orjson.dumps(schema)), name, 2
            while self._taken.get(chosen, content) != content:
                chosen, number = f"{name}_v{number}", number + 1
            if chosen not in self._taken:
                self._taken[chosen] = content
                kept[chosen] = schema
            if chosen != name:
                names[name] = chosen
        if not names:
            return Foreign(foreign.paths, kept)
        return Foreign(_renamed(foreign.paths, names), {name: _renamed(schema, names) for name, schema in kept.items()})


def _renamed(value: Any, names: dict[str, str]) -> Any:
    if isinstance(value, list):
        return [_renamed(each, names) for each in value]
    if not isinstance(value, dict):
        return value
    made = {key: _renamed(below, names) for key, below in value.items()}
    reference = value.get("$ref")
    if isinstance(reference, str) and (name := names.get(reference.removeprefix(_TYPES))) is not None:
        made["$ref"] = _TYPES + name
    return made
