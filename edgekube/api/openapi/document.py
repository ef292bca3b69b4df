"""Whole documents, in pieces: nobody has to hold one.

Enters: rows of the table of kinds, the schemas of custom ones, what other API servers say of theirs.
Leaves: pieces of JSON: a version 3 document of some rows, or the version 2 document of all; or the latter's pieces for
api.openapi.swagger.
Holds: a document names each type that it refers to, once. Types are decoded, written and forgotten one by one.
Next: server.openapi.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, Final

import orjson

from edgekube.api import schemas
from edgekube.api.kinds import Kind
from edgekube.api.objects import Object
from edgekube.api.openapi import custom, discovery
from edgekube.api.openapi.merging import Foreign, Merging
from edgekube.api.openapi.operations import Below, Operations
from edgekube.api.openapi.types import PREFIX, references, type_schema, with_zeros
from edgekube.version import KUBERNETES_MAJOR, KUBERNETES_MINOR

INFO: Final = {"title": "Kubernetes", "version": f"{KUBERNETES_MAJOR}.{KUBERNETES_MINOR}"}
SECURITY: Final = {
    "BearerToken": {"type": "apiKey", "in": "header", "name": "authorization", "description": "Bearer token authentication"}
}
#: Kinds that are of every group.
_OF_ALL_GROUPS: Final = ("DeleteOptions", "WatchEvent")


class Documents:
    """Makes documents. ``below``: (verbs, body) of a subresource; ``custom_schema``: of a custom row, as published."""

    def __init__(self, below: Callable[[Kind, str], Below], custom_schema: Callable[[Kind], Object | None]) -> None:
        self._below = below
        self._custom_schema = custom_schema

    # --- version 3

    def version_3(self, rows: Iterable[Kind]) -> Iterator[bytes]:
        rows = tuple(rows)
        wanted: set[str] = set()
        yield b'{"openapi":"3.0.0","info":' + orjson.dumps(INFO) + b',"paths":{'
        yield from _members(self._paths(rows, wanted))
        yield b'},"components":{"schemas":{'
        yield from _members(self._types(rows, wanted, zeros=True))
        yield b'},"securitySchemes":' + orjson.dumps(SECURITY) + b"}}"

    def _paths(self, rows: Iterable[Kind], wanted: set[str]) -> Iterator[tuple[str, Object]]:
        told: set[tuple[str, str]] = set()
        for kind in rows:
            if not kind.custom and (kind.group, kind.version) not in told:
                told.add((kind.group, kind.version))
                path, item = discovery.of_version(kind.group, kind.version)
                wanted |= _named_in(item)
                yield path, item
            for path, item in Operations(kind, self._below).paths():
                wanted |= _named_in(item)
                yield path, item

    def _types(self, rows: tuple[Kind, ...], wanted: set[str], *, zeros: bool = False) -> Iterator[tuple[str, Object]]:
        """Custom types, then every built-in one that is wanted, or refers to one that is."""
        described = schemas.Described()
        for kind in rows:
            if not kind.custom:
                continue
            schema = self._custom_schema(kind)
            if schema is None:
                continue
            name, list_name = custom.type_name(kind, kind.kind), custom.type_name(kind, kind.list_kind)
            wanted |= _named_in(schema)
            listed = custom.list_schema(kind, described.texts("io.k8s.api.core.v1.ConfigMapList"))
            wanted |= _named_in(listed)
            wanted -= {name, list_name}
            yield name, schema
            yield list_name, listed
        kinds = schemas.kinds_of_definitions()
        groups = sorted({(kind.group, kind.version) for kind in rows})
        done: set[str] = set()
        while wanted - done:
            for name in sorted(wanted - done):
                done.add(name)
                node = described.node(name)
                if node is None:
                    continue
                wanted |= set(references(node))
                shown = type_schema(name, node, described.texts(name), _names(kinds.get(name, ()), groups))
                yield name, with_zeros(shown, node, described.node) if zeros else shown

    # --- version 2

    def version_2(self, rows: Iterable[Kind], others: Sequence[Foreign] = ()) -> Iterator[bytes]:
        paths, definitions = self.version_2_parts(rows, others)
        head = {"swagger": "2.0", "info": INFO}
        yield orjson.dumps(head)[:-1] + b',"paths":{'
        yield from _members(paths)
        yield b'},"definitions":{'
        yield from _members(definitions)
        tail = {"securityDefinitions": SECURITY, "security": [{"BearerToken": []}]}
        yield b"}," + orjson.dumps(tail)[1:]

    def version_2_parts(
        self, rows: Iterable[Kind], others: Sequence[Foreign] = ()
    ) -> tuple[Iterator[tuple[str, Object]], Iterator[tuple[str, Object]]]:
        """(paths, definitions): the first is to be read to its end before the second. ``others``: of other API servers."""
        rows = tuple(rows)
        wanted: set[str] = set()
        custom_names = {custom.type_name(kind, kind.kind) for kind in rows if kind.custom}
        lists = {custom.type_name(kind, kind.list_kind) for kind in rows if kind.custom}
        described = schemas.Described()
        merging = Merging(lambda name: name in custom_names or name in lists or described.node(name) is not None)
        foreign = [merging.add(each) for each in others]

        def paths() -> Iterator[tuple[str, Object]]:
            groups = dict.fromkeys(kind.group for kind in rows if kind.group and not kind.custom)
            for path, item in chain(discovery.of_all(groups), self._paths(rows, wanted)):
                wanted.update(_named_in(item))
                yield path, _item_2(item)
            for each in foreign:
                yield from each.paths.items()

        def definitions() -> Iterator[tuple[str, Object]]:
            for name, schema in self._types(rows, wanted | merging.wanted - custom_names - lists):
                yield name, _schema_2(custom.for_version_2(schema) if name in custom_names else _without_defaults(schema))
            for each in foreign:
                yield from each.types.items()

        return paths(), definitions()


def _members(pairs: Iterable[tuple[str, Object]]) -> Iterator[bytes]:
    comma = b""
    for name, value in pairs:
        yield comma + orjson.dumps(name) + b":" + orjson.dumps(value)
        comma = b","


def _named_in(value: Any) -> set[str]:
    """Types that a piece of a document refers to."""
    found: set[str] = set()
    if isinstance(value, Mapping):
        for key, below in value.items():
            if key == "$ref" and isinstance(below, str):
                found.add(below.removeprefix(PREFIX))
            else:
                found |= _named_in(below)
    elif isinstance(value, list):
        for below in value:
            found |= _named_in(below)
    return found


def _names(kinds: Iterable[tuple[str, str]], groups: list[tuple[str, str]]) -> list[tuple[str, str, str]]:
    found = []
    for api_version, kind in kinds:
        group, _, version = api_version.rpartition("/")
        found.append((group, version, kind))
        if kind in _OF_ALL_GROUPS:
            found += [(group, version, kind) for group, version in groups if (group, version) != ("", "v1")]
    return found


def _without_defaults(schema: Object) -> Object:
    """Upstream's version 2 has no defaults."""
    fields = schema.get("properties")
    if fields is None:
        return schema
    bare = {name: {key: value for key, value in field.items() if key != "default"} for name, field in fields.items()}
    return {**schema, "properties": bare}


