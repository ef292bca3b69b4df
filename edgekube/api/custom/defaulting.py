"""Defaults of a schema, and nulls that stand where no null may stand.

Enters: a custom object and its schema.
Leaves: the object, changed in place.
Holds: a field that is missing, or null without being nullable, becomes its default; another null
that may not be goes. Defaults are copied, and those below a default are filled in as well.
Source: kubernetes.io, "CustomResourceDefinitions" (defaulting and nullable); apiextensions-apiserver apiserver/schema/defaulting.
Next: api.custom.checking.
"""

from __future__ import annotations

from typing import Any

import orjson

from edgekube.api.custom.schema import Schema
from edgekube.api.objects import Object


def fill(obj: Object, schema: Schema) -> None:
    """First nulls, then defaults."""
    drop_nulls(obj, schema)
    default(obj, schema)


def drop_nulls(value: Any, schema: Schema | None) -> None:
    if type(value) is dict:
        dropped: list[str] = []
        for key, item in value.items():
            below = schema.child(key) if schema is not None else None
            if item is None:
                if below is not None and not below.nullable and below.default is None:
                    dropped.append(key)
            elif below is not None and type(item) in (dict, list):
                drop_nulls(item, below)
        for key in dropped:
            del value[key]
    elif type(value) is list and schema is not None and schema.items is not None:
        for item in value:
            if type(item) in (dict, list):
                drop_nulls(item, schema.items)


def default(value: Any, schema: Schema) -> None:
    if type(value) is dict:
        for key, below in schema.properties.items():
            if below.default is not None and (key not in value or (value[key] is None and not below.nullable)):
                value[key] = _copy(below.default)
        for key, item in value.items():
            below_ = schema.child(key)
            if below_ is None:
                continue
            if item is None and not below_.nullable and below_.default is not None:
                value[key] = item = _copy(below_.default)
            if type(item) in (dict, list):
                default(item, below_)
    elif type(value) is list and schema.items is not None:
        items = schema.items
        for index, item in enumerate(value):
            if item is None and not items.nullable and items.default is not None:
                value[index] = item = _copy(items.default)
            if type(item) in (dict, list):
                default(item, items)


def _copy(value: Any) -> Any:
    return orjson.loads(orjson.dumps(value)) if type(value) in (dict, list) else value
