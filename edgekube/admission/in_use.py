"""Claims, volumes and their attributes classes are kept while they are in use: each gets its finalizer when it is made.

Enters: the object about to be created.
Leaves: the object, changed in place.
Holds: pure; a controller takes the finalizer away once nobody uses the object (controllers.volumes.protection).
Source: plugin/pkg/admission/storage/storageobjectinuseprotection.
Next: registry.admit.
"""

from __future__ import annotations

from typing import Final

from edgekube.api.objects import Object, metadata_of
from edgekube.api.storage import ATTRIBUTES_CLASS_PROTECTION, CLAIM_PROTECTION, VOLUME_PROTECTION

FINALIZERS: Final = {
    "persistentvolumeclaims": CLAIM_PROTECTION,
    "persistentvolumes": VOLUME_PROTECTION,
    "volumeattributesclasses.storage.k8s.io": ATTRIBUTES_CLASS_PROTECTION,
}


def protect(resource: str, obj: Object) -> None:
    metadata, finalizer = metadata_of(obj), FINALIZERS[resource]
    if finalizer not in (metadata.get("finalizers") or ()):
        metadata["finalizers"] = [*(metadata.get("finalizers") or ()), finalizer]