def _schema_2(value: Any) -> Any:
    """A schema in the words of version 2."""
    if isinstance(value, list):
        return [_schema_2(each) for each in value]
    if not isinstance(value, dict):
        return value
    made: Object = {}
    for key, below in value.items():
        if key == "allOf" and len(below) == 1 and "$ref" in below[0]:
            made |= _schema_2(below[0])
        elif key == "$ref":
            made[key] = "#/definitions/" + below.removeprefix(PREFIX)
        elif key == "oneOf":
            made["type"] = "string"  # a quantity, a number or a name: what version 2 has for them
        elif key == "properties":
            made[key] = {name: _schema_2(schema) for name, schema in below.items()}
        elif key in ("default", "enum", "example"):
            made[key] = below
        else:
            made[key] = _schema_2(below)
    return made


def _item_2(item: Object) -> Object:
    made: Object = {}
    for method, operation in item.items():
        made[method] = [_parameter_2(each) for each in operation] if method == "parameters" else _operation_2(operation)
    return made


def _parameter_2(parameter: Object) -> Object:
    return {**{key: value for key, value in parameter.items() if key != "schema"}, **parameter["schema"]}


def _operation_2(operation: Object) -> Object:
    made = {key: value for key, value in operation.items() if key not in ("parameters", "requestBody", "responses")}
    parameters = [_parameter_2(each) for each in operation.get("parameters", ())]
    made["consumes"] = ["*/*"]
    body = operation.get("requestBody")
    if body is not None:
        first = next(iter(body["content"].values()))
        if made.get("x-kubernetes-action") == "patch":
            made["consumes"] = list(body["content"])
        parameter: Object = {"name": "body", "in": "body", "schema": _schema_2(first["schema"])}
        if body.get("required"):
            parameter["required"] = True
        parameters.insert(0, parameter)
    if parameters:
        made["parameters"] = parameters
    answers: Object = {}
    for code, answer in operation["responses"].items():
        answers[code] = {"description": answer["description"]}
        for type_, content in answer.get("content", {}).items():
            answers[code]["schema"] = _schema_2(content["schema"])
            made.setdefault("produces", [])
            if type_ not in made["produces"]:
                made["produces"].append(type_)
    if "x-kubernetes-action" not in made:  # discovery takes what it gives
        made["consumes"] = list(made.get("produces", ()))
    made["responses"] = answers
    made["schemes"] = ["https"]
    return made
