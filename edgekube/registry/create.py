"""The verb create.

Enters: kind, namespace and a decoded object that nobody else holds.
Leaves: Written; StatusError as Kubernetes answers.
Holds: the order is upstream's: type, scope, defaults, mutating admission, name, strategy, allocation, validation, validating
admission, store. What was allocated is given back unless the object was stored.
Next: registry.gate, registry.writing.
"""

from __future__ import annotations

import uuid

import orjson

from edgekube.admission.request import CREATE, AdmissionRequest
from edgekube.api.defaults import apply_defaults
from edgekube.api.errors import StatusError
from edgekube.api.kinds import NAMESPACE, Kind
from edgekube.api.objects import Object, is_deleting, metadata_of
from edgekube.registry import checks, conversion, gate, identity, managing, quotas, restrict, writing
from edgekube.registry.allocation import Claim
from edgekube.registry.context import APPLY, Context, Written
from edgekube.registry.faults import as_status
from edgekube.registry.policies import references
from edgekube.registry.state import Registry
from edgekube.registry.strategies import strategy_of
from edgekube.registry.strategies.services import allocate
from edgekube.store.protocol import Key, StoreError

#: As upstream's RetryGenerateName.
_GENERATE_ATTEMPTS_MAX = 8
#: Who makes one of these need not name it.
_NAMED_BY_UID = frozenset({"limitranges"})


async def create(registry: Registry, kind: Kind, namespace: str, obj: Object, context: Context) -> Written:
    identity.check_type(kind, obj, registry.kinds)
    checks.shape(registry, kind, obj, context)
    identity.check_scope(kind, namespace, obj)
    identity.clean_for_create(obj)
    checks.fill(registry, kind, obj)
    if warning := identity.drop_repeated_owners(obj, after_admission=context.operation == APPLY):
        context.warn(warning)
    if context.operation != APPLY:
        managing.for_create(registry, kind, obj, context)
    managed = metadata_of(obj).get("managedFields")
    request = gate.request_of(CREATE, kind, namespace, str(metadata_of(obj).get("name") or ""), context, obj)
    obj = await gate.mutate(registry, request)
    if request.mutated:
        _look_again(registry, kind, namespace, obj, context)
        managing.after_mutation(obj, managed, context)
    metadata = metadata_of(obj)
    if kind.resource in _NAMED_BY_UID and not metadata.get("name") and not metadata.get("generateName"):
        metadata["name"] = str(uuid.uuid4())
    if not metadata.get("generateName"):
        return await _create(registry, kind, namespace, obj, context, request)
    if metadata.get("name"):
        try:
            return await _create(registry, kind, namespace, obj, context, request)
        except StatusError as error:
            raise _no_name_is_free(error) from None
    body = orjson.dumps(obj)
    for _ in range(_GENERATE_ATTEMPTS_MAX):
        metadata["name"] = identity.generated_name(obj, registry.suffix())
        if kind is NAMESPACE:
            apply_defaults(kind, obj)  # its label is its name
        try:
            return await _create(registry, kind, namespace, obj, context, request)
        except StatusError as error:  # drawn again, for what was made of the name is made again, too
            if error.reason != "AlreadyExists":
                raise
            taken = error
            obj = orjson.loads(body)
            metadata = metadata_of(obj)
    raise _no_name_is_free(taken)


def _no_name_is_free(error: StatusError) -> StatusError:
    """Who asks for a name to be drawn is told to try again; also who has given one besides."""
    if error.reason != "AlreadyExists":
        return error
    why = f"{error.message}, the server was not able to generate a unique name for the object"
    return StatusError("AlreadyExists", why, group=error.group, kind=error.kind, name=error.name, retry_after_seconds=1)


def _look_again(registry: Registry, kind: Kind, namespace: str, obj: Object, context: Context) -> None:
    """Whoever changed the object at admission is no more trusted than who sent it."""
    identity.check_type(kind, obj, registry.kinds)
    checks.shape_of_mutated(registry, kind, obj)
    identity.check_scope(kind, namespace, obj)
    identity.clean_for_create(obj)
    checks.fill(registry, kind, obj)


async def _create(
    registry: Registry, kind: Kind, namespace: str, obj: Object, context: Context, request: AdmissionRequest
) -> Written:
    metadata = metadata_of(obj)
    name = str(metadata.get("name") or "")
    await restrict.may_grant(registry, kind, obj, None, context)
    registry.custom.may_define(kind)
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
        await checks.create(registry, storage, obj, context, kind)
        references.may_refer(registry, kind, obj, None, context)
        async with quotas.Outcome(registry, request) as outcome:
            if gate.validates(registry, request):
                request.object = obj if storage is kind else conversion.object_from_storage(kind, obj)
                await gate.validate(registry, request)
            identity.refuse_revision(obj)
            result = await _store(registry, kind, namespace, name, obj, context)
            kept = outcome.kept = not context.dry_run
        return result
    finally:
        if claim is not None:
            claim.settle(kept=kept)


async def _store(registry: Registry, kind: Kind, namespace: str, name: str, obj: Object, context: Context) -> Written:
    key = Key(kind.resource, namespace, name)
    try:
        return await writing.create(registry, kind, key, obj, context)
    except StoreError as error:
        refused = as_status(error, kind, name)
    except StatusError as error:  # a dry run
        refused = error
    if refused.reason == "AlreadyExists":
        there = await registry.store.get(key)
        if there is not None and is_deleting(orjson.loads(there.value)):
            why = f"object is being deleted: {refused.message}"
            raise StatusError(refused.reason, why, group=refused.group, kind=refused.kind, name=refused.name)
    raise refused
