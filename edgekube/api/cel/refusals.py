"""What a function says of values that it does not take; the checker could not know, for their types were dyn.

Enters: the function's name, the values.
Leaves: the error.
Source: cel-go interpreter/interpretable.go, common/decls/decls.go (which of the forms is used where).
Next: api.cel.plan.
"""

from __future__ import annotations

from typing import Any, Final

from edgekube.api.cel.errors import EvaluationError, NoSuchOverload
from edgekube.api.cel.values import Struct, TypeValue, type_name

#: These look at what the value can do, and only then at its name.
_BARE: Final = frozenset({"!_", "@in", "contains", "startsWith", "endsWith", "matches", "find", "findAll", "sum"})
_GO_TYPES: Final = {
    "int": "Int",
    "uint": "Uint",
    "double": "Double",
    "bool": "Bool",
    "string": "String",
    "bytes": "Bytes",
    "null_type": "Null",
}


def refused(name: str, values: tuple[Any, ...]) -> EvaluationError:
    if name in _BARE:
        return NoSuchOverload("no such overload")
    if name == "size":
        return EvaluationError("no such overload: size")
    if name.startswith(("_", "-")):
        left = values[0]
        plain = not (left is None or isinstance(left, (dict, Struct, TypeValue)) or (isinstance(left, list) and name != "_+_"))
        return NoSuchOverload("no such overload" if plain else f"no such overload: {name}")
    return EvaluationError(f"no such overload: {name}({', '.join(map(type_name, values))})")


def not_iterable(value: Any) -> EvaluationError:
    kind = _GO_TYPES.get(type_name(value))
    return EvaluationError(f"got 'types.{kind}', expected iterable type" if kind else "no such overload")
