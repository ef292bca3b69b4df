"""Stored JSON as the version that was asked for, and back.

Enters: a kind, and stored documents; or an object that is about to be stored.
Leaves: documents in the served version, in the same order; the very same bytes where nothing differs.
Holds: built-in kinds are converted in place (registry.conversion). A custom object that was written under another schema than the
definition has now gets its defaults and loses what is unknown now; one of another version is converted, which may mean asking a
webhook, once for all documents of a list.
Next: registry.get, registry.list, registry.watch, registry.writing.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import orjson

from edgekube.api.custom import defaulting, embedded, pruning
from edgekube.api.custom.definition import Definition
from edgekube.api.kinds import Kind
from edgekube.api.objects import Object
from edgekube.registry import conversion
from edgekube.registry.custom.converting import convert
from edgekube.registry.state import Registry
from edgekube.store.protocol import Record


class _Metadata(msgspec.Struct):
    resourceVersion: str = "0"  # the wire's name


class _Peek(msgspec.Struct):
    apiVersion: str = ""
    metadata: _Metadata = msgspec.field(default_factory=_Metadata)


_peek = msgspec.json.Decoder(_Peek)


async def from_storage(
    registry: Registry, kind: Kind, raws: Sequence[bytes], revisions: Sequence[int] | None = None
) -> list[bytes]:
    """``revisions`` of the documents, where the caller knows them. StatusError where a webhook does not answer."""
    if not kind.custom:
        convert_bytes = conversion.from_storage(kind)
        return list(raws) if convert_bytes is None else [convert_bytes(raw) for raw in raws]
    definition = registry.custom.of(kind)
    if definition is None:  # it went; what is still being read of it is shown as it was
        return list(raws)
    settled_after = registry.custom.settled_after(kind)
    served = list(raws)
    foreign: list[tuple[int, Object]] = []
    head_of_kind = b'{"kind":"%s","apiVersion":"%s",' % (kind.kind.encode(), kind.api_version.encode())
    for index, raw in enumerate(raws):
        if revisions is not None and revisions[index] > settled_after and raw.startswith(head_of_kind):
            continue  # as it is, without a look inside
        head = _peek.decode(raw)
        if head.apiVersion == kind.api_version and int(head.metadata.resourceVersion) > settled_after:
            continue
        obj: Object = orjson.loads(raw)
        if int(head.metadata.resourceVersion) <= settled_after:
            _mend(registry, definition, kind, obj)
        if head.apiVersion == kind.api_version:
            served[index] = orjson.dumps(obj)
        else:
            foreign.append((index, obj))
    if foreign:
        converted = await convert(registry, definition, [obj for _, obj in foreign], kind.api_version)
        schema = registry.custom.schema(kind)
        for (index, _), obj in zip(foreign, converted, strict=True):
            pruning.prune(obj, schema)
            served[index] = orjson.dumps(obj)
    return served


async def from_records(registry: Registry, kind: Kind, records: Sequence[Record]) -> list[bytes]:
    values = [record.value for record in records]
    return await from_storage(registry, kind, values, [record.revision for record in records] if kind.custom else None)


async def to_storage(registry: Registry, kind: Kind, obj: Object) -> Object:
    """A custom object in the version that is stored."""
    definition = registry.custom.of(kind)
    if definition is None or definition.stored_row is None or definition.storage_version == kind.version:
        return obj
    (converted,) = await convert(registry, definition, [obj], definition.stored_row.api_version)
    # Upstream does it whenever it reads; here what is read is what was written, as long as the definition stays as it is.
    _mend(registry, definition, definition.stored_row, converted)
    return conversion.stamp(definition.stored_row, converted)


def _mend(registry: Registry, definition: Definition, kind: Kind, obj: Object) -> None:
    """What the schema of the stored version asks for now."""
    version = str(obj.get("apiVersion") or "").rpartition("/")[2]
    if definition.version(version) is None:
        return
    schema = registry.custom.schema_of_version(definition, version)
    if schema.has_embedded:
        embedded.coerce(schema, obj, lenient=True)
    pruning.prune(obj, schema)
    defaulting.fill(obj, schema)
