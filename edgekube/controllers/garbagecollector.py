"""What becomes of an object whose owners are gone or going.

Enters: an object as the API has it now, the state of each of its owners, and its dependents.
Leaves: a deletion, a patch of its owner references, or nothing.
Holds: an object is deleted only when every owner is absent or waits for it; preconditions tie each call to the state looked at.
Source: kubernetes.io/docs/concepts/architecture/garbage-collection; k8s.io/kubernetes pkg/controller/garbagecollector.
Next: reconcile.garbage finds owners and dependents.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import Enum
from typing import Final

from edgekube.api.calls import Call, Delete, Patch
from edgekube.api.kinds import Kind
from edgekube.api.objects import Object, is_deleting, name_of, namespace_of, owners_of, revision_of, uid_of
from edgekube.api.verbs import DeleteOptions

ORPHAN: Final = "orphan"
FOREGROUND: Final = "foregroundDeletion"


class Owner(Enum):
    """How an owner stands."""

    SOLID = "exists"
    ABSENT = "does not exist"
    WAITING = "is being deleted in the foreground, after its dependents"
    UNKNOWN = "is of a kind or in a namespace that cannot be looked up"


def finalizers_of(obj: Object) -> list[str]:
    return (obj.get("metadata") or {}).get("finalizers") or []


def waits_for_dependents(obj: Object) -> bool:
    return is_deleting(obj) and FOREGROUND in finalizers_of(obj)


def plan_dependent(
    kind: Kind, obj: Object, states: Sequence[Owner], *, has_dependents: bool, dependent_waits: bool
) -> list[Call]:
    """``states``: of its owner references, in their order. ``dependent_waits``: a dependent is itself deleted in the foreground,
    which may be a circle."""
    references = owners_of(obj)
    if is_deleting(obj) or not references:
        return []
    if Owner.UNKNOWN in states:
        return []
    if Owner.SOLID in states:
        kept = [each for each, state in zip(references, states, strict=True) if state is Owner.SOLID]
        return [_with_owners(kind, obj, kept)] if len(kept) < len(references) else []
    calls: list[Call] = []
    policy = _policy(obj)
    if Owner.WAITING in states and has_dependents:
        # The owner waits for this object, and this object for its dependents.
        policy = "Foreground"
        if dependent_waits:
            freed = [
                {**each, "blockOwnerDeletion": False} if state is Owner.WAITING and each.get("blockOwnerDeletion") else each
                for each, state in zip(references, states, strict=True)
            ]
            if freed != references:
                return [_with_owners(kind, obj, freed)]
    options = DeleteOptions(
        propagation_policy=policy, precondition_uid=uid_of(obj), precondition_revision=revision_of(obj) or None
    )
    calls.append(Delete(kind, namespace_of(obj), name_of(obj), options))
    return calls


def _policy(obj: Object) -> str:
    """Finalizers that are there already say how the object wants to go."""
    finalizers = finalizers_of(obj)
    if ORPHAN in finalizers:
        return "Orphan"
    return "Foreground" if FOREGROUND in finalizers else "Background"


def without_owner(kind: Kind, obj: Object, owner_uid: str) -> list[Call]:
    """Let a dependent live on without this owner."""
    kept = [each for each in owners_of(obj) if each.get("uid") != owner_uid]
    return [_with_owners(kind, obj, kept)] if len(kept) < len(owners_of(obj)) else []


def without_finalizer(kind: Kind, obj: Object, finalizer: str) -> list[Call]:
    left = [each for each in finalizers_of(obj) if each != finalizer]
    if len(left) == len(finalizers_of(obj)):
        return []
    return [Patch(kind, namespace_of(obj), name_of(obj), {"metadata": {**_guard(obj), "finalizers": left or None}})]


def _with_owners(kind: Kind, obj: Object, references: Iterable[Object]) -> Call:
    patch: Object = {"metadata": {**_guard(obj), "ownerReferences": list(references) or None}}
    return Patch(kind, namespace_of(obj), name_of(obj), patch)


def _guard(obj: Object) -> Object:
    return {"uid": uid_of(obj), "resourceVersion": revision_of(obj)}
