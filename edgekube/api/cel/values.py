"""Values of expressions while they run, and the two questions every one answers: are these equal, how large is it.

Enters: JSON values (dict, list, str, int, float, bool, None), which are CEL values as they are, and what functions make.
Leaves: the same; Uint, Timestamp, Duration, Optional, TypeValue for what JSON does not know.
Holds: numbers are equal across their types (1 == 1.0 == 1u), nothing else is; bool is never a number; a duration or time is
    exact.
Source: the CEL language definition, sections Values and Equality.
Next: api.cel.plan, api.cel.library.
"""

from __future__ import annotations

from typing import Any, Final

from edgekube.api.cel.errors import EvaluationError

INT_MAX: Final = 2**63 - 1
INT_MIN: Final = -(2**63)
UINT_MAX: Final = 2**64 - 1


class Uint(int):
    """An unsigned number of 64 bits."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"{int(self)}u"


class _Nanoseconds:
    __slots__ = ("nanoseconds",)

    def __init__(self, nanoseconds: int) -> None:
        self.nanoseconds: Final = nanoseconds

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other.nanoseconds == self.nanoseconds

    def __hash__(self) -> int:
        return hash(self.nanoseconds)


class Timestamp(_Nanoseconds):
    """A moment, since 1970."""

    __slots__ = ()


class Duration(_Nanoseconds):
    __slots__ = ()


class TypeValue:
    """A type, as a value: what ``type(1)`` and ``int`` are."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name: Final = name

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TypeValue) and other.name == self.name

    def __hash__(self) -> int:
        return hash(self.name)


class Optional:
    __slots__ = ("present", "value")

    def __init__(self, present: bool, value: Any = None) -> None:
        self.present: Final = present
        self.value: Final = value


NONE: Final = Optional(False)


class TypedList(list[Any]):
    """A list with the semantics of its schema: ``kind`` is set or map, ``keys`` those of a map."""

    __slots__ = ("keys", "kind")

    def __init__(self, elements: list[Any], kind: str, keys: tuple[str, ...] = ()) -> None:
        super().__init__(elements)
        self.kind: Final = kind
        self.keys: Final = keys

    def identity(self, element: Any) -> Any:
        """What makes an element the same one: itself in a set, the values of its keys in a map."""
        if self.kind == "set":
            return hashable(element)
        return tuple(hashable(element.get(key)) if is_map(element) else None for key in self.keys)


class Struct:
    """A value with declared fields, read by ``get``: objects of a schema, messages that an expression makes, lazy variables."""

    __slots__ = ()
    #: Its type's name.
    type_name: str

    def get(self, name: str, default: Any = None) -> Any:
        raise NotImplementedError

    def __contains__(self, name: object) -> bool:
        raise NotImplementedError

    def names(self) -> list[str]:
        raise NotImplementedError

    def __len__(self) -> int:
        return len(self.names())

    def __iter__(self) -> Any:
        return iter(self.names())


class BoolKey:
    """true or false as the key of a map: to Python's dict they would be 1 and 0."""

    __slots__ = ("value",)

    def __init__(self, value: bool) -> None:
        self.value: Final = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BoolKey) and other.value == self.value

    def __hash__(self) -> int:
        return hash(("bool", self.value))


def to_key(value: Any) -> Any:
    return BoolKey(value) if value is True or value is False else value


def of_key(key: Any) -> Any:
    return key.value if type(key) is BoolKey else key


def is_map(value: Any) -> bool:
    return isinstance(value, (dict, Struct))


def type_name(value: Any) -> str:
    """The name of a value's type, as ``type()`` gives it and messages show it."""
    name = _NAMES.get(type(value))
    if name is not None:
        return name
    if isinstance(value, (list, dict)):
        return "list" if isinstance(value, list) else "map"
    return str(getattr(value, "type_name", "dyn"))


_NAMES: Final[dict[type, str]] = {
    bool: "bool",
    int: "int",
    Uint: "uint",
    float: "double",
    str: "string",
    bytes: "bytes",
    type(None): "null_type",
    list: "list",
    TypedList: "list",
    dict: "map",
    Timestamp: "google.protobuf.Timestamp",
    Duration: "google.protobuf.Duration",
    TypeValue: "type",
    Optional: "optional_type",
}
_NUMBERS: Final = (int, float)  # Uint is an int; bool is dealt with apart


#: From here on a thing is taken to be equal to itself without a look at all of it.
_LARGE: Final = 16


def is_number(value: Any) -> bool:
    return isinstance(value, _NUMBERS) and value is not True and value is not False


def equal(left: Any, right: Any) -> bool:
    """``left == right`` as CEL has it: never an error, unequal types are unequal."""
    kind = type(left)
    if left is right and kind in (dict, list) and len(left) > _LARGE:
        return True
    if kind is type(right) and kind in (str, int, bytes, float, bool):
        return bool(left == right)
    if kind is bool or type(right) is bool:
        return False
    if isinstance(left, _NUMBERS):
        return isinstance(right, _NUMBERS) and left == right
    if isinstance(left, list):
        return isinstance(right, list) and _equal_lists(left, right)
    if isinstance(left, (dict, Struct)):
        if not is_map(right) or len(left) != len(right):
            return False
        return all(key in right and equal(left.get(key), right.get(key)) for key in left)
    if isinstance(left, Optional):
        if not isinstance(right, Optional) or left.present != right.present:
            return False
        return not left.present or equal(left.value, right.value)
    return kind is type(right) and bool(left == right)


def _equal_lists(left: list[Any], right: list[Any]) -> bool:
    if len(left) != len(right):
        return False
    if isinstance(left, TypedList):
        ours, theirs = left, right
        if left.kind == "set":
            return {left.identity(one) for one in ours} == {left.identity(one) for one in theirs}
        by_key = {left.identity(one): one for one in ours}
        return all((key := left.identity(one)) in by_key and equal(by_key[key], one) for one in theirs)
    return all(equal(a, b) for a, b in zip(left, right, strict=True))


def concatenated(left: list[Any], right: list[Any]) -> list[Any]:
    """``left + right``; sets and lists with keys are merged, the left one's order staying."""
    if not isinstance(left, TypedList):
        return [*left, *right]
    merged = {left.identity(one): one for one in left}
    for one in right:
        merged[left.identity(one)] = one
    return TypedList(list(merged.values()), left.kind, left.keys)


def hashable(value: Any) -> Any:
    """Something that is equal for equal values and can be kept in a set."""
    if isinstance(value, list):
        return ("list", *map(hashable, value))
    if is_map(value):
        return ("map", frozenset((hashable(key), hashable(value.get(key))) for key in value))
    if value is True or value is False:
        return BoolKey(value)
    return value


def size(value: Any) -> int:
    """What the cost model takes for a value's size: characters, bytes, elements, entries; 1 for all others."""
    if isinstance(value, (str, bytes, list, dict, Struct)):
        return len(value)
    if type(value) is Optional and value.present:
        return size(value.value)
    sizer = getattr(value, "cost_size", None)
    return int(sizer) if sizer is not None else 1


def checked_int(value: int) -> int:
    if not INT_MIN <= value <= INT_MAX:
        raise EvaluationError("integer overflow")
    return value


def checked_uint(value: int) -> Uint:
    if not 0 <= value <= UINT_MAX:
        raise EvaluationError("unsigned integer overflow")
    return Uint(value)
