"""Read, decide, write if nothing came between: what update, patch and the subresources have in common.

Enters: a key, and a function that makes the new object from the stored one.
Leaves: Written; or StatusError Conflict when the object kept changing.
Holds: without a resourceVersion from the client, a race is tried again on the newer state, admission included; with one, it is a
Conflict. A change that changes nothing is not written. The last finalizer to go takes the object with it.
Next: registry.gate, registry.writing.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

import orjson
from msgspec import Struct

from edgekube.admission.request import UPDATE, AdmissionRequest
from edgekube.api import errors
from edgekube.api.defaults import apply_defaults
from edgekube.api.errors import Cause
from edgekube.api.kinds import Kind
from edgekube.api.objects import Object, metadata_of
from edgekube.registry import checks, conversion, gate, identity, managing, quotas, reading, restrict, writing
from edgekube.registry.allocation import Claim
from edgekube.registry.context import APPLY, Context, Written
from edgekube.registry.faults import as_status
from edgekube.registry.get import stored
from edgekube.registry.policies import references
from edgekube.registry.state import Registry
from edgekube.registry.strategies import strategy_of
from edgekube.registry.strategies.base import Strategy
from edgekube.registry.strategies.namespaces import NamespaceStrategy
from edgekube.registry.strategies.pods import PodStrategy
from edgekube.registry.strategies.services import allocate
from edgekube.registry.strategies.workloads import SigningRequestStrategy
from edgekube.store.protocol import Key, RevisionConflict, StoreError

#: Attempts before a write without a resourceVersion gives up; upstream's patch uses five, too.
_ATTEMPTS_MAX: Final = 5

#: From the stored object in the served version to the new one (through a View: from what it shows to the new one of that).
#: Called again after a race, with the newer state.
Make = Callable[[Object], Object]


class View(Struct, frozen=True):
    """A subresource with a body of its own: what it shows of an object, and the object with that changed."""

    kind: Kind
    subresource: str
    of: Callable[[Object], Object]
    merge: Callable[[Object, Object], Object]


async def replace(
    registry: Registry,
    kind: Kind,
    namespace: str,
    name: str,
    make: Make,
    context: Context,
    *,
    subresource: str = "",
    is_patch: bool = False,
    is_shaped: bool = False,
    is_update: bool = False,
    view: View | None = None,
) -> Written:
    """``is_shaped``: ``make`` has looked at the shape of what it made. ``is_update``: it does not look at the stored object.

    ``subresource``: "", status, finalize, approval, ephemeralcontainers or resize; a ``view`` names its own."""
    key = Key(kind.resource, namespace, name)
    storage = conversion.storage_kind(kind)
    for _ in range(_ATTEMPTS_MAX):
        record = await stored(registry, kind, namespace, name)
        value = record.value
        if kind.custom:  # decided about in the version that was asked for; written in the one that is stored
            value = (await reading.from_storage(registry, kind, [value]))[0]
        old: Object = orjson.loads(value)
        request = gate.request_of(UPDATE, kind, namespace, name, context, None, subresource=subresource)
        request.old_object = old if storage is kind else conversion.object_from_storage(kind, old)
        current = old if is_update else conversion.object_from_storage(kind, orjson.loads(value))
        if view is None:
            new = make(current) if not kind.custom else await managing.settled(registry, kind, context, partial(make, current))
        else:
            new = await _through(registry, view, make, current, request, context)
        identity.check_type(kind, new, registry.kinds)
        if not is_shaped:
            checks.shape(registry, kind, new, context)
        _check_place(kind, namespace, name, new, is_named=is_patch and context.operation != APPLY)
        if not is_patch:
            identity.check_uid(kind, name, new, old)
        conditional = _check_revision(kind, name, new, record.revision, context.operation == APPLY)
        identity.keep_system_fields(new, old, is_subresource=bool(subresource))
        checks.fill(registry, kind, new)
        if warning := identity.drop_repeated_owners(new, after_admission=is_patch):
            context.warn(warning)
        if view is None:
            if context.operation != APPLY:
                manage = partial(managing.for_update, registry, kind, request.old_object, new, subresource, context)
                if kind.custom:
                    await managing.settled(registry, kind, context, manage)
                else:
                    manage()
            request.object, managed = new, metadata_of(new).get("managedFields")
            new = await gate.mutate(registry, request)
            if request.mutated:
                _look_again(registry, kind, namespace, name, new, old, is_subresource=bool(subresource))
                managing.after_mutation(new, managed, context)
        new = conversion.to_storage(kind, new)
        if storage is not kind:
            apply_defaults(storage, new)
        strategy = strategy_of(storage)
        await restrict.may_grant(registry, kind, new, old, context)
        _prepare(strategy, new, old, subresource)
        if subresource:
            strategy.stamp_times(new, old, registry.now())
        new = conversion.stamp(storage, new)
        claim = _claim(registry, storage, new, old, subresource)
        kept = False
        try:
            await checks.update(registry, storage, new, old, subresource, context, kind)
            references.may_refer(registry, kind, new, old, context)
            async with quotas.Outcome(registry, request) as outcome:
                if gate.validates(registry, request):
                    final = new if storage is kind else conversion.object_from_storage(kind, new)
                    request.object = final if view is None else view.of(final)
                    await gate.validate(registry, request)
                if value is record.value and (new == old or managing.is_only_time(new, old)):
                    kept = outcome.kept = True
                    return await writing.written(registry, kind, old, record.value)
                if _last_finalizer_gone(strategy, new, old):
                    result = await writing.delete(registry, kind, key, new, record.revision, context)
                else:
                    result = await writing.update(registry, kind, key, new, record.revision, context)
                kept = outcome.kept = not context.dry_run
            return result
        except RevisionConflict as error:
            if conditional and not is_patch:
                raise as_status(error, kind, name) from error
        except StoreError as error:
            raise as_status(error, kind, name) from error
        finally:
            if claim is not None:
                claim.settle(kept=kept)
    raise errors.conflict(kind.group, kind.plural, name)


async def _through(
    registry: Registry, view: View, make: Make, current: Object, request: AdmissionRequest, context: Context
) -> Object:
    """Admission sees what the view shows, before and after."""
    request.subresource, request.body_kind = view.subresource, view.kind
    request.old_object = shown = view.of(current)
    request.object, entries = managing.scaled(registry, request.kind, view.kind, current, shown, make, context)
    merged = view.merge(current, await gate.mutate(registry, request))
    managing.put(merged, entries)
    return merged


def _look_again(
    registry: Registry, kind: Kind, namespace: str, name: str, new: Object, old: Object, *, is_subresource: bool
) -> None:
    """Whoever changed the object at admission is no more trusted than who sent it."""
    identity.check_type(kind, new, registry.kinds)
    checks.shape_of_mutated(registry, kind, new)
    _check_place(kind, namespace, name, new)
    identity.keep_system_fields(new, old, is_subresource=is_subresource)
    checks.fill(registry, kind, new)


def _check_place(kind: Kind, namespace: str, name: str, new: Object, *, is_named: bool = False) -> None:
    """``is_named``: it had a name before it was patched, and must not have lost it."""
    identity.check_name(name, new, required=is_named)
    identity.check_scope(kind, namespace, new)


def _check_revision(kind: Kind, name: str, new: Object, current: int, is_apply: bool) -> bool:
    """Did the client say which state it changes? StatusError Conflict when that is not the latest."""
    metadata = metadata_of(new)
    given = str(metadata.get("resourceVersion") or "")
    if given and given != "0":
        if given != str(current):
            if not given.isdigit():
                raise errors.bad_request(f'invalid resource version "{given}"')
            raise errors.conflict(kind.group, kind.plural, name)
        return True
    if not is_apply and not strategy_of(kind).unconditional_update:
        why = "Invalid value: 0: must be specified for an update"
        raise errors.invalid(kind.group, kind.plural, name, [Cause("FieldValueInvalid", why, "metadata.resourceVersion")])
    metadata["resourceVersion"] = str(current)
    return False


def _prepare(strategy: Strategy, new: Object, old: Object, subresource: str) -> None:
    match subresource:
        case "":
            strategy.prepare_for_update(new, old)
        case "status":
            strategy.prepare_for_status_update(new, old)
        case "finalize" if isinstance(strategy, NamespaceStrategy):
            strategy.prepare_for_finalize(new, old)
        case "approval" if isinstance(strategy, SigningRequestStrategy):
            strategy.prepare_for_approval(new, old)
        case "ephemeralcontainers" if isinstance(strategy, PodStrategy):
            strategy.prepare_for_ephemeral_containers(new, old)
            strategy.raise_generation(new, old)
        case "resize" if isinstance(strategy, PodStrategy):
            strategy.prepare_for_resize(new, old)
            strategy.raise_generation(new, old)
        case _:
            raise errors.method_not_allowed(strategy.kind.group, f"{strategy.kind.plural}/{subresource}", "update")


def _claim(registry: Registry, storage: Kind, new: Object, old: Object, subresource: str) -> Claim | None:
    if storage.resource != "services" or subresource:
        return None
    claim = registry.services.claim(str(metadata_of(old)["uid"]))
    allocate(new, old, claim)
    return claim


def _last_finalizer_gone(strategy: Strategy, new: Object, old: Object) -> bool:
    metadata = metadata_of(old)
    if not metadata.get("deletionTimestamp") or metadata.get("deletionGracePeriodSeconds"):
        return False
    return not metadata_of(new).get("finalizers") and not strategy.holds_back_deletion(new)
