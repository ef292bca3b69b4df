"""The last step of every write: encode, hand to the store, and say what became of it.

Enters: the object in its stored version.
Leaves: Written, in the version that was asked for.
Holds: what is stored carries kind, apiVersion and its own resourceVersion; a dry run stops here. What was handed
to the store is waited for and heeded, whoever has gone meanwhile.
Next: store.
"""

from __future__ import annotations

from typing import Final

import orjson
import trio

from edgekube import limits
from edgekube.admission.quota.meters import meter_of
from edgekube.api import errors
from edgekube.api.kinds import CUSTOMRESOURCEDEFINITION, NAMESPACE, SERVICECIDR, Kind
from edgekube.api.objects import Object
from edgekube.registry import conversion, reading
from edgekube.registry.context import APPLY, Context, Written
from edgekube.registry.standing import QUOTAS
from edgekube.registry.state import Registry
from edgekube.store.protocol import Encode, Key

#: Rows of kinds that more depends on than who watches them.
_HEEDED: Final = frozenset({NAMESPACE.resource, SERVICECIDR.resource, CUSTOMRESOURCEDEFINITION.resource})


async def encoder(registry: Registry, kind: Kind, obj: Object) -> tuple[Object, Encode]:
    """The object as it will be stored, and the function that writes its revision into it."""
    if kind.custom:
        stored = await reading.to_storage(registry, kind, conversion.stamp(kind, obj))
    else:
        stored = conversion.stamp(conversion.storage_kind(kind), obj)
    metadata = stored["metadata"]

    def encode(revision: int) -> bytes:
        metadata["resourceVersion"] = str(revision)
        return orjson.dumps(stored)

    return stored, encode


def check_size(stored: Object, context: Context) -> None:
    """managedFields alone never make an object too large: they are dropped instead, as upstream drops them, unless they are what
    the client came for."""
    size_bytes = len(orjson.dumps(stored))
    if size_bytes > limits.OBJECT_BYTES_MAX and context.operation != APPLY and stored["metadata"].pop("managedFields", None):
        size_bytes = len(orjson.dumps(stored))
    if size_bytes > limits.OBJECT_BYTES_MAX:
        raise errors.entity_too_large(f"the object is {size_bytes} bytes long; the limit is {limits.OBJECT_BYTES_MAX}")


async def written(registry: Registry, kind: Kind, stored: Object, raw: bytes, *, created: bool = False) -> Written:
    """The answer to a write, converted if the served version is another."""
    if kind.custom:
        shown = (await reading.from_storage(registry, kind, [raw]))[0]
        return Written(stored if shown is raw else orjson.loads(shown), shown, created)
    if conversion.from_storage(kind) is None:
        return Written(stored, raw, created)
    served = conversion.object_from_storage(kind, stored)
    return Written(served, orjson.dumps(served), created)


async def create(registry: Registry, kind: Kind, key: Key, obj: Object, context: Context) -> Written:
    """Raises what the store raises (KeyExists)."""
    stored, encode = await encoder(registry, kind, obj)
    check_size(stored, context)
    if context.dry_run:
        if await registry.store.get(key) is not None:
            raise errors.already_exists(kind.group, kind.plural, key.name)
        return await written(registry, kind, stored, orjson.dumps(stored), created=True)
    if kind.custom:
        registry.custom.may_create(kind)
    record = await registry.store.create(key, encode)
    await _heed(registry, kind, key, stored)
    registry.custom.wrote(kind, record.revision)
    return await written(registry, kind, stored, record.value, created=True)


async def update(registry: Registry, kind: Kind, key: Key, obj: Object, expected_revision: int, context: Context) -> Written:
    """Raises what the store raises (RevisionConflict, KeyMissing)."""
    stored, encode = await encoder(registry, kind, obj)
    check_size(stored, context)
    if context.dry_run:
        return await written(registry, kind, stored, orjson.dumps(stored))
    record = await registry.store.update(key, encode, expected_revision=expected_revision)
    await _heed(registry, kind, key, stored)
    registry.custom.wrote(kind, record.revision)
    return await written(registry, kind, stored, record.value)


async def delete(registry: Registry, kind: Kind, key: Key, obj: Object, expected_revision: int, context: Context) -> Written:
    """The last state goes to watchers, with the revision of the deletion."""
    stored, encode = await encoder(registry, kind, obj)
    if context.dry_run:
        return await written(registry, kind, stored, orjson.dumps(stored))
    record = await registry.store.delete(key, encode, expected_revision=expected_revision)
    if kind.resource == "services":
        registry.services.forget(stored)
    await _heed(registry, kind, key, stored, gone=True)
    return await written(registry, kind, stored, record.value)


async def _heed(registry: Registry, kind: Kind, key: Key, stored: Object, *, gone: bool = False) -> None:
    """What the registry itself goes by. The store has answered: whoever has gone meanwhile, it is heeded."""
    if key.resource in _HEEDED or registry.standing.heeds(key.resource):
        with trio.CancelScope(shield=True):
            await _follow(registry, kind, key, stored, gone=gone)
    if gone and key.namespace and registry.standing.any(QUOTAS, key.namespace) and meter_of(kind.group_resource) is not None:
        registry.quotas.touch(key.namespace)  # events are not counted, and come and go by the hundred


async def _follow(registry: Registry, kind: Kind, key: Key, stored: Object, *, gone: bool) -> None:
    if registry.standing.heeds(key.resource):
        await registry.standing.follow(registry.store, key)
    if kind is NAMESPACE:
        registry.policed.put(key.name, None if gone else orjson.dumps(stored))
        if gone:
            registry.quotas.forget(key.name)
    elif kind is SERVICECIDR:
        await registry.follow_service_ranges()
    elif kind is CUSTOMRESOURCEDEFINITION:
        await registry.custom.heed(stored, gone=gone)
        for namespace in registry.standing.namespaces(QUOTAS):
            registry.quotas.touch(namespace)  # what nobody knew before can be counted now
