"""Lists: order, sums, extremes, positions; slices, sorting, flattening.

Enters: lists.
Leaves: values of theirs, new lists.
Bound: what makes a list is charged for it; lists.range and distinct are bounded by that and by limits.CEL_LIST_ELEMENTS_MAX.
Source: Kubernetes' CEL list library; cel-go ext/lists.go (version 3), their documentation.
Next: api.cel.environment.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cmp_to_key
from itertools import pairwise
from typing import Any, Final

from edgekube import limits
from edgekube.api.cel.errors import EvaluationError, no_such_overload
from edgekube.api.cel.library import strings
from edgekube.api.cel.library.standard import add, compare
from edgekube.api.cel.values import Duration, Uint, equal, hashable

_SUMMED: Final = ("int", "uint", "double", "duration")
_COMPARED: Final = (*_SUMMED, "bool", "string", "bytes", "timestamp")
_GO_NAMES: Final = {"duration": "google.protobuf.Duration", "timestamp": "google.protobuf.Timestamp"}

DECLARATIONS: Final = "\n".join(
    [
        *(f"list_{kind}_is_sorted_bool list({kind}).isSorted() -> bool" for kind in _COMPARED),
        *(f"list_{kind}_sum_{kind} list({kind}).sum() -> {kind}" for kind in _SUMMED),
        *(f"list_{kind}_max_{kind} list({kind}).max() -> {kind}" for kind in _COMPARED),
        *(f"list_{kind}_min_{kind} list({kind}).min() -> {kind}" for kind in _COMPARED),
        "list_a_index_of_int list(A).indexOf(A) -> int",
        "list_a_last_index_of_int list(A).lastIndexOf(A) -> int",
        "list_slice list(A).slice(int, int) -> list(A)",
        "list_flatten list(list(A)).flatten() -> list(A)",
        "list_flatten_int list(dyn).flatten(int) -> list(dyn)",
        *(f"list_{_GO_NAMES.get(kind, kind)}_sort list({kind}).sort() -> list({kind})" for kind in _COMPARED),
        *(
            f"list_{_GO_NAMES.get(kind, kind)}_sortByAssociatedKeys list(A).@sortByAssociatedKeys(list({kind})) -> list(A)"
            for kind in _COMPARED
        ),
        "lists_range lists.range(int) -> list(int)",
        "list_reverse list(A).reverse() -> list(A)",
        "list_distinct list(A).distinct() -> list(A)",
    ]
)


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise no_such_overload()
    return value


def _is_sorted(value: Any) -> bool:
    elements = _list(value)
    return all((compare(a, b) or 0) <= 0 for a, b in pairwise(elements))


def _sum(value: Any) -> Any:
    elements = _list(value)
    if not elements:
        return 0
    total: Any = {Uint: Uint(0), float: 0.0, Duration: Duration(0)}.get(type(elements[0]), 0)
    for one in elements:
        total = add(total, one)
    return total


def _extreme(name: str, sign: int) -> Callable[[Any], Any]:
    def function(value: Any) -> Any:
        elements = _list(value)
        if not elements:
            raise EvaluationError(f"{name} called on empty list")
        best = elements[0]
        for one in elements[1:]:
            if (compare(one, best) or 0) * sign > 0:
                best = one
        return best

    return function


def _index_of(value: Any, *args: Any) -> int:
    if isinstance(value, str):
        return strings.index_of(value, *args)
    return next((index for index, one in enumerate(_list(value)) if equal(one, args[0])), -1)


def _last_index_of(value: Any, *args: Any) -> int:
    if isinstance(value, str):
        return strings.last_index_of(value, *args)
    elements = _list(value)
    return next((index for index in range(len(elements) - 1, -1, -1) if equal(elements[index], args[0])), -1)


def _slice(value: Any, start: Any, end: Any) -> list[Any]:
    elements = _list(value)
    if type(start) is not int or type(end) is not int:
        raise no_such_overload()
    if start < 0 or end < 0:
        raise EvaluationError(f"cannot slice({start}, {end}), negative indexes not supported")
    if start > end:
        raise EvaluationError(f"cannot slice({start}, {end}), start index must be less than or equal to end index")
    if len(elements) < end:
        raise EvaluationError(f"cannot slice({start}, {end}), list is length {len(elements)}")
    return list(elements[start:end])


def _flatten(value: Any, depth: Any = 1) -> list[Any]:
    if type(depth) is not int:
        raise no_such_overload()
    if depth < 0:
        raise EvaluationError("level must be non-negative")
    made: list[Any] = []
    # Not recursive: the depth is the expression's.
    pending = [(iter(_list(value)), depth)]
    while pending:
        elements, left = pending[-1]
        for one in elements:
            if isinstance(one, list) and left:
                pending.append((iter(one), left - 1))
                break
            made.append(one)
        else:
            pending.pop()
    return made


def _sort(value: Any) -> list[Any]:
    return _sort_by(value, value)


def _sort_by(value: Any, keys: Any) -> list[Any]:
    elements, order = _list(value), _list(keys)
    if any(type(one) is not type(order[0]) for one in order):
        raise EvaluationError("list elements must have the same type")
    try:
        by_key = cmp_to_key(lambda a, b: compare(a, b) or 0)
        positions = sorted(range(len(order)), key=lambda position: by_key(order[position]))
    except EvaluationError:
        raise EvaluationError("list elements must be comparable") from None
    return [elements[position] for position in positions]


def _range(count: Any) -> list[int]:
    if type(count) is not int:
        raise no_such_overload()
    if count > limits.CEL_LIST_ELEMENTS_MAX:
        raise EvaluationError(f"lists.range({count}) is larger than {limits.CEL_LIST_ELEMENTS_MAX} elements")
    return list(range(count))


def _distinct(value: Any) -> list[Any]:
    found: dict[Any, Any] = {}
    for one in _list(value):
        found.setdefault(hashable(one), one)
    return list(found.values())


IMPLEMENTATIONS: Final[dict[str, Callable[..., Any]]] = {
    "isSorted": _is_sorted,
    "sum": _sum,
    "max": _extreme("max", 1),
    "min": _extreme("min", -1),
    "indexOf": _index_of,
    "lastIndexOf": _last_index_of,
    "slice": _slice,
    "flatten": _flatten,
    "sort": _sort,
    "@sortByAssociatedKeys": _sort_by,
    "lists.range": _range,
    "reverse": lambda value: list(reversed(_list(value))),
    "distinct": _distinct,
}
for _name in ("slice", "lists.range", "reverse"):
    IMPLEMENTATIONS[_name].cost_needs_result = True  # type: ignore[attr-defined]  # charged for what they make
