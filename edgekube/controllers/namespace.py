"""A namespace on its way out: what its status says, and when it may go.

Enters: a Terminating namespace, what is left in it, and what could not be deleted.
Leaves: its conditions, or the finalization.
Holds: the namespace is finalized only when nothing is left; other finalizers than ours stay.
Source: k8s.io/kubernetes pkg/controller/namespace/deletion (reasons and messages); kubernetes.io/docs, API reference Namespace.
Next: reconcile.emptying deletes the content.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from edgekube.api.calls import Call, Update
from edgekube.api.kinds import NAMESPACE, POD, Kind
from edgekube.api.objects import Object
from edgekube.api.statuses import status_calls, with_condition

FINALIZER: Final = "kubernetes"


@dataclass(slots=True)
class Content:
    """What is left of a namespace."""

    remaining: dict[str, int] = field(default_factory=dict)  # group resource -> objects
    finalizers: dict[str, int] = field(default_factory=dict)  # finalizer -> objects
    failures: list[str] = field(default_factory=list)


def deletion_order(kinds: Sequence[Kind]) -> list[list[Kind]]:
    """Pods first, and alone, so that nothing they rely on (network policies, secrets) goes before them."""
    rest = sorted((kind for kind in kinds if kind != POD), key=lambda kind: kind.resource)
    return [[POD], rest]


def plan_status(namespace: Object, content: Content, wall_seconds: float) -> list[Call]:
    conditions: list[Object] = (namespace.get("status") or {}).get("conditions") or []
    for type_, status, reason, message in _conditions(content):
        before = next((each for each in conditions if each.get("type") == type_), None)
        if before is not None and before.get("status") == status and before.get("message") != message:
            # Numbers change while status and reason stay.
            conditions = [{**each, "message": message} if each is before else each for each in conditions]
        conditions = with_condition(conditions, type_, status, reason, message, wall_seconds)
    return status_calls(NAMESPACE, namespace, {**(namespace.get("status") or {}), "conditions": conditions})


def _conditions(content: Content) -> list[tuple[str, str, str, str]]:
    found = [
        ("NamespaceDeletionDiscoveryFailure", "False", "ResourcesDiscovered", "All resources successfully discovered"),
        (
            "NamespaceDeletionGroupVersionParsingFailure",
            "False",
            "ParsedGroupVersions",
            "All legacy kube types successfully parsed",
        ),
    ]
    if content.failures:
        message = f"Failed to delete all resource types, {len(content.failures)} remaining: {', '.join(content.failures)}"
        found.append(("NamespaceDeletionContentFailure", "True", "ContentDeletionFailed", message))
    else:
        message = "All content successfully deleted, may be waiting on finalization"
        found.append(("NamespaceDeletionContentFailure", "False", "ContentDeleted", message))
    if content.remaining:
        resources = [f"{_dotted(name)} has {count} resource instances" for name, count in sorted(content.remaining.items())]
        message = f"Some resources are remaining: {', '.join(resources)}"
        found.append(("NamespaceContentRemaining", "True", "SomeResourcesRemain", message))
    else:
        found.append(("NamespaceContentRemaining", "False", "ContentRemoved", "All content successfully removed"))
    if content.finalizers:
        held = [f"{name} in {count} resource instances" for name, count in sorted(content.finalizers.items())]
        message = f"Some content in the namespace has finalizers remaining: {', '.join(held)}"
        found.append(("NamespaceFinalizersRemaining", "True", "SomeFinalizersRemain", message))
    else:
        message = "All content-preserving finalizers finished"
        found.append(("NamespaceFinalizersRemaining", "False", "ContentHasNoFinalizers", message))
    return found


def _dotted(group_resource: str) -> str:
    """The core group has an empty name behind its dot: ``pods.``."""
    return group_resource if "." in group_resource else f"{group_resource}."


def plan_finalize(namespace: Object) -> list[Call]:
    """Nothing is left: take our finalizer off, and with the last one the namespace goes."""
    spec = namespace.get("spec") or {}
    left = [each for each in spec.get("finalizers") or () if each != FINALIZER]
    return [Update(NAMESPACE, {**namespace, "spec": {**spec, "finalizers": left}}, subresource="finalize")]
