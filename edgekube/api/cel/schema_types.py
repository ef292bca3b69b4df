"""Types from schemas, and JSON values seen through them.

Enters: structural schemas of CustomResourceDefinitions, api.schemas.Node of built-in kinds.
Leaves: types with their fields, and with the largest size that the schema allows (for api.cel.cost).
Holds: a field whose schema has no type is not reachable. Times, durations and bytes are converted when they are read, whole
    objects never.
Source: k8s.io/apiserver pkg/cel/common/schemas.go, valuesunstructured.go (rules and sizes); the CRD documentation (type mapping).
Next: api.cel.checker, api.cel.plan.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from edgekube.api.cel import types
from edgekube.api.cel.errors import EvaluationError
from edgekube.api.cel.escaping import escape, written_as
from edgekube.api.cel.library.times import duration_of, timestamp_of
from edgekube.api.cel.types import DYN, Type
from edgekube.api.cel.values import Struct, TypedList
from edgekube.api.schemas import Node

REQUEST_BYTES_MAX: Final = 3 * 1024 * 1024
_STRING_MAX: Final = REQUEST_BYTES_MAX - 2


class Field(NamedTuple):
    type: Type
    #: The property's name in JSON.
    name: str


@dataclass(eq=False, slots=True)
class Declared:
    """What is known of a type beyond its kind."""

    kind: str
    #: Characters, elements or entries at most; 0 for what has no size.
    elements_max: int = 0
    #: Bytes of JSON at least.
    bytes_min: int = 0
    element: Type | None = None
    make_fields: Callable[[], dict[str, Field]] | None = None
    list_kind: str = ""
    list_keys: tuple[str, ...] = ()
    nullable: bool = False
    type_name: str = ""
    known: dict[str, Field] | None = None

    @property
    def fields(self) -> dict[str, Field]:
        if self.known is None:
            self.known = self.make_fields() if self.make_fields is not None else {}
        return self.known

    def wrap(self, value: Any) -> Any:
        if value is None:
            return self._null()
        return _WRAP[self.kind](self, value)

    def _null(self) -> None:
        if not self.nullable:
            raise EvaluationError("invalid data, got null for schema with nullable=false")

    def build(self, fields: dict[str, Any]) -> Any:
        """A new object of this type, from an expression."""
        raise EvaluationError(f"cannot construct values of type '{self.type_name}'")


class SeenObject(Struct):
    """An object through its schema: fields by their names in CEL, wrapped when first read."""

    __slots__ = ("_declared", "_seen", "raw", "type_name")

    def __init__(self, raw: Mapping[str, Any], declared: Declared) -> None:
        self.raw: Final = raw
        self._declared: Final = declared
        self._seen: Final[dict[str, Any]] = {}
        self.type_name = declared.type_name

    def get(self, name: str, default: Any = None) -> Any:
        if name in self._seen:
            return self._seen[name]
        field = self._declared.fields.get(name)
        value = self.raw.get(field.name) if field is not None else None
        if field is None or value is None:  # null is as good as absent
            return default
        if field.type.declared is not None:
            value = field.type.declared.wrap(value)
        self._seen[name] = value
        return value

    def __contains__(self, name: object) -> bool:
        field = self._declared.fields.get(name) if isinstance(name, str) else None
        return field is not None and self.raw.get(field.name) is not None

    def names(self) -> list[str]:
        fields = self._declared.fields
        return [name for name, field in fields.items() if self.raw.get(field.name) is not None and escape(field.name) == name]


def _wrap_object(declared: Declared, value: Any) -> Any:
    if not isinstance(value, dict):
        raise EvaluationError("invalid data, expected a map for the provided schema with type=object")
    return SeenObject(value, declared)


def _wrap_map(declared: Declared, value: Any) -> Any:
    if not isinstance(value, dict):
        raise EvaluationError("invalid data, expected a map for the provided schema with type=object")
    inner = declared.element.declared if declared.element is not None else None
    return value if inner is None else {key: inner.wrap(one) for key, one in value.items()}


def _wrap_list(declared: Declared, value: Any) -> Any:
    if not isinstance(value, list):
        raise EvaluationError("invalid data, expected an array for the provided schema with type=array")
    inner = declared.element.declared if declared.element is not None else None
    elements = value if inner is None else [inner.wrap(one) for one in value]
    return TypedList(elements, declared.list_kind, declared.list_keys) if declared.list_kind else elements


def _plain(wanted: type, name: str) -> Callable[[Declared, Any], Any]:
    def wrap(declared: Declared, value: Any) -> Any:
        if type(value) is not wanted:
            raise EvaluationError(f"invalid data, expected {name}, got {_GO_NAMES.get(type(value), type(value).__name__)}")
        return value

    return wrap


_GO_NAMES: Final[dict[type, str]] = {
    str: "string",
    int: "int64",
    float: "float64",
    bool: "bool",
    dict: "map[string]interface {}",
    list: "[]interface {}",
}


def _wrap_double(declared: Declared, value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise EvaluationError(f"invalid data, expected float, got {_GO_NAMES.get(type(value), 'unknown')}")
    return float(value)


def _wrap_int_or_string(declared: Declared, value: Any) -> Any:
    if type(value) not in (int, str):
        raise EvaluationError("invalid data, expected XIntOrString value to be either a string or integer")
    return value


def _wrap_timestamp(declared: Declared, value: Any) -> Any:
    try:
        return timestamp_of(value)
    except EvaluationError as error:
        raise EvaluationError(f"Invalid date-time formatted string {value}: {error}") from None


def _wrap_date(declared: Declared, value: Any) -> Any:
    try:
        return timestamp_of(f"{value}T00:00:00Z")
    except EvaluationError as error:
        raise EvaluationError(f"Invalid date formatted string {value}: {error}") from None


def _wrap_duration(declared: Declared, value: Any) -> Any:
    try:
        return duration_of(value)
    except EvaluationError as error:
        raise EvaluationError(f"Invalid duration {value}: {error}") from None


def _wrap_bytes(declared: Declared, value: Any) -> Any:
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:
        raise EvaluationError(f"Invalid byte formatted string {value}: {error}") from None


_WRAP: Final[dict[str, Callable[[Declared, Any], Any]]] = {
    "object": _wrap_object,
    "map": _wrap_map,
    "list": _wrap_list,
    "string": _plain(str, "string"),
    "int": _plain(int, "int"),
    "bool": _plain(bool, "bool"),
    "double": _wrap_double,
    "int-or-string": _wrap_int_or_string,
    "timestamp": _wrap_timestamp,
    "date": _wrap_date,
    "duration": _wrap_duration,
    "bytes": _wrap_bytes,
}
_SCALARS: Final = {"string": types.STRING, "int": types.INT, "bool": types.BOOL, "double": types.DOUBLE, "bytes": types.BYTES}


def _with(kind: Type, declared: Declared) -> Type:
    return Type(kind.kind, kind.name, kind.params, declared)


# --- structural schemas ----------------------------------------------------------------------------------------------

_META_PROPERTIES: Final[dict[str, Any]] = {
    "apiVersion": {"type": "string"},
    "kind": {"type": "string"},
    "metadata": {"type": "object", "properties": {"name": {"type": "string"}, "generateName": {"type": "string"}}},
}


def type_of_schema(schema: Mapping[str, Any], is_root: bool = False, name: str = "selfType") -> Type:
    """The type of what has this schema; dyn when the schema gives none. ``is_root``: a whole resource, so apiVersion, kind and
    metadata are there."""
    return _of_schema(schema, is_root or bool(schema.get("x-kubernetes-embedded-resource")), name) or DYN


def declared_of(given: Type) -> Declared | None:
    found: Declared | None = given.declared
    return found


def _of_schema(schema: Mapping[str, Any], is_root: bool, name: str) -> Type | None:
    found = _of_schema_not_null(schema, is_root, name)
    if found is not None and schema.get("nullable") and found.declared is not None:
        found.declared.nullable = True
    return found


def _of_schema_not_null(schema: Mapping[str, Any], is_root: bool, name: str) -> Type | None:
    if schema.get("x-kubernetes-int-or-string"):
        longest = schema.get("maxLength")
        return _with(DYN, Declared("int-or-string", _STRING_MAX if longest is None else max(longest, 0) * 4, 1))
    kind = schema.get("type", "object" if is_root else "")
    if kind == "object":
        return _object(schema, is_root, name)
    if kind == "array":
        return _array(schema, name)
    if kind == "string":
        return _string(schema)
    if kind == "integer":
        return _with(types.INT, Declared("int", 0, 1))
    if kind == "number":
        return _with(types.DOUBLE, Declared("double", 0, 1))
    if kind == "boolean":
        return _with(types.BOOL, Declared("bool", 0, 4))
    return None


def _inner(schema: Mapping[str, Any], name: str) -> Type | None:
    return _of_schema(schema, bool(schema.get("x-kubernetes-embedded-resource")), name)


def _array(schema: Mapping[str, Any], name: str) -> Type | None:
    items = schema.get("items")
    element = _inner(items, name + ".@idx") if isinstance(items, Mapping) else None
    if element is None:
        return None
    most = schema.get("maxItems")
    most = (REQUEST_BYTES_MAX - 2) // (_bytes_min(element) + 1) if most is None else max(most, 0)
    list_kind = schema.get("x-kubernetes-list-type", "")
    keys = tuple(filter(None, map(escape, schema.get("x-kubernetes-list-map-keys", ()))))
    declared = Declared("list", most, 2, element, list_kind=list_kind if list_kind in ("set", "map") else "", list_keys=keys)
    return _with(types.list_of(element), declared)


def _bytes_min(given: Type) -> int:
    return given.declared.bytes_min if given.declared is not None else 0


def _object(schema: Mapping[str, Any], is_root: bool, name: str) -> Type | None:
    additional = schema.get("additionalProperties")
    if isinstance(additional, Mapping) and additional:
        value = _inner(additional, name + ".@elem")
        if value is None:
            return None
        most = schema.get("maxProperties")
        most = (REQUEST_BYTES_MAX - 2) // (_bytes_min(value) + 6) if most is None else max(most, 0)
        return _with(types.map_of(types.STRING, value), Declared("map", most, 2, value))
    properties: Mapping[str, Any] = schema.get("properties") or {}
    if is_root:
        properties = {**properties, **_with_metadata(properties)}
    required = set(schema.get("required") or ())
    fields: dict[str, Field] = {}
    least = 2
    for key, inner in properties.items():
        found = _inner(inner, f"{name}.{key}")
        if found is None:
            continue
        for written in written_as(key):
            fields[written] = Field(found, key)
        if key in required and inner.get("default") is None:
            least += len(key.encode()) + _bytes_min(found) + 4
    return Type("struct", name, (), Declared("object", 0, least, known=fields, type_name=name))


def _with_metadata(properties: Mapping[str, Any]) -> dict[str, Any]:
    metadata = properties.get("metadata") or {}
    inner = {**(metadata.get("properties") or {}), **_META_PROPERTIES["metadata"]["properties"]}
    return {**_META_PROPERTIES, "metadata": {**metadata, "type": "object", "properties": inner}}


def _string(schema: Mapping[str, Any]) -> Type:
    form, longest = schema.get("format"), schema.get("maxLength")
    if form == "byte":
        return _with(types.BYTES, Declared("bytes", _STRING_MAX if longest is None else max(longest, 0), 2))
    if form == "duration":
        return _with(types.DURATION, Declared("duration", 32, 3))
    if form == "date":
        return _with(types.TIMESTAMP, Declared("date", 12, 12))
    if form == "date-time":
        return _with(types.TIMESTAMP, Declared("timestamp", 32, 21))
    if longest is not None:
        most = max(longest, 0) * 4
    elif schema.get("enum"):
        most = max((len(one.encode()) for one in schema["enum"] if isinstance(one, str)), default=0)
    else:
        most = _STRING_MAX
    return _with(types.STRING, Declared("string", most, 2))


# --- built-in kinds --------------------------------------------------------------------------------------------------

_FORMATS: Final = {"int-or-string": "int-or-string", "date-time": "timestamp", "micro-time": "timestamp", "byte": "bytes"}


def type_of_node(node: Node, name: str = "") -> Type:
    """The type of a place in a built-in kind; definitions that refer to themselves are opened only as far as they are read."""
    name = node.ref or name
    node = node.resolved()
    if node.format == "int-or-string":
        return _with(DYN, Declared("int-or-string", _STRING_MAX, 1, nullable=True))
    if node.type == "object" or node.properties is not None:
        if node.additional is not None:
            value = type_of_node(node.additional, name + ".@elem")
            return _with(types.map_of(types.STRING, value), Declared("map", _STRING_MAX // 8, 2, value, nullable=True))
        if node.properties is None:
            return DYN
        return Type(
            "struct", name, (), Declared("object", 0, 2, make_fields=_fields_of(node, name), type_name=name, nullable=True)
        )
    if node.type == "array":
        element = type_of_node(node.items, name + ".@idx") if node.items is not None else DYN
        kind = node.list_type if node.list_type in ("set", "map") else ""
        declared = Declared("list", _STRING_MAX // 3, 2, element, list_kind=kind, list_keys=node.map_keys, nullable=True)
        return _with(types.list_of(element), declared)
    if node.type == "string":
        kind = _FORMATS.get(node.format, "string")
        base = types.TIMESTAMP if kind == "timestamp" else _SCALARS[kind]
        return _with(base, Declared(kind, 32 if kind == "timestamp" else _STRING_MAX, 2, nullable=True))
    kind = {"integer": "int", "number": "double", "boolean": "bool"}.get(node.type, "")
    return _with(_SCALARS[kind], Declared(kind, 0, 1, nullable=True)) if kind else DYN


def _fields_of(node: Node, name: str) -> Callable[[], dict[str, Field]]:
    def make() -> dict[str, Field]:
        found = {}
        for key, inner in (node.properties or {}).items():
            written = written_as(key)
            if written:
                field = Field(type_of_node(inner, f"{name}.{key}"), key)
                found.update(dict.fromkeys(written, field))
        return found

    return make


# --- declared by hand ------------------------------------------------------------------------------------------------


class _AsItIs(Declared):
    """Fields for the checker alone: the value is read as it is given (a dict, LazyFields)."""

    __slots__ = ()

    def wrap(self, value: Any) -> Any:
        return value


def object_type(name: str, fields: Mapping[str, Type]) -> Type:
    """A type with these fields, for variables that a caller makes: ``request``, ``namespaceObject``, ``variables``."""
    known = {key: Field(given, key) for key, given in fields.items()}
    return Type("struct", name, (), _AsItIs("object", known=known, type_name=name))
