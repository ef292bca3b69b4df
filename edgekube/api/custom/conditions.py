"""Conditions of a CustomResourceDefinition: what is set, and since when.

Enters: a CustomResourceDefinition.
Leaves: the same, changed in place.
Holds: lastTransitionTime moves with the condition's status, and not otherwise.
Source: kubernetes.io, "CustomResourceDefinition v1"; apiextensions helpers.
Next: api.custom.naming.
"""

from __future__ import annotations

from typing import Final

from edgekube.api.objects import Object

ESTABLISHED: Final = "Established"
NAMES_ACCEPTED: Final = "NamesAccepted"
NON_STRUCTURAL: Final = "NonStructuralSchema"
TERMINATING: Final = "Terminating"

#: Keeps a definition until its instances are gone.
CLEANUP_FINALIZER: Final = "customresourcecleanup.apiextensions.k8s.io"


def condition(crd: Object, type_: str) -> Object | None:
    return next((one for one in (crd.get("status") or {}).get("conditions") or () if one.get("type") == type_), None)


def is_true(crd: Object, type_: str) -> bool:
    found = condition(crd, type_)
    return found is not None and found.get("status") == "True"


def set_condition(crd: Object, type_: str, status: str, reason: str, message: str, now: str) -> None:
    """``now`` in RFC 3339."""
    found = condition(crd, type_)
    if found is None:
        new = {"type": type_, "status": status, "lastTransitionTime": now, "reason": reason, "message": message}
        crd.setdefault("status", {}).setdefault("conditions", []).append(new)
        return
    if found.get("status") != status or not found.get("lastTransitionTime"):
        found["lastTransitionTime"] = now
    found |= {"status": status, "reason": reason, "message": message}
