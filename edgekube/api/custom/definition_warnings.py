"""What of a definition is valid and does not do what its author may think.

Enters: a CustomResourceDefinition.
Leaves: texts for Warning headers.
Holds: a format that Kubernetes does not know is not checked, and said to be unknown.
Source: apiextensions-apiserver pkg/registry/customresourcedefinition (strategy.go).
Next: api.warnings.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from edgekube.api.custom.formats import is_supported
from edgekube.api.objects import Object
from edgekube.api.validation.causes import quoted
from edgekube.api.validation.fields import items, part


def warnings_of(definition: Object) -> Iterator[str]:
    for version in items(part(definition, "spec"), "versions"):
        yield from _of(part(version, "schema").get("openAPIV3Schema"))


def _of(schema: Any) -> Iterator[str]:
    if not isinstance(schema, dict):
        return
    name, type_ = schema.get("format"), schema.get("type")
    if isinstance(name, str) and name and (type_ in ("array", "boolean", "object") or not is_supported((type_ or "",), name)):
        yield f"unrecognized format {quoted(name)}"
    for key in ("items", "additionalProperties", "not"):
        yield from _of(schema.get(key))
    for below in part(schema, "properties").values():
        yield from _of(below)
    for key in ("allOf", "anyOf", "oneOf"):
        for below in items(schema, key):
            yield from _of(below)
