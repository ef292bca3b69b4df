"""Which kinds a DELETE answers with: the object itself instead of a Status.

Enters: a resource's name.
Leaves: the table that the verb and its description share.
Source: ReturnDeletedObject of the storages in k8s.io/kubernetes pkg/registry.
Next: registry.strategies, api.openapi.operations.
"""

from __future__ import annotations

from typing import Final

RETURNS_DELETED: Final = frozenset({
    "pods", "persistentvolumeclaims", "persistentvolumes", "podtemplates", "resourcequotas", "serviceaccounts", "services",
    "storageclasses.storage.k8s.io", "volumeattachments.storage.k8s.io", "csidrivers.storage.k8s.io",
    "csinodes.storage.k8s.io", "volumeattributesclasses.storage.k8s.io", "deviceclasses.resource.k8s.io",
    "resourceclaims.resource.k8s.io", "resourceclaimtemplates.resource.k8s.io", "resourceslices.resource.k8s.io",
})  # fmt: skip
