"""Columns of custom kinds: additionalPrinterColumns, or name and age.

Enters: a version's columns as they are held (compressed JSON), and its objects.
Leaves: an api.tables Table.
Holds: a cell that finds nothing, or something of another type, is empty; text shows objects and lists as JSON.
Bound: limits.CUSTOM_TABLES_HELD_MAX parsed tables.
Source: kubernetes.io, "CustomResourceDefinitions" (additional printer columns); apiextensions customresource/tableconvertor.
Next: api.tables.
"""

from __future__ import annotations

import zlib
from functools import lru_cache
from typing import Any, Final

import orjson

from edgekube import limits
from edgekube.api import times
from edgekube.api.custom.jsonpath import JsonPath
from edgekube.api.custom.numbers import shown
from edgekube.api.objects import Object
from edgekube.api.tables.columns import NAME, Column, Table, name

_AGE: Final[Object] = {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp", "description": (
    "CreationTimestamp is a timestamp representing the server time when this object was created."
)}  # fmt: skip


@lru_cache(maxsize=limits.CUSTOM_TABLES_HELD_MAX)
def table_of(columns: bytes) -> Table:
    given: list[Object] = orjson.loads(zlib.decompress(columns)) if columns else [_AGE]
    paths = [(column["type"], JsonPath(column["jsonPath"])) for column in given]

    def cells(obj: Object, now: float) -> list[Any]:
        return [name(obj), *(_cell(kind, path.find(obj), now) for kind, path in paths)]

    return Table((NAME, *map(_column, given)), cells)


def _column(column: Object) -> Column:
    path = column["jsonPath"]
    return Column(
        name=column["name"],
        type=column["type"],
        description=column.get("description") or f"Custom resource definition column (in JSONPath format): {path}",
        format=column.get("format") or "",
        priority=column.get("priority") or 0,
    )


def _cell(kind: str, found: list[Any], now: float) -> Any:
    if not found:
        return None
    value = found[0]
    is_number = type(value) in (int, float)
    match kind:
        case "string":
            return _text(value)
        case "integer":
            return int(value) if is_number else None
        case "number":
            return float(value) if is_number else None
        case "boolean":
            return value if type(value) is bool else None
        case "date" if isinstance(value, str):
            try:
                times.parse(value)
            except (ValueError, OverflowError):
                return "<invalid>"
            return times.age_since(value, now)
    return None


def _text(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return shown(value)
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
