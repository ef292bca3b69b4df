"""A volume says what it is: Available, Bound, Released or Failed; and what becomes of it without its claim.

Enters: a volume, and the claim that its claimRef names.
Leaves: its phase; the claimRef taken back where the claim has another volume; events about what cannot be reclaimed.
Holds: a volume counts as released only when the API itself, not just the view, has no such claim: data hangs on it. Recycling
is refused by name: it was a pod that ran ``rm -rf`` in the volume, and is deprecated.
Source: kubernetes.io, Persistent Volumes, "Reclaiming"; pkg/controller/volume/persistentvolume (syncVolume).
Next: controllers.volumes.binder.
"""

from __future__ import annotations

from typing import Final

from edgekube.api import storage
from edgekube.api.calls import Call, Record, RequireGone, Update
from edgekube.api.kinds import PERSISTENTVOLUME, PERSISTENTVOLUMECLAIM
from edgekube.api.objects import Object, annotations_of, name_of, uid_of
from edgekube.api.view import View
from edgekube.controllers.volumes.claim_binding import volume_phase

_ENDED: Final = ("Released", "Failed")
_IN_TREE: Final = "kubernetes.io/"


def plan_volume(view: View, volume: Object) -> list[Call]:
    reference = storage.claim_of(volume)
    if reference is None or not reference.get("uid"):
        return volume_phase(volume, "Available")
    namespace, name = str(reference.get("namespace") or ""), str(reference.get("name") or "")
    claim = view.get(PERSISTENTVOLUMECLAIM, namespace, name)
    if claim is None or uid_of(claim) != reference["uid"]:
        calls = _release(volume)
        gone = RequireGone(PERSISTENTVOLUMECLAIM, namespace, name, str(reference["uid"]))
        return [gone, *calls] if calls else []
    wanted = (claim.get("spec") or {}).get("volumeName")
    if not wanted:
        return _mismatches(volume, claim) if storage.volume_modes_differ(claim, volume) else []  # the claim's turn
    if wanted == name_of(volume):
        return volume_phase(volume, "Bound")
    policy = (volume.get("spec") or {}).get("persistentVolumeReclaimPolicy")
    if storage.PROVISIONED_BY in annotations_of(volume) and policy == "Delete":
        return _release(volume)  # it was made for the claim, which found another one
    return _unbind(volume)


def _mismatches(volume: Object, claim: Object) -> list[Call]:
    what = "Cannot bind PersistentVolume{} to requested PersistentVolumeClaim{} due to incompatible volumeMode."
    return [
        Record(volume, "Warning", "VolumeMismatch", what.format("", f' "{name_of(claim)}"')),
        Record(claim, "Warning", "VolumeMismatch", what.format(f' "{name_of(volume)}"', "")),
    ]


def _release(volume: Object) -> list[Call]:
    if (volume.get("status") or {}).get("phase") not in _ENDED:
        return volume_phase(volume, "Released")  # that change wakes us again
    policy = (volume.get("spec") or {}).get("persistentVolumeReclaimPolicy") or "Retain"
    if policy == "Retain":
        return []
    if policy == "Recycle":
        return _fail(volume, "VolumeFailedRecycle", "No recycler plugin found for the volume!")
    if policy != "Delete":
        return _fail(volume, "VolumeUnknownReclaimPolicy", "Volume has unrecognized PersistentVolumeReclaimPolicy")
    why = _not_deletable(volume)
    return _fail(volume, "VolumeFailedDelete", why) if why else []


def _not_deletable(volume: Object) -> str | None:
    """None: whoever provisioned it deletes it."""
    provisioner = annotations_of(volume).get(storage.PROVISIONED_BY)
    if provisioner:
        return f"no volume plugin matched name: {provisioner}" if provisioner.startswith(_IN_TREE) else None
    if (volume.get("spec") or {}).get("csi"):
        return None
    return f'error getting deleter volume plugin for volume "{name_of(volume)}": no deletable volume plugin matched'


def _fail(volume: Object, reason: str, why: str) -> list[Call]:
    calls = volume_phase(volume, "Failed", why)
    return [*calls, Record(volume, "Warning", reason, why)] if calls else []


def _unbind(volume: Object) -> list[Call]:
    """Take the claimRef back. What people wrote into it stays: name and namespace."""
    annotations = volume["metadata"].get("annotations") or {}
    if annotations.pop(storage.BOUND_BY_CONTROLLER, None) is not None:
        del volume["spec"]["claimRef"]
    else:
        volume["spec"]["claimRef"].pop("uid", None)
    return [Update(PERSISTENTVOLUME, volume)]
