"""What a call can cost, from what is known of the sizes of its arguments.

Enters: function, overload, target and arguments with their estimated sizes.
Leaves: the range of the call's own cost, and of its result's size where that has one.
Source: cel-go checker/cost.go (functionCost), ext/lists.go, ext/sets.go; k8s.io/apiserver pkg/cel/library/cost.go.
Next: api.cel.cost.
"""

from __future__ import annotations

from collections.abc import Callable
from math import ceil
from typing import Any, Final, NamedTuple

from edgekube.api.cel.ast import Const, Node
from edgekube.api.cel.ranges import MAX, ONE, UNKNOWN, Range, fixed
from edgekube.api.cel.runtime_cost import AUTHORIZATION_CHECK, REGEX, TRAVERSAL
from edgekube.api.cel.types import Type

_NAME_PATTERN_CHARACTERS: Final = 128
_FORMAT_CHARACTERS: Final = 64
_ADDRESS: Final = Range(4, 16)


class CallEstimate(NamedTuple):
    cost: Range
    size: Range | None = None


class Estimated(NamedTuple):
    """An argument: its node, type, path from a variable (empty for none) and known size."""

    node: Node
    type: Type
    path: tuple[str, ...]
    known: Range | None
    look_up: Callable[[tuple[str, ...]], Range | None]

    @property
    def size(self) -> Range:
        if self.known is not None:
            return self.known
        return self.look_up(self.path) or UNKNOWN

    def literal(self, default: int) -> int:
        """The number that is written there, or the default."""
        value: Any = self.node.value if isinstance(self.node, Const) else None
        return max(value, 0) if type(value) is int else default

    @property
    def element(self) -> tuple[Type, Range] | None:
        """Type and size of the elements, for a list."""
        if not self.type.params:
            return None
        size = self.look_up((*self.path, "@items")) if self.path else None
        return self.type.params[0], size or UNKNOWN


Args = list[Estimated]
_Rule = Callable[[str, "Estimated | None", Args], "CallEstimate | None"]


def call_estimate(function: str, overload: str, target: Estimated | None, args: Args) -> CallEstimate:
    rule = _BY_FUNCTION.get(function) or _BY_OVERLOAD.get(overload)
    found = rule(overload, target, args) if rule is not None else None
    return found if found is not None else CallEstimate(ONE)


def _fixed(cost: int) -> _Rule:
    return lambda overload, target, args: CallEstimate(fixed(cost))


def _first(times: int = 1) -> _Rule:
    """One traversal of the first argument."""
    return lambda overload, target, args: CallEstimate(args[0].size.by(times * TRAVERSAL)) if args else None


def _target_kept(overload: str, target: Estimated | None, args: Args) -> CallEstimate | None:
    return CallEstimate(target.size.by(TRAVERSAL), target.size) if target is not None else None


def _first_kept(overload: str, target: Estimated | None, args: Args) -> CallEstimate | None:
    return CallEstimate(args[0].size.by(TRAVERSAL), args[0].size) if len(args) == 1 else None


def _selector(overload: str, target: Estimated | None, args: Args) -> CallEstimate | None:
    length = args[0].size
    return CallEstimate(fixed(10).plus(length.by(TRAVERSAL)).plus(length.by(0.5).by(50.0)))


def _walk(overload: str, target: Estimated | None, args: Args) -> CallEstimate | None:
    if target is None:
        return None
    element = target.element
    if element is None:
        return CallEstimate(target.size.by(TRAVERSAL))
    each = ONE.plus(element[1].by(TRAVERSAL)) if element[0].kind in ("string", "bytes") else ONE
    return CallEstimate(target.size.times(each))


def _replace(overload: str, target: Estimated | None, args: Args) -> CallEstimate | None:
    if target is None or len(args) < 2:
        return None
    size, old, new = target.size, args[0].size, args[1].size
    most_count, most_kept, least_count, least_kept = 0, 0, 0, 0
    if old.low == 0:
        most_count, most_kept = min(size.high + 1, MAX), size.high
    elif new.high <= old.low:
        most_kept = size.high
    else:
        most_count = ceil(float(size.high) / float(old.low))
    if old.high == 0:
        least_count, least_kept = min(size.low + 1, MAX), size.low
    elif old.high <= new.low:
        least_kept = size.low
    else:
        least_count = ceil(float(size.low) / float(old.high))
    made = Range(least_count, min(most_count, MAX)).times(new).plus(Range(least_kept, most_kept))
    return CallEstimate(size.by(2 * TRAVERSAL), made)


