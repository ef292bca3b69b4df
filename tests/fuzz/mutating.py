"""Bodies that are almost right: an object that the server takes, with some places of it changed.

Enters: an object, its type, and a random source (its seed is what hypothesis chooses).
Leaves: another object; or bytes.
"""

from __future__ import annotations

import random
from copy import deepcopy
from typing import Any

from edgekube.api.objects import Object
from edgekube.api.schemas import Node

ODD: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    1,
    2**31,
    2**63 - 1,
    2**63,
    1.5,
    -0.0,
    1e308,
    "",
    "a",
    "A_b",
    "\0",
    "\r\n",
    "é\u2028\U0001f600",
    " ",
    "../..",
    "a" * 64,
    "a" * 254,
    "1Gi",
    "-5",
    "1e400",
    "100%",
    "-1%",
    "true",
    "null",
    "{}",
    "10.0.0.0/8",
    "::1",
    "2026-01-02T03:04:05Z",
    "!!",
    "a/b/c",
    "%s",
    "$(A)",
    "[",
    "(",
    "(a+)+$",
    "self.x",
    "object.spec.a[0] > 1",
    [],
    {},
    [None],
    [[]],
    [{}],
    {"a": None},
    {"": ""},
    ["a", "a"],
    [1, "a"],
    {"$patch": "delete"},
    {"matchLabels": {"a": "b"}},
    {"name": "a"},
    [{"name": "a"}, {"name": "a"}],
    {"f:a": {}},
    {"apiVersion": "v1", "kind": "x"},
)
_BY_FORMAT: dict[str, tuple[Any, ...]] = {
    "quantity": ("1", "100m", "-1", "1e3", "0", 5, "1e999999999", "9" * 400),
    "int-or-string": (1, "50%", "http", -3, "200%"),
    "date-time": ("2026-01-02T03:04:05Z", "2026-13-41T25:61:61Z", "0000-00-00T00:00:00Z", "9999-12-31T23:59:59+14:00"),
    "micro-time": ("2026-01-02T03:04:05.000001Z", "x"),
    "byte": ("YQ==", "!", "Y"),
}


def valued(node: Node | None, source: random.Random, depth: int = 3) -> Any:
    """Something of the type, mostly."""
    if node is None or source.random() < 0.08:
        return deepcopy(source.choice(ODD))
    node = node.resolved()
    if node.enum and source.random() < 0.8:
        return source.choice(node.enum)
    if node.format in _BY_FORMAT:
        return source.choice(_BY_FORMAT[node.format])
    if node.type == "object":
        if depth == 0:
            return {}
        if node.properties:
            names = [name for name in node.properties if name in node.required or source.random() < 3 / len(node.properties)]
            return {name: valued(node.properties[name], source, depth - 1) for name in names}
        return {source.choice(("a", "b", "app.kubernetes.io/name", "")): valued(node.additional, source, depth - 1)}
    if node.type == "array":
        return [valued(node.items, source, depth - 1) for _ in range(source.randrange(3))] if depth else []
    if node.type in ("integer", "number"):
        return source.choice((0, 1, -1, 80, 65535, 65536, 2**31 - 1, 2**31, 2**63 - 1))
    if node.type == "boolean":
        return source.random() < 0.5
    return source.choice(("a", "web", "default", "", "a.example.com/b", "Always", "10.0.0.1", "x" * 64, "http://a", "*"))


def mutated(sample: Object, node: Node | None, source: random.Random) -> Object:
    """``sample`` with one to four changes, made where it has something and where its type would have."""
    result = deepcopy(sample)
    for _ in range(source.randint(1, 4)):
        _change(result, node, source)
    return result


def _change(at: Any, node: Node | None, source: random.Random) -> None:
    node = node.resolved() if node is not None else None
    if isinstance(at, dict):
        deeper = [key for key, value in at.items() if isinstance(value, dict | list) and value]
        if deeper and source.random() < 0.7:
            key = source.choice(deeper)
            return _change(at[key], ((node.properties or {}).get(key) or node.additional) if node else None, source)
        known = list((node.properties if node else None) or ())
        key = source.choice(known) if known and source.random() < 0.8 else source.choice([*at, "odd", ""])
        place = ((node.properties or {}).get(key) or node.additional) if node else None
        if key in at and source.random() < 0.25:
            del at[key]
        else:
            at[key] = valued(place, source)
    elif isinstance(at, list):
        items = node.items if node else None
        index = source.randrange(len(at))
        if isinstance(at[index], dict | list) and at[index] and source.random() < 0.7:
            return _change(at[index], items, source)
        if source.random() < 0.4:
            at.append(deepcopy(at[index]))
        else:
            at[index] = valued(items, source)
    return None


def bitten(data: bytes, source: random.Random) -> bytes:
    """Some bytes changed, cut off, put in or repeated."""
    result = bytearray(data)
    for _ in range(source.randint(1, 4)):
        if not result:
            break
        at = source.randrange(len(result))
        match source.randrange(5):
            case 0:
                result[at] ^= 1 << source.randrange(8)
            case 1:
                result[at] = source.choice((0, 0x7F, 0x80, 0xFF))
            case 2:
                del result[at:]
            case 3:
                result[at:at] = result[at : at + source.randrange(40)] or b"\xff"
            case _:
                del result[at : at + source.randrange(1, 9)]
    return bytes(result)
