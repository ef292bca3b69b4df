"""The verb delete.

Enters: kind, namespace, name and options.
Leaves: Deleted: the object's last state, and whether it is gone or only marked.
Holds: an object with finalizers, with a grace period or with dependents to look after first gets its deletionTimestamp and
stays; a second delete may only shorten the grace (source: k8s.io/apiserver pkg/registry/rest/delete.go,
generic/registry/store.go).
Next: registry.gate, registry.writing.
"""

from __future__ import annotations

from typing import Final

import orjson
from msgspec import Struct

from edgekube.admission.request import DELETE
from edgekube.api import errors, times
from edgekube.api.kinds import Kind
from edgekube.api.objects import Object, metadata_of
from edgekube.api.verbs import DEFAULT_DELETE, DeleteOptions
from edgekube.registry import conversion, gate, reading, writing
from edgekube.registry.context import Context, Written
from edgekube.registry.faults import as_status
from edgekube.registry.get import stored
from edgekube.registry.state import Registry
from edgekube.registry.strategies import strategy_of
from edgekube.registry.strategies.base import Strategy
from edgekube.store.protocol import Key, KeyMissing, RevisionConflict, StoreError

_ATTEMPTS_MAX: Final = 5
ORPHAN: Final = "orphan"
FOREGROUND: Final = "foregroundDeletion"


class Deleted(Struct, frozen=True):
    last: Written
    gone: bool


async def delete(
    registry: Registry,
    kind: Kind,
    namespace: str,
    name: str,
    context: Context,
    options: DeleteOptions = DEFAULT_DELETE,
    *,
    of_collection: bool = False,
    admitted: bool = False,
) -> Deleted:
    """StatusError NotFound, Conflict (a precondition does not hold), Forbidden (a namespace that must stay), Invalid.
    ``of_collection``: the request names no object. ``admitted``: what led here was admitted already (an eviction)."""
    strategy = strategy_of(kind)
    key = Key(kind.resource, namespace, name)
    for _ in range(_ATTEMPTS_MAX):
        record = await stored(registry, kind, namespace, name)
        value = record.value
        if kind.custom:
            value = (await reading.from_storage(registry, kind, [value]))[0]
        obj: Object = orjson.loads(value)
        check_preconditions(kind, name, obj, options)
        before = orjson.dumps(obj)
        gone = _mark(strategy, obj, options, registry.clock())
        after = orjson.dumps(obj) if not gone else b""
        if not admitted and after != before:
            await _admit(registry, kind, namespace, "" if of_collection else name, before, options, context)
        try:
            if gone:
                return Deleted(await writing.delete(registry, kind, key, obj, record.revision, context), True)
            if after == before:
                return Deleted(await writing.written(registry, kind, obj, record.value), False)
            return Deleted(await writing.update(registry, kind, key, obj, record.revision, context), False)
        except RevisionConflict:
            continue
        except KeyMissing:
            raise errors.not_found(kind.group, kind.plural, name) from None
        except StoreError as error:
            raise as_status(error, kind, name) from error
    raise errors.conflict(kind.group, kind.plural, name)


async def _admit(
    registry: Registry, kind: Kind, namespace: str, name: str, before: bytes, options: DeleteOptions, context: Context
) -> None:
    request = gate.request_of(DELETE, kind, namespace, name, context, None)
    if gate.concerns(registry, request):
        request.old_object = conversion.object_from_storage(kind, orjson.loads(before))
        request.options = {**options.as_object(), "apiVersion": "meta.k8s.io/v1"}
        await gate.both(registry, request)


def check_preconditions(kind: Kind, name: str, obj: Object, options: DeleteOptions) -> None:
    metadata = metadata_of(obj)
    uid, revision = options.precondition_uid, options.precondition_revision
    if uid is not None and uid != metadata.get("uid"):
        why = (
            f"the UID in the precondition ({uid}) does not match the UID in record ({metadata.get('uid', '')}). "
            "The object might have been deleted and then recreated"
        )
        raise errors.conflict(kind.group, kind.kind, name, why)
    if revision is not None and revision != metadata.get("resourceVersion"):
        why = (
            f"the ResourceVersion in the precondition ({revision}) does not match the ResourceVersion in record "
            f"({metadata.get('resourceVersion', '')}). The object might have been modified"
        )
        raise errors.conflict(kind.group, kind.kind, name, why)


def _mark(strategy: Strategy, obj: Object, options: DeleteOptions, now: float) -> bool:
    """Write into the object what the delete leaves of it. True: nothing keeps it, it goes now."""
    metadata = metadata_of(obj)
    if not metadata.get("deletionTimestamp"):
        strategy.before_deletion(obj)
    graceful, pending = _grace(strategy, obj, options, now)
    if pending:
        return False
    wanted = _finalizers(strategy, metadata, options)
    if wanted:
        metadata["finalizers"] = wanted
    else:
        metadata.pop("finalizers", None)
    if graceful:
        return False
    if wanted or strategy.holds_back_deletion(obj):
        if not metadata.get("deletionTimestamp"):
            _stamp(strategy, obj, now, 0)
        elif metadata.get("deletionGracePeriodSeconds"):
            metadata["deletionGracePeriodSeconds"] = 0
            metadata["deletionTimestamp"] = times.rfc3339(now)
        return False
    return True


def _grace(strategy: Strategy, obj: Object, options: DeleteOptions, now: float) -> tuple[bool, bool]:
    """(the object was given a grace period by this delete, an earlier delete's grace still runs)."""
    metadata = metadata_of(obj)
    period = strategy.grace_period_seconds(obj, options.grace_period_seconds)
    if metadata.get("deletionTimestamp"):
        running = metadata.get("deletionGracePeriodSeconds")
        if not running:
            return False, False
        period = options.grace_period_seconds
        if period is None or period >= running:
            return False, True
        asked_at = times.parse(metadata["deletionTimestamp"]) - running
        metadata["deletionTimestamp"] = times.rfc3339(asked_at + max(0, period))
        metadata["deletionGracePeriodSeconds"] = max(0, period)
        return period > 0, False
    if not period:
        return False, False
    _stamp(strategy, obj, now, period)
    return True, False


def _stamp(strategy: Strategy, obj: Object, now: float, period_seconds: int) -> None:
    metadata = metadata_of(obj)
    metadata["deletionTimestamp"] = times.rfc3339(now + period_seconds)
    if strategy.tells_grace:
        metadata["deletionGracePeriodSeconds"] = period_seconds
    if metadata.get("generation"):
        metadata["generation"] += 1
    strategy.mark_deleting(obj)


def _finalizers(strategy: Strategy, metadata: Object, options: DeleteOptions) -> list[str]:
    """The finalizers after this delete: the garbage collector's two follow the propagation policy."""
    present: list[str] = metadata.get("finalizers") or []
    policy = options.propagation_policy
    if policy is None:
        if ORPHAN in present:
            policy = "Orphan"
        elif FOREGROUND in present:
            policy = "Foreground"
        else:
            policy = strategy.default_propagation
    kept = [finalizer for finalizer in present if finalizer not in (ORPHAN, FOREGROUND)]
    if policy == "Orphan":
        return [*kept, ORPHAN]
    if policy == "Foreground":
        return [*kept, FOREGROUND]
    return kept
