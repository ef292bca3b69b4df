"""Is a schema structural: does its skeleton alone say which fields an object has, and of which types?

Enters: openAPIV3Schema as it was written, and where it stands in the definition.
Leaves: causes, sorted by their text.
Holds: what stands below allOf, anyOf, oneOf and not only restricts what the skeleton has, and says nothing of types, defaults or
Kubernetes' own extensions.
Source: kubernetes.io, "CustomResourceDefinitions" (specifying a structural schema); apiextensions-apiserver pkg/apiserver/schema.
Next: api.custom.openapi.
"""

from __future__ import annotations

from typing import Any, Final

from edgekube.api.errors import Cause
from edgekube.api.objects import Object
from edgekube.api.patterns import PatternError, compile_pattern
from edgekube.api.validation import causes
from edgekube.api.validation.fields import gathered

ROOT: Final = "at the root"
ITEM: Final = "for specified array items"
FIELD: Final = "for specified object fields"

_INT_OR_STRING: Final = [{"type": "integer"}, {"type": "string"}]
_JUNCTORS: Final = ("allOf", "anyOf", "oneOf")

#: What nobody may say below a junctor: keyword -> how upstream puts it.
_FORBIDDEN_BELOW: Final = {
    "type": "must be empty to be structural",
    "default": "must be undefined to be structural",
    "title": "must be empty to be structural",
    "description": "must be empty to be structural",
    "nullable": "must be false to be structural",
    "x-kubernetes-preserve-unknown-fields": "must be false to be structural",
    "x-kubernetes-embedded-resource": "must be false to be structural",
    "x-kubernetes-int-or-string": "must be false to be structural",
    "x-kubernetes-list-map-keys": "must be empty to be structural",
    "x-kubernetes-list-type": "must be undefined to be structural",
    "x-kubernetes-map-type": "must be undefined to be structural",
    "x-kubernetes-validations": "must be empty to be structural",
}


def check_structural(schema: Object, path: str) -> list[Cause]:
    def look(out: list[Cause]) -> None:
        _invariants(schema, ROOT, path, out)
        _complete(schema, schema, path, path, out)

    return sorted(gathered(look), key=lambda cause: f"{cause.field}: {cause.message}")


def part(schema: Object, key: str) -> Object:
    """A keyword's value where it is an object, else none."""
    value = schema.get(key)
    return value if isinstance(value, dict) else {}


def each(schema: Object, key: str) -> list[Object]:
    value = schema.get(key)
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _invariants(schema: Object, level: str, path: str, out: list[Cause]) -> None:
    type_, items = schema.get("type") or "", schema.get("items")
    if type_ == "array" and items is None:
        out.append(causes.required(f"{path}.items", "must be specified"))
    if isinstance(items, dict):
        _invariants(items, ITEM, f"{path}.items", out)
    properties = part(schema, "properties")
    for key, below in properties.items():
        if isinstance(below, dict):
            _invariants(below, FIELD, f"{path}.properties[{key}]", out)
    additional = schema.get("additionalProperties")
    if additional is not None:
        if level == ROOT:
            out.append(causes.forbidden(f"{path}.additionalProperties", "must not be used at the root"))
        if isinstance(additional, dict):
            _invariants(additional, FIELD, f"{path}.additionalProperties", out)
    _extensions(schema, path, out)
    any_of = each(schema, "anyOf")
    first = each(schema, "allOf")[:1]
    skips_first = bool(first) and each(first[0], "anyOf") == _INT_OR_STRING
    _values(schema, path, out, skips_any_of=any_of == _INT_OR_STRING, skips_first=skips_first)
    _types(schema, type_, level, path, out)
    _metadata(schema, properties, level, path, out)
    embedded, preserve = schema.get("x-kubernetes-embedded-resource"), schema.get("x-kubernetes-preserve-unknown-fields")
    if embedded and not preserve and not properties:
        detail = "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields"
        out.append(causes.required(f"{path}.properties", detail))


def _extensions(schema: Object, path: str, out: list[Cause]) -> None:
    if schema.get("x-kubernetes-int-or-string"):
        detail = "must be false if x-kubernetes-int-or-string is true"
        keys = ("x-kubernetes-preserve-unknown-fields", "x-kubernetes-embedded-resource")
        out += [causes.invalid(f"{path}.{key}", True, detail) for key in keys if schema.get(key)]


def _types(schema: Object, type_: str, level: str, path: str, out: list[Cause]) -> None:
    if schema.get("x-kubernetes-embedded-resource"):
        if type_ != "object":
            detail = "must be object if x-kubernetes-embedded-resource is true"
            if type_:
                out.append(causes.invalid(f"{path}.type", type_, detail))
            else:
                out.append(causes.required(f"{path}.type", detail))
        if schema.get("additionalProperties") is not None:
            detail = "must not be used if x-kubernetes-embedded-resource is set"
            out.append(causes.forbidden(f"{path}.additionalProperties", detail))
    elif not type_ and not schema.get("x-kubernetes-int-or-string") and not schema.get("x-kubernetes-preserve-unknown-fields"):
        out.append(causes.required(f"{path}.type", f"must not be empty {level}"))
    if level == ROOT and type_ and type_ != "object":
        out.append(causes.invalid(f"{path}.type", type_, "must be object at the root"))


