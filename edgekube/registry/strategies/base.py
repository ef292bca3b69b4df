"""What a kind does when it is written: a table for what differs by kind, and the rules that hold for all.

Enters: the new object and the stored one.
Leaves: the object to store, changed in place.
Holds: pure; a strategy never reads the store (source: the strategy.go of each kind in k8s.io/kubernetes pkg/registry).
Next: registry.strategies, the look-up; one module for each kind that needs more than the table.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from edgekube.api.kinds import Kind
from edgekube.api.objects import Object, metadata_of
from edgekube.api.returned import RETURNS_DELETED
from edgekube.api.verbs import UserInfo

#: metadata.generation counts changes of what users ask for.
_WITH_GENERATION: Final = frozenset({
    "pods", "podtemplates", "replicationcontrollers", "deployments.apps", "replicasets.apps", "statefulsets.apps",
    "daemonsets.apps", "jobs.batch", "cronjobs.batch", "ingresses.networking.k8s.io", "ingressclasses.networking.k8s.io",
    "networkpolicies.networking.k8s.io", "poddisruptionbudgets.policy", "endpointslices.discovery.k8s.io",
    "priorityclasses.scheduling.k8s.io", "flowschemas.flowcontrol.apiserver.k8s.io",
    "prioritylevelconfigurations.flowcontrol.apiserver.k8s.io",
    "customresourcedefinitions.apiextensions.k8s.io",
    "validatingwebhookconfigurations.admissionregistration.k8s.io",
    "mutatingwebhookconfigurations.admissionregistration.k8s.io",
    "validatingadmissionpolicies.admissionregistration.k8s.io",
    "validatingadmissionpolicybindings.admissionregistration.k8s.io",
    "mutatingadmissionpolicies.admissionregistration.k8s.io",
    "mutatingadmissionpolicybindings.admissionregistration.k8s.io",
    "resourceslices.resource.k8s.io", "deviceclasses.resource.k8s.io",
})  # fmt: skip

#: What of the metadata counts as well (source: their PrepareForUpdate).
_COUNTS_TOO: Final = {"endpointslices.discovery.k8s.io": "labels", "deployments.apps": "annotations"}

#: Updates of these must say which resourceVersion they change (AllowUnconditionalUpdate is false).
_CONDITIONAL_UPDATE: Final = frozenset({
    "leases.coordination.k8s.io", "customresourcedefinitions.apiextensions.k8s.io", "apiservices.apiregistration.k8s.io",
    "poddisruptionbudgets.policy", "runtimeclasses.node.k8s.io", "csidrivers.storage.k8s.io", "csinodes.storage.k8s.io",
    "csistoragecapacities.storage.k8s.io", "volumeattachments.storage.k8s.io",
    "validatingwebhookconfigurations.admissionregistration.k8s.io",
    "mutatingwebhookconfigurations.admissionregistration.k8s.io",
    "validatingadmissionpolicies.admissionregistration.k8s.io",
    "validatingadmissionpolicybindings.admissionregistration.k8s.io",
    "mutatingadmissionpolicies.admissionregistration.k8s.io",
    "mutatingadmissionpolicybindings.admissionregistration.k8s.io",
})  # fmt: skip

#: PUT of a name that does not exist creates it (AllowCreateOnUpdate).
_CREATE_ON_UPDATE: Final = frozenset({
    "endpoints", "events", "leases.coordination.k8s.io", "limitranges", "services",
    "roles.rbac.authorization.k8s.io", "rolebindings.rbac.authorization.k8s.io",
    "clusterroles.rbac.authorization.k8s.io", "clusterrolebindings.rbac.authorization.k8s.io",
})  # fmt: skip

#: Their dependents stay unless a delete says otherwise.
_ORPHAN_BY_DEFAULT: Final = frozenset({"replicationcontrollers", "jobs.batch"})

#: Fields of the spec behind gates that v1.36 has off: what is not there already is dropped without a word.
_GATED: Final = {"leases.coordination.k8s.io": ("strategy", "preferredHolder"), "nodes": ("configSource",)}

#: Sources of projected volumes behind gates that are off, and where each kind has its pods.
_GATED_SOURCES: Final = ("clusterTrustBundle", "podCertificate")
_POD_SPECS: Final = {
    "pods": ("spec",), "podtemplates": ("template", "spec"),
    "cronjobs.batch": ("spec", "jobTemplate", "spec", "template", "spec"),
    **dict.fromkeys(
        ("replicationcontrollers", "deployments.apps", "replicasets.apps", "statefulsets.apps", "daemonsets.apps", "jobs.batch"),
        ("spec", "template", "spec"),
    ),
}  # fmt: skip

#: A /status update may not touch the labels of these.
_STATUS_KEEPS_LABELS: Final = frozenset({"deployments.apps"})


class Strategy:
    """The rules for one kind. Subclasses add to a hook and call the one above."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        resource = kind.resource
        self.has_status = "status" in kind.subresources
        self.has_generation = kind.custom or resource in _WITH_GENERATION
        self.unconditional_update = resource not in _CONDITIONAL_UPDATE and not kind.custom
        self.create_on_update = resource in _CREATE_ON_UPDATE
        #: What is being deleted says how long it has; a namespace goes when it is empty.
        self.tells_grace = resource != "namespaces"
        self.returns_deleted = resource in RETURNS_DELETED
        self.default_propagation = "Orphan" if resource in _ORPHAN_BY_DEFAULT else "Background"

    def prepare_for_create(self, obj: Object, user: UserInfo) -> None:
        """Before validation. metadata is complete, defaults are set."""
        if self.has_status:
            obj.pop("status", None)
            status = self.first_status(obj)
            if status is not None:
                obj["status"] = status
        if self.has_generation:
            metadata_of(obj)["generation"] = 1
        self._drop_gated(obj, {})

    def _drop_gated(self, obj: Object, old: Object) -> None:
        for key in _GATED.get(self.kind.resource, ()):
            if (old.get("spec") or {}).get(key) is None and isinstance(obj.get("spec"), dict):
                obj["spec"].pop(key, None)
        if self.kind.resource in _POD_SPECS:
            held = {key for source in self._projected(old) for key in source}
            for source in self._projected(obj):
                for key in _GATED_SOURCES:
                    if key not in held:
                        source.pop(key, None)

    def _projected(self, obj: Object) -> Iterator[Object]:
        """The sources of the projected volumes of its pods."""
        for step in _POD_SPECS[self.kind.resource]:
            obj = obj.get(step) or {}
        for volume in obj.get("volumes") or ():
            yield from (volume.get("projected") or {}).get("sources") or ()

    def first_status(self, obj: Object) -> Object | None:
        """The status of a new object."""
        return {}

    def prepare_for_update(self, obj: Object, old: Object) -> None:
        self._drop_gated(obj, old)
        if self.has_status:
            _keep(obj, old, "status")
        metadata = metadata_of(obj)
        if self.has_generation:
            generation = int(metadata_of(old).get("generation") or 0)
            metadata["generation"] = generation + 1 if self.is_change_of_intent(obj, old) else generation
            if not metadata["generation"]:
                del metadata["generation"]

    def is_change_of_intent(self, obj: Object, old: Object) -> bool:
        """Does this update count in metadata.generation?"""
        counts = _COUNTS_TOO.get(self.kind.resource)
        if counts and (metadata_of(obj).get(counts) or {}) != (metadata_of(old).get(counts) or {}):
            return True
        ignored = {"metadata", "status", "kind", "apiVersion"}
        return {k: v for k, v in obj.items() if k not in ignored} != {k: v for k, v in old.items() if k not in ignored}

    def prepare_for_status_update(self, obj: Object, old: Object) -> None:
        """Only status and metadata come through."""
        for key in [*obj, *old]:
            if key not in ("metadata", "status", "kind", "apiVersion"):
                _keep(obj, old, key)
        metadata, old_metadata = metadata_of(obj), metadata_of(old)
        if "generation" in old_metadata:
            metadata["generation"] = old_metadata["generation"]
        else:
            metadata.pop("generation", None)
        if self.kind.resource in _STATUS_KEEPS_LABELS:
            _keep(metadata, old_metadata, "labels")

    def stamp_times(self, obj: Object, old: Object, now: str) -> None:
        """A subresource was written: times that the server gives."""

    def grace_period_seconds(self, obj: Object, requested: int | None) -> int | None:
        """How long the object lives on after a delete; None: kinds that go at once."""
        return None

    def holds_back_deletion(self, obj: Object) -> bool:
        """Something besides metadata.finalizers keeps the object (a namespace's spec.finalizers)."""
        return False

    def before_deletion(self, obj: Object) -> None:
        """A delete of what was not being deleted yet: what keeps it may be added."""

    def mark_deleting(self, obj: Object) -> None:
        """The object has just got its deletionTimestamp."""


def _keep(target: Object, source: Object, key: str) -> None:
    if key in source:
        target[key] = source[key]
    else:
        target.pop(key, None)
