"""Decoded values as Go's fmt writes them into upstream's messages.

Enters: a value of JSON types.
Leaves: text; the keys of maps are sorted, as fmt has them.
Holds: pure.
Next: whoever words a message that shows a value: api.strategic_merge, api.managed.validity.
"""

from __future__ import annotations

import json
from typing import Final

TYPES: Final = {
    str: "string", bool: "bool", int: "int64", float: "float64", list: "[]interface {}", dict: "map[string]interface {}",
}  # fmt: skip


def type_of(value: object) -> str:
    return TYPES.get(type(value), "%!s(<nil>)")


def plain(value: object) -> str:
    """%v"""
    match value:
        case None:
            return "<nil>"
        case bool():
            return "true" if value else "false"
        case float():
            return f"{value:g}" if value.is_integer() else repr(value)
        case dict():
            return "map[" + " ".join(f"{key}:{plain(value[key])}" for key in sorted(value)) + "]"
        case list():
            return "[" + " ".join(map(plain, value)) + "]"
    return str(value)


def syntax(value: object) -> str:
    """%#v"""
    match value:
        case None:
            return "interface {}(nil)"
        case str():
            return json.dumps(value, ensure_ascii=False)
        case dict():
            return f"{TYPES[dict]}{{" + ", ".join(f"{syntax(key)}:{syntax(value[key])}" for key in sorted(value)) + "}"
        case list():
            return f"{TYPES[list]}{{" + ", ".join(map(syntax, value)) + "}"
    return plain(value)
