"""Strict decoding: walk an object once along its schema, refuse wrong types, drop and name unknown fields.

Enters: a decoded object and its kind.
Leaves: the same object, changed in place: unknown fields, nulls and what Go would leave out as zero are gone, scalars that Go
always writes are there, quantities, times and base64 in canonical form; and the list of what was unknown. A wrong type is
StatusError 400 in the words of upstream's decoder.
Holds: names are case-sensitive; a field whose schema is open (RawExtension, JSON) is left as it is. Required fields are not
looked at: api.validation does that, with 422.
Source: https://kubernetes.io/docs/reference/using-api/api-concepts/#field-validation.
Next: admission (defaults), registry.create and registry.update; server turns Shape into warnings or an error.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable
from typing import Any, Final, TypeAlias

from msgspec import Struct

from edgekube import limits
from edgekube.api import quantities, schemas, times
from edgekube.api.decode import kind_of_json
from edgekube.api.errors import StatusError, bad_request
from edgekube.api.kinds import Kind
from edgekube.api.objects import Object


class Shape(Struct, frozen=True):
    """What the walk found. ``unknown``: paths of fields that the type does not have (they are gone from the object)."""

    unknown: tuple[str, ...] = ()

    def messages(self) -> list[str]:
        """As Warning headers and strict errors say it; the first limits.STRICT_MESSAGES_MAX."""
        return [f'unknown field "{path}"' for path in self.unknown[: limits.STRICT_MESSAGES_MAX]]


FITTING: Final = Shape()


class _Misfit(Exception):
    """A value of the wrong type. The path grows while the stack unwinds."""

    def __init__(self, found: str, wanted: str) -> None:
        super().__init__()
        self.found = found
        self.wanted = wanted
        self.path: list[str] = []
        self.struct = ""  # the innermost named type, as Go's decoder names it

    def under(self, definition: str, key: str, site: schemas.Node) -> None:
        """It was found below this field of that type."""
        from edgekube.api import go_types  # loaded when somebody sends what does not fit

        if not self.path:
            self.wanted = go_types.as_named(definition, key, _go_type(site), self.wanted)
        self.path.insert(0, go_types.embedding(definition, key) + key)
        self.struct = self.struct or definition.rpartition(".")[2]


class _BadText(Exception):
    """A string of the right type that does not parse; Go's decoder reports the parser's own words, without a path."""


#: Checks a value; answers it, or its canonical form. Appends paths of unknown fields, relative to the value.
_Check: TypeAlias = Callable[[Any, list[str]], Any]


def _string(value: Any, unknown: list[str]) -> Any:
    if type(value) is not str:
        raise _Misfit(kind_of_json(value), "string")
    return value


def _boolean(value: Any, unknown: list[str]) -> Any:
    if type(value) is not bool:
        raise _Misfit(kind_of_json(value), "bool")
    return value


def _integer_check(format_: str) -> _Check:
    bits, wanted = (31, "int32") if format_ == "int32" else (63, "int64")
    low, high = -(1 << bits), (1 << bits) - 1

    def check(value: Any, unknown: list[str]) -> Any:
        if type(value) is not int:
            if type(value) is float:
                raise _Misfit(f"number {value!r}", wanted)
            raise _Misfit(kind_of_json(value), wanted)
        if not low <= value <= high:
            raise _Misfit(f"number {value}", wanted)
        return value

    return check


def _number(value: Any, unknown: list[str]) -> Any:
    if type(value) is not float and type(value) is not int:
        raise _Misfit(kind_of_json(value), "float64")
    return value


def _int_or_string(value: Any, unknown: list[str]) -> Any:
    if type(value) is int:
        if not -(2**31) <= value < 2**31:
            raise _Misfit(f"number {value}", "int32")
    elif type(value) is not str:
        raise _Misfit(f"number {value!r}" if type(value) is float else kind_of_json(value), "int32")
    return value


def _quantity(value: Any, unknown: list[str]) -> Any:
    try:
        return quantities.canonical(value.strip() if type(value) is str else value)
    except (ValueError, TypeError, AttributeError) as error:
        if type(value) in (str, int, float):
            raise _BadText(str(error)) from None
        raise _BadText(quantities.WRONG_FORM) from None


#: What is canonical at a glance. Days above 28 take the long way: not every month has them.
_SECOND: Final = r"\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|1\d|2[0-8])T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d"
_CANONICAL_TIME: Final = re.compile(f"{_SECOND}Z", re.ASCII)
_CANONICAL_MICRO_TIME: Final = re.compile(rf"{_SECOND}\.\d{{6}}Z", re.ASCII)


def _time_check(write: Callable[[float], str], canonical_time: re.Pattern[str], *, micro: bool = False) -> _Check:
    def check(value: Any, unknown: list[str]) -> Any:
        if type(value) is not str:
            raise _Misfit(kind_of_json(value), "string")
        if canonical_time.fullmatch(value):
            return value
        from edgekube.api.text_problems import problem_of_time  # most times are written as they are kept

        if problem := problem_of_time(value, micro=micro):
            raise _BadText(problem)
        try:
            canonical = write(times.parse(value))
        except (ValueError, OverflowError) as error:
            raise _BadText(str(error)) from None
        return value if canonical == value else canonical

    return check


def _base64(value: Any, unknown: list[str]) -> Any:
    if type(value) is not str:
        raise _Misfit(kind_of_json(value), "[]uint8")
    given = value
    if "\n" in value or "\r" in value:
        value = value.replace("\n", "").replace("\r", "")
    try:
        binascii.a2b_base64(value, strict_mode=True)
    except (binascii.Error, ValueError):
        from edgekube.api.text_problems import problem_of_base64

        raise _BadText(problem_of_base64(given)) from None
    return value


def _anything(value: Any, unknown: list[str]) -> Any:
    return value


_SCALARS: Final[dict[tuple[str, str], _Check]] = {
    ("string", ""): _string,
    ("string", "byte"): _base64,
    ("string", "date-time"): _time_check(times.rfc3339, _CANONICAL_TIME),
    ("string", "micro-time"): _time_check(times.rfc3339_micro, _CANONICAL_MICRO_TIME, micro=True),
    ("string", "quantity"): _quantity,
    ("string", "int-or-string"): _int_or_string,
    ("boolean", ""): _boolean,
    ("integer", "int32"): _integer_check("int32"),
    ("integer", "int64"): _integer_check("int64"),
    ("integer", ""): _integer_check("int64"),
    ("number", "double"): _number,
    ("number", ""): _number,
}


def _zero(node: schemas.Node) -> Any:
    """What Go's decoder puts where a list or a map has a null: the zero value of the element."""
    if node.format == "quantity":
        return "0"
    if node.format == "int-or-string":
        return 0
    if node.ref or node.type == "object":
        return {}
    return [] if node.type == "array" else schemas.ZEROS.get(node.type)


