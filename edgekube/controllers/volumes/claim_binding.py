"""A claim gets its volume: found, asked for by name, or waited for.

Enters: a claim and every volume and class.
Leaves: the next writes: first the volume is given the claim, then the claim the volume, then the claim says Bound.
Holds: one write of an object in a plan, always of the revision that was read: whoever was faster makes it fail, and it is
planned again from what is there then. So no two claims get one volume, and a stop between two writes is only a pause.
Source: kubernetes.io, Persistent Volumes, "Binding"; pkg/controller/volume/persistentvolume (syncClaim).
Next: controllers.volumes.binder.
"""

from __future__ import annotations

from typing import Final

from edgekube.admission.default_classes import default_storage_class
from edgekube.api import podstate, quantities, storage
from edgekube.api.calls import Call, Patch, Record, RequireGone, Update
from edgekube.api.kinds import PERSISTENTVOLUME, PERSISTENTVOLUMECLAIM, STORAGECLASS
from edgekube.api.objects import Object, annotations_of, name_of, namespace_of, uid_of
from edgekube.api.view import View

PRE_RESIZE: Final = "volume.alpha.kubernetes.io/pre-resize-capacity"
_IN_TREE: Final = "kubernetes.io/"
_LOST: Final = "Bound claim has lost {}. Data on the volume is lost!"


def plan_claim(view: View, claim: Object) -> list[Call]:
    if storage.BIND_COMPLETED in annotations_of(claim):
        return _keep(view, claim)
    wanted = (claim.get("spec") or {}).get("volumeName")
    return _asked_for(view, claim, wanted) if wanted else _search(view, claim)


# --- not bound yet


def _search(view: View, claim: Object) -> list[Call]:
    class_name = storage.class_of(claim)
    storage_class = view.get(STORAGECLASS, "", class_name) if class_name else None
    delayed = storage.delays_binding(storage_class)
    volume = storage.find_volume(claim, view.list(PERSISTENTVOLUME), delayed=delayed)
    if volume is not None:
        return bind(claim, volume)
    if not storage.has_class(claim):
        default = default_storage_class(view.list(STORAGECLASS))
        if default is not None:
            claim["spec"]["storageClassName"] = default
            return [Update(PERSISTENTVOLUMECLAIM, claim)]
    if delayed and storage.SELECTED_NODE not in annotations_of(claim):
        return [*claim_status(claim, "Pending"), _waits(view, claim)]
    if class_name:
        return [*claim_status(claim, "Pending"), *_provision(claim, class_name, storage_class)]
    why = "no persistent volumes available for this claim and no storage class is set"
    return [*claim_status(claim, "Pending"), Record(claim, "Normal", "FailedBinding", why)]


def _waits(view: View, claim: Object) -> Record:
    pods = [
        name_of(pod)
        for pod in view.pods_on("")
        if namespace_of(pod) == namespace_of(claim) and name_of(claim) in storage.claims_of(pod) and not podstate.is_finished(pod)
    ]
    if not pods:
        return Record(claim, "Normal", "WaitForFirstConsumer", "waiting for first consumer to be created before binding")
    noun = "pods" if len(pods) > 1 else "pod"
    return Record(claim, "Normal", "WaitForPodScheduled", f"waiting for {noun} {','.join(sorted(pods))} to be scheduled")


def _provision(claim: Object, class_name: str, storage_class: Object | None) -> list[Call]:
    """Leave it to the class's provisioner, which follows claims that name it."""
    if storage_class is None:
        return [_failed(claim, f'storageclass.storage.k8s.io "{class_name}" not found')]
    provisioner = str(storage_class.get("provisioner") or "")
    if provisioner.startswith(_IN_TREE):
        return [_failed(claim, f"no volume plugin matched name: {provisioner}")]
    marks = dict.fromkeys((storage.STORAGE_PROVISIONER, storage.BETA_STORAGE_PROVISIONER), provisioner)
    if annotations_of(claim).get(storage.STORAGE_PROVISIONER) != provisioner:
        patch: Object = {"metadata": {"uid": uid_of(claim), "annotations": marks}}
        return [Patch(PERSISTENTVOLUMECLAIM, namespace_of(claim), name_of(claim), patch)]
    message = (
        f"Waiting for a volume to be created either by the external provisioner '{provisioner}' or manually by the system "
        "administrator. If volume creation is delayed, please verify that the provisioner is running and correctly registered."
    )
    return [Record(claim, "Normal", "ExternalProvisioning", message)]


