"""Optional values: optional.of, value, hasValue, and lists of them.

Enters: values, optionals.
Leaves: optionals, values.
Source: cel-go cel/library.go (OptionalTypes), its documentation.
Next: api.cel.environment.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from edgekube.api.cel.errors import EvaluationError, no_such_overload
from edgekube.api.cel.values import NONE, Duration, Optional, Struct, Timestamp

DECLARATIONS: Final = """
optional_of optional.of(V) -> optional(V)
optional_ofNonZeroValue optional.ofNonZeroValue(V) -> optional(V)
optional_none optional.none() -> optional(V)
optional_value optional(V).value() -> V
optional_hasValue optional(V).hasValue() -> bool
optional_or_optional optional(V).or(optional(V)) -> optional(V)
optional_orValue_value optional(V).orValue(V) -> V
select_optional_field _?._(dyn, string) -> optional(V)
list_optindex_optional_int _[?_](list(V), int) -> optional(V)
optional_list_optindex_optional_int _[?_](optional(list(V)), int) -> optional(V)
map_optindex_optional_value _[?_](map(K, V), K) -> optional(V)
optional_map_optindex_optional_value _[?_](optional(map(K, V)), K) -> optional(V)
list_last list(V).last() -> optional(V)
list_first list(V).first() -> optional(V)
optional_unwrap optional.unwrap(list(optional(V))) -> list(V)
optional_unwrapOpt list(optional(V)).unwrapOpt() -> list(V)
"""


def _of(value: Any) -> Optional:
    return Optional(True, value)


def _of_non_zero(value: Any) -> Optional:
    if value is None or isinstance(value, (bool, int, float, str, bytes, list, dict, Struct)):
        return Optional(True, value) if value else NONE
    if isinstance(value, Duration):
        return Optional(True, value) if value.nanoseconds else NONE
    if isinstance(value, Timestamp):
        return Optional(True, value)
    if isinstance(value, Optional):
        return Optional(True, value) if value.present else NONE
    return Optional(True, value)


def _value(value: Any) -> Any:
    if not isinstance(value, Optional):
        raise no_such_overload()
    if not value.present:
        raise EvaluationError("optional.none() dereference")
    return value.value


def _has_value(value: Any) -> bool:
    if not isinstance(value, Optional):
        raise no_such_overload()
    return value.present


def _end(index: int) -> Callable[[Any], Optional]:
    def function(value: Any) -> Optional:
        if not isinstance(value, list):
            raise no_such_overload()
        return Optional(True, value[index]) if value else NONE

    return function


def _unwrapped(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise no_such_overload()
    for one in value:
        if not isinstance(one, Optional):
            raise EvaluationError(f"value {one} is not optional")
    return [one.value for one in value if one.present]


def _planned(*_: Any) -> Any:
    raise AssertionError("the planner makes this itself")


IMPLEMENTATIONS: Final[dict[str, Callable[..., Any]]] = {
    "optional.of": _of,
    "optional.ofNonZeroValue": _of_non_zero,
    "optional.none": lambda: NONE,
    "value": _value,
    "hasValue": _has_value,
    **dict.fromkeys(("or", "orValue", "_?._", "_[?_]"), _planned),
    "last": _end(-1),
    "first": _end(0),
    "optional.unwrap": _unwrapped,
    "unwrapOpt": _unwrapped,
}
