"""Types of a tree: what each name and each call gives, or why it cannot be.

Enters: a tree of api.cel.parser, the declared variables, functions and object types of an environment.
Leaves: ``type`` of each node, ``overloads`` of each call, names of constants resolved; CompileError with all faults found.
Holds: dyn stands for everything. Literals of lists and maps must be of one type. Namespaced functions (``ip.isCanonical``)
    become plain calls.
Source: the CEL language definition, section Gradual Type Checking; messages of cel-go checker/errors.go.
Next: api.cel.plan.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from edgekube.api.cel import types
from edgekube.api.cel.ast import (
    Call,
    Comprehension,
    Const,
    Ident,
    ListLiteral,
    MapLiteral,
    Node,
    Select,
    StructLiteral,
    children,
)
from edgekube.api.cel.declarations import Function
from edgekube.api.cel.errors import CompileError, Issue
from edgekube.api.cel.literals import literal_issues
from edgekube.api.cel.parser import dotted_name
from edgekube.api.cel.types import (
    BOOL,
    DYN,
    ERROR,
    INT,
    STRING,
    Substitution,
    Type,
    has_param,
    is_dyn,
    is_optional,
    list_of,
    map_of,
    optional_of,
)
from edgekube.api.cel.values import Duration, Timestamp, TypeValue, Uint

_LITERALS: Final[dict[type, Type]] = {
    bool: BOOL,
    int: INT,
    Uint: types.UINT,
    float: types.DOUBLE,
    str: STRING,
    bytes: types.BYTES,
    type(None): types.NULL,
    Duration: types.DURATION,
    Timestamp: types.TIMESTAMP,
}


def check(
    text: str, tree: Node, variables: Mapping[str, Type], functions: Mapping[str, Function], objects: Mapping[str, Type]
) -> Node:
    """The tree, with types; it may be a new node (a qualified name). CompileError when the expression is wrong."""
    checker = _Checker(variables, functions, objects)
    tree = checker.check(tree)
    if checker.issues:
        raise CompileError(text, checker.issues)
    checker.finish(tree)
    issues = literal_issues(tree)
    if issues:
        raise CompileError(text, issues)
    return tree


class _Checker:
    def __init__(self, variables: Mapping[str, Type], functions: Mapping[str, Function], objects: Mapping[str, Type]) -> None:
        self.variables: Final = variables
        self.functions: Final = functions
        self.objects: Final = objects
        self.scopes: list[dict[str, Type]] = []
        self.issues: list[Issue] = []
        self.known: Final = Substitution()
        #: Calls with the same types again: what they came to.
        self.settled: Final[dict[tuple[Any, ...], tuple[tuple[str, ...], Type]]] = {}
        self.fresh = 0

    def report(self, node: Any, message: str) -> Type:
        self.issues.append(Issue(node.offset, message))
        return ERROR

    def undeclared(self, node: Any, name: str) -> Type:
        return self.report(node, f"undeclared reference to '{name}' (in container '')")

    def show(self, given: Type) -> str:
        return str(self.known.resolve(given, free_to_dyn=True))

    def new_param(self) -> Type:
        self.fresh += 1
        return types.param(f"_var{self.fresh - 1}")

    def assignable(self, first: Type, second: Type) -> bool:
        mark = self.known.mark()
        if not self.known.assignable(first, second):
            self.known.rollback(mark)
            return False
        return True

    def finish(self, node: Node) -> None:
        """Types that were still open when a node was met are settled once all is known."""
        pending: list[Node] = [node]
        while pending:
            one = pending.pop()
            one.type = self.known.resolve(one.type, free_to_dyn=True)
            pending.extend(children(one))

    def check(self, node: Node) -> Node:
        if isinstance(node, Select):
            name = dotted_name(node)
            found = self.lookup(name) if name else None
            if found is not None:
                ident = Ident(node.offset, name)
                ident.type, ident.reference = found
                return ident
        node.type = _CHECKS[type(node)](self, node)
        return node

    def lookup(self, name: str) -> tuple[Type, Any] | None:
        """Type of a name, and the constant that it is."""
        name = name.removeprefix(".")
        for scope in reversed(self.scopes):
            if name in scope:
                return scope[name], None
        if name in self.variables:
            return self.variables[name], None
        named = types.NAMED.get(name) or self.objects.get(name)
        if named is not None:
            return types.type_of(named), TypeValue(name)
        if name in ("list", "map", "type", "optional_type"):
            inner = {"list": list_of(DYN), "map": map_of(DYN, DYN), "type": types.TYPE}.get(name, optional_of(DYN))
            return types.type_of(inner), TypeValue(name)
        return None

    def const(self, node: Const) -> Type:
        return _LITERALS[type(node.value)]

    def ident(self, node: Ident) -> Type:
        found = self.lookup(node.name)
        if found is None:
            return self.undeclared(node, node.name)
        node.reference = found[1]
        return found[0]

    def select(self, node: Select) -> Type:
        node.operand = self.check(node.operand)
        result = self.field(node, node.operand.type, node.name, optional=False)
        return BOOL if node.test_only else self.known.resolve(result)

    def field(self, node: Node, operand: Type, name: str, optional: bool) -> Type:
        operand = self.known.resolve(operand)
        was_optional = is_optional(operand)
        target = operand.params[0] if was_optional else operand
        if target.kind == "map":
            result = target.params[1]
        elif target.kind == "struct":
            fields = target.declared.fields if target.declared is not None else {}
            found = fields.get(name)
            result = found.type if found is not None else self.report(node, f"undefined field '{name}'")
        elif target.kind == "param":
            self.assignable(DYN, target)
            result = DYN
        else:
            if not is_dyn(target):
                self.report(node, f"type '{self.show(target)}' does not support field selection")
            result = DYN
        return optional_of(result) if was_optional or optional else result

    def call(self, node: Call) -> Type:
        if node.function == "_?._":
            node.args[0] = self.check(node.args[0])
            node.args[1] = self.check(node.args[1])
            node.overloads = ("select_optional_field",)
            field = node.args[1]
            assert isinstance(field, Const), "the parser made it"
            return self.known.resolve(self.field(node, node.args[0].type, field.value, optional=True))
        node.args = [self.check(arg) for arg in node.args]
        if node.target is not None:
            prefix = dotted_name(node.target)
            qualified = self.functions.get(f"{prefix}.{node.function}") if prefix else None
            if qualified is not None:
                node.target, node.function = None, qualified.name
                return self.resolve(node, qualified)
            node.target = self.check(node.target)
        name = node.function.removeprefix(".")
        function = self.functions.get(name)
        if function is None:
            return self.undeclared(node, name)
        node.function = name
        return self.resolve(node, function)

    def resolve(self, node: Call, function: Function) -> Type:
        given = [arg.type for arg in ([node.target, *node.args] if node.target is not None else node.args)]
        if function.name in ("_&&_", "_||_"):
            return self.logical(node, function)
        key = (function.name, node.target is not None, *given)
        settled = self.settled.get(key)
        if settled is not None:
            node.overloads, known = settled
            return known
        result: Type | None = None
        matching: list[str] = []
        for overload in function.overloads:
            if overload.is_member != (node.target is not None) or len(overload.params) != len(given):
                continue
            params, returned = overload.params, overload.result
            if overload.free:
                fresh = Substitution({name: self.new_param() for name in overload.free})
                params, returned = tuple(map(fresh.resolve, params)), fresh.resolve(returned)
            mark = self.known.mark()
            if not all(self.known.assignable(a, b) for a, b in zip(given, params, strict=True)):
                self.known.rollback(mark)
                continue
            matching.append(overload.name)
            this = self.known.resolve(returned)
            if result is None:
                result = this
            elif not is_dyn(result) and this != result:
                result = DYN
        if result is None:
            shown = [self.show(one) for one in given]
            form = f"{shown[0]}.({', '.join(shown[1:])})" if node.target is not None else f"({', '.join(shown)})"
            return self.report(node, f"found no matching overload for '{function.name}' applied to '{form}'")
        node.overloads = tuple(matching)
        if not has_param(result) and not any(map(has_param, given)):
            self.settled[key] = node.overloads, result
        return result

    def logical(self, node: Call, function: Function) -> Type:
        node.overloads = (function.overloads[0].name,)
        result = BOOL
        for arg in node.args:
            if not self.assignable(arg.type, BOOL):
                result = self.mismatch(arg, BOOL, arg.type)
        return result

    def mismatch(self, node: Any, wanted: Type, found: Type) -> Type:
        return self.report(node, f"expected type '{self.show(wanted)}' but found '{self.show(found)}'")

    def join(self, node: Node, before: Type | None, current: Type) -> Type:
        if before is None:
            return current
        if self.assignable(before, current):
            return types.most_general(before, current)
        # api.cel.literals refuses it, except where values of many types are meant: in format().
        return DYN

    def unwrapped(self, node: Node, optional: bool) -> Type:
        given = node.type
        if not optional:
            return given
        if is_optional(given):
            return given.params[0]
        if not is_dyn(given):
            self.mismatch(node, optional_of(given), given)
        return given

    def list(self, node: ListLiteral) -> Type:
        element: Type | None = None
        for index, one in enumerate(node.elements):
            node.elements[index] = one = self.check(one)
            element = self.join(one, element, self.unwrapped(one, index in node.optional))
        return list_of(element if element is not None else self.new_param())

    def map(self, node: MapLiteral) -> Type:
        key: Type | None = None
        value: Type | None = None
        for entry in node.entries:
            entry.key = self.check(entry.key)
            key = self.join(entry.key, key, entry.key.type)
            entry.value = self.check(entry.value)
            value = self.join(entry.value, value, self.unwrapped(entry.value, entry.optional))
        if key is None or value is None:
            key, value = self.new_param(), self.new_param()
        return map_of(key, value)

    def struct(self, node: StructLiteral) -> Type:
        name = node.name.removeprefix(".")
        made = self.objects.get(name)
        if made is None:
            made = types.NAMED.get(name)
            if made is not None:
                made = self.report(node, f"'{made}' is not a message type")
            elif name in self.variables:
                made = self.report(node, f"'{self.variables[name]}' is not a type")
            else:
                made = self.undeclared(node, name)
        fields = made.declared.fields if made.declared is not None else {}
        for one in node.fields:
            one.value = self.check(one.value)
            if made is ERROR:
                continue
            found = fields.get(one.name)
            if found is None:
                self.report(one, f"undefined field '{one.name}'")
                continue
            given = self.unwrapped(one.value, one.optional)
            if not self.assignable(found.type, given):
                wanted = (
                    f"expected type of field '{one.name}' is '{self.show(found.type)}' but provided type is '{self.show(given)}'"
                )
                self.report(one, wanted)
        return made

    def comprehension(self, node: Comprehension) -> Type:
        node.range, node.initial = self.check(node.range), self.check(node.initial)
        over = self.known.resolve(node.range.type)
        accumulated = node.initial.type
        first, second = DYN, DYN
        if over.kind == "list":
            first, second = (INT, over.params[0]) if node.second_variable else (over.params[0], DYN)
        elif over.kind == "map":
            first, second = over.params
        elif is_dyn(over) or over.kind == "param":
            self.assignable(DYN, over)
        else:
            message = f"expression of type '{self.show(over)}' cannot be range of a comprehension (must be list, map, or dynamic)"
            first = second = self.report(node.range, message)
        self.scopes.append({node.accumulator: accumulated})
        self.scopes.append({node.variable: first} | ({node.second_variable: second} if node.second_variable else {}))
        node.condition = self.check(node.condition)
        self.expect(node.condition, BOOL)
        node.step = self.check(node.step)
        self.expect(node.step, accumulated)
        self.scopes.pop()
        node.result = self.check(node.result)
        self.scopes.pop()
        return self.known.resolve(node.result.type)

    def expect(self, node: Node, wanted: Type) -> None:
        if not self.assignable(wanted, node.type):
            self.mismatch(node, wanted, node.type)


_CHECKS: Final[dict[type, Any]] = {
    Const: _Checker.const,
    Ident: _Checker.ident,
    Select: _Checker.select,
    Call: _Checker.call,
    ListLiteral: _Checker.list,
    MapLiteral: _Checker.map,
    StructLiteral: _Checker.struct,
    Comprehension: _Checker.comprehension,
}
