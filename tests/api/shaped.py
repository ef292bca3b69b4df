"""Objects of the right shape and with arbitrary content, for properties that must hold for any of them."""

from __future__ import annotations

import random
from typing import Any

from edgekube.api import schemas
from edgekube.api.kinds import Kind
from edgekube.api.objects import Object

_TEXTS = (
    "",
    "a",
    "web",
    "Always",
    "None",
    "10.0.0.1",
    "::1",
    "10.0.0.0/8",
    "../x",
    "/x",
    "*",
    "x" * 300,
    "Ä",
    "app=web",
    "v1",
    "http",
)
_QUANTITIES = ("0", "1", "-1", "100m", "64Mi", "1e3")
_DEPTH_MAX = 9


def shaped(kind: Kind, dice: random.Random) -> Object:
    """An object that the strict decoder would let through."""
    value = _value(schemas.definition_of(kind), dice, 0)
    assert isinstance(value, dict)
    value["apiVersion"], value["kind"] = kind.api_version, kind.kind
    return value


def _value(node: schemas.Node | None, dice: random.Random, depth: int) -> Any:
    if node is None:
        return {"any": "thing"}
    node = node.resolved()
    if node.type == "object" or node.properties:
        if depth > _DEPTH_MAX:
            return {}
        if node.properties:
            keep = dice.choice((0.2, 0.5, 0.9)) if depth else 0.95
            return {key: _value(child, dice, depth + 1) for key, child in node.properties.items() if dice.random() < keep}
        if node.additional is not None:
            names = dice.sample(("a", "cpu", "example.com/b", "hugepages-2Mi", "Bad Key"), dice.randrange(3))
            return {key: _value(node.additional, dice, depth + 1) for key in names}
        return {"any": "thing"}
    if node.type == "array":
        return [_value(node.items, dice, depth + 1) for _ in range(dice.randrange(3))] if depth <= _DEPTH_MAX else []
    if node.format == "quantity":
        return dice.choice(_QUANTITIES)
    if node.format == "int-or-string":
        return dice.choice((0, 3, -1, "25%", "http", "200%"))
    if node.format in ("date-time", "micro-time"):
        return "2026-01-02T03:04:05Z" if node.format == "date-time" else "2026-01-02T03:04:05.000006Z"
    if node.format == "byte":
        return dice.choice(("", "YQ==", "e30="))
    if node.type == "integer":
        return dice.choice((0, 1, 2, -1, 80, 65536, 100000))
    if node.type == "number":
        return dice.choice((0.0, 1.5, -2.0))
    if node.type == "boolean":
        return dice.random() < 0.5
    if node.type == "string":
        return dice.choice(node.enum) if node.enum and dice.random() < 0.5 else dice.choice(_TEXTS)
    return dice.choice(({"any": "thing"}, "text", 1, None))
