"""What a schema of a definition may say, place by place: keywords that are refused, list and map types, forms of rules.

Enters: openAPIV3Schema as it was written.
Leaves: causes.
Holds: nothing is asked of rules beyond their form; api.custom.rules compiles them.
Source: apiextensions-apiserver pkg/apis/apiextensions/validation (ValidateCustomResourceDefinitionOpenAPISchema).
Next: api.custom.defaults, api.custom.rules.
"""

from __future__ import annotations

import re
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from edgekube.api.custom.paths import BadPath, field_path
from edgekube.api.custom.structural import each, part
from edgekube.api.errors import Cause
from edgekube.api.objects import Object
from edgekube.api.validation import causes
from edgekube.api.validation.fields import gathered

_TYPES: Final = ("array", "boolean", "integer", "number", "object", "string")
_UNSUPPORTED: Final = ("id", "additionalItems", "patternProperties", "definitions", "dependencies", "$ref")
_META: Final = ("metadata", "kind", "apiVersion")
REASONS: Final = ("FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired")
_LINE_BREAK: Final = re.compile(r"[\n\r]")


class _Place(Struct, frozen=True):
    """Why no default may stand here (None: one may), and whether it is within apiVersion, kind or metadata of a resource."""

    no_default: str | None = None
    in_metadata: bool = False
    is_root: bool = False


def check_openapi(schema: Object, path: str) -> list[Cause]:
    return gathered(lambda out: _check(schema, path, _Place(is_root=True), out))


def _check(schema: Object, path: str, place: _Place, out: list[Cause]) -> None:
    _keywords(schema, path, place, out)
    below = replace(place, is_root=False)
    properties, additional, items = part(schema, "properties"), schema.get("additionalProperties"), schema.get("items")
    if additional is not None:
        if properties and additional is not True:
            detail = "additionalProperties and properties are mutual exclusive"
            out.append(causes.forbidden(f"{path}.additionalProperties", detail))
        if isinstance(additional, dict):
            reason = "inside additionalProperties applying to object metadata" if place.in_metadata else place.no_default
            _check(additional, f"{path}.additionalProperties", replace(below, no_default=reason), out)
    for key, value in properties.items():
        inner = below
        if (place.is_root or schema.get("x-kubernetes-embedded-resource")) and key in _META:
            inner = replace(inner, in_metadata=True)
            if place.is_root:
                inner = replace(inner, no_default=f"in top-level {key}")
        if isinstance(value, dict):
            _check(value, f"{path}.properties[{key}]", inner, out)
    if isinstance(schema.get("not"), dict):
        _check(schema["not"], f"{path}.not", below, out)
    for key in ("allOf", "oneOf", "anyOf"):
        for index, value in enumerate(each(schema, key)):
            _check(value, f"{path}.{key}[{index}]", below, out)
    if isinstance(items, dict):
        _check(items, f"{path}.items", below, out)
    if schema.get("x-kubernetes-preserve-unknown-fields") is False:
        out.append(causes.invalid(f"{path}.x-kubernetes-preserve-unknown-fields", False, "must be true or undefined"))
    _map_type(schema, path, out)
    _list_type(schema, path, out)
    for index, rule in enumerate(each(schema, "x-kubernetes-validations")):
        _rule(schema, rule, f"{path}.x-kubernetes-validations[{index}]", out)


def _keywords(schema: Object, path: str, place: _Place, out: list[Cause]) -> None:
    type_ = schema.get("type") or ""
    if type_ and type_ not in _TYPES:
        out.append(causes.not_supported(f"{path}.type", type_, _TYPES))
    if schema.get("default") is not None and place.no_default is not None:
        out.append(causes.forbidden(f"{path}.default", f"must not be set {place.no_default}"))
    out += [
        causes.forbidden(f"{path}.{key}", f"{key} is not supported")
        for key in _UNSUPPORTED
        if schema.get(key) not in (None, "", {}) or (key == "additionalItems" and schema.get(key) is not None)
    ]
    if type_ == "null":
        out.append(causes.forbidden(f"{path}.type", "type cannot be set to null, use nullable as an alternative"))
    if isinstance(schema.get("items"), list):
        out.append(causes.forbidden(f"{path}.items", "items must be a schema object and not an array"))
    if place.in_metadata and schema.get("x-kubernetes-embedded-resource"):
        out.append(causes.forbidden(f"{path}.x-kubernetes-embedded-resource", "must not be used inside of resource meta"))
    if schema.get("uniqueItems"):
        detail = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic"
        out.append(causes.forbidden(f"{path}.uniqueItems", detail))


def _map_type(schema: Object, path: str, out: list[Cause]) -> None:
    map_type, type_ = schema.get("x-kubernetes-map-type"), schema.get("type") or ""
    if map_type is None:
        return
    _wants_type(type_, "object", "x-kubernetes-map-type", path, out)
    if map_type not in ("atomic", "granular"):
        out.append(causes.not_supported(f"{path}.x-kubernetes-map-type", map_type, ("atomic", "granular")))


def _wants_type(type_: str, wanted: str, because: str, path: str, out: list[Cause]) -> None:
    detail = f"must be {wanted} if {because} is specified"
    if not type_:
        out.append(causes.required(f"{path}.type", detail))
    elif type_ != wanted:
        out.append(causes.invalid(f"{path}.type", type_, detail))


