"""The last step of every write: encode, hand to the store, and say what became of it.

Enters: the object in its stored version.
Leaves: Written, in the version that was asked for.
Holds: what is stored carries kind, apiVersion and its own resourceVersion; a dry run stops here.
Next: store.
"""

from __future__ import annotations

import orjson

from edgekube import limits
from edgekube.api import errors
from edgekube.api.kinds import Kind
from edgekube.api.objects import Object
from edgekube.registry import conversion
from edgekube.registry.context import Context, Written
from edgekube.registry.state import Registry
from edgekube.store.protocol import Encode, Key


def encoder(kind: Kind, obj: Object) -> tuple[Object, Encode]:
    """The object as it will be stored, and the function that writes its revision into it."""
    stored = conversion.stamp(conversion.storage_kind(kind), obj)
    metadata = stored["metadata"]

    def encode(revision: int) -> bytes:
        metadata["resourceVersion"] = str(revision)
        return orjson.dumps(stored)

    return stored, encode


def check_size(stored: Object) -> None:
    size_bytes = len(orjson.dumps(stored))
    if size_bytes > limits.OBJECT_BYTES_MAX:
        raise errors.entity_too_large(f"the object is {size_bytes} bytes long; the limit is {limits.OBJECT_BYTES_MAX}")


def written(kind: Kind, stored: Object, raw: bytes, *, created: bool = False) -> Written:
    """The answer to a write, converted if the served version is another."""
    if conversion.from_storage(kind) is None:
        return Written(stored, raw, created)
    served = conversion.object_from_storage(kind, stored)
    return Written(served, orjson.dumps(served), created)


async def create(registry: Registry, kind: Kind, key: Key, obj: Object, context: Context) -> Written:
    """Raises what the store raises (KeyExists)."""
    stored, encode = encoder(kind, obj)
    check_size(stored)
    if context.dry_run:
        if await registry.store.get(key) is not None:
            raise errors.already_exists(kind.group, kind.plural, key.name)
        return written(kind, stored, orjson.dumps(stored), created=True)
    record = await registry.store.create(key, encode)
    return written(kind, stored, record.value, created=True)


async def update(registry: Registry, kind: Kind, key: Key, obj: Object, expected_revision: int, context: Context) -> Written:
    """Raises what the store raises (RevisionConflict, KeyMissing)."""
    stored, encode = encoder(kind, obj)
    check_size(stored)
    if context.dry_run:
        return written(kind, stored, orjson.dumps(stored))
    record = await registry.store.update(key, encode, expected_revision=expected_revision)
    return written(kind, stored, record.value)


async def delete(registry: Registry, kind: Kind, key: Key, obj: Object, expected_revision: int, context: Context) -> Written:
    """The last state goes to watchers, with the revision of the deletion."""
    stored, encode = encoder(kind, obj)
    if context.dry_run:
        return written(kind, stored, orjson.dumps(stored))
    record = await registry.store.delete(key, encode, expected_revision=expected_revision)
    if kind.resource == "services":
        registry.services.forget(stored)
    return written(kind, stored, record.value)
