"""The functions that every CEL has: operators, sizes, conversions, and the few of strings.

Enters: values.
Leaves: values; EvaluationError on overflow, division by zero, a value that does not convert.
Source: the CEL language definition, section List of Standard Definitions.
Next: api.cel.environment.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

from edgekube.api.cel.access import contains
from edgekube.api.cel.errors import EvaluationError, conversion_error, no_such_overload
from edgekube.api.cel.library import times
from edgekube.api.cel.library.numbers import double_text
from edgekube.api.cel.values import (
    INT_MAX,
    INT_MIN,
    Duration,
    Struct,
    Timestamp,
    TypeValue,
    Uint,
    checked_int,
    checked_uint,
    concatenated,
    is_number,
    type_name,
)

_COMPARED: Final = (
    "bool int64 int64_double:int:double int64_uint64:int:uint uint64 uint64_double:uint:double uint64_int64:uint:int double "
    "double_int64:double:int double_uint64:double:uint string bytes timestamp duration"
)


def _comparisons() -> str:
    lines = []
    for operator, name in (("<", "less"), ("<=", "less_equals"), (">", "greater"), (">=", "greater_equals")):
        for entry in _COMPARED.split():
            overload, *sides = entry.split(":")
            left, right = sides or [{"int64": "int", "uint64": "uint"}.get(overload, overload)] * 2
            lines.append(f"{name}_{overload} _{operator}_({left}, {right}) -> bool")
    return "\n".join(lines)


def _fields_of_times() -> str:
    lines = []
    for name, overload in times.TIMESTAMP_FIELDS.items():
        lines.append(f"timestamp_to_{overload} timestamp.{name}() -> int")
        suffix = "seconds_tz" if overload == "seconds" else f"{overload}_with_tz"
        lines.append(f"timestamp_to_{suffix} timestamp.{name}(string) -> int")
        if name in times.DURATION_FIELDS:
            lines.append(f"duration_to_{overload} duration.{name}() -> int")
    return "\n".join(lines)


DECLARATIONS: Final = f"""
conditional _?_:_(bool, A, A) -> A
logical_and _&&_(bool, bool) -> bool
logical_or _||_(bool, bool) -> bool
logical_not !_(bool) -> bool
not_strictly_false @not_strictly_false(bool) -> bool
equals _==_(A, A) -> bool
not_equals _!=_(A, A) -> bool
add_bytes _+_(bytes, bytes) -> bytes
add_double _+_(double, double) -> double
add_duration_duration _+_(duration, duration) -> duration
add_duration_timestamp _+_(duration, timestamp) -> timestamp
add_timestamp_duration _+_(timestamp, duration) -> timestamp
add_int64 _+_(int, int) -> int
add_list _+_(list(A), list(A)) -> list(A)
add_string _+_(string, string) -> string
add_uint64 _+_(uint, uint) -> uint
divide_double _/_(double, double) -> double
divide_int64 _/_(int, int) -> int
divide_uint64 _/_(uint, uint) -> uint
modulo_int64 _%_(int, int) -> int
modulo_uint64 _%_(uint, uint) -> uint
multiply_double _*_(double, double) -> double
multiply_int64 _*_(int, int) -> int
multiply_uint64 _*_(uint, uint) -> uint
negate_double -_(double) -> double
negate_int64 -_(int) -> int
subtract_double _-_(double, double) -> double
subtract_duration_duration _-_(duration, duration) -> duration
subtract_int64 _-_(int, int) -> int
subtract_timestamp_duration _-_(timestamp, duration) -> timestamp
subtract_timestamp_timestamp _-_(timestamp, timestamp) -> duration
subtract_uint64 _-_(uint, uint) -> uint
{_comparisons()}
index_list _[_](list(A), int) -> A
index_map _[_](map(A, B), A) -> B
optional_list_index_int _[_](optional(list(A)), int) -> optional(A)
optional_map_index_value _[_](optional(map(A, B)), A) -> optional(B)
in_list @in(A, list(A)) -> bool
in_map @in(A, map(A, B)) -> bool
size_bytes size(bytes) -> int
bytes_size bytes.size() -> int
size_list size(list(A)) -> int
list_size list(A).size() -> int
size_map size(map(A, B)) -> int
map_size map(A, B).size() -> int
size_string size(string) -> int
string_size string.size() -> int
type type(A) -> type(A)
bool_to_bool bool(bool) -> bool
string_to_bool bool(string) -> bool
bytes_to_bytes bytes(bytes) -> bytes
string_to_bytes bytes(string) -> bytes
double_to_double double(double) -> double
int64_to_double double(int) -> double
string_to_double double(string) -> double
uint64_to_double double(uint) -> double
duration_to_duration duration(duration) -> duration
int64_to_duration duration(int) -> duration
string_to_duration duration(string) -> duration
to_dyn dyn(A) -> dyn
int64_to_int64 int(int) -> int
double_to_int64 int(double) -> int
duration_to_int64 int(duration) -> int
string_to_int64 int(string) -> int
timestamp_to_int64 int(timestamp) -> int
uint64_to_int64 int(uint) -> int
string_to_string string(string) -> string
bool_to_string string(bool) -> string
bytes_to_string string(bytes) -> string
double_to_string string(double) -> string
duration_to_string string(duration) -> string
int64_to_string string(int) -> string
timestamp_to_string string(timestamp) -> string
uint64_to_string string(uint) -> string
timestamp_to_timestamp timestamp(timestamp) -> timestamp
int64_to_timestamp timestamp(int) -> timestamp
string_to_timestamp timestamp(string) -> timestamp
uint64_to_uint64 uint(uint) -> uint
double_to_uint64 uint(double) -> uint
int64_to_uint64 uint(int) -> uint
string_to_uint64 uint(string) -> uint
contains_string string.contains(string) -> bool
ends_with_string string.endsWith(string) -> bool
starts_with_string string.startsWith(string) -> bool
matches matches(string, string) -> bool
matches_string string.matches(string) -> bool
{_fields_of_times()}
"""


def _kinds(left: Any, right: Any, *kinds: type) -> bool:
    return type(left) in kinds and type(left) is type(right)


def add(left: Any, right: Any) -> Any:
    kind = type(left)
    if kind is type(right):
        if kind is int:
            return checked_int(left + right)
        if kind is str or kind is bytes:
            return left + right
        if kind is float:
            return left + right
        if kind is Uint:
            return checked_uint(int(left) + int(right))
        if kind is Duration:
            return times.checked_duration(left.nanoseconds + right.nanoseconds)
    if isinstance(left, list) and isinstance(right, list):
        return concatenated(left, right)
    if {kind, type(right)} == {Timestamp, Duration}:
        return times.checked_timestamp(left.nanoseconds + right.nanoseconds)
    raise no_such_overload()


def subtract(left: Any, right: Any) -> Any:
    kind = type(left)
    if kind is type(right):
        if kind is int:
            return checked_int(left - right)
        if kind is float:
            return left - right
        if kind is Uint:
            return checked_uint(int(left) - int(right))
        if kind is Duration or kind is Timestamp:
            return times.checked_duration(left.nanoseconds - right.nanoseconds)
    if kind is Timestamp and type(right) is Duration:
        return times.checked_timestamp(left.nanoseconds - right.nanoseconds)
    raise no_such_overload()


def multiply(left: Any, right: Any) -> Any:
    if _kinds(left, right, int):
        return checked_int(left * right)
    if _kinds(left, right, float):
        return left * right
    if _kinds(left, right, Uint):
        return checked_uint(int(left) * int(right))
    raise no_such_overload()


def divide(left: Any, right: Any) -> Any:
    if _kinds(left, right, float):
        if right:
            return left / right
        return math.nan if not left or math.isnan(left) else math.copysign(math.inf, left) * math.copysign(1.0, right)
    if not _kinds(left, right, int, Uint):
        raise no_such_overload()
    if not right:
        raise EvaluationError("division by zero")
    if type(left) is Uint:
        return Uint(int(left) // int(right))
    quotient = abs(left) // abs(right)
    return checked_int(quotient if (left < 0) == (right < 0) else -quotient)


def modulo(left: Any, right: Any) -> Any:
    if not _kinds(left, right, int, Uint):
        raise no_such_overload()
    if not right:
        raise EvaluationError("modulus by zero")
    if type(left) is Uint:
        return Uint(int(left) % int(right))
    if left == INT_MIN and right == -1:
        raise EvaluationError("integer overflow")
    rest = abs(left) % abs(right)
    return rest if left >= 0 else -rest


def negate(value: Any) -> Any:
    if type(value) is int:
        return checked_int(-value)
    if type(value) is float:
        return -value
    raise no_such_overload()


def logical_not(value: Any) -> Any:
    if value is True or value is False:
        return not value
    raise no_such_overload()


def compare(left: Any, right: Any) -> int | None:
    """-1, 0, 1, or None when one is not a number. EvaluationError when there is no order between the two."""
    if type(left) is type(right) and type(left) in (str, bytes, bool):
        return int(left > right) - int(left < right)
    if is_number(left) and is_number(right):
        return int(left > right) - int(left < right) if left == left and right == right else None
    if _kinds(left, right, Timestamp, Duration):
        return int(left.nanoseconds > right.nanoseconds) - int(left.nanoseconds < right.nanoseconds)
    raise no_such_overload()


def _ordered(decide: Callable[[int], bool]) -> Callable[[Any, Any], bool]:
    def function(left: Any, right: Any) -> bool:
        order = compare(left, right)
        return order is not None and decide(order)

    return function


def size_of(value: Any) -> int:
    if isinstance(value, (str, bytes, list, dict, Struct)):
        return len(value)
    raise no_such_overload()


def type_of(value: Any) -> TypeValue:
    return TypeValue(type_name(value))


def to_int(value: Any) -> int:
    if type(value) is int:
        return value
    if type(value) is Uint:
        if value > INT_MAX:
            raise EvaluationError("integer overflow")
        return int(value)
    if type(value) is float:
        if not -(2.0**63) < value < 2.0**63:
            raise EvaluationError("integer overflow")
        return int(value)
    if type(value) is str:
        return _parsed_int(value, INT_MIN, INT_MAX, "int", signed=True)
    if type(value) is Timestamp:
        return value.nanoseconds // 10**9
    if type(value) is Duration:
        return value.nanoseconds
    raise no_such_overload()


def _parsed_int(text: str, low: int, high: int, kind: str, signed: bool) -> int:
    digits = text[1:] if signed and text[:1] in ("+", "-") else text
    if not (digits.isascii() and digits.isdigit()):
        raise conversion_error(text, kind)
    if len(digits) > 40 or not low <= (value := int(text)) <= high:
        raise conversion_error(text, kind)
    return value


def to_uint(value: Any) -> Uint:
    if type(value) is Uint:
        return value
    if type(value) is int:
        return checked_uint(value)
    if type(value) is float:
        if not -1.0 < value < 2.0**64:
            raise EvaluationError("unsigned integer overflow")
        return checked_uint(int(value))
    if type(value) is str:
        return Uint(_parsed_int(value, 0, 2**64 - 1, "uint", signed=False))
    raise no_such_overload()


def to_double(value: Any) -> float:
    if is_number(value):
        return float(value)
    if type(value) is str:
        try:
            if "_" in value or value != value.strip():
                raise ValueError
            found = float(value)
        except ValueError:
            raise conversion_error(value, "double") from None
        if math.isinf(found) and "inf" not in value.lower():
            raise conversion_error(value, "double")
        return found
    raise no_such_overload()


def to_bool(value: Any) -> bool:
    if value is True or value is False:
        return bool(value)
    if type(value) is str:
        if value in ("1", "t", "T", "true", "TRUE", "True"):
            return True
        if value in ("0", "f", "F", "false", "FALSE", "False"):
            return False
        raise conversion_error(value, "bool")
    raise no_such_overload()


def to_bytes(value: Any) -> bytes:
    if type(value) is bytes:
        return value
    if type(value) is str:
        return value.encode("utf-8", "surrogatepass")
    raise no_such_overload()


def to_string(value: Any) -> str:
    kind = type(value)
    if kind is str:
        return str(value)
    if kind is bool:
        return "true" if value else "false"
    if kind is int or kind is Uint:
        return str(int(value))
    if kind is float:
        return double_text(value)
    if kind is bytes:
        try:
            return bytes(value).decode()
        except UnicodeDecodeError:
            raise EvaluationError("invalid UTF-8 in bytes, cannot convert to string") from None
    if kind is Timestamp:
        return times.timestamp_text(value)
    if kind is Duration:
        return times.duration_text(value)
    text = getattr(value, "cel_text", None)
    if text is None:
        raise no_such_overload()
    return str(text())


def to_dyn(value: Any) -> Any:
    return value


def _of_strings(decide: Callable[[str, str], bool]) -> Callable[[Any, Any], bool]:
    def function(text: Any, other: Any) -> bool:
        if type(text) is str and type(other) is str:
            return decide(text, other)
        raise no_such_overload()

    return function


def matches(text: Any, pattern: Any) -> bool:
    from edgekube.api import patterns

    if type(text) is not str or type(pattern) is not str:
        raise no_such_overload()
    try:
        return patterns.compile_pattern(pattern).matches(text)
    except patterns.PatternError as error:
        raise EvaluationError(str(error)) from None


def _never(*_: Any) -> Any:
    raise AssertionError("the planner makes this itself")


IMPLEMENTATIONS: Final[dict[str, Callable[..., Any]]] = {
    **dict.fromkeys(("_?_:_", "_&&_", "_||_", "@not_strictly_false", "_==_", "_!=_", "_[_]"), _never),
    "!_": logical_not,
    "_+_": add,
    "_-_": subtract,
    "_*_": multiply,
    "_/_": divide,
    "_%_": modulo,
    "-_": negate,
    "_<_": _ordered(lambda order: order < 0),
    "_<=_": _ordered(lambda order: order <= 0),
    "_>_": _ordered(lambda order: order > 0),
    "_>=_": _ordered(lambda order: order >= 0),
    "@in": contains,
    "size": size_of,
    "type": type_of,
    "bool": to_bool,
    "bytes": to_bytes,
    "double": to_double,
    "duration": times.to_duration,
    "dyn": to_dyn,
    "int": to_int,
    "string": to_string,
    "timestamp": times.to_timestamp,
    "uint": to_uint,
    "contains": _of_strings(lambda text, other: other in text),
    "endsWith": _of_strings(str.endswith),
    "startsWith": _of_strings(str.startswith),
    "matches": matches,
    **{name: times.part(name) for name in times.TIMESTAMP_FIELDS},
}
