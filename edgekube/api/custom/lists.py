"""Lists that are sets or maps: no item, no key twice.

Enters: a custom object and its schema.
Leaves: causes, one for each item that is there a second time.
Holds: time grows with the object's size; a list within preserved fields has no type and is not looked at.
Source: kubernetes.io, "Server-Side Apply" (x-kubernetes-list-type); apiextensions-apiserver pkg/apiserver/schema/listtype.
Next: api.custom.embedded.
"""

from __future__ import annotations

from typing import Any

import orjson

from edgekube.api.custom.schema import Schema
from edgekube.api.errors import Cause
from edgekube.api.validation import causes
from edgekube.api.validation.fields import gathered


def check_lists(schema: Schema | None, value: Any, path: str = "") -> list[Cause]:
    return gathered(lambda out: _look(schema, value, path, out))


def _look(schema: Schema | None, value: Any, path: str, out: list[Cause]) -> None:
    if schema is None:
        return
    if type(value) is dict:
        for key, item in value.items():
            if type(item) not in (dict, list):
                continue
            below = schema.properties.get(key)
            if below is not None:
                _look(below, item, f"{path}.{key}" if path else key, out)
            elif schema.additional is not None:
                _look(schema.additional, item, f"{path}[{key}]", out)
    elif type(value) is list:
        if schema.list_type == "set":
            out.extend(causes.duplicate(f"{path}[{index}]", value[index]) for index in _repeated(value))
        elif schema.list_type == "map":
            _map(schema, value, path, out)
        if schema.items is not None:
            for index, item in enumerate(value):
                if type(item) in (dict, list):
                    _look(schema.items, item, f"{path}[{index}]", out)


def _map(schema: Schema, value: list[Any], path: str, out: list[Cause]) -> None:
    for index, item in enumerate(value):
        if item is not None and type(item) is not dict:
            out.append(causes.invalid(f"{path}[{index}]", item, "must be an object for an array of list-type map"))
            return
    keys = [{key: item[key] for key in schema.list_keys if key in item} if item else {} for item in value]
    out.extend(causes.duplicate(f"{path}[{index}]", keys[index]) for index in _repeated(keys))


def _repeated(values: list[Any]) -> list[int]:
    """Where each repeated value is there for the second time."""
    seen: dict[bytes, int] = {}
    found: list[int] = []
    for index, value in enumerate(values):
        text = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
        times = seen[text] = seen.get(text, 0) + 1
        if times == 2:
            found.append(index)
    return found
