"""What a call costs when it is made, from the values that it got.

Enters: function, the overload that the checker chose ("" when only the values can tell), arguments, result.
Leaves: cost in CEL units.
Holds: the factors and rounding are upstream's, because rules are written to its limits. 1 for whatever is not listed.
Source: cel-go interpreter/runtimecost.go; k8s.io/apiserver pkg/cel/library/cost.go.
Next: api.cel.plan.
"""

from __future__ import annotations

from collections.abc import Callable
from math import ceil
from typing import Any, Final

from edgekube.api.cel.values import Struct, size

Args = tuple[Any, ...]
CallCost = Callable[[Args, Any], int]

TRAVERSAL: Final = 0.1
REGEX: Final = 0.25
AUTHORIZATION_CHECK: Final = 350_000


def cost_of(function: str, overload: str) -> CallCost | None:
    """How to compute the cost of a call; None means 1, whatever the values."""
    found = _BY_FUNCTION.get(function)
    if found is not None:
        return found(overload)
    return _BY_OVERLOAD.get(overload)


def traversal(length: int, times: int = 1) -> int:
    return ceil(length * TRAVERSAL) if times == 1 else ceil(float(length) * times * TRAVERSAL)


def regex(text_length: int, pattern_length: int) -> int:
    return ceil((1.0 + text_length) * TRAVERSAL) * ceil(pattern_length * REGEX)


def equality(left: Any, right: Any, is_equals: bool) -> int:
    if is_equals and getattr(left, "equality_cost_is_one", False):
        return 1
    return ceil(min(size(left), size(right)) * TRAVERSAL)


def _walk(value: Any) -> int:
    """The cost of looking at all of a value, however deep."""
    if isinstance(value, str):
        return int(len(value.encode()) * TRAVERSAL)
    if isinstance(value, bytes):
        return int(len(value) * TRAVERSAL)
    if isinstance(value, list):
        return sum(map(_walk, value))
    if isinstance(value, (dict, Struct)):
        return sum(_walk(key) + _walk(value.get(key)) for key in value)
    return 1


def selector_cost(length: int) -> int:
    """Parsing a selector: a list of requirements, a struct and a list each."""
    return 10 + ceil(length * TRAVERSAL) + ceil(ceil(length * 0.5) * 50.0)


def _first(times: int = 1) -> CallCost:
    return lambda args, result: traversal(size(args[0]), times)


def _fixed(cost: int) -> CallCost:
    return lambda args, result: cost


def _contains_ip(overload: str) -> CallCost:
    def cost(args: Args, result: Any) -> int:
        own = size(args[0])
        return ceil((own + own) * TRAVERSAL) + (traversal(size(args[1])) if overload == "cidr_contains_ip_string" else 0)

    return cost


def _contains_cidr(overload: str) -> CallCost:
    def cost(args: Args, result: Any) -> int:
        own = size(args[0])
        base = ceil((own + own) * TRAVERSAL) + ceil(own * TRAVERSAL) + 1
        return base + (traversal(size(args[1])) if overload == "cidr_contains_cidr_string" else 0)

    return cost


def _validate(args: Args, result: Any) -> int:
    return regex(size(args[1]), args[0].pattern_characters_max)


def _always(cost: CallCost) -> Callable[[str], CallCost]:
    return lambda overload: cost


def _allocated(factor: float, count: int) -> int:
    """A call that makes a list."""
    return int(count * factor) + 1 + 10


def _compared(elements: Any) -> int:
    """A list whose elements are compared with each other."""
    count = size(elements)
    factor = 2.0 + (TRAVERSAL if count and isinstance(elements[0], (str, bytes)) else 0)
    return _allocated(factor, count * count if count else 0)


def _flatten(args: Args, result: Any) -> int:
    return _allocated(float(args[1]) if len(args) == 2 else 1.0, size(args[0]))


def _sets(factor: int) -> Callable[[str], CallCost]:
    return _always(lambda args, result: 1 + size(args[0]) * size(args[1]) * factor)


_BY_FUNCTION: Final[dict[str, Callable[[str], CallCost]]] = {
    "check": _always(_fixed(AUTHORIZATION_CHECK)),
    **dict.fromkeys(("fieldSelector", "labelSelector"), _always(lambda args, result: selector_cost(size(args[1])))),
    **dict.fromkeys(("isSorted", "sum", "max", "min", "indexOf", "lastIndexOf"), _always(lambda args, result: _walk(args[0]))),
    **dict.fromkeys(("url", "lowerAscii", "upperAscii", "substring", "trim", "jsonpatch.escapeKey"), _always(_first())),
    **dict.fromkeys(("replace", "split"), _always(_first(2))),
    "join": _always(lambda args, result: traversal(size(result), 2)),
    **dict.fromkeys(("find", "findAll"), _always(lambda args, result: regex(size(args[0]), size(args[1])))),
    **dict.fromkeys(("cidr", "isIP", "isCIDR", "quantity", "isQuantity", "semver", "isSemver"), _always(_first())),
    "ip": lambda overload: _fixed(1) if overload == "cidr_ip" else _first(),
    "ip.isCanonical": _always(_first(2)),
    "containsIP": _contains_ip,
    "containsCIDR": _contains_cidr,
    "validate": _always(_validate),
    **dict.fromkeys(("slice", "lists.range", "reverse"), _always(lambda args, result: _allocated(1, size(result)))),
    "flatten": _always(_flatten),
    **dict.fromkeys(("distinct", "sort"), _always(lambda args, result: _compared(args[0]))),
    "@sortByAssociatedKeys": _always(lambda args, result: _compared(args[1])),
    **dict.fromkeys(("sets.contains", "sets.intersects"), _sets(1)),
    "sets.equivalent": _sets(2),
}
_MINIMUM: Final[CallCost] = lambda args, result: ceil(min(size(args[0]), size(args[1])) * TRAVERSAL)  # noqa: E731
ORDERS: Final = ("less", "less_equals", "greater", "greater_equals")
_BY_OVERLOAD: Final[dict[str, CallCost]] = {
    **dict.fromkeys(
        ("starts_with_string", "ends_with_string", "string_to_bytes", "bytes_to_string", "strings_quote", "string_format"),
        _first(),
    ),
    **{
        f"{name}_{kind}": _MINIMUM
        for name in ("less", "less_equals", "greater", "greater_equals")
        for kind in ("string", "bytes")
    },
    **dict.fromkeys(("add_string", "add_bytes"), lambda args, result: ceil((size(args[0]) + size(args[1])) * TRAVERSAL)),
    "in_list": lambda args, result: size(args[1]),
    "matches_string": lambda args, result: regex(size(args[0]), size(args[1])),
    "contains_string": lambda args, result: traversal(size(args[0])) * traversal(size(args[1])),
}
