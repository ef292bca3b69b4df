"""The verb delete.

Enters: kind, namespace, name and options.
Leaves: Deleted: the object's last state, and whether it is gone or only marked.
Holds: an object with finalizers, with a grace period or with dependents to look after first gets its deletionTimestamp and
stays; a second delete may only shorten the grace (source: k8s.io/apiserver pkg/registry/rest/delete.go,
generic/registry/store.go).
Next: registry.writing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import orjson

from edgekube.admission import lifecycle
from edgekube.api import errors, times
from edgekube.api.errors import Cause
from edgekube.api.kinds import Kind
from edgekube.api.objects import Object, metadata_of
from edgekube.api.verbs import DEFAULT_DELETE, DeleteOptions
from edgekube.registry import writing
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
_POLICIES: Final = ("Background", "Foreground", "Orphan")


@dataclass(frozen=True, slots=True)
class Deleted:
    last: Written
    gone: bool


async def delete(
    registry: Registry, kind: Kind, namespace: str, name: str, context: Context, options: DeleteOptions = DEFAULT_DELETE
) -> Deleted:
    """StatusError NotFound, Conflict (a precondition does not hold), Forbidden (a namespace that must stay), Invalid."""
    if kind.resource == "namespaces":
        lifecycle.may_delete_namespace(name)
    _check_options(options)
    strategy = strategy_of(kind)
    key = Key(kind.resource, namespace, name)
    for _ in range(_ATTEMPTS_MAX):
        record = await stored(registry, kind, namespace, name)
        obj: Object = orjson.loads(record.value)
        _check_preconditions(kind, name, obj, options)
        before = orjson.dumps(obj)
        gone = _mark(strategy, obj, options, registry.clock())
        try:
            if gone:
                return Deleted(await writing.delete(registry, kind, key, obj, record.revision, context), True)
            if orjson.dumps(obj) == before:
                return Deleted(writing.written(kind, obj, record.value), False)
            return Deleted(await writing.update(registry, kind, key, obj, record.revision, context), False)
        except RevisionConflict:
            continue
        except KeyMissing:
            raise errors.not_found(kind.group, kind.plural, name) from None
        except StoreError as error:
            raise as_status(error, kind, name) from error
    raise errors.conflict(kind.group, kind.plural, name)


def _check_options(options: DeleteOptions) -> None:
    policy = options.propagation_policy
    if policy is not None and policy not in _POLICIES:
        supported = ", ".join(f'"{known}"' for known in (*_POLICIES, "nil"))
        why = f'Unsupported value: "{policy}": supported values: {supported}'
        cause = Cause("FieldValueNotSupported", why, "propagationPolicy")
        raise errors.invalid("meta.k8s.io", "DeleteOptions", "", [cause])


def _check_preconditions(kind: Kind, name: str, obj: Object, options: DeleteOptions) -> None:
    metadata = metadata_of(obj)
    uid, revision = options.precondition_uid, options.precondition_revision
    if uid is not None and uid != metadata.get("uid"):
        why = f"Precondition failed: UID in precondition: {uid}, UID in object meta: {metadata.get('uid', '')}"
        raise errors.conflict(kind.group, kind.plural, name, why)
    if revision is not None and revision != metadata.get("resourceVersion"):
        why = (
            f"Precondition failed: ResourceVersion in precondition: {revision}, "
            f"ResourceVersion in object meta: {metadata.get('resourceVersion', '')}"
        )
        raise errors.conflict(kind.group, kind.plural, name, why)


def _mark(strategy: Strategy, obj: Object, options: DeleteOptions, now: float) -> bool:
    """Write into the object what the delete leaves of it. True: nothing keeps it, it goes now."""
    metadata = metadata_of(obj)
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
        if period <= 0:
            return False, False
        asked_at = times.parse(metadata["deletionTimestamp"]) - running
        metadata["deletionTimestamp"] = times.rfc3339(asked_at + period)
        metadata["deletionGracePeriodSeconds"] = period
        return True, False
    if not period:
        return False, False
    _stamp(strategy, obj, now, period)
    return True, False


def _stamp(strategy: Strategy, obj: Object, now: float, period_seconds: int) -> None:
    metadata = metadata_of(obj)
    metadata["deletionTimestamp"] = times.rfc3339(now + period_seconds)
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
