"""Drop what a schema does not have a place for.

Enters: a custom object and its schema.
Leaves: the object without unknown fields, changed in place; their paths, sorted.
Holds: apiVersion, kind and metadata of the object itself and of embedded resources are never unknown; below
x-kubernetes-preserve-unknown-fields everything undeclared stays, and what is declared again is pruned by its own schema.
Bound: limits.STRICT_MESSAGES_MAX paths of limits.STRICT_PATH_CHARACTERS_MAX; whatever else is unknown goes without being named.
Source: kubernetes.io, "CustomResourceDefinitions" (field pruning); apiextensions-apiserver pkg/apiserver/schema/pruning.
Next: api.custom.embedded.
"""

from __future__ import annotations

from typing import Any, Final

from edgekube import limits
from edgekube.api.custom.schema import Schema
from edgekube.api.objects import Object

_META: Final = frozenset({"apiVersion", "kind", "metadata"})
_PATH_MAX: Final = limits.STRICT_PATH_CHARACTERS_MAX


def prune(obj: Object, schema: Schema) -> list[str]:
    """The paths of what was dropped, relative to the object."""
    unknown: list[str] = []
    _fields(obj, schema, "", unknown, embedded=True)
    unknown.sort()
    return unknown


def _tell(unknown: list[str], path: str, key: str) -> None:
    if len(unknown) < limits.STRICT_MESSAGES_MAX:
        unknown.append(f"{path}.{key}"[:_PATH_MAX] if path else key[:_PATH_MAX])


def _fields(value: Object, schema: Schema, path: str, unknown: list[str], *, embedded: bool) -> None:
    properties, additional, is_open, keeps = schema.properties, schema.additional, schema.open, schema.preserve
    dropped: list[str] = []
    for key, item in value.items():
        if embedded and key in _META:
            continue
        below = properties.get(key)
        if below is None:
            if not is_open:
                if not keeps:
                    dropped.append(key)
                continue
            below = additional
        kind = type(item)
        if kind is dict or kind is list:
            _prune(item, below, f"{path}.{key}"[:_PATH_MAX] if path else key[:_PATH_MAX], unknown)
    for key in dropped:
        del value[key]
        if path or key not in _META:
            _tell(unknown, path, key)


def _prune(value: Any, schema: Schema | None, path: str, unknown: list[str]) -> None:
    """``value`` is an object or a list; ``schema`` None: nothing is known below."""
    if type(value) is dict:
        if schema is None:
            for key in value:
                _tell(unknown, path, key)
            value.clear()
        else:
            _fields(value, schema, path, unknown, embedded=schema.embedded)
        return
    if schema is not None and schema.preserve:
        _skip(value, schema, path, unknown)
        return
    items = schema.items if schema is not None else None
    for index, item in enumerate(value):
        kind = type(item)
        if kind is dict or kind is list:
            _prune(item, items, f"{path}[{index}]", unknown)


def _skip(value: Any, schema: Schema | None, path: str, unknown: list[str]) -> None:
    """A list below which unknown fields stay."""
    if schema is None:
        return
    if type(value) is dict:
        for key, item in value.items():
            if schema.embedded and key in _META:
                continue
            below = schema.properties.get(key)
            if below is None and not schema.open:
                continue
            if type(item) in (dict, list):
                _prune(item, below if below is not None else schema.additional, f"{path}.{key}"[:_PATH_MAX], unknown)
    elif type(value) is list:
        for index, item in enumerate(value):
            if type(item) in (dict, list):
                _skip(item, schema.items, f"{path}[{index}]", unknown)