def _list_type(schema: Object, path: str, out: list[Cause]) -> None:
    list_type, keys = schema.get("x-kubernetes-list-type"), schema.get("x-kubernetes-list-map-keys") or []
    items = schema.get("items")
    type_field = f"{path}.x-kubernetes-list-type"
    if list_type is not None:
        before = len(out)
        _wants_type(schema.get("type") or "", "array", "x-kubernetes-list-type", path, out)
        if len(out) == before and list_type == "set" and isinstance(items, dict):
            _set_items(items, f"{path}.items", out)
        if list_type not in ("atomic", "set", "map"):
            out.append(causes.not_supported(type_field, list_type, ("atomic", "set", "map")))
    if keys and list_type != "map":
        detail = "must be map if x-kubernetes-list-map-keys is non-empty"
        out.append(causes.required(type_field, detail) if list_type is None else causes.invalid(type_field, list_type, detail))
    if list_type == "map":
        _map_items(schema, keys, items, path, out)
    if list_type in ("set", "map") and isinstance(items, dict):
        _no_nulls(list_type, keys, items, path, out)


def _set_items(items: Object, path: str, out: list[Cause]) -> None:
    detail = "must be atomic as item of a list with x-kubernetes-list-type=set"
    inner = items.get("x-kubernetes-list-type")
    if items.get("type") == "array" and inner not in (None, "atomic"):
        out.append(causes.invalid(f"{path}.x-kubernetes-list-type", inner, detail))
    if items.get("type") == "object" and items.get("x-kubernetes-map-type") != "atomic":
        shown = causes.invalid(f"{path}.x-kubernetes-map-type", inner, detail)
        out.append(Cause(shown.reason, shown.message.replace('"null"', "null"), shown.field))


def _map_items(schema: Object, keys: list[str], items: object, path: str, out: list[Cause]) -> None:
    if not keys:
        detail = "must not be empty if x-kubernetes-list-type is map"
        out.append(causes.required(f"{path}.x-kubernetes-list-map-keys", detail))
    if items is None:
        out.append(causes.required(f"{path}.items", "must have a schema if x-kubernetes-list-type is map"))
        return
    if not isinstance(items, dict):
        detail = "must only have a single schema if x-kubernetes-list-type is map"
        out.append(causes.invalid(f"{path}.items", items, detail))
        return
    type_ = items.get("type") or ""
    if type_ != "object":
        detail = "must be object if parent array's x-kubernetes-list-type is map"
        out.append(causes.invalid(f"{path}.items.type", type_, detail))
        return
    fields = part(items, "properties")
    for index, key in enumerate(keys):
        field = fields.get(key)
        if field is None:
            detail = "entries must all be names of item properties"
            out.append(causes.invalid(f"{path}.x-kubernetes-list-map-keys", keys, detail))
        elif field.get("type") in ("array", "object"):
            detail = "must be a scalar type if parent array's x-kubernetes-list-type is map"
            out.append(causes.invalid(f"{path}.items.properties[{key}].type", type_, detail))
        if key in keys[:index]:
            detail = "must not contain duplicate entries"
            out.append(causes.invalid(f"{path}.x-kubernetes-list-map-keys", keys, detail))


def _no_nulls(list_type: str, keys: list[str], items: Object, path: str, out: list[Cause]) -> None:
    if items.get("nullable"):
        detail = f"cannot be nullable when x-kubernetes-list-type is {list_type}"
        out.append(causes.forbidden(f"{path}.items.nullable", detail))
    if list_type != "map":
        return
    required, fields = items.get("required") or [], part(items, "properties")
    for key in keys:
        field = fields.get(key)
        if field is None:
            continue
        where = f"{path}.items.properties[{key}]"
        if key not in required and field.get("default") is None:
            detail = "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property"
            out.append(causes.required(f"{where}.default", detail))
        if field.get("nullable"):
            detail = "this property is in x-kubernetes-list-map-keys, so it cannot be nullable"
            out.append(causes.forbidden(f"{where}.nullable", detail))


def _rule(schema: Object, rule: Object, path: str, out: list[Cause]) -> None:
    """The form of one of x-kubernetes-validations."""
    text, message, expression = rule.get("rule") or "", rule.get("message") or "", rule.get("messageExpression") or ""
    where = rule.get("fieldPath") or ""
    if not text.strip():
        out.append(causes.required(f"{path}.rule", "rule is not specified"))
    elif message and not message.strip():
        out.append(causes.invalid(f"{path}.message", message, "must be non-empty if specified"))
    elif _LINE_BREAK.search(message.strip()):
        out.append(causes.invalid(f"{path}.message", message, "must not contain line breaks"))
    elif _LINE_BREAK.search(text.strip()) and not message.strip():
        out.append(causes.required(f"{path}.message", "message must be specified if rule contains line breaks"))
    if expression and not expression.strip():
        out.append(causes.required(f"{path}.messageExpression", "messageExpression must be non-empty if specified"))
    if rule.get("reason") is not None and rule["reason"] not in REASONS:
        out.append(causes.not_supported(f"{path}.reason", rule["reason"], REASONS))
    if where:
        if not where.strip():
            out.append(causes.invalid(f"{path}.fieldPath", where, "must be non-empty if specified"))
        if _LINE_BREAK.search(where):
            out.append(causes.invalid(f"{path}.fieldPath", where, "must not contain line breaks"))
        try:
            field_path(where, schema)
        except BadPath:
            out.append(causes.invalid(f"{path}.fieldPath", where, "must be a valid path"))
