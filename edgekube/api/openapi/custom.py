"""Custom kinds in OpenAPI documents: names of their types, their lists, and what version 2 cannot say.

Enters: a row and its schema as it is published (api.custom.publishing).
Leaves: schemas.
Holds: what clients of version 2 would stumble over is left out of it: they would refuse objects that are good.
Source: apiextensions-apiserver pkg/controller/openapi (builder, v2).
Next: api.openapi.document.
"""

from __future__ import annotations

from typing import Any

from edgekube.api.kinds import Kind
from edgekube.api.objects import Object
from edgekube.api.openapi.types import LIST_META, reference

_PRESERVES = "x-kubernetes-preserve-unknown-fields"


def type_name(kind: Kind, kind_name: str) -> str:
    """``com.example.stable.v1.CronTab``."""
    return ".".join([*reversed(kind.group.split(".")), kind.version, kind_name])


def list_schema(kind: Kind, texts: dict[str, str]) -> Object:
    """``texts``: descriptions of any built-in list."""
    return {
        "type": "object",
        "description": f"{kind.list_kind} is a list of {kind.kind}",
        "required": ["items"],
        "properties": {
            "apiVersion": {"type": "string", "description": texts.get("apiVersion", "")},
            "kind": {"type": "string", "description": texts.get("kind", "")},
            "items": {
                "type": "array",
                "description": f"List of {kind.plural}.",
                "items": reference(type_name(kind, kind.kind)),
            },
            "metadata": {"allOf": [reference(LIST_META)], "description": texts.get("metadata", "")},
        },
        "x-kubernetes-group-version-kind": [{"group": kind.group, "version": kind.version, "kind": kind.list_kind}],
    }


def for_version_2(schema: Object) -> Object:
    """The root of a custom kind's schema."""
    named = "x-kubernetes-group-version-kind"
    if schema.get(_PRESERVES):
        return {"type": "object", named: schema[named]}
    kept: Object = _without(schema)
    return kept


def _without(schema: Any) -> Any:
    if not isinstance(schema, dict):
        return schema
    kept = {key: value for key, value in schema.items() if key not in ("anyOf", "oneOf", "not", "nullable")}
    if "allOf" in kept and not _is_reference(kept["allOf"]):
        del kept["allOf"]
    if schema.get("nullable"):
        for key in ("type", "items", "properties"):
            kept.pop(key, None)
    if schema.get(_PRESERVES):
        kept.pop("items", None)
        kept.pop("properties", None)
        if kept.get("type") == "object":
            del kept["type"]
    if kept.get("type") == "array" and "items" not in kept:
        del kept["type"]
    properties = kept.get("properties")
    if isinstance(properties, dict):
        may_be_null = {name for name, below in properties.items() if isinstance(below, dict) and below.get("nullable")}
        if "required" in kept:
            kept["required"] = [name for name in kept["required"] if name not in may_be_null]
            if not kept["required"]:
                del kept["required"]
        kept["properties"] = {name: _without(below) for name, below in properties.items()}
    for key in ("items", "additionalProperties"):
        if key in kept:
            kept[key] = _without(kept[key])
    return kept


def _is_reference(parts: Any) -> bool:
    return isinstance(parts, list) and len(parts) == 1 and isinstance(parts[0], dict) and "$ref" in parts[0]