def _go_type(node: schemas.Node | None) -> str:
    """The type as Go's decoder names it: ``[]v1.Container``, ``map[string]string``, ``v1.PodSpec``."""
    if node is None:
        return "interface {}"
    if node.ref:
        return ".".join(node.ref.split(".")[-2:])
    match node.type:
        case "array":
            return f"[]{_go_type(node.items)}"
        case "object":
            return f"map[string]{_go_type(node.additional)}"
        case "integer":
            return node.format or "int64"
        case "number":
            return "float64"
        case "boolean":
            return "bool"
    return {"byte": "[]uint8", "quantity": "resource.Quantity", "int-or-string": "intstr.IntOrString"}.get(node.format, "string")


def _list_check(node: schemas.Node) -> _Check:
    item_check = _check_of(node.items) if node.items is not None else _anything
    zero = _zero(node.items) if node.items is not None and item_check is not _anything else None
    wanted = _go_type(node)
    strings = item_check is _string

    def check(value: Any, unknown: list[str]) -> Any:
        if type(value) is not list:
            raise _Misfit(kind_of_json(value), wanted)
        for index, item in enumerate(value):
            if strings and type(item) is str:
                continue
            if item is None and zero is not None:
                value[index] = item = zero if type(zero) not in (dict, list) else type(zero)()
            before = len(unknown)
            checked = item_check(item, unknown)
            if checked is not item:
                value[index] = checked
            if len(unknown) != before:
                unknown[before:] = [_joined(f"[{index}]", path) for path in unknown[before:]]
        return value

    return check


