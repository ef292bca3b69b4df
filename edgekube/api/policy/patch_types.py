"""``Object{spec: Object.spec{replicas: 3}}`` and ``JSONPatch{op: "add", path: "/spec"}``: what mutations are written in.

Enters: the names and fields of an expression's literals; then their values.
Leaves: types for the checker; Made and Operation values, and their JSON.
Holds: a type is named for the path to where it belongs; that both agree is said by ``misplaced`` when the mutation is made.
Source: k8s.io/apiserver pkg/cel/mutation.
Next: api.policy.compiler; admission.policies.patching lays the result over an object.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from edgekube.api.cel.errors import EvaluationError
from edgekube.api.cel.json_values import to_json as plain_json
from edgekube.api.cel.types import DYN, STRING, Type, list_of
from edgekube.api.cel.values import Struct, of_key, type_name
from edgekube.api.objects import Object

_ROOT: Final = "Object"
_PATCH: Final = "JSONPatch"
_TEXTS: Final = ("op", "path", "from")


class _Field:
    __slots__ = ("type",)

    def __init__(self, of: Type) -> None:
        self.type: Final = of


_ANY: Final = _Field(DYN)


class Made(Struct):
    """An Object literal's value."""

    __slots__ = ("_fields", "type_name")

    def __init__(self, name: str, fields: dict[str, Any]) -> None:
        self.type_name = name
        self._fields: Final = fields

    def get(self, name: str, default: Any = None) -> Any:
        return self._fields.get(name, default)

    def __contains__(self, name: object) -> bool:
        return name in self._fields

    def names(self) -> list[str]:
        return list(self._fields)


class Operation(Struct):
    """A JSONPatch literal's value. Text that was not given is empty."""

    __slots__ = ("_fields",)
    type_name = _PATCH

    def __init__(self, fields: dict[str, Any]) -> None:
        for key in _TEXTS:
            if key in fields and not isinstance(fields[key], str):
                raise EvaluationError(f"unexpected type {type_name(fields[key])} for JSONPatchType '{key}' field")
        self._fields: Final = fields

    def get(self, name: str, default: Any = None) -> Any:
        return self._fields.get(name, "" if name in _TEXTS else default)

    def __contains__(self, name: object) -> bool:
        return name in self._fields and (name == "value" or self._fields[str(name)] != "")

    def names(self) -> list[str]:
        return [name for name in self._fields if name in self]


class _EveryField(dict[str, _Field]):
    """An object's fields are not known before it is laid over another: every name is one."""

    def get(self, name: str, default: Any = None) -> _Field:
        return _ANY


class _ObjectFields:
    fields: Final = _EveryField()

    def __init__(self, name: str) -> None:
        self._name: Final = name

    def wrap(self, value: Any) -> Any:
        return value

    def build(self, made: dict[str, Any]) -> Made:
        return Made(self._name, made)


class _PatchFields:
    fields: Final = {**{name: _Field(STRING) for name in _TEXTS}, "value": _ANY}

    def wrap(self, value: Any) -> Any:
        return value

    def build(self, made: dict[str, Any]) -> Operation:
        return Operation(made)


_OPERATION: Final = Type("struct", _PATCH, declared=_PatchFields())
OPERATIONS: Final = list_of(_OPERATION)
CONFIGURATION: Final = Type("struct", _ROOT, declared=_ObjectFields(_ROOT))


class PatchTypes(dict[str, Type]):
    """The names of types as the checker looks them up: ``Object.spec.template`` is one, as every path is."""

    def get(self, name: str, default: Any = None) -> Any:
        if name == _PATCH:
            return _OPERATION
        if name == _ROOT or name.startswith(f"{_ROOT}."):
            return Type("struct", name, declared=_ObjectFields(name))
        return default


def misplaced(value: Any, path: str = _ROOT) -> Iterator[str]:
    """Literals whose type is not named for where they stand: ``Object.spec{selector: Object.spec.wrong{}}``. ``path`` "": the
    value's own type says where it belongs."""
    if isinstance(value, Made):
        path = path or value.type_name
        if value.type_name != path:
            expected = f'expected "{path}", which matches field name path from root Object type'
            yield f'unexpected type name "{value.type_name}", {expected}'
        for name in value.names():
            yield from misplaced(value.get(name), f"{path}.{name}")
    elif isinstance(value, list):
        for item in value:
            yield from misplaced(item, path)
    elif isinstance(value, dict):
        for item in value.values():
            yield from misplaced(item, path)


def to_json(value: Any) -> Any:
    """EvaluationError for what JSON cannot say."""
    if isinstance(value, Made):
        return {name: to_json(value.get(name)) for name in value.names()}
    if isinstance(value, dict):
        return {_key(key): to_json(item) for key, item in value.items()}
    if isinstance(value, list):
        return [to_json(item) for item in value]
    return plain_json(value)


def _key(key: Any) -> str:
    plain = of_key(key)
    if not isinstance(plain, str):
        raise EvaluationError(f'map key "{plain}" is of type {type_name(plain)}, not string')
    return plain


def operation_of(value: Operation) -> Object:
    """One operation of a JSON patch. EvaluationError where its value has no form in JSON."""
    made: Object = {"op": value.get("op"), "path": value.get("path")}
    if value.get("from"):
        made["from"] = value.get("from")
    if "value" in value:
        made["value"] = to_json(value.get("value"))
    return made
