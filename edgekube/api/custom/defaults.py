"""Defaults of a schema are values that the schema itself accepts.

Enters: openAPIV3Schema as it was written, structural and otherwise valid.
Leaves: causes.
Holds: a default has no unknown fields, fits its place, and what it says of a resource's metadata makes valid metadata.
Source: apiextensions-apiserver pkg/apiserver/schema/defaulting (ValidateDefaults).
Next: api.custom.definition_rules.
"""

from __future__ import annotations

from typing import Any, Final

import orjson

from edgekube.api.custom import checking, embedded, keeping, pruning
from edgekube.api.custom.schema import Schema
from edgekube.api.custom.structural import part
from edgekube.api.errors import Cause, StatusError
from edgekube.api.objects import Object
from edgekube.api.validation import causes
from edgekube.api.validation.fields import gathered

_META: Final = ("metadata", "apiVersion", "kind")


def check_defaults(schema: Object, path: str) -> list[Cause]:
    return gathered(lambda out: _check(schema, path, out, in_metadata=False, is_resource=True))


def check_rules_of_defaults(schema: Object, path: str) -> list[Cause]:
    """Of a schema whose rules compile: each default keeps those of its place, as a new value."""
    return gathered(lambda out: _check_rules(schema, path, out))


def _check_rules(raw: Object, path: str, out: list[Cause]) -> None:
    default = raw.get("default")
    if default is not None and (tree := keeping.rule_tree(raw, is_root=False)) is not None:
        broken, _ = keeping.check(tree, default)
        for cause in broken:
            below = "" if cause.field == checking.NOWHERE else f".{cause.field}"
            out.append(Cause(cause.reason, cause.message, f"{path}.default{below}"))
    items = raw.get("items")
    if isinstance(items, dict):
        _check_rules(items, f"{path}.items", out)
    for key, below_ in part(raw, "properties").items():
        if isinstance(below_, dict):
            _check_rules(below_, f"{path}.properties[{key}]", out)


def _check(raw: Object, path: str, out: list[Cause], *, in_metadata: bool, is_resource: bool) -> None:
    default = raw.get("default")
    is_resource = is_resource or bool(raw.get("x-kubernetes-embedded-resource"))
    if is_resource:
        in_metadata = False
    if default is not None:
        _check_default(Schema(raw), default, f"{path}.default", out, pruned=not in_metadata)
    items = raw.get("items")
    if isinstance(items, dict):
        _check(items, f"{path}.items", out, in_metadata=in_metadata, is_resource=False)
    for key, below in part(raw, "properties").items():
        if isinstance(below, dict):
            inside = in_metadata or (is_resource and key in _META)
            _check(below, f"{path}.properties[{key}]", out, in_metadata=inside, is_resource=False)


def _check_default(schema: Schema, default: Any, path: str, out: list[Cause], *, pruned: bool) -> None:
    value = orjson.loads(orjson.dumps(default))
    if isinstance(value, dict):
        if pruned and _has_unknown(schema, value):
            out.append(causes.invalid(path, default, "must not have unknown fields"))
        if schema.has_embedded:
            try:
                embedded.coerce(schema, value, lenient=False)
            except StatusError as error:
                out.append(causes.invalid(path, default, f"must result in valid metadata: {error.message}"))
                return
            found = embedded.check_embedded(schema, value)
            if found:
                out += [Cause(cause.reason, cause.message, f"{path}.{cause.field.lstrip('.')}") for cause in found]
                return
    elif isinstance(value, list) and pruned and schema.items is not None:
        copied = orjson.loads(orjson.dumps(value))
        for item in copied:
            if isinstance(item, dict):
                _has_unknown(schema.items, item)
        if copied != value:
            out.append(causes.invalid(path, default, "must not have unknown fields"))
    out += checking.check(schema, value, prefix=path)


def _has_unknown(schema: Schema, value: Object) -> bool:
    """The copy that it is given loses what it should not have."""
    kept = {} if schema.embedded else {key: value.pop(key) for key in _META if key in value and key not in schema.properties}
    return bool(pruning.prune(value, schema)) or bool(kept)