def _metadata(schema: Object, properties: Object, level: str, path: str, out: list[Cause]) -> None:
    is_resource = level == ROOT or bool(schema.get("x-kubernetes-embedded-resource"))
    if is_resource:
        for key in ("kind", "apiVersion"):
            below = properties.get(key)
            if isinstance(below, dict) and below.get("type") != "string":
                out.append(causes.invalid(f"{path}.properties[{key}].type", below.get("type") or "", "must be string"))
    metadata = properties.get("metadata")
    if not isinstance(metadata, dict):
        return
    if is_resource and metadata.get("type") != "object":
        out.append(causes.invalid(f"{path}.properties[metadata].type", metadata.get("type") or "", "must be object"))
    if level == ROOT:
        named = set(part(metadata, "properties"))
        said = {key for key, value in metadata.items() if value not in (None, "", False, [], {}) and key not in _SILENT}
        if not named <= {"name", "generateName"} or said - {"properties"}:
            detail = "must not specify anything other than name and generateName, but metadata is implicitly specified"
            out.append(causes.forbidden(f"{path}.properties[metadata]", detail))


#: Of the metadata's schema these may stand: they restrict nothing.
_SILENT: Final = frozenset({"type", "default"})


def _values(schema: Object, path: str, out: list[Cause], *, skips_any_of: bool = False, skips_first: bool = False) -> None:
    if not skips_any_of:
        for index, below in enumerate(each(schema, "anyOf")):
            _below(below, f"{path}.anyOf[{index}]", out)
    for index, below in enumerate(each(schema, "allOf")):
        _below(below, f"{path}.allOf[{index}]", out, skips_any_of=skips_first and index == 0)
    for index, below in enumerate(each(schema, "oneOf")):
        _below(below, f"{path}.oneOf[{index}]", out)
    if isinstance(schema.get("not"), dict):
        _below(schema["not"], f"{path}.not", out)
    pattern = schema.get("pattern")
    if pattern:
        try:
            compile_pattern(pattern)
        except PatternError as error:
            detail = f"must be a valid regular expression, but isn't: {error}"
            out.append(causes.invalid(f"{path}.pattern", pattern, detail))


def _below(schema: Object, path: str, out: list[Cause], *, skips_any_of: bool = False) -> None:
    _values(schema, path, out, skips_any_of=skips_any_of)
    if isinstance(schema.get("items"), dict):
        _below(schema["items"], f"{path}.items", out)
    for key, below in part(schema, "properties").items():
        if isinstance(below, dict):
            _below(below, f"{path}.properties[{key}]", out)
    if schema.get("additionalProperties"):
        out.append(causes.forbidden(f"{path}.additionalProperties", "must be undefined to be structural"))
    for key, detail in _FORBIDDEN_BELOW.items():
        value: Any = schema.get(key)
        if value or (key == "default" and value is not None):
            out.append(causes.forbidden(f"{path}.{key}", detail))
    if "metadata" in part(schema, "properties"):
        out.append(causes.forbidden(f"{path}.properties[metadata]", "must not be specified in a nested context"))


# --- everything restricted is in the skeleton -----------------------------------------------------------------------------


def _complete(values: Object, skeleton: Object | None, path: str, values_path: str, out: list[Cause]) -> None:
    if skeleton is None:
        out.append(causes.required(path, f"because it is defined in {values_path}"))
        return
    if isinstance(values.get("not"), dict):
        _complete_below(values["not"], skeleton, path, f"{values_path}.not", out)
    for key in _JUNCTORS:
        for index, below in enumerate(each(values, key)):
            _complete_below(below, skeleton, path, f"{values_path}.{key}[{index}]", out)


def _complete_below(values: Object, skeleton: Object | None, path: str, values_path: str, out: list[Cause]) -> None:
    if skeleton is None:
        out.append(causes.required(path, f"because it is defined in {values_path}"))
        return
    _complete(values, skeleton, path, values_path, out)
    if isinstance(values.get("items"), dict):
        items = skeleton.get("items")
        below = items if isinstance(items, dict) else None
        _complete_below(values["items"], below, f"{path}.items", f"{values_path}.items", out)
    fields = part(skeleton, "properties")
    for key, value in part(values, "properties").items():
        if isinstance(value, dict):
            found = fields.get(key)
            below = found if isinstance(found, dict) else None
            _complete_below(value, below, f"{path}.properties[{key}]", f"{values_path}.properties[{key}]", out)