def _map_check(node: schemas.Node) -> _Check:
    assert node.additional is not None
    item_check = _check_of(node.additional)
    zero = _zero(node.additional) if item_check is not _anything else None
    wanted = _go_type(node)
    strings = item_check is _string

    def check(value: Any, unknown: list[str]) -> Any:
        if type(value) is not dict:
            raise _Misfit(kind_of_json(value), wanted)
        for key, item in value.items():
            if strings and type(item) is str:
                continue
            if item is None and zero is not None:
                value[key] = item = zero if type(zero) not in (dict, list) else type(zero)()
            before = len(unknown)
            checked = item_check(item, unknown)  # a misfit's path has no map keys and no indices, as Go's has none
            if checked is not item:
                value[key] = checked
            if len(unknown) != before:
                unknown[before:] = [_joined(key, path) for path in unknown[before:]]
        return value

    return check


def _joined(parent: str, path: str) -> str:
    joined = f"{parent}{path}" if path.startswith("[") else f"{parent}.{path}"
    return joined[: limits.STRICT_PATH_CHARACTERS_MAX]


#: Where an empty list is told from none until an object is stored: it takes the field away.
_EMPTY_SAYS_SOMETHING: Final = {
    schemas.OBJECT_META: frozenset({"managedFields"}),
    "io.k8s.api.autoscaling.v2.HPAScalingRules": frozenset({"policies"}),  # none at all is defaulted
}


def _struct_check(name: str, node: schemas.Node) -> _Check:
    """Checks of the fields are made when a field is first met: most objects use few of the hundreds that a type has."""
    wanted = ".".join(name.split(".")[-2:])
    sites = node.properties or {}
    left_out = frozenset(node.left_out) - _EMPTY_SAYS_SOMETHING.get(name, frozenset())
    zeros = [(key, zero) for key in node.always if key in sites and (zero := schemas.zero_of(sites[key])) is not None]
    checks: dict[str, _Check] = {}

    def field_check(key: str) -> _Check | None:
        site = sites.get(key)
        if site is None:
            return None
        made = checks[key] = _check_of(site)
        return made

    def check(value: Any, unknown: list[str]) -> Any:
        if type(value) is not dict:
            raise _Misfit(kind_of_json(value), wanted)
        dropped: list[str] | None = None
        for key, item in value.items():
            item_check = checks.get(key) or field_check(key)
            if item_check is _string and type(item) is str and item:
                continue
            if item_check is None or item is None:
                if item_check is None:
                    if len(unknown) < limits.STRICT_MESSAGES_MAX:
                        unknown.append(key)
                elif item_check is _anything:
                    continue
                if dropped is None:
                    dropped = [key]
                else:
                    dropped.append(key)
                continue
            before = len(unknown)
            try:
                checked = item_check(item, unknown)
            except _Misfit as misfit:
                misfit.under(name, key, sites[key])
                raise
            if checked is not item:
                value[key] = checked
                if checked is None:
                    dropped = [key] if dropped is None else [*dropped, key]
            if len(unknown) != before:
                unknown[before:] = [_joined(key, path) for path in unknown[before:]]
            if not checked and key in left_out:
                if dropped is None:
                    dropped = [key]
                else:
                    dropped.append(key)
        if dropped is not None:
            for key in dropped:
                del value[key]
        for key, zero in zeros:
            if key not in value:
                value[key] = zero
        return value

    return check


_JSON_SCHEMA: Final = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps"


def _schema_or(value: Any, unknown: list[str], otherwise: _Check) -> Any:
    """A schema. Types that may be one or something else read themselves in Go: what is unknown below goes without a word."""
    return _check_named(_JSON_SCHEMA)(value, []) if type(value) is dict else otherwise(value, unknown)


def _schema_or_schemas(value: Any, unknown: list[str]) -> Any:
    def several(value: Any, unknown: list[str]) -> Any:
        return _list_check(schemas.Node(type="array", items=schemas.Node(ref=_JSON_SCHEMA)))(value, [])

    return _schema_or(value, unknown, several if type(value) is list else _nothing)


def _schema_or_names(value: Any, unknown: list[str]) -> Any:
    def several(value: Any, unknown: list[str]) -> Any:
        return _list_check(schemas.Node(type="array", items=schemas.Node(type="string")))(value, [])

    return _schema_or(value, unknown, several if type(value) is list else _nothing)


def _schema_or_boolean(value: Any, unknown: list[str]) -> Any:
    def boolean(value: Any, unknown: list[str]) -> Any:
        if type(value) is not bool:
            raise _BadText("boolean or JSON schema expected")
        return value

    return _schema_or(value, unknown, boolean)


