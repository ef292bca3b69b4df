"""A checked tree into closures: one Python function a node, made once, run often.

Enters: a tree of api.cel.checker, the functions of the environment.
Leaves: a step that takes a Frame (the variables, the cost so far) and gives a value.
Holds: && and || take an error only when the other side does not decide; cost is counted as cel-go counts it: 1 for a variable, a
    field, an index, 10 and 30 for a new list and map, the rest by api.cel.runtime_cost; constants are made once and cost nothing.
Bound: the frame's limit; CostExceeded ends the evaluation. A list or map costs 10 or 30, so memory is bounded by cost.
Source: cel-go interpreter/planner.go, attributes.go, runtimecost.go.
Next: api.cel.loops (comprehensions), api.cel.access (fields and indices), api.cel.library.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from edgekube import limits
from edgekube.api.cel import access
from edgekube.api.cel.ast import (
    Call,
    Const,
    Ident,
    ListLiteral,
    MapLiteral,
    Node,
    Select,
    StructLiteral,
)
from edgekube.api.cel.declarations import Function
from edgekube.api.cel.errors import CostExceeded, EvaluationError, NoSuchOverload, no_such_overload
from edgekube.api.cel.refusals import refused
from edgekube.api.cel.runtime_cost import cost_of, equality
from edgekube.api.cel.values import Optional, equal

_WITH_PATTERN: Final = frozenset({"matches", "find", "findAll"})
_GROWING: Final = frozenset({"_+_", "split", "findAll", "replace", "join", "format", "flatten"})
_PLAIN_SUMS: Final = frozenset({"add_int64", "add_uint64", "add_double", "add_string"})
_SMALL: Final = 256
_CONVERSIONS: Final = frozenset({"bool", "bytes", "double", "duration", "dyn", "int", "string", "timestamp", "type", "uint"})


class Frame:
    """One evaluation: values of the variables by slot, the cost so far and what it may become."""

    __slots__ = ("cost", "limit", "made", "slots")

    def __init__(self, slots: list[Any], limit: int) -> None:
        self.slots: Final = slots
        self.cost = 0
        self.limit: Final = limit
        #: Elements and characters that functions have made whose cost does not grow with them.
        self.made = 0


class Failed:
    """An error that waits in an accumulator: reading it raises."""

    __slots__ = ("error",)

    def __init__(self, error: EvaluationError) -> None:
        self.error: Final = error


Step = Callable[[Frame], Any]


class Planner:
    """Makes steps. ``variables`` says afterwards which variables are read, and in which slot each one is."""

    def __init__(self, functions: Mapping[str, Function]) -> None:
        self.functions: Final = functions
        self.variables: Final[dict[str, int]] = {}
        self.slot_count = 0
        self.scopes: Final[list[dict[str, int]]] = []
        self.constants: Final[dict[Step, Any]] = {}

    def new_slot(self) -> int:
        self.slot_count += 1
        return self.slot_count - 1

    def constant(self, value: Any) -> Step:
        def step(frame: Frame) -> Any:
            return value

        self.constants[step] = value
        return step

    def plan(self, node: Node, free: bool = False) -> Step:
        """The step of a node. ``free``: a branch of ``?:`` that is a variable is not charged for being one."""
        if isinstance(node, Const):
            return self.constant(node.value)
        if isinstance(node, Ident):
            return self.ident(node, free)
        if isinstance(node, Select):
            return self.select(node, free)
        if isinstance(node, Call):
            return self.call(node, free)
        if isinstance(node, ListLiteral):
            return self.list(node)
        if isinstance(node, MapLiteral):
            return self.map(node)
        if isinstance(node, StructLiteral):
            return self.struct(node)
        from edgekube.api.cel.loops import plan_comprehension

        return plan_comprehension(self, node)

    def slot_of(self, name: str) -> int:
        for scope in reversed(self.scopes):
            if name in scope:
                return scope[name]
        name = name.removeprefix(".")
        if name not in self.variables:
            self.variables[name] = self.new_slot()
        return self.variables[name]

    def ident(self, node: Ident, free: bool) -> Step:
        if node.reference is not None:
            return self.constant(node.reference)
        slot, cost = self.slot_of(node.name), 0 if free else 1

        def step(frame: Frame) -> Any:
            frame.cost += cost
            value = frame.slots[slot]
            if type(value) is Failed:
                raise value.error
            return value

        return step

    # --- fields and indices: a chain of them is charged once for its root, and once for each part ---

    def operand(self, node: Node, free: bool) -> tuple[Step, int]:
        """The step below a field or an index, and what the chain itself costs there."""
        if is_attribute(node):
            return self.plan(node, free), 0
        return self.plan(node), 0 if free else 1

    def select(self, node: Select, free: bool) -> Step:
        operand, cost = self.operand(node.operand, free or node.test_only)
        name, cost = node.name, cost + 1
        pick = access.has_field if node.test_only else access.field

        def step(frame: Frame) -> Any:
            value = operand(frame)
            frame.cost += cost
            if type(value) is dict and not test_only:
                try:
                    return value[name]
                except KeyError:
                    pass
            return pick(value, name)

        test_only = node.test_only
        return step

    def index(self, node: Call, free: bool) -> Step:
        operand, cost = self.operand(node.args[0], free)
        key = self.plan(node.args[1], is_attribute(node.args[1]))
        pick = {"_[_]": access.index, "_[?_]": access.optional_index, "_?._": access.optional_index}[node.function]
        asks = node.function != "_[_]"

        def step(frame: Frame) -> Any:
            value = operand(frame)
            found = pick(value, key(frame))
            # An optional part is charged when it is there.
            frame.cost += cost if asks and not found.present else cost + 1
            return found

        return step

    # --- calls ---

    def call(self, node: Call, free: bool) -> Step:
        name = node.function
        if name in ("_[_]", "_[?_]", "_?._"):
            return self.index(node, free)
        special = _SPECIAL.get(name)
        if special is not None:
            return special(self, node)
        if name in ("or", "orValue") and node.target is not None:
            return self.optional_or(node)
        args = [self.plan(arg) for arg in ([node.target, *node.args] if node.target is not None else node.args)]
        implementation = self.functions[name].implementation
        overload = node.overloads[0] if len(node.overloads) == 1 else ""
        if name in _CONVERSIONS and len(args) == 1 and args[0] in self.constants:
            return self.constant(_folded(name, implementation, self.constants[args[0]]))
        if name in _WITH_PATTERN and args[1] in self.constants:
            _check_pattern(self.constants[args[1]])
        if name == "@in" and overload == "in_list" and args[1] in self.constants:
            return self.in_constant(args)
        step = _called(name, implementation, args, cost_of(name, overload))
        return _counted(step) if name in _GROWING and overload not in _PLAIN_SUMS else step

    def in_constant(self, args: list[Step]) -> Step:
        left, among = args[0], self.constants[args[1]]
        implementation = self.functions["@in"].implementation
        if not among:
            return self.constant(False)
        plain = all(type(one) in (str, int) for one in among)
        # cel-go looks constants up in a set, and then counts nothing for the call.
        cost = (
            0 if all(type(one).__name__ in ("str", "int", "Uint", "float", "bool", "NoneType") for one in among) else len(among)
        )
        strings = frozenset(one for one in among if type(one) is str) if plain else frozenset()

        def step(frame: Frame) -> Any:
            value = left(frame)
            frame.cost += cost
            return True if type(value) is str and value in strings else implementation(value, among)

        return step

    def logical(self, node: Call) -> Step:
        left, right = (self.plan(arg) for arg in node.args)
        decides = node.function == "_||_"

        def step(frame: Frame) -> Any:
            failed: EvaluationError | None = None
            try:
                value = left(frame)
                if value is decides:
                    return value
                if value is not (not decides):
                    failed = no_such_overload()
            except EvaluationError as error:
                failed = error
            if failed is None:
                value = right(frame)
                if value is True or value is False:
                    return value
                raise no_such_overload()
            try:
                if right(frame) is decides:
                    return decides
            except EvaluationError:
                pass
            raise failed

        return step

    def conditional(self, node: Call) -> Step:
        condition = self.plan(node.args[0])
        yes, no = (self.plan(arg, is_attribute(arg)) for arg in node.args[1:])

        def step(frame: Frame) -> Any:
            value = condition(frame)
            if value is True:
                return yes(frame)
            if value is False:
                return no(frame)
            raise no_such_overload()

        return step

    def equals(self, node: Call) -> Step:
        left, right = (self.plan(arg) for arg in node.args)
        wanted = node.function == "_==_"

        def step(frame: Frame) -> Any:
            a, b = left(frame), right(frame)
            if type(a) is int or type(a) is bool:
                frame.cost += 1
            else:
                frame.cost += equality(a, b, wanted)
            if frame.cost > frame.limit:
                raise CostExceeded
            return equal(a, b) is wanted

        return step

    def not_strictly_false(self, node: Call) -> Step:
        inner = self.plan(node.args[0])

        def step(frame: Frame) -> Any:
            frame.cost += 1
            try:
                return inner(frame) is not False
            except EvaluationError:
                return True

        return step

    def optional_or(self, node: Call) -> Step:
        assert node.target is not None
        left, right, whole = self.plan(node.target), self.plan(node.args[0]), node.function == "or"

        def step(frame: Frame) -> Any:
            value = left(frame)
            if not isinstance(value, Optional):
                if whole:
                    raise no_such_overload()
                return value  # cel-go lets what is no optional pass
            if value.present:
                return value if whole else value.value
            other = right(frame)
            if whole and not isinstance(other, Optional):
                raise no_such_overload()
            return other

        return step

    # --- literals ---

    def list(self, node: ListLiteral) -> Step:
        steps = [self.plan(one) for one in node.elements]
        if all(step in self.constants for step in steps) and not node.optional:
            return self.constant([self.constants[step] for step in steps])
        optional = node.optional

        def step(frame: Frame) -> Any:
            made: list[Any] = []
            for position, element in enumerate(steps):
                value = element(frame)
                if position in optional:
                    if not isinstance(value, Optional):
                        raise EvaluationError(f"cannot initialize optional list element from non-optional value {value}")
                    if not value.present:
                        continue
                    value = value.value
                made.append(value)
            frame.cost += 10
            return made

        def plain(frame: Frame) -> Any:
            made = [element(frame) for element in steps]
            frame.cost += 10
            return made

        return step if optional else plain

    def map(self, node: MapLiteral) -> Step:
        steps = [(self.plan(entry.key), self.plan(entry.value), entry.optional) for entry in node.entries]

        def make(frame: Frame) -> dict[Any, Any]:
            made: dict[Any, Any] = {}
            for key_step, value_step, optional in steps:
                key, value = key_step(frame), value_step(frame)
                if optional:
                    given = _optional(value, key)
                    if not given.present:
                        continue
                    value = given.value
                made[access.checked_key(key)] = value
            frame.cost += 30
            return made

        if all(key in self.constants and value in self.constants and not optional for key, value, optional in steps):
            try:
                return self.constant(make(Frame([], 0)))
            except EvaluationError:
                pass
        return make

    def struct(self, node: StructLiteral) -> Step:
        steps = [(one.name, self.plan(one.value), one.optional) for one in node.fields]
        build = node.type.declared.build

        def step(frame: Frame) -> Any:
            made: dict[str, Any] = {}
            for name, value_step, optional in steps:
                value = value_step(frame)
                if optional:
                    given = _optional(value, name)
                    if not given.present:
                        continue
                    value = given.value
                made[name] = value
            frame.cost += 40
            return build(made)

        return step


def is_attribute(node: Node) -> bool:
    """What cel-go resolves as one path: variables, fields, indices, and ``?:`` between such paths."""
    if isinstance(node, Ident):
        return node.reference is None
    return isinstance(node, Select) or (isinstance(node, Call) and node.function in ("_[_]", "_[?_]", "_?._", "_?_:_"))


def _optional(value: Any, name: Any) -> Optional:
    """What stands behind ``?name:`` in a map or a message."""
    if not isinstance(value, Optional):
        raise EvaluationError(f"cannot initialize optional entry '{name}' from non-optional value {value}")
    return value


def _counted(step: Step) -> Step:
    """The step, with the size of what it makes bounded: cel-go's cost does not tell how large a sum of lists is."""

    def counted(frame: Frame) -> Any:
        result = step(frame)
        if isinstance(result, (list, str, bytes)) and len(result) > _SMALL:
            frame.made += len(result)
            if frame.made > limits.CEL_MADE_ELEMENTS_MAX:
                raise CostExceeded
        return result

    return counted


