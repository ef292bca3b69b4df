"""Namespaces guard what is created in them, and some namespaces may not go.

Enters: the namespace's object, or None when it does not exist.
Leaves: nothing, or the StatusError that refuses.
Holds: pure (source: k8s.io/apiserver admission/plugin/namespace/lifecycle).
Next: registry.create, registry.delete.
"""

from __future__ import annotations

from typing import Final

from edgekube.api import errors
from edgekube.api.errors import Cause, StatusError
from edgekube.api.kinds import Kind
from edgekube.api.objects import Object

IMMORTAL: Final = frozenset({"default", "kube-system", "kube-public"})


def may_create_in(kind: Kind, name: str, namespace: str, found: Object | None) -> None:
    """StatusError NotFound for a missing namespace, Forbidden with cause NamespaceTerminating for one that goes."""
    if found is None:
        raise errors.not_found("", "namespaces", namespace)
    if (found.get("metadata") or {}).get("deletionTimestamp") or (found.get("status") or {}).get("phase") == "Terminating":
        why = f"unable to create new content in namespace {namespace} because it is being terminated"
        refusal = errors.forbidden(kind.group, kind.plural, name, why)
        raise StatusError(
            refusal.reason,
            refusal.message,
            group=kind.group,
            kind=kind.plural,
            name=name,
            causes=[Cause("NamespaceTerminating", f"namespace {namespace} is being terminated", "metadata.namespace")],
        )


def may_delete_namespace(name: str) -> None:
    if name in IMMORTAL:
        raise errors.forbidden("", "namespaces", name, "this namespace may not be deleted")