def _nothing(value: Any, unknown: list[str]) -> Any:
    """What such a type cannot read leaves it as if it had not been given."""
    return None


#: Definitions that the published schemas leave open, and Go does not.
_CLOSED: Final[dict[str, _Check]] = {
    f"{_JSON_SCHEMA}OrArray": _schema_or_schemas,
    f"{_JSON_SCHEMA}OrBool": _schema_or_boolean,
    f"{_JSON_SCHEMA}OrStringArray": _schema_or_names,
}
_EMPTY_STRUCTS: Final = frozenset({_JSON_SCHEMA.replace("JSONSchemaProps", "CustomResourceSubresourceStatus")})


#: One compiled check per definition that has been met; the built-in types bound it.
_STRUCTS: Final[dict[str, _Check]] = {}


def _check_named(name: str) -> _Check:
    check = _STRUCTS.get(name)
    if check is None:
        node = schemas.definition(name)
        if node.properties is not None or name in _EMPTY_STRUCTS:
            check = _struct_check(name, node)
        else:
            check = _CLOSED.get(name) or _check_of(node)
        _STRUCTS[name] = check
    return check


def _check_of(node: schemas.Node) -> _Check:
    if node.ref:
        return _check_named(node.ref)
    match node.type:
        case "array":
            return _list_check(node)
        case "object":
            return _map_check(node) if node.additional is not None else _anything
        case "":
            return _anything
    return _SCALARS[node.type, node.format]


def handled(kind_name: str, version: str, why: str) -> StatusError:
    """400: the object is not what its kind says it is."""
    return bad_request(f'{kind_name} in version "{version}" cannot be handled as a {kind_name}: {why}')


def strict_error(kind: Kind, messages: list[str]) -> StatusError:
    """400 for ``fieldValidation=Strict``: messages of Shape.messages() and decode.duplicate_fields()."""
    return handled(kind.kind, kind.version, f"strict decoding error: {', '.join(messages)}")


def check_named(name: str, kind_name: str, version: str, obj: Object) -> Shape:
    """As check(), for a type that is no resource: a Scale, an Eviction, DeleteOptions. ``name`` is the definition's."""
    unknown: list[str] = []
    try:
        _check_named(name)(obj, unknown)
    except _Misfit as misfit:
        where = f"{misfit.struct}.{'.'.join(misfit.path)}" if misfit.struct else ""
        target = f"Go struct field {where}" if where else "Go value"
        why = f"json: cannot unmarshal {misfit.found} into {target} of type {misfit.wanted}"
        raise handled(kind_name, version, why) from None
    except _BadText as error:
        raise handled(kind_name, version, str(error)) from None
    return Shape(tuple(unknown)) if unknown else FITTING


def check(kind: Kind, obj: Object) -> Shape:
    """Check and prune an object of a built-in kind, in place; apiVersion and kind are filled in when missing.

    A custom kind has no schema here: only its apiVersion, kind and metadata are checked.
    """
    given_version = obj.setdefault("apiVersion", kind.api_version) or kind.api_version
    given_kind = obj.setdefault("kind", kind.kind) or kind.kind
    if given_version != kind.api_version:
        raise bad_request(
            f"the API version in the data ({given_version}) does not match the expected API version ({kind.api_version})"
        )
    if given_kind != kind.kind:
        raise bad_request(
            f'{given_kind} in version "{kind.version}" cannot be handled as a {kind.kind}: '
            f"the kind in the data ({given_kind}) does not match the expected kind ({kind.kind})"
        )
    obj["apiVersion"], obj["kind"] = kind.api_version, kind.kind
    if kind.custom:
        return _check_custom(kind, obj)
    name = schemas.name_of(kind.api_version, kind.kind)
    assert name is not None, "every built-in row has a definition (tests/api/test_schemas.py)"
    return check_named(name, kind.kind, kind.version, obj)


def _check_custom(kind: Kind, obj: Object) -> Shape:
    metadata = obj.get("metadata")
    if metadata is None:
        return FITTING
    shape = check_named(schemas.OBJECT_META, kind.kind, kind.version, metadata)
    return Shape(tuple(_joined("metadata", path) for path in shape.unknown)) if shape.unknown else FITTING