def _failed(claim: Object, why: str) -> Record:
    return Record(claim, "Warning", "ProvisioningFailed", why)


def _asked_for(view: View, claim: Object, wanted: str) -> list[Call]:
    volume = view.get(PERSISTENTVOLUME, "", wanted)
    if volume is None:
        return claim_status(claim, "Pending")
    if storage.is_bound_to(volume, claim):
        return bind(claim, volume)
    if storage.claim_of(volume) is None:
        why = storage.mismatch(claim, volume)
        if why is None:
            return bind(claim, volume)
        message = f'Cannot bind to requested volume "{wanted}": {why}'
        return [*claim_status(claim, "Pending"), Record(claim, "Warning", "VolumeMismatch", message)]
    message = f'volume "{wanted}" already bound to a different claim.'
    return [*claim_status(claim, "Pending"), Record(claim, "Warning", "FailedBinding", message)]


# --- bound once


def _keep(view: View, claim: Object) -> list[Call]:
    wanted = (claim.get("spec") or {}).get("volumeName")
    if not wanted:
        return _lost(claim, "ClaimLost", _LOST.format("reference to PersistentVolume"))
    volume = view.get(PERSISTENTVOLUME, "", wanted)
    if volume is None:
        calls = _lost(claim, "ClaimLost", _LOST.format("its PersistentVolume"))
        return [RequireGone(PERSISTENTVOLUME, "", wanted), *calls] if calls else []
    reference = storage.claim_of(volume)
    if reference is None or reference.get("uid") == uid_of(claim):
        return bind(claim, volume)
    return _lost(claim, "ClaimMisbound", "Two claims are bound to the same volume, this one is bound incorrectly")


def _lost(claim: Object, reason: str, message: str) -> list[Call]:
    if (claim.get("status") or {}).get("phase") == "Lost":
        return []
    return [*claim_status(claim, "Lost"), Record(claim, "Warning", reason, message)]


# --- writing


def bind(claim: Object, volume: Object) -> list[Call]:
    """The next step towards a pair that is mutual and says so; none when it is."""
    bound = storage.bound_volume(volume, claim)
    if bound is not None:
        return [Update(PERSISTENTVOLUME, bound)]
    calls = volume_phase(volume, "Bound")
    spec, annotations = claim["spec"], claim["metadata"].setdefault("annotations", {})
    if spec.get("volumeName") != name_of(volume):
        spec["volumeName"] = name_of(volume)
        annotations.setdefault(storage.BOUND_BY_CONTROLLER, "yes")
    elif storage.BIND_COMPLETED in annotations:
        return [*calls, *claim_status(claim, "Bound", volume)]
    annotations[storage.BIND_COMPLETED] = "yes"
    return [*calls, Update(PERSISTENTVOLUMECLAIM, claim)]


def volume_phase(volume: Object, phase: str, message: str = "") -> list[Call]:
    status = volume.get("status") or {}
    if status.get("phase") == phase:
        return []
    changed = {key: value for key, value in status.items() if key not in ("message", "reason")} | {"phase": phase}
    if message:
        changed["message"] = message
    return [Update(PERSISTENTVOLUME, {**volume, "status": changed}, subresource="status")]


def claim_status(claim: Object, phase: str, volume: Object | None = None) -> list[Call]:
    """Without a volume there is nothing to have. What a bound claim has is its volume's when it becomes Bound; from then on
    whoever resizes it says so."""
    before: Object = claim.get("status") or {}
    status = {**before, "phase": phase}
    if volume is None:
        for key in ("accessModes", "capacity", "currentVolumeAttributesClassName"):
            status.pop(key, None)
    else:
        status["accessModes"] = storage.modes_of(volume)
        if before.get("phase") != phase:
            status["capacity"] = {**(before.get("capacity") or {}), "storage": _first_capacity(volume)}
        attributes_class = volume["spec"].get("volumeAttributesClassName")
        if (before.get("phase") or "Pending") == "Pending" and attributes_class:
            status["currentVolumeAttributesClassName"] = attributes_class
    if status == before:
        return []
    return [Update(PERSISTENTVOLUMECLAIM, {**claim, "status": status}, subresource="status")]


def _first_capacity(volume: Object) -> str:
    before = annotations_of(volume).get(PRE_RESIZE)
    if before is None:
        return storage.capacity_of(volume)
    try:
        return quantities.canonical(before)
    except ValueError:
        return storage.capacity_of(volume)