def _check_pattern(pattern: Any) -> None:
    """A constant pattern is compiled once, and is wrong before anything runs."""
    from edgekube.api import patterns

    try:
        patterns.compile_pattern(pattern)
    except patterns.PatternError as error:
        raise EvaluationError(str(error)) from None


def _folded(name: str, implementation: Callable[..., Any], value: Any) -> Any:
    try:
        return implementation(value)
    except NoSuchOverload:
        raise refused(name, (value,)) from None


def _called(
    name: str, implementation: Callable[..., Any], args: list[Step], cost: Callable[[tuple[Any, ...], Any], int] | None
) -> Step:
    if cost is None and len(args) == 1:
        only = args[0]

        def unary(frame: Frame) -> Any:
            value = only(frame)
            frame.cost += 1
            try:
                return implementation(value)
            except NoSuchOverload:
                raise refused(name, (value,)) from None

        return unary
    if cost is None and len(args) == 2:
        left, right = args

        def binary(frame: Frame) -> Any:
            a, b = left(frame), right(frame)
            frame.cost += 1
            try:
                return implementation(a, b)
            except NoSuchOverload:
                raise refused(name, (a, b)) from None

        return binary

    late = getattr(implementation, "cost_needs_result", False)

    def step(frame: Frame) -> Any:
        values = tuple([arg(frame) for arg in args])
        if not late:
            frame.cost += cost(values, None) if cost is not None else 1
            if frame.cost > frame.limit:
                raise CostExceeded
        try:
            result = implementation(*values)
        except NoSuchOverload:
            raise refused(name, values) from None
        if late and cost is not None:
            frame.cost += cost(values, result)
        return result

    return step


_SPECIAL: Final[dict[str, Callable[[Planner, Call], Step]]] = {
    "_&&_": Planner.logical,
    "_||_": Planner.logical,
    "_?_:_": Planner.conditional,
    "_==_": Planner.equals,
    "_!=_": Planner.equals,
    "@not_strictly_false": Planner.not_strictly_false,
}
