"""What each way of writing drops again of what it is sent, so that nobody comes to manage it.

Enters: a Kind and a subresource.
Leaves: a Filter for sets of fields; None: everything that is sent stays.
Holds: pure; agrees with prepare_for_create and prepare_for_update of the kind's strategy.
Source: GetResetFields and GetResetFieldsFilter of each strategy.go in k8s.io/kubernetes pkg/registry, v1.36.
Next: registry.managing.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from edgekube import limits
from edgekube.api.kinds import Kind
from edgekube.api.managed import fieldsets
from edgekube.api.managed.elements import FIELD
from edgekube.api.managed.fieldsets import ANY, FieldSet, Filter

_SIGNING: Final = "certificatesigningrequests.certificates.k8s.io"
#: Whole kinds, subresource "" being the object itself, where the rule below does not say it.
_TABLE: Final[dict[tuple[str, str], tuple[str, ...]]] = {
    (_SIGNING, ""): ("spec", "status"),
    (_SIGNING, "status"): ("spec", "status.conditions"),
    (_SIGNING, "approval"): ("spec", "status.certificate"),
    ("deployments.apps", "status"): ("spec", "metadata.labels"),
    ("namespaces", "finalize"): ("status",),
    ("pods", "status"): ("spec", "metadata.deletionTimestamp", "metadata.ownerReferences"),
}
#: Their status is written without their metadata.
_STATUS_WITHOUT_METADATA: Final = frozenset({
    "validatingadmissionpolicies.admissionregistration.k8s.io", "flowschemas.flowcontrol.apiserver.k8s.io",
    "prioritylevelconfigurations.flowcontrol.apiserver.k8s.io", "servicecidrs.networking.k8s.io",
    "resourceclaims.resource.k8s.io", "volumeattachments.storage.k8s.io",
})  # fmt: skip


def _containers(*names: str) -> FieldSet:
    parts: FieldSet = {FIELD + "resources": {}, FIELD + "resizePolicy": {}}
    return {FIELD + "spec": {FIELD + name: {ANY: parts} for name in names}}


_ONLY: Final[dict[tuple[str, str], Filter]] = {
    ("pods", "ephemeralcontainers"): fieldsets.only({FIELD + "spec": {FIELD + "ephemeralContainers": {}}}),
    ("pods", "resize"): fieldsets.only(_containers("containers", "initContainers")),
}


@lru_cache(maxsize=limits.MANAGED_FILTERS_HELD_MAX)
def resets(kind: Kind, subresource: str) -> Filter:
    place = (kind.resource, subresource)
    if place in _ONLY:
        return _ONLY[place]
    fields = _TABLE.get(place)
    if fields is None:
        if subresource == "status":
            fields = ("metadata", "spec") if kind.custom or kind.resource in _STATUS_WITHOUT_METADATA else ("spec",)
        elif not subresource and "status" in kind.subresources:
            fields = ("status",)
    return fieldsets.excluding(fieldsets.of_paths(*fields)) if fields else None
