"""An OpenAPI v3 schema of a CustomResourceDefinition, in the form in which objects are held against it.

Enters: openAPIV3Schema as it was written; it is valid (api.custom.structural).
Leaves: a tree of Schema.
Holds: immutable once made; descriptions and examples are not in it. Formats that Kubernetes does not know are ignored.
Next: api.custom.pruning, api.custom.defaulting, api.custom.checking, api.custom.lists, api.custom.embedded.
"""

from __future__ import annotations

from sys import intern
from typing import Any, Final

from edgekube.api.custom.formats import is_supported
from edgekube.api.objects import Object

#: Keywords about a value's own content, kept as they were written.
_KEYWORDS: Final = (
    "enum", "exclusiveMaximum", "exclusiveMinimum", "maxItems", "maxLength", "maxProperties", "maximum", "minItems",
    "minLength", "minProperties", "minimum", "multipleOf", "pattern", "uniqueItems",
)  # fmt: skip
_LISTS: Final = ("allOf", "anyOf", "oneOf")


class Schema:
    """One place in a schema, structural or below a junctor."""

    __slots__ = (
        "additional",
        "default",
        "embedded",
        "format",
        "has_embedded",
        "has_rules",
        "int_or_string",
        "items",
        "junctors",
        "keywords",
        "list_keys",
        "list_type",
        "map_type",
        "nullable",
        "open",
        "preserve",
        "properties",
        "required",
        "types",
    )

    def __init__(self, raw: Object) -> None:
        type_ = raw.get("type")
        self.int_or_string = bool(raw.get("x-kubernetes-int-or-string"))
        self.types: tuple[str, ...] = ("integer", "string") if self.int_or_string else (intern(type_),) if type_ else ()
        format_ = raw.get("format") or ""
        self.format = intern(format_) if format_ and is_supported(self.types, format_) else ""
        self.nullable = bool(raw.get("nullable"))
        self.preserve = bool(raw.get("x-kubernetes-preserve-unknown-fields"))
        self.embedded = bool(raw.get("x-kubernetes-embedded-resource"))
        properties = raw.get("properties")
        self.properties: dict[str, Schema] = {intern(key): Schema(value) for key, value in (properties or {}).items()}
        items = raw.get("items")
        self.items = Schema(items) if isinstance(items, dict) else None
        additional = raw.get("additionalProperties")
        self.additional = Schema(additional) if isinstance(additional, dict) else None
        #: additionalProperties was given, as a schema or as true.
        self.open = additional is not None and additional is not False
        self.required: tuple[str, ...] = tuple(map(intern, raw.get("required") or ()))
        self.default: Any = raw.get("default")
        self.keywords: Object | None = {key: raw[key] for key in _KEYWORDS if raw.get(key) is not None} or None
        self.junctors = _junctors(raw)
        self.list_type: str = raw.get("x-kubernetes-list-type") or ""
        self.list_keys: tuple[str, ...] = tuple(raw.get("x-kubernetes-list-map-keys") or ())
        self.map_type: str = raw.get("x-kubernetes-map-type") or ""
        #: x-kubernetes-validations, here or below (api.custom.keeping has them).
        self.has_rules: bool = bool(raw.get("x-kubernetes-validations")) or any(
            below is not None and below.has_rules for below in (self.items, self.additional, *self.properties.values())
        )

        #: Here or below: most schemas have none, and their objects need not be walked for them.
        self.has_embedded: bool = self.embedded or any(
            below is not None and below.has_embedded for below in (self.items, self.additional, *self.properties.values())
        )

    def child(self, key: str) -> Schema | None:
        """The schema of an object's field, declared or additional."""
        found = self.properties.get(key)
        return self.additional if found is None else found


class Junctors:
    """allOf, anyOf, oneOf and not of one place."""

    __slots__ = ("all_of", "any_of", "not_", "one_of")

    def __init__(self, raw: Object) -> None:
        self.all_of = tuple(map(Schema, raw.get("allOf") or ()))
        self.any_of = tuple(map(Schema, raw.get("anyOf") or ()))
        self.one_of = tuple(map(Schema, raw.get("oneOf") or ()))
        self.not_ = Schema(raw["not"]) if raw.get("not") is not None else None


def _junctors(raw: Object) -> Junctors | None:
    if any(raw.get(key) for key in _LISTS) or raw.get("not") is not None:
        return Junctors(raw)
    return None


def compile_schema(raw: Object) -> Schema:
    """The schema of a whole object."""
    return Schema(raw)
