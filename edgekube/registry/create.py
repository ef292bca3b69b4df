"""The verb create.

Enters: kind, namespace and a decoded object that nobody else holds.
Leaves: Written; StatusError as Kubernetes answers.
Holds: the order is upstream's: type, scope, defaults, namespace, admission, strategy, allocation, validation, store. What was
allocated is given back unless the object was stored.
Next: registry.writing.
"""

from __future__ import annotations

import uuid

from edgekube.api import errors
from edgekube.api.defaults import apply_defaults
from edgekube.api.kinds import Kind
from edgekube.api.objects import Object, metadata_of
from edgekube.registry import admit, checks, conversion, identity, writing
from edgekube.registry.allocation import Claim
from edgekube.registry.context import Context, Written
from edgekube.registry.faults import as_status
from edgekube.registry.state import Registry
from edgekube.registry.strategies import strategy_of
from edgekube.registry.strategies.services import allocate
from edgekube.store.protocol import Key, KeyExists, StoreError

#: As upstream's RetryGenerateName.
_GENERATE_ATTEMPTS_MAX = 8


async def create(registry: Registry, kind: Kind, namespace: str, obj: Object, context: Context) -> Written:
    identity.check_type(kind, obj)
    checks.shape(kind, obj, context)
    identity.check_scope(kind, namespace, obj)
    identity.clean_for_create(obj)
    metadata = metadata_of(obj)
    apply_defaults(kind, obj)
    generated = not metadata.get("name") and bool(metadata.get("generateName"))
    if generated:
        metadata["name"] = identity.generated_name(obj, registry.suffix())
    name = str(metadata.get("name") or "")
    await admit.namespace_exists(registry, kind, namespace, name)
    await admit.mutate(registry, kind, namespace, obj)
    metadata["uid"] = str(uuid.uuid4())
    metadata["creationTimestamp"] = registry.now()

    storage = conversion.storage_kind(kind)
    obj = conversion.to_storage(kind, obj)
    if storage is not kind:
        apply_defaults(storage, obj)
    strategy_of(storage).prepare_for_create(obj, context.user)
    claim: Claim | None = None
    if kind.resource == "services":
        claim = registry.services.claim(str(metadata["uid"]))
        allocate(obj, None, claim)
    kept = False
    try:
        checks.create(storage, obj, context)
        result = await _store(registry, kind, namespace, obj, context, generated)
        kept = not context.dry_run
        return result
    finally:
        if claim is not None:
            if kept:
                claim.keep()
            else:
                claim.give_back()


async def _store(registry: Registry, kind: Kind, namespace: str, obj: Object, context: Context, generated: bool) -> Written:
    """A generated name that is taken is drawn again."""
    metadata = metadata_of(obj)
    for attempt in range(_GENERATE_ATTEMPTS_MAX if generated else 1):
        if attempt:
            metadata.pop("name")
            metadata["name"] = identity.generated_name(obj, registry.suffix())
        name = str(metadata["name"])
        try:
            return await writing.create(registry, kind, Key(kind.resource, namespace, name), obj, context)
        except KeyExists:
            continue
        except StoreError as error:
            raise as_status(error, kind, name) from error
    raise errors.already_exists(kind.group, kind.plural, str(metadata["name"]))
