"""Claiming: which objects a controller owns, which it adopts, and which it lets go.

Enters: an owner, its selector, and the objects in its namespace.
Leaves: the owned objects, and patches that adopt orphans that match and release children that no longer do.
Holds: an object with another controller is never touched; a deleting owner adopts nothing; a deleting object is neither adopted
nor released (source: controller ref design, k8s.io/kubernetes controller_ref_manager).
Next: controllers.replicaset, controllers.deployment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from edgekube.api import finalizers
from edgekube.api.calls import Call, Patch, Require
from edgekube.api.kinds import Kind
from edgekube.api.objects import Object, controller_of, is_deleting, labels_of, name_of, namespace_of, owners_of, uid_of
from edgekube.api.verbs import JSON_PATCH


def controller_reference(kind: Kind, owner: Object) -> Object:
    """The ownerReference that makes ``owner`` the controller (metav1.NewControllerRef)."""
    return {
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "name": name_of(owner),
        "uid": uid_of(owner),
        "controller": True,
        "blockOwnerDeletion": True,
    }


def claim(
    owner_kind: Kind,
    owner: Object,
    child_kind: Kind,
    candidates: Iterable[Object],
    matches: Callable[[dict[str, str]], bool],
    adoptable: Callable[[Object], bool] = lambda _: True,
    finalizer: str = "",
) -> tuple[list[Object], list[Call]]:
    """The children, those being adopted included, and the calls that make it so. ``finalizer`` comes and goes with the
    reference."""
    mine: list[Object] = []
    calls: list[Call] = []
    adoptions: list[Call] = []
    for obj in candidates:
        controller = controller_of(obj)
        if controller is not None:
            if controller.get("uid") != uid_of(owner):
                continue
            if matches(labels_of(obj)):
                mine.append(obj)
            elif not is_deleting(owner) and not is_deleting(obj):
                calls.append(_release(child_kind, obj, uid_of(owner), finalizer))
        elif not is_deleting(owner) and not is_deleting(obj) and matches(labels_of(obj)) and adoptable(obj):
            adoptions.append(_adopt(owner_kind, owner, child_kind, obj, finalizer))
            mine.append(obj)
    if adoptions:
        # Children that were just orphaned, seen before their owner's deletion is, would go with it.
        calls.append(Require(owner_kind, namespace_of(owner), name_of(owner), uid_of(owner)))
    return mine, calls + adoptions


def _adopt(owner_kind: Kind, owner: Object, child_kind: Kind, child: Object, finalizer: str) -> Call:
    reference = controller_reference(owner_kind, owner)
    references = [*(each for each in owners_of(child) if each.get("uid") != uid_of(owner)), reference]
    operations = _guarded(child, references) + (finalizers.adding(child, finalizer) if finalizer else [])
    return Patch(child_kind, namespace_of(child), name_of(child), operations, patch_type=JSON_PATCH)


def _release(child_kind: Kind, child: Object, owner_uid: str, finalizer: str) -> Call:
    references = [each for each in owners_of(child) if each.get("uid") != owner_uid]
    operations = _guarded(child, references) + (finalizers.removing(child, finalizer) if finalizer else [])
    return Patch(child_kind, namespace_of(child), name_of(child), operations, patch_type=JSON_PATCH)


def _guarded(child: Object, references: list[Object]) -> list[Object]:
    """Tested against the state that was looked at, so that two owners cannot both adopt."""
    operations: list[Object] = [{"op": "test", "path": "/metadata/uid", "value": uid_of(child)}]
    present = (child.get("metadata") or {}).get("ownerReferences")
    if present is not None:
        operations.append({"op": "test", "path": "/metadata/ownerReferences", "value": present})
    elif "resourceVersion" in (child.get("metadata") or {}):
        version = child["metadata"]["resourceVersion"]
        operations.append({"op": "test", "path": "/metadata/resourceVersion", "value": version})
    operations.append({"op": "add", "path": "/metadata/ownerReferences", "value": references})
    return operations
