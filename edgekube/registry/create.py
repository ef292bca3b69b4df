"""The verb create.

Enters: kind, namespace and a decoded object that nobody else holds.
Leaves: Written; StatusError as Kubernetes answers.
Holds: the order is upstream's: type, scope, defaults, namespace, admission, strategy, allocation, validation, store. What was
allocated is given back unless the object was stored.
Next: registry.writing.
"""

from __future__ import annotations

import uuid

import orjson

from edgekube.api.defaults import apply_defaults
from edgekube.api.errors import StatusError
from edgekube.api.kinds import Kind
from edgekube.api.objects import Object, metadata_of
from edgekube.registry import admit, checks, conversion, identity, writing
from edgekube.registry.allocation import Claim
from edgekube.registry.context import Context, Written
from edgekube.registry.faults import as_status
from edgekube.registry.state import Registry
from edgekube.registry.strategies import strategy_of
from edgekube.registry.strategies.services import allocate
from edgekube.store.protocol import Key, StoreError

#: As upstream's RetryGenerateName.
_GENERATE_ATTEMPTS_MAX = 8


async def create(registry: Registry, kind: Kind, namespace: str, obj: Object, context: Context) -> Written:
    identity.check_type(kind, obj)
    checks.shape(kind, obj, context)
    identity.check_scope(kind, namespace, obj)
    identity.clean_for_create(obj)
    metadata = metadata_of(obj)
    if metadata.get("name") or not metadata.get("generateName"):
        return await _create(registry, kind, namespace, obj, context)
    body = orjson.dumps(obj)
    for _ in range(_GENERATE_ATTEMPTS_MAX):
        metadata["name"] = identity.generated_name(obj, registry.suffix())
        try:
            return await _create(registry, kind, namespace, obj, context)
        except StatusError as error:  # drawn again, for what was made of the name is made again, too
            if error.reason != "AlreadyExists":
                raise
            taken = error
            obj = orjson.loads(body)
            metadata = metadata_of(obj)
    raise taken


async def _create(registry: Registry, kind: Kind, namespace: str, obj: Object, context: Context) -> Written:
    metadata = metadata_of(obj)
    apply_defaults(kind, obj)
    name = str(metadata.get("name") or "")
    await admit.namespace_exists(registry, kind, namespace, name)
    await admit.mutate(registry, kind, namespace, obj)
    metadata["uid"] = str(uuid.uuid4())
    metadata["creationTimestamp"] = registry.now()

    storage = conversion.storage_kind(kind)
    obj = conversion.to_storage(kind, obj)
    if storage is not kind:
        apply_defaults(storage, obj)
    strategy = strategy_of(storage)
    strategy.prepare_for_create(obj, context.user)
    if strategy.has_status:
        apply_defaults(storage, obj)  # a new status has its zeros
    claim: Claim | None = None
    if kind.resource == "services":
        claim = registry.services.claim(str(metadata["uid"]))
        allocate(obj, None, claim)
    kept = False
    try:
        checks.create(storage, obj, context)
        result = await _store(registry, kind, namespace, name, obj, context)
        kept = not context.dry_run
        return result
    finally:
        if claim is not None:
            if kept:
                claim.keep()
            else:
                claim.give_back()


async def _store(registry: Registry, kind: Kind, namespace: str, name: str, obj: Object, context: Context) -> Written:
    try:
        return await writing.create(registry, kind, Key(kind.resource, namespace, name), obj, context)
    except StoreError as error:
        raise as_status(error, kind, name) from error
