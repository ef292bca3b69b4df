"""The tree of an expression: eight kinds of nodes, macros already replaced by what they stand for.

Enters: nothing; api.cel.parser makes the nodes, api.cel.checker fills ``type``, ``overloads`` and ``reference`` in.
Leaves: nodes that api.cel.plan turns into closures and api.cel.cost weighs.
Holds: ``offset`` is the place in the text that a message about the node points at, the one that cel-go chooses.
Next: api.cel.parser.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeAlias

from edgekube.api.cel.types import DYN, Type


@dataclass(slots=True, eq=False)
class _Place:
    offset: int
    type: Type = field(default=DYN, init=False)


@dataclass(slots=True, eq=False)
class Const(_Place):
    value: Any


@dataclass(slots=True, eq=False)
class Ident(_Place):
    name: str
    #: The constant that the name stands for (the name of a type), when the checker found it to be one.
    reference: Any = field(default=None, init=False)


@dataclass(slots=True, eq=False)
class Select(_Place):
    operand: Node
    name: str
    test_only: bool = False
    #: The declared variable with this dotted name ("" for none): ``a.b`` may be one variable.
    variable: str = field(default="", init=False)
    reference: Any = field(default=None, init=False)


@dataclass(slots=True, eq=False)
class Call(_Place):
    function: str
    target: Node | None
    args: list[Node]
    overloads: tuple[str, ...] = field(default=(), init=False)


@dataclass(slots=True, eq=False)
class ListLiteral(_Place):
    elements: list[Node]
    #: Indices of elements that are written ``?element``: left out when the optional is empty.
    optional: frozenset[int] = frozenset()


@dataclass(slots=True, eq=False)
class Entry:
    offset: int
    key: Node
    value: Node
    optional: bool = False


@dataclass(slots=True, eq=False)
class MapLiteral(_Place):
    entries: list[Entry]


@dataclass(slots=True, eq=False)
class StructField:
    offset: int
    name: str
    value: Node
    optional: bool = False


@dataclass(slots=True, eq=False)
class StructLiteral(_Place):
    name: str
    fields: list[StructField]


@dataclass(slots=True, eq=False)
class Comprehension(_Place):
    """For each element of ``range``: while ``condition``, ``accumulator = step``; then ``result``."""

    range: Node
    variable: str
    second_variable: str
    accumulator: str
    initial: Node
    condition: Node
    step: Node
    result: Node


Node: TypeAlias = Const | Ident | Select | Call | ListLiteral | MapLiteral | StructLiteral | Comprehension


def children(node: Node) -> list[Node]:
    """The nodes right below one."""
    if isinstance(node, Select):
        return [node.operand]
    if isinstance(node, Call):
        return [node.target, *node.args] if node.target is not None else node.args
    if isinstance(node, ListLiteral):
        return node.elements
    if isinstance(node, MapLiteral):
        return [part for entry in node.entries for part in (entry.key, entry.value)]
    if isinstance(node, StructLiteral):
        return [one.value for one in node.fields]
    if isinstance(node, Comprehension):
        return [node.range, node.initial, node.condition, node.step, node.result]
    return []
