"""The verb get.

Enters: kind, namespace and name.
Leaves: the stored JSON, in the version that was asked for.
Holds: bytes stay bytes unless the version asked for is not the stored one.
Next: store.
"""

from __future__ import annotations

import orjson

from edgekube.api import errors
from edgekube.api.kinds import Kind
from edgekube.registry import componentstatus, reading
from edgekube.registry.faults import as_status
from edgekube.registry.state import Registry
from edgekube.store.protocol import Key, Record, StoreError


async def stored(registry: Registry, kind: Kind, namespace: str, name: str) -> Record:
    """The record as stored. StatusError NotFound."""
    try:
        record = await registry.store.get(Key(kind.resource, namespace, name))
    except StoreError as error:
        raise as_status(error, kind, name) from error
    if record is None:
        raise errors.not_found(kind.group, kind.plural, name)
    return record


async def get(registry: Registry, kind: Kind, namespace: str, name: str) -> bytes:
    if kind.resource == componentstatus.RESOURCE and (found := componentstatus.component(name)) is not None:
        return orjson.dumps(found)
    record = await stored(registry, kind, namespace, name)
    return (await reading.from_storage(registry, kind, [record.value], [record.revision]))[0]
