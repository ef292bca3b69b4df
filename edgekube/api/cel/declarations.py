"""Functions as the checker sees them: tables of text into overloads.

Enters: lines such as ``string_size  string.size() -> int`` from the modules of api.cel.library.
Leaves: for each function its overloads, in the order in which they are declared.
Holds: a single capital letter is a type parameter; a dotted name is a type of a library.
Next: api.cel.checker.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from msgspec import Struct, field

from edgekube.api.cel import types
from edgekube.api.cel.types import Type

_NAME: Final = re.compile(r"[A-Za-z_.]+")
_SIMPLE: Final = {
    "dyn": types.DYN,
    "null": types.NULL,
    "bool": types.BOOL,
    "int": types.INT,
    "uint": types.UINT,
    "double": types.DOUBLE,
    "string": types.STRING,
    "bytes": types.BYTES,
    "timestamp": types.TIMESTAMP,
    "duration": types.DURATION,
}


class Overload(Struct, frozen=True):
    name: str
    is_member: bool
    params: tuple[Type, ...]
    result: Type
    #: Names of the type parameters within.
    free: tuple[str, ...]


class Function(Struct):
    name: str
    implementation: Callable[..., Any]
    overloads: list[Overload] = field(default_factory=list)


def parse_type(text: str) -> Type:
    """``map(K, list(int))`` as a type."""
    found, rest = _type(text.strip())
    assert not rest, text
    return found


def _type(text: str) -> tuple[Type, str]:
    match = _NAME.match(text)
    assert match is not None, text
    name, rest = match.group(), text[match.end() :]
    params: list[Type] = []
    if rest.startswith("("):
        rest = rest[1:]
        while not rest.startswith(")"):
            inner, rest = _type(rest.lstrip(", "))
            params.append(inner)
        rest = rest[1:]
    if name in _SIMPLE:
        return _SIMPLE[name], rest
    if name in ("list", "map", "type"):
        return Type(name, params=tuple(params)), rest
    if name == "optional":
        return types.optional_of(params[0]), rest
    if len(name) == 1:
        return types.param(name), rest
    return Type("opaque" if name.startswith("net.") else "struct", name), rest


def _split(text: str) -> list[Type]:
    found: list[Type] = []
    rest = text.strip()
    while rest:
        one, rest = _type(rest.lstrip(", "))
        found.append(one)
    return found


def _free(*of: Type) -> set[str]:
    names: set[str] = set()
    for one in of:
        names |= {one.name} if one.kind == "param" else _free(*one.params)
    return names


def declare(functions: dict[str, Function], table: str, implementations: dict[str, Callable[..., Any]]) -> None:
    """Add a library's functions to those there are; a name may get overloads from several libraries (indexOf)."""
    for line in table.strip().splitlines():
        overload, signature = line.strip().split(None, 1)
        call, result = signature.rsplit(" -> ", 1)
        opening = _opening(call)
        name, params = call[:opening], call[opening + 1 : -1]
        member = re.fullmatch(r"(.+)\.(@?\w+)", name) if name[0] != "@" else None
        # A prefix that is a type is the receiver; another one is part of the name (strings.quote).
        receiver = member.group(1) if member is not None and _is_type(member.group(1)) else None
        if receiver is not None and member is not None:
            name = member.group(2)
            given = [parse_type(receiver), *_split(params)]
        else:
            given = _split(params)
        returned = parse_type(result)
        function = functions.get(name)
        if function is None:
            function = functions[name] = Function(name, implementations[name])
        elif name in implementations and function.implementation is not implementations[name]:
            function.implementation = implementations[name]
        free = tuple(sorted(_free(returned, *given)))
        function.overloads.append(Overload(overload, receiver is not None, tuple(given), returned, free))


def _opening(call: str) -> int:
    """Where the last pair of parentheses opens."""
    depth = 0
    for position in range(len(call) - 1, -1, -1):
        depth += (call[position] == ")") - (call[position] == "(")
        if not depth:
            return position
    raise AssertionError(call)


def _is_type(text: str) -> bool:
    return text in _SIMPLE or text.startswith(("list(", "map(", "optional(", "kubernetes.", "net."))
