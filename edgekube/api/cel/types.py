"""Static types of expressions, and when one may stand where another is asked for.

Enters: kinds, names and parameters, also from api.cel.declarations and api.cel.schema_types.
Leaves: immutable types; substitutions for type parameters.
Holds: ``str(type)`` is how cel-go prints it. Object types are compared by name.
Source: the CEL language definition (gradual type checking); cel-go checker/types.go.
Next: api.cel.checker.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class Type:
    """``kind`` is one of: dyn error null bool int uint double string bytes timestamp duration list map type param opaque
    struct.
    """

    kind: str
    name: str = ""
    params: tuple[Type, ...] = ()
    #: What stands behind the type where there is more to know (api.cel.schema_types.Declared); no part of its identity.
    declared: Any = field(default=None, compare=False, repr=False)

    def __str__(self) -> str:
        if self.kind in ("struct", "param", "opaque"):
            return f"{self.name}({', '.join(map(str, self.params))})" if self.params else self.name
        if self.params:
            return f"{self.kind}({', '.join(map(str, self.params))})"
        return "!error!" if self.kind == "error" else self.kind


DYN: Final = Type("dyn")
ERROR: Final = Type("error")
NULL: Final = Type("null")
BOOL: Final = Type("bool")
INT: Final = Type("int")
UINT: Final = Type("uint")
DOUBLE: Final = Type("double")
STRING: Final = Type("string")
BYTES: Final = Type("bytes")
TIMESTAMP: Final = Type("timestamp")
DURATION: Final = Type("duration")
TYPE: Final = Type("type")

#: Names that stand for types in expressions: ``type(x) == int``.
NAMED: Final = {
    "bool": BOOL,
    "int": INT,
    "uint": UINT,
    "double": DOUBLE,
    "string": STRING,
    "bytes": BYTES,
    "null_type": NULL,
    "google.protobuf.Timestamp": TIMESTAMP,
    "google.protobuf.Duration": DURATION,
}


def list_of(element: Type) -> Type:
    return Type("list", params=(element,))


def map_of(key: Type, value: Type) -> Type:
    return Type("map", params=(key, value))


def optional_of(inner: Type) -> Type:
    return Type("opaque", "optional_type", (inner,))


def type_of(inner: Type) -> Type:
    return Type("type", params=(inner,))


def opaque(name: str) -> Type:
    """A type of a library, only known by its name: kubernetes.Quantity."""
    return Type("struct", name)


def param(name: str) -> Type:
    return Type("param", name)


def is_dyn(given: Type) -> bool:
    return given.kind in ("dyn", "error")


def is_optional(given: Type) -> bool:
    return given.kind == "opaque" and given.name == "optional_type"


def has_param(given: Type) -> bool:
    """True when a part of the type is not known yet."""
    return given.kind == "param" or any(map(has_param, given.params))


class Substitution:
    """What each type parameter was found to be. A trial that fails is taken back (``mark``, ``rollback``) and leaves nothing
    behind.
    """

    __slots__ = ("bindings", "trail")

    def __init__(self, bindings: dict[str, Type] | None = None) -> None:
        self.bindings: Final = bindings if bindings is not None else {}
        #: Names that were bound, with what they stood for before.
        self.trail: Final[list[tuple[str, Type | None]]] = []

    def bind(self, name: str, to: Type) -> None:
        self.trail.append((name, self.bindings.get(name)))
        self.bindings[name] = to

    def mark(self) -> int:
        return len(self.trail)

    def rollback(self, mark: int) -> None:
        while len(self.trail) > mark:
            name, before = self.trail.pop()
            if before is None:
                del self.bindings[name]
            else:
                self.bindings[name] = before

    def resolve(self, given: Type, free_to_dyn: bool = False) -> Type:
        """The type with each known parameter replaced; what is still free becomes dyn if that is asked for."""
        if given.kind == "param":
            bound = self.bindings.get(given.name)
            if bound is not None:
                return self.resolve(bound, free_to_dyn)
            return DYN if free_to_dyn else given
        if not given.params:
            return given
        return Type(given.kind, given.name, tuple(self.resolve(inner, free_to_dyn) for inner in given.params), given.declared)

    def assignable(self, first: Type, second: Type) -> bool:
        """True when one may stand where the other is asked for; binds parameters, also when it fails half-way."""
        if second.kind == "param":
            valid, bound = self._substitutes(first, second)
            if valid or bound:
                return valid
        if first.kind == "param":
            return self._substitutes(second, first)[0]
        if is_dyn(first) or is_dyn(second):
            return True
        if first.kind == "null" or second.kind == "null":
            other = second if first.kind == "null" else first
            return other.kind == "null" or other.kind in _NULLABLE
        if first.kind != second.kind or first.name != second.name:
            return False
        if first.kind == "type":
            return True
        if len(first.params) != len(second.params):
            return False
        return all(self.assignable(a, b) for a, b in zip(first.params, second.params, strict=True))

    def _substitutes(self, candidate: Type, variable: Type) -> tuple[bool, bool]:
        """Whether the candidate can be what the parameter stands for, and whether it stood for something already."""
        if candidate == variable:
            return True, True
        bound = self.bindings.get(variable.name)
        if bound is None:
            if self._absent(variable, candidate):
                self.bind(variable.name, candidate)
                return True, False
            return False, False
        if candidate == bound:
            return True, True
        if not self.assignable(candidate, bound):
            return False, True
        general = most_general(candidate, bound)
        if self._absent(variable, general):
            self.bind(variable.name, general)
        return True, True

    def _absent(self, variable: Type, within: Type) -> bool:
        if variable == within:
            return False
        if within.kind == "param":
            bound = self.bindings.get(within.name)
            return bound is None or self._absent(variable, bound)
        return all(self._absent(variable, inner) for inner in within.params)


_NULLABLE: Final = frozenset({"struct", "opaque", "timestamp", "duration"})


def most_general(first: Type, second: Type) -> Type:
    """The one of two types that says less; they are known to agree."""
    return first if _says_less(first, second) else second


def _says_less(first: Type, second: Type) -> bool:
    if is_dyn(first) or first.kind == "param":
        return True
    if is_dyn(second) or second.kind == "param" or first.kind != second.kind:
        return False
    if first.kind == "type":
        return True
    if first.kind in ("opaque", "list", "map"):
        if first.name != second.name or len(first.params) != len(second.params):
            return False
        return all(_says_less(a, b) for a, b in zip(first.params, second.params, strict=True))
    return first == second
