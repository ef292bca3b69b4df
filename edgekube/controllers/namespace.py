"""A namespace on its way out: what its status says, and when it may go.

Enters: a Terminating namespace, what is left in it, what could not be deleted, which API servers do not say what they keep.
Leaves: its conditions, or the finalization.
Holds: the namespace is finalized only when nothing is left, as far as every API server says so; other finalizers than ours stay.
Source: k8s.io/kubernetes pkg/controller/namespace/deletion (reasons and messages); kubernetes.io/docs, API reference Namespace.
Next: reconcile.emptying deletes the content.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from msgspec import Struct, field

from edgekube.api import times
from edgekube.api.calls import Call, Update
from edgekube.api.kinds import NAMESPACE, POD, Kind
from edgekube.api.objects import Object, name_of
from edgekube.api.statuses import status_calls, with_condition

FINALIZER: Final = "kubernetes"


class Content(Struct):
    """What is left of a namespace."""

    remaining: dict[str, int] = field(default_factory=dict)  # group resource -> objects
    finalizers: dict[str, int] = field(default_factory=dict)  # finalizer -> objects
    failures: list[str] = field(default_factory=list)
    undiscovered: Mapping[str, str] = field(default_factory=dict)  # group version -> why nobody knows what it holds

    def add(self, group_resource: str, count: int, finalizers: Mapping[str, int]) -> None:
        if count:
            self.remaining[group_resource] = self.remaining.get(group_resource, 0) + count
        for name, objects in finalizers.items():
            self.finalizers[name] = self.finalizers.get(name, 0) + objects


def unexpected(kind: Kind, namespace: Object, left: int, held: bool, grace_seconds: float, wall_seconds: float) -> str:
    """What is wrong with objects that remain although nothing asks them to; "" while something does. ``held``: by finalizers;
    ``grace_seconds``: how long the slowest of them may take to end."""
    deleted_at = times.parse(namespace["metadata"]["deletionTimestamp"])
    if not left or held or (grace_seconds and wall_seconds < deleted_at + grace_seconds):
        return ""
    group_version = f"{kind.group}/{kind.version}"
    return f"unexpected items still remain in namespace: {name_of(namespace)} for gvr: {group_version}, Resource={kind.plural}"


def deletion_order(kinds: Sequence[Kind]) -> tuple[list[Kind], list[Kind]]:
    """Pods first, and alone, so that nothing they rely on (network policies, secrets) goes before them."""
    rest = sorted((kind for kind in kinds if kind != POD), key=lambda kind: kind.resource)
    return [POD], rest


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
    found: list[tuple[str, str, str, str]] = []
    if content.undiscovered:
        message = f"Discovery failed for some groups, {len(content.undiscovered)} failing: {undiscovered(content)}"
        found.append(("NamespaceDeletionDiscoveryFailure", "True", "DiscoveryFailed", message))
    else:
        message = "All resources successfully discovered"
        found.append(("NamespaceDeletionDiscoveryFailure", "False", "ResourcesDiscovered", message))
    # A group version that cannot be parsed is in no table of kinds, and validation keeps it out of APIServices.
    message = "All legacy kube types successfully parsed"
    found.append(("NamespaceDeletionGroupVersionParsingFailure", "False", "ParsedGroupVersions", message))
    if content.failures:
        told = ", ".join(sorted(content.failures))
        message = f"Failed to delete all resource types, {len(content.failures)} remaining: {told}"
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


def undiscovered(content: Content) -> str:
    """As client-go says it."""
    groups = ", ".join(f"{group_version}: {why}" for group_version, why in sorted(content.undiscovered.items()))
    return f"unable to retrieve the complete list of server APIs: {groups}"


def _dotted(group_resource: str) -> str:
    """The core group has an empty name behind its dot: ``pods.``."""
    return group_resource if "." in group_resource else f"{group_resource}."


def plan_finalize(namespace: Object) -> list[Call]:
    """Nothing is left: take our finalizer off, and with the last one the namespace goes."""
    spec = namespace.get("spec") or {}
    left = [each for each in spec.get("finalizers") or () if each != FINALIZER]
    return [Update(NAMESPACE, {**namespace, "spec": {**spec, "finalizers": left}}, subresource="finalize")]
