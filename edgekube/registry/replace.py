"""Read, decide, write if nothing came between: what update, patch and the subresources have in common.

Enters: a key, and a function that makes the new object from the stored one.
Leaves: Written; or StatusError Conflict when the object kept changing.
Holds: without a resourceVersion from the client, a race is tried again on the newer state; with one, it is a Conflict. A change
that changes nothing is not written. The last finalizer to go takes the object with it.
Next: registry.writing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import orjson

from edgekube.api import errors
from edgekube.api.defaults import apply_defaults
from edgekube.api.errors import Cause
from edgekube.api.kinds import Kind
from edgekube.api.objects import Object, metadata_of
from edgekube.registry import checks, conversion, identity, writing
from edgekube.registry.allocation import Claim
from edgekube.registry.context import Context, Written
from edgekube.registry.faults import as_status
from edgekube.registry.get import stored
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

#: From the stored object in the served version to the new one. Called again after a race, with the newer state.
Make = Callable[[Object], Object]


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
) -> Written:
    """``subresource``: "", status, finalize, approval, ephemeralcontainers or resize."""
    key = Key(kind.resource, namespace, name)
    storage = conversion.storage_kind(kind)
    for _ in range(_ATTEMPTS_MAX):
        record = await stored(registry, kind, namespace, name)
        old: Object = orjson.loads(record.value)
        new = make(conversion.object_from_storage(kind, orjson.loads(record.value)))
        identity.check_type(kind, new)
        checks.shape(kind, new, context)
        _check_place(kind, namespace, name, new)
        conditional = _check_revision(kind, name, new, record.revision, is_patch)
        identity.check_update(kind, namespace, name, new, old)
        apply_defaults(kind, new)
        new = conversion.to_storage(kind, new)
        if storage is not kind:
            apply_defaults(storage, new)
        strategy = strategy_of(storage)
        _prepare(strategy, new, old, subresource)
        new = conversion.stamp(storage, new)
        claim = _claim(registry, storage, new, old, subresource)
        kept = False
        try:
            checks.update(storage, new, old, subresource, context)
            if new == old:
                kept = True
                return writing.written(kind, old, record.value)
            if _last_finalizer_gone(strategy, new, old):
                result = await writing.delete(registry, kind, key, new, record.revision, context)
            else:
                result = await writing.update(registry, kind, key, new, record.revision, context)
            kept = not context.dry_run
            return result
        except RevisionConflict as error:
            if conditional and not is_patch:
                raise as_status(error, kind, name) from error
        except StoreError as error:
            raise as_status(error, kind, name) from error
        finally:
            if claim is not None:
                if kept:
                    claim.keep()
                else:
                    claim.give_back()
    raise errors.conflict(kind.group, kind.plural, name)


def _check_place(kind: Kind, namespace: str, name: str, new: Object) -> None:
    identity.check_name(name, new)
    metadata = metadata_of(new)
    given = metadata.get("namespace") or ""
    if given and given != namespace:
        raise errors.bad_request("the namespace of the provided object does not match the namespace sent on the request")
    if kind.namespaced:
        metadata["namespace"] = namespace


def _check_revision(kind: Kind, name: str, new: Object, current: int, is_patch: bool) -> bool:
    """Did the client say which state it changes? StatusError Conflict when that is not the latest."""
    metadata = metadata_of(new)
    given = str(metadata.get("resourceVersion") or "")
    if given and given != "0":
        if given != str(current):
            if not given.isdigit():
                raise errors.bad_request(f'invalid resource version "{given}"')
            raise errors.conflict(kind.group, kind.plural, name)
        return True
    if not is_patch and not strategy_of(kind).unconditional_update:
        why = "Invalid value: 0x0: must be specified for an update"
        raise errors.invalid(kind.group, kind.kind, name, [Cause("FieldValueInvalid", why, "metadata.resourceVersion")])
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
