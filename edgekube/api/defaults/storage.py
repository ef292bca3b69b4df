"""Defaults of storage.k8s.io.

Enters: an object of storage.k8s.io/v1.
Leaves: the same, with every field that Kubernetes fills set.
Source: storage/v1 SetDefaults_StorageClass, SetDefaults_CSIDriver.
Next: api.defaults.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from edgekube.api.defaults.fill import Scalars, fill_missing, part
from edgekube.api.objects import Object

_STORAGE_CLASS: Final[Scalars] = {"reclaimPolicy": "Delete", "volumeBindingMode": "Immediate"}
_CSI_DRIVER: Final[Scalars] = {
    "attachRequired": True,
    "podInfoOnMount": False,
    "storageCapacity": False,
    "fsGroupPolicy": "ReadWriteOnceWithFSType",
    "requiresRepublish": False,
    "seLinuxMount": False,
}


def default_storage_class(storage_class: Object) -> None:
    fill_missing(storage_class, _STORAGE_CLASS)


def default_csi_driver(driver: Object) -> None:
    spec = part(driver, "spec")
    fill_missing(spec, _CSI_DRIVER)
    if not spec.get("volumeLifecycleModes"):
        spec["volumeLifecycleModes"] = ["Persistent"]


def default_attachment(attachment: Object) -> None:
    fill_missing(part(attachment, "status"), {"attached": False})


DEFAULTERS: Final[dict[str, Callable[[Object], None]]] = {
    "CSIDriver": default_csi_driver,
    "StorageClass": default_storage_class,
    "VolumeAttachment": default_attachment,
}
