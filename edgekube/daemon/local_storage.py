"""The default StorageClass local-path, and what the scheduler has to know of its provisioner.

Enters: the API.
Leaves: a StorageClass, and a CSIDriver that says: nothing to attach, look at the capacities. No program of that name runs.
Holds: made where they are missing when a server starts; what people changed stays as it is.
Next: controllers.localpath.
"""

from __future__ import annotations

from typing import Final

from edgekube.api import local_path
from edgekube.api.errors import StatusError
from edgekube.api.kinds import CSIDRIVER, STORAGECLASS, Kind
from edgekube.api.objects import Object
from edgekube.api.verbs import Verbs

_CLASS: Final[Object] = {
    "metadata": {
        "name": local_path.CLASS_NAME,
        "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
    },
    "provisioner": local_path.PROVISIONER,
    "reclaimPolicy": "Delete",
    "volumeBindingMode": "WaitForFirstConsumer",
    "allowVolumeExpansion": True,
}
_DRIVER: Final[Object] = {
    "metadata": {"name": local_path.PROVISIONER},
    "spec": {"attachRequired": False, "podInfoOnMount": False, "storageCapacity": True, "volumeLifecycleModes": ["Persistent"]},
}


async def ensure_local_storage(verbs: Verbs) -> None:
    for kind, obj in ((STORAGECLASS, _CLASS), (CSIDRIVER, _DRIVER)):
        await _ensure(verbs, kind, obj)


async def _ensure(verbs: Verbs, kind: Kind, obj: Object) -> None:
    try:
        await verbs.get(kind, "", obj["metadata"]["name"])
        return  # as at nearly every start: to look is cheaper than to be refused
    except StatusError as error:
        if error.reason != "NotFound":
            raise
    try:
        await verbs.create(kind, "", {"apiVersion": kind.api_version, "kind": kind.kind, **obj})
    except StatusError as error:
        if error.reason != "AlreadyExists":
            raise
