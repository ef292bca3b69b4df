"""Resources within a custom object: their apiVersion, kind and metadata are held to what any resource's are.

Enters: a custom object and its schema.
Leaves: causes; or, on decoding, metadata in its own shape with the paths of what it does not know.
Holds: only places with x-kubernetes-embedded-resource are looked at; the object's own metadata is the registry's concern.
Source: kubernetes.io, "CustomResourceDefinitions" (embedded resources); apiextensions-apiserver pkg/apiserver/schema/objectmeta.
Next: registry.custom.shape.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from edgekube.api import names, schemas, strict
from edgekube.api.custom.schema import Schema
from edgekube.api.errors import Cause, StatusError
from edgekube.api.objects import Object
from edgekube.api.validation import causes
from edgekube.api.validation.fields import Findings, gathered
from edgekube.api.validation.metadata import check_metadata


def _places(schema: Schema | None, value: Any, path: str) -> Iterator[tuple[str, Object]]:
    """Every embedded resource and where it is."""
    if schema is None:
        return
    if type(value) is dict:
        if schema.embedded:
            yield path, value
        for key, item in value.items():
            if type(item) not in (dict, list):
                continue
            below = schema.properties.get(key)
            if below is not None:
                yield from _places(below, item, f"{path}.{key}" if path else key)
            elif schema.additional is not None:
                yield from _places(schema.additional, item, f"{path}[{key}]")
    elif type(value) is list and schema.items is not None:
        for index, item in enumerate(value):
            yield from _places(schema.items, item, f"{path}[{index}]")


def coerce(schema: Schema, obj: Object, *, lenient: bool) -> list[str]:
    """Metadata of embedded resources without unknown fields and in its own types, in place. The paths of what was dropped.
    StatusError BadRequest for wrong types; ``lenient`` (what is on disk) drops these, too."""
    unknown: list[str] = []
    for path, resource in _places(schema, obj, ""):
        for key in ("apiVersion", "kind"):
            if key in resource and not isinstance(resource[key], str) and lenient:
                del resource[key]
        metadata = resource.get("metadata")
        if metadata is None:
            resource.pop("metadata", None)
            continue
        try:
            shape = strict.check_named(schemas.OBJECT_META, "ObjectMeta", "v1", metadata)
            unknown += [f"{path}.metadata.{found}" for found in shape.unknown]
        except StatusError as error:
            if not lenient:
                raise StatusError("BadRequest", f"{path}.metadata: {error.message}") from None
            del resource["metadata"]
    return unknown


def check_embedded(schema: Schema, obj: Object) -> list[Cause]:
    def look(out: list[Cause]) -> None:
        for path, resource in _places(schema, obj, ""):
            _check(out, resource, path)

    return gathered(look)


def _check(out: list[Cause], resource: Object, path: str) -> None:
    version, kind = resource.get("apiVersion"), resource.get("kind")
    if "apiVersion" not in resource:
        out.append(causes.required(f"{path}.apiVersion"))
    elif not isinstance(version, str):
        out.append(causes.invalid(f"{path}.apiVersion", version, "must be a string"))
    elif not version:
        out.append(causes.invalid(f"{path}.apiVersion", version, "must not be empty"))
    elif version.count("/") > 1:
        out.append(causes.invalid(f"{path}.apiVersion", version, f"unexpected GroupVersion string: {version}"))
    if "kind" not in resource:
        out.append(causes.required(f"{path}.kind"))
    elif not isinstance(kind, str):
        out.append(causes.invalid(f"{path}.kind", kind, "must be a string"))
    elif not kind:
        out.append(causes.invalid(f"{path}.kind", kind, "must not be empty"))
    else:
        messages = names.dns1035_label(kind.lower())
        if messages:
            detail = f"may have mixed case, but should otherwise match: {','.join(messages)}"
            out.append(causes.invalid(f"{path}.kind", kind, detail))
    metadata = resource.get("metadata")
    if isinstance(metadata, dict):
        found = Findings()
        named = {**metadata, "name": metadata.get("name") or "fakename"}
        check_metadata(found, named, bool(metadata.get("namespace")), names.path_segment)
        out += [Cause(cause.reason, cause.message, f"{path}.{cause.field}") for cause in found]
    elif "metadata" in resource:
        out.append(causes.invalid(f"{path}.metadata", metadata, "must be an object"))
