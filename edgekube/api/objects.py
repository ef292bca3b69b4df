"""What every Kubernetes object has: names, metadata, owners.

Enters: decoded objects (plain dicts as orjson makes them).
Leaves: the parts that every package asks for; never a copy unless the name says so.
Holds: no I/O, no clock; a missing part reads as empty, as Kubernetes' omitempty does.
Next: api.kinds.
"""

from __future__ import annotations

from typing import Any, TypeAlias

Object: TypeAlias = dict[str, Any]


def metadata_of(obj: Object) -> Object:
    """The object's metadata, added when it is missing, so that callers may write into it."""
    metadata = obj.get("metadata")
    if not isinstance(metadata, dict):
        metadata = obj["metadata"] = {}
    return metadata


def spec_of(obj: Object) -> Object:
    """To be read: {} where there is none."""
    return obj.get("spec") or {}


def status_of(obj: Object) -> Object:
    """To be read: {} where there is none."""
    return obj.get("status") or {}


def name_of(obj: Object) -> str:
    return str((obj.get("metadata") or {}).get("name") or "")


def namespace_of(obj: Object) -> str:
    """Empty for a cluster-scoped object."""
    return str((obj.get("metadata") or {}).get("namespace") or "")


def uid_of(obj: Object) -> str:
    return str((obj.get("metadata") or {}).get("uid") or "")


def revision_of(obj: Object) -> str:
    """metadata.resourceVersion: opaque to clients, a decimal counter to us."""
    return str((obj.get("metadata") or {}).get("resourceVersion") or "")


def labels_of(obj: Object) -> dict[str, str]:
    return (obj.get("metadata") or {}).get("labels") or {}


def annotations_of(obj: Object) -> dict[str, str]:
    return (obj.get("metadata") or {}).get("annotations") or {}


def owners_of(obj: Object) -> list[Object]:
    return (obj.get("metadata") or {}).get("ownerReferences") or []


def controller_of(obj: Object) -> Object | None:
    """The owner reference with ``controller: true``; at most one exists (metav1.GetControllerOf)."""
    return next((owner for owner in owners_of(obj) if owner.get("controller")), None)


def is_deleting(obj: Object) -> bool:
    return bool((obj.get("metadata") or {}).get("deletionTimestamp"))