def _split(overload: str, target: Estimated | None, args: Args) -> CallEstimate | None:
    if target is None:
        return None
    most = args[1].literal(target.size.high) if len(args) > 1 else target.size.high
    return CallEstimate(target.size.by(2 * TRAVERSAL), Range(0, most))


def _join(overload: str, target: Estimated | None, args: Args) -> CallEstimate | None:
    if target is None:
        return None
    count, element = target.size, target.element
    made = count.times(element[1]) if element is not None else fixed(0)
    if args:
        made = made.plus(args[0].size.times(Range(max(count.low - 1, 0), max(count.high - 1, 0))))
    return CallEstimate(made.by(TRAVERSAL), made)


def _find(overload: str, target: Estimated | None, args: Args) -> CallEstimate | None:
    if target is None or not args:
        return None
    cost = target.size.plus(ONE).by(TRAVERSAL).times(args[0].size.by(REGEX))
    return CallEstimate(cost, Range(0, target.size.high))


def _ip(overload: str, target: Estimated | None, args: Args) -> CallEstimate | None:
    if overload == "cidr_ip":
        return CallEstimate(ONE)
    return CallEstimate(args[0].size.by(TRAVERSAL)) if args else None


def _contains_ip(overload: str, target: Estimated | None, args: Args) -> CallEstimate | None:
    cost = _ADDRESS.plus(_ADDRESS).by(TRAVERSAL)
    if overload == "cidr_contains_ip_string":
        cost = cost.plus(args[0].size.by(TRAVERSAL))
    return CallEstimate(cost)


def _contains_cidr(overload: str, target: Estimated | None, args: Args) -> CallEstimate | None:
    cost = _ADDRESS.plus(_ADDRESS).by(TRAVERSAL).plus(_ADDRESS.by(TRAVERSAL)).plus(ONE)
    if overload == "cidr_contains_cidr_string":
        cost = cost.plus(args[0].size.by(TRAVERSAL))
    return CallEstimate(cost)


def _validate(overload: str, target: Estimated | None, args: Args) -> CallEstimate | None:
    return CallEstimate(args[0].size.by(TRAVERSAL).by(_NAME_PATTERN_CHARACTERS * REGEX)) if args else None


def _equals(overload: str, target: Estimated | None, args: Args) -> CallEstimate | None:
    left, right = args
    if left.type == right.type and left.type.name in _EQUAL_IN_ONE:
        return CallEstimate(ONE)
    if left.type == right.type and left.type.name == "kubernetes.NamedFormat":
        return CallEstimate(Range(1, _FORMAT_CHARACTERS).by(TRAVERSAL))
    if left.type == right.type and left.type.name == "kubernetes.URL":
        return CallEstimate(Range(1, right.known.high if right.known is not None else 1).by(TRAVERSAL))
    return _compared(overload, target, args)


_EQUAL_IN_ONE: Final = frozenset(
    {"net.IP", "net.CIDR", "kubernetes.Quantity", "kubernetes.Semver"}
    | {f"kubernetes.authorization.{name}" for name in ("Authorizer", "PathCheck", "GroupCheck", "ResourceCheck", "Decision")}
)


def _compared(overload: str, target: Estimated | None, args: Args) -> CallEstimate | None:
    most = min(_known(args[0]).high, _known(args[1]).high)
    return CallEstimate(Range(1 if most > 0 else 0, most).by(TRAVERSAL))


def _known(arg: Estimated) -> Range:
    return arg.known if arg.known is not None else UNKNOWN


def _to_bytes(overload: str, target: Estimated | None, args: Args) -> CallEstimate | None:
    size = _known(args[0])
    return CallEstimate(size.by(TRAVERSAL), Range(size.low, min(size.high * 4, MAX) if size.high < MAX else MAX - 3))


