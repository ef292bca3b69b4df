"""What each macro stands for: has, all, exists, exists_one, map, filter, with one variable or two, and those of optionals.

Enters: a call that the parser has read: name, target, arguments, the place of its parenthesis.
Leaves: the tree that replaces it, or None when the call is no macro.
Holds: the accumulator is a name that no expression can write. Variables must be plain names.
Source: the CEL language definition, section Macros; cel-go parser/macro.go, ext/comprehensions.go (shape: cost follows from it).
Next: api.cel.parser.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from edgekube.api.cel.ast import Call, Comprehension, Const, Ident, ListLiteral, MapLiteral, Node, Select

ACCUMULATOR: Final = "@result"
UNUSED: Final = "#unused"


class MacroError(Exception):
    def __init__(self, offset: int, message: str) -> None:
        super().__init__(message)
        self.offset: Final = offset


def expand(name: str, target: Node | None, args: list[Node], offset: int) -> Node | None:
    """The tree that ``target.name(args)`` stands for; None for a plain call. MacroError when its arguments are of the wrong
    form.
    """
    if target is None:
        return _has(args, offset) if name == "has" and len(args) == 1 else None
    macro = _MACROS.get((name, len(args)))
    return macro(target, args, offset) if macro is not None else None


def _has(args: list[Node], offset: int) -> Node:
    field = args[0]
    if not isinstance(field, Select) or field.test_only:
        raise MacroError(field.offset, "invalid argument to has() macro")
    return Select(offset, field.operand, field.name, test_only=True)


def _accumulated(offset: int) -> Ident:
    return Ident(offset, ACCUMULATOR)


def _name(node: Node, message: str = "argument must be a simple name") -> str:
    if not isinstance(node, Ident):
        raise MacroError(node.offset, message)
    return node.name


def _one(target: Node, args: list[Node]) -> tuple[str, str]:
    variable = _name(args[0], "argument must be a simple name")
    if variable in (ACCUMULATOR, "__result__"):
        raise MacroError(args[0].offset, "iteration variable overwrites accumulator variable")
    return variable, ""


def _two(target: Node, args: list[Node]) -> tuple[str, str]:
    first, second = _name(args[0]), _name(args[1])
    if first == second:
        raise MacroError(args[1].offset, f"duplicate variable name: {first}")
    for node, name in zip(args, (first, second), strict=False):
        if name in (ACCUMULATOR, "__result__"):
            raise MacroError(node.offset, "iteration variable overwrites accumulator variable")
    return first, second


_Variables = Callable[[Node, list[Node]], tuple[str, str]]
_Macro = Callable[[Node, list[Node], int], Node]


def _quantifier(variables: _Variables, function: str, start: bool) -> _Macro:
    def macro(target: Node, args: list[Node], at: int) -> Node:
        first, second = variables(target, args)
        going_on: Node = _accumulated(at) if start else Call(at, "!_", None, [_accumulated(at)])
        condition = Call(at, "@not_strictly_false", None, [going_on])
        step = Call(at, function, None, [_accumulated(at), args[-1]])
        return Comprehension(at, target, first, second, ACCUMULATOR, Const(at, start), condition, step, _accumulated(at))

    return macro


def _exists_one(variables: _Variables) -> _Macro:
    def macro(target: Node, args: list[Node], at: int) -> Node:
        first, second = variables(target, args)
        counted = Call(at, "_+_", None, [_accumulated(at), Const(at, 1)])
        step = Call(at, "_?_:_", None, [args[-1], counted, _accumulated(at)])
        result = Call(at, "_==_", None, [_accumulated(at), Const(at, 1)])
        return Comprehension(at, target, first, second, ACCUMULATOR, Const(at, 0), Const(at, True), step, result)

    return macro


def _list(variables: _Variables, has_filter: bool) -> _Macro:
    def macro(target: Node, args: list[Node], at: int) -> Node:
        first, second = variables(target, args)
        step: Node = Call(at, "_+_", None, [_accumulated(at), ListLiteral(at, [args[-1]])])
        if has_filter:
            step = Call(at, "_?_:_", None, [args[-2], step, _accumulated(at)])
        return Comprehension(at, target, first, second, ACCUMULATOR, ListLiteral(at, []), Const(at, True), step, _accumulated(at))

    return macro


def _filter(target: Node, args: list[Node], at: int) -> Node:
    first, second = _one(target, args)
    kept = Call(at, "_+_", None, [_accumulated(at), ListLiteral(at, [Ident(args[0].offset, first)])])
    step = Call(at, "_?_:_", None, [args[1], kept, _accumulated(at)])
    return Comprehension(at, target, first, second, ACCUMULATOR, ListLiteral(at, []), Const(at, True), step, _accumulated(at))


def _map_of(has_filter: bool, whole_entry: bool) -> _Macro:
    def macro(target: Node, args: list[Node], at: int) -> Node:
        first, second = _two(target, args)
        inserted: list[Node] = [_accumulated(at), args[-1]] if whole_entry else [_accumulated(at), Ident(at, first), args[-1]]
        step: Node = Call(at, "cel.@mapInsert", None, inserted)
        if has_filter:
            step = Call(at, "_?_:_", None, [args[-2], step, _accumulated(at)])
        return Comprehension(at, target, first, second, ACCUMULATOR, MapLiteral(at, []), Const(at, True), step, _accumulated(at))

    return macro


def _opt_map(name: str) -> _Macro:
    def macro(target: Node, args: list[Node], at: int) -> Node:
        variable = _name(args[0], f"{name}() variable name must be a simple identifier")
        value = Call(at, "value", target, [])
        mapped: Node = Comprehension(
            at, ListLiteral(at, []), UNUSED, "", variable, value, Const(at, False), Ident(at, variable), args[1]
        )
        if name == "optMap":
            mapped = Call(at, "optional.of", None, [mapped])
        return Call(at, "_?_:_", None, [Call(at, "hasValue", target, []), mapped, Call(at, "optional.none", None, [])])

    return macro


def _sort_by(target: Node, args: list[Node], at: int) -> Node:
    name = "@__sortBy_input__"
    keys = _list(_one, False)(Ident(at, name), args, at)
    sorted_ = Call(at, "@sortByAssociatedKeys", Ident(at, name), [keys])
    return Comprehension(at, ListLiteral(at, []), UNUSED, "", name, target, Const(at, False), Ident(at, name), sorted_)


_MACROS: Final[dict[tuple[str, int], _Macro]] = {
    ("all", 2): _quantifier(_one, "_&&_", True),
    ("exists", 2): _quantifier(_one, "_||_", False),
    ("exists_one", 2): _exists_one(_one),
    ("map", 2): _list(_one, False),
    ("map", 3): _list(_one, True),
    ("filter", 2): _filter,
    ("all", 3): _quantifier(_two, "_&&_", True),
    ("exists", 3): _quantifier(_two, "_||_", False),
    ("existsOne", 3): _exists_one(_two),
    ("transformList", 3): _list(_two, False),
    ("transformList", 4): _list(_two, True),
    ("transformMap", 3): _map_of(False, False),
    ("transformMap", 4): _map_of(True, False),
    ("transformMapEntry", 3): _map_of(False, True),
    ("transformMapEntry", 4): _map_of(True, True),
    ("sortBy", 2): _sort_by,
    ("optMap", 2): _opt_map("optMap"),
    ("optFlatMap", 2): _opt_map("optFlatMap"),
}
