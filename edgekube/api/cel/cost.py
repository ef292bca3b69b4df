"""The least and the most that an expression can cost, before it ever runs.

Enters: a checked tree, the types of the variables with the sizes that their schemas allow.
Leaves: two costs, each at most 2**64 - 1.
Holds: the arithmetic is upstream's, because CRDs are accepted by it: a size that no schema bounds is 2**64 - 1, sums and
    products stop there.
Source: cel-go checker/cost.go; k8s.io/apiserver pkg/cel/library/cost.go.
Next: api.cel.call_cost; validation of CustomResourceDefinitions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from edgekube.api.cel.ast import Call, Comprehension, Const, Ident, ListLiteral, MapLiteral, Node, Select, StructLiteral
from edgekube.api.cel.call_cost import CallEstimate, Estimated, call_estimate
from edgekube.api.cel.macros import ACCUMULATOR, UNUSED
from edgekube.api.cel.ranges import ONE, UNKNOWN, ZERO, Range, fixed
from edgekube.api.cel.types import Type

Path = tuple[str, ...]
_SCALARS: Final = frozenset({"bool", "double", "duration", "int", "timestamp", "uint"})


class _Entries(NamedTuple):
    """Sizes of what is in a list or map."""

    kind: str
    key: Range
    value: Range


class _Local(NamedTuple):
    path: Path
    size: Range | None
    entries: _Entries | None


def estimate(tree: Node, variables: Mapping[str, Type]) -> tuple[int, int]:
    cost = _Estimator(variables).cost(tree)
    return cost.low, cost.high


class _Estimator:
    def __init__(self, variables: Mapping[str, Type]) -> None:
        self.variables: Final = variables
        self.paths: Final[dict[int, Path]] = {}
        self.sizes: Final[dict[int, Range]] = {}
        self.entries: Final[dict[int, _Entries]] = {}
        self.locals: Final[dict[str, list[_Local]]] = {}

    # --- what is known of a node ---

    def local(self, node: Node) -> _Local | None:
        if isinstance(node, Ident):
            stack = self.locals.get(node.name)
            return stack[-1] if stack else None
        return None

    def path(self, node: Node) -> Path:
        local = self.local(node)
        return local.path if local is not None else self.paths.get(id(node), ())

    def size(self, node: Node) -> Range | None:
        """How large the node's value can be; None when nothing says."""
        known = self.sizes.get(id(node))
        if known is not None:
            return known
        if isinstance(node, Const):
            return fixed(len(node.value)) if isinstance(node.value, (str, bytes)) else ONE
        if isinstance(node, ListLiteral):
            return fixed(len(node.elements))
        if isinstance(node, MapLiteral):
            return fixed(len(node.entries))
        declared = self.declared_size(self.path(node))
        if declared is not None:
            self.sizes[id(node)] = declared
            return declared
        if _is_scalar(node.type):
            return ONE
        local = self.local(node)
        return local.size if local is not None else None

    def size_or_unknown(self, node: Node) -> Range:
        return self.size(node) or UNKNOWN

    def declared_size(self, path: Path) -> Range | None:
        """The size that a schema allows at a path from a variable."""
        if not path or path[0] in (ACCUMULATOR, UNUSED):
            return None
        given = self.variables.get(path[0])
        if given is None or given.declared is None:
            given = self.variables.get("self", given)  # a rule's paths are looked up from its root, whatever they begin with
        declared = given.declared if given is not None else None
        for part in path[1:]:
            if declared is None:
                return None
            if part == "@keys":
                return Range(0, 0) if declared.kind == "map" else None
            inner = declared.element if part in ("@items", "@values") else None
            if inner is None and not part.startswith("@"):
                field = declared.fields.get(part)
                inner = field.type if field is not None else None
            declared = inner.declared if inner is not None else None
        return Range(0, declared.elements_max) if declared is not None else None

    def entry_sizes(self, node: Node) -> _Entries | None:
        known = self.entries.get(id(node))
        if known is not None:
            return known
        local = self.local(node)
        return local.entries if local is not None else None

    # --- scopes ---

    def push(self, name: str, local: _Local) -> None:
        self.locals.setdefault(name, []).append(local)

    def pop(self, name: str) -> None:
        self.locals[name].pop()

    def push_rounds(self, node: Comprehension) -> None:
        over = node.range
        known = self.entry_sizes(over)
        kind = known.kind if known is not None else over.type.kind
        key, value = (known.key, known.value) if known is not None else (None, None)
        path = self.path(over)
        if node.second_variable:
            self.push(node.variable, _Local((*path, "@indices" if kind == "list" else "@keys"), key, None))
            self.push(node.second_variable, _Local((*path, "@items" if kind == "list" else "@values"), value, None))
        elif kind == "list":
            self.push(node.variable, _Local((*path, "@items"), value, None))
        else:
            self.push(node.variable, _Local((*path, "@keys"), key, None))

    # --- costs ---

    def cost(self, node: Node) -> Range:
        if isinstance(node, Const):
            return ZERO
        if isinstance(node, Ident):
            local = self.local(node)
            self.paths[id(node)] = local.path if local is not None else (node.name,)
            return ONE
        if isinstance(node, Select):
            return self.select(node)
        if isinstance(node, Call):
            return self.call(node)
        if isinstance(node, ListLiteral):
            return self.list(node)
        if isinstance(node, MapLiteral):
            return self.map(node)
        if isinstance(node, StructLiteral):
            total = fixed(40)
            for one in node.fields:
                total = total.plus(self.cost(one.value))
            return total
        return self.binding(node) if node.variable == UNUSED else self.loop(node)

    def select(self, node: Select) -> Range:
        below = self.cost(node.operand)
        if node.test_only:
            return below
        self.paths[id(node)] = (*self.path(node.operand), node.name)
        return below.plus(ONE) if node.operand.type.kind in ("map", "struct", "param") else below

    def seen(self, node: Node) -> Estimated:
        path = self.path(node)
        if path and path[0] == ACCUMULATOR:
            path = ()
        return Estimated(node, node.type, path, self.size(node), self.declared_size)

    def call(self, node: Call) -> Range:
        if node.function == "dyn":
            below = self.cost(node.args[0])
            self.copy(node, node.args[0])
            return below.plus(ONE)
        costs = [self.cost(arg) for arg in node.args]
        args = [self.seen(arg) for arg in node.args]
        total, target = ZERO, None
        if node.target is not None:
            total = self.cost(node.target)
            target = self.seen(node.target)
        least, most = None, 0
        result: Range | None = None
        for overload in node.overloads:
            one = self.overload(node, overload, target, args, costs)
            least = one.cost.low if least is None else min(least, one.cost.low)
            most = max(most, one.cost.high)
            if one.size is not None:
                result = one.size if result is None else result.union(one.size)
            if overload in ("index_list", "index_map"):
                known = self.entry_sizes(node.args[0])
                result = known.value if known is not None else None
                inner = "@items" if overload == "index_list" else "@values"
                self.paths[id(node)] = (*self.path(node.args[0]), inner)
            if result is None:
                result = self.size(node)
        if result is not None:
            self.sizes[id(node)] = result
        return total.plus(Range(least or 0, most)) if node.overloads else ZERO

    def overload(
        self, node: Call, overload: str, target: Estimated | None, args: list[Estimated], costs: list[Range]
    ) -> CallEstimate:
        if overload in ("logical_or", "logical_and"):
            return CallEstimate(Range(costs[0].low, costs[0].plus(costs[1]).high), None)
        if overload == "conditional":
            first, second = node.args[1], node.args[2]
            self.merge(node, first, second)
            size = self.size_or_unknown(first).union(self.size_or_unknown(second))
            return CallEstimate(costs[0].plus(costs[1].union(costs[2])), size)
        below = ZERO
        for one in costs:
            below = below.plus(one)
        found = call_estimate(node.function, overload, target, args)
        if overload in ("add_string", "add_bytes", "add_list"):
            self.merge(node, node.args[0], node.args[1])
        return CallEstimate(found.cost.plus(below), found.size)

    def merge(self, node: Node, first: Node, second: Node) -> None:
        a, b = self.entry_sizes(first), self.entry_sizes(second)
        if a is not None and b is not None:
            self.entries[id(node)] = _Entries(a.kind, a.key.union(b.key), a.value.union(b.value))

    def copy(self, node: Node, source: Node) -> None:
        size, entries = self.size(source), self.entry_sizes(source)
        if size is not None:
            self.sizes[id(node)] = size
        if entries is not None:
            self.entries[id(node)] = entries

    def list(self, node: ListLiteral) -> Range:
        total, sizes = fixed(10), []
        for one in node.elements:
            total = total.plus(self.cost(one))
            sizes.append(self.size_or_unknown(one))
        self.entries[id(node)] = _Entries("list", ONE, _union(sizes))
        return total

    def map(self, node: MapLiteral) -> Range:
        total, keys, values = fixed(30), [], []
        for entry in node.entries:
            total = total.plus(self.cost(entry.key)).plus(self.cost(entry.value))
            keys.append(self.size_or_unknown(entry.key))
            values.append(self.size_or_unknown(entry.value))
        self.entries[id(node)] = _Entries("map", _union(keys), _union(values))
        return total

    def loop(self, node: Comprehension) -> Range:
        total = self.cost(node.range).plus(self.cost(node.initial))
        initial = node.initial
        self.push(node.accumulator, _Local(self.path(initial), self.size(initial), self.entry_sizes(initial)))
        self.push_rounds(node)
        each = self.cost(node.condition).plus(self.cost(node.step))
        self.pop(node.variable)
        if node.second_variable:
            self.pop(node.second_variable)
        total = total.plus(self.cost(node.result))
        self.pop(node.accumulator)
        rounds = self.size_or_unknown(node.range)
        if isinstance(initial, Const):
            size = self.size(initial)
            if size is not None:
                self.sizes[id(node)] = size
        elif isinstance(initial, (ListLiteral, MapLiteral)):
            self.sizes[id(node)] = rounds
            entries = self.entry_sizes(node.step)
            if entries is not None:
                self.entries[id(node)] = entries
        return total.plus(rounds.times(each))

    def binding(self, node: Comprehension) -> Range:
        total = self.cost(node.range).plus(self.cost(node.initial))
        initial = node.initial
        self.push(node.accumulator, _Local(self.path(initial), self.size(initial), self.entry_sizes(initial)))
        total = total.plus(self.cost(node.result))
        self.pop(node.accumulator)
        self.copy(node, node.result)
        return total


def _is_scalar(given: Type) -> bool:
    if given.kind == "opaque" and given.name == "optional_type":
        return _is_scalar(given.params[0])
    return given.kind in _SCALARS


def _union(sizes: list[Range]) -> Range:
    found = sizes[0] if sizes else ZERO
    for one in sizes[1:]:
        found = found.union(one)
    return found