def _to_string(overload: str, target: Estimated | None, args: Args) -> CallEstimate | None:
    size = _known(args[0])
    return CallEstimate(size.by(TRAVERSAL), Range(size.low // 4, size.high))


def _quote(overload: str, target: Estimated | None, args: Args) -> CallEstimate | None:
    size = _known(args[0])
    return CallEstimate(size.by(TRAVERSAL), Range(size.low + 2, (size.high * 2 + 2) & MAX))


def _matches(overload: str, target: Estimated | None, args: Args) -> CallEstimate | None:
    if target is None or len(args) != 1:
        return None
    return CallEstimate(_known(target).plus(ONE).by(TRAVERSAL).times(_known(args[0]).by(REGEX)))


def _contains(overload: str, target: Estimated | None, args: Args) -> CallEstimate | None:
    if target is None:
        return None
    return CallEstimate(_known(target).by(TRAVERSAL).times(_known(args[0]).by(TRAVERSAL)))


def _add(overload: str, target: Estimated | None, args: Args) -> CallEstimate | None:
    made = _known(args[0]).plus(_known(args[1]))
    return CallEstimate(ONE if overload == "add_list" else made.by(TRAVERSAL), made)


def _format(overload: str, target: Estimated | None, args: Args) -> CallEstimate | None:
    return CallEstimate(_known(target).by(TRAVERSAL)) if target is not None else None


def _allocated(factor: float, size: Range) -> CallEstimate:
    return CallEstimate(size.by(factor).plus(ONE).plus(fixed(10)), size)


def _slice(overload: str, target: Estimated | None, args: Args) -> CallEstimate | None:
    if target is None or len(args) != 2:
        return None
    return _allocated(1, fixed((args[1].literal(target.size.high) - args[0].literal(0)) & MAX))


def _range(overload: str, target: Estimated | None, args: Args) -> CallEstimate | None:
    return _allocated(1, fixed(args[0].literal(MAX)))


def _reverse(overload: str, target: Estimated | None, args: Args) -> CallEstimate | None:
    return _allocated(1, target.size) if target is not None else None


def _flatten(overload: str, target: Estimated | None, args: Args) -> CallEstimate | None:
    return _allocated(float(args[0].literal(MAX) if args else 1), target.size) if target is not None else None


def _self_compared(overload: str, target: Estimated | None, args: Args) -> CallEstimate | None:
    sized = args[0] if args else target
    if sized is None:
        return None
    factor = 2.0 if overload == "list_distinct" or not overload.startswith(("list_string", "list_bytes")) else 2.0 + TRAVERSAL
    return _allocated(factor, sized.size.times(sized.size))


def _sets(factor: int) -> _Rule:
    return lambda overload, target, args: CallEstimate(args[0].size.times(args[1].size).by(factor).plus(ONE))


_ONES: Final = (
    "serviceAccount path group resource subresource namespace name allowed reason error errored masked prefixLength family "
    "isUnspecified isLoopback isLinkLocalMulticast isLinkLocalUnicast isGlobalUnicast format.named sign asInteger isInteger "
    "asApproximateFloat isGreaterThan isLessThan compareTo add sub major minor patch getScheme getHostname getHost getPort "
    "getEscapedPath getQuery"
)
_BY_FUNCTION: Final[dict[str, _Rule]] = {
    "check": _fixed(AUTHORIZATION_CHECK),
    **dict.fromkeys(_ONES.split(), _fixed(1)),
    **dict.fromkeys(("fieldSelector", "labelSelector"), _selector),
    **dict.fromkeys(("isSorted", "sum", "max", "min", "indexOf", "lastIndexOf"), _walk),
    **dict.fromkeys(("url", "jsonpatch.escapeKey"), _first_kept),
    **dict.fromkeys(("lowerAscii", "upperAscii", "substring", "trim"), _target_kept),
    "replace": _replace,
    "split": _split,
    "join": _join,
    **dict.fromkeys(("find", "findAll"), _find),
    **dict.fromkeys(("cidr", "isIP", "isCIDR", "quantity", "isQuantity", "semver", "isSemver"), _first()),
    "ip": _ip,
    "ip.isCanonical": _first(2),
    "containsIP": _contains_ip,
    "containsCIDR": _contains_cidr,
    "validate": _validate,
    "_==_": _equals,
    "slice": _slice,
    "lists.range": _range,
    "reverse": _reverse,
    "flatten": _flatten,
    **dict.fromkeys(("distinct", "sort", "@sortByAssociatedKeys"), _self_compared),
    **dict.fromkeys(("sets.contains", "sets.intersects"), _sets(1)),
    "sets.equivalent": _sets(2),
}
_BY_OVERLOAD: Final[dict[str, _Rule]] = {
    "not_equals": _compared,
    **{
        f"{order}_{kind}": _compared
        for order in ("less", "less_equals", "greater", "greater_equals")
        for kind in ("string", "bytes")
    },
    "string_format": _format,
    "string_to_bytes": _to_bytes,
    "bytes_to_string": _to_string,
    "strings_quote": _quote,
    **dict.fromkeys(
        ("starts_with_string", "ends_with_string"), lambda overload, target, args: CallEstimate(_known(args[0]).by(TRAVERSAL))
    ),
    "in_list": lambda overload, target, args: CallEstimate(_known(args[1]).by(1)),
    "matches_string": _matches,
    "contains_string": _contains,
    **dict.fromkeys(("add_string", "add_bytes", "add_list"), _add),
}
