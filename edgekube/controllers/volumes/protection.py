"""What is in use is not taken away: claims of pods on nodes, volumes of claims, attributes classes of either.

Enters: an object that is being deleted and holds our finalizer, or one that lacks it.
Leaves: the finalizer taken away, or added.
Holds: a claim is let go only when the API itself, not just the view, has no pod on a node that uses it. A pod without a node uses
nothing yet: its node would not start it with a claim that is on its way out.
Source: kubernetes.io, "Storage Object in Use Protection"; pkg/controller/volume/{pvc,pv,vac}protection.
Next: nothing; the API deletes what has no finalizers left.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Final

from edgekube.api import podstate, storage
from edgekube.api.calls import Call, RequireNone, Update
from edgekube.api.controller import Change, Controller, Key, Moment, itself, sides
from edgekube.api.kinds import PERSISTENTVOLUME, PERSISTENTVOLUMECLAIM, POD, VOLUMEATTRIBUTESCLASS, Kind
from edgekube.api.objects import Object, is_deleting, name_of, namespace_of
from edgekube.api.view import View

#: None: in use; else what must hold when the finalizer is taken away.
Unused = Callable[[View, Object], "list[Call] | None"]


def plan(kind: Kind, finalizer: str, unused: Unused, view: View, key: Key, now: Moment) -> list[Call]:
    obj = view.get(kind, *key)
    if obj is None:
        return []
    finalizers: list[str] = obj["metadata"].get("finalizers") or []
    if is_deleting(obj) == (finalizer not in finalizers):
        return []
    if not is_deleting(obj):
        obj["metadata"]["finalizers"] = [*finalizers, finalizer]
        return [Update(kind, obj)]
    conditions = unused(view, obj)
    if conditions is None:
        return []
    obj["metadata"]["finalizers"] = [each for each in finalizers if each != finalizer]
    return [*conditions, Update(kind, obj)]


# --- claims


def uses(pod: Object, claim: Object) -> bool:
    """Whether the pod, which a node may run, keeps the claim: a finished one too, until it is gone."""
    if not podstate.node_of(pod) or namespace_of(pod) != namespace_of(claim):
        return False
    for volume in (pod.get("spec") or {}).get("volumes") or ():
        if (volume.get("persistentVolumeClaim") or {}).get("claimName") == name_of(claim):
            return True
        made_here = volume.get("ephemeral") is not None and storage.ephemeral_claim(pod, volume) == name_of(claim)
        if made_here and storage.is_made_for(claim, pod) and not _is_shut_down(pod):
            return True
    return False


def _is_shut_down(pod: Object) -> bool:
    """Its node is done with it, or it was deleted by force; what waits is its own finalizer, perhaps for this very claim."""
    return is_deleting(pod) and pod["metadata"].get("deletionGracePeriodSeconds") == 0


def _claim_unused(view: View, claim: Object) -> list[Call] | None:
    if any(uses(pod, claim) for pod in view.list(POD, namespace_of(claim))):
        return None
    return [RequireNone(POD, namespace_of(claim), partial(uses, claim=claim))]


def _claims_of_pod(change: Change, view: View) -> Iterator[Key]:
    """Those that are on their way out: the others do not ask who uses them."""
    for side in sides(change):
        for name in storage.claims_of(side):
            claim = view.get(PERSISTENTVOLUMECLAIM, namespace_of(side), name)
            if claim is not None and is_deleting(claim):
                yield Key(namespace_of(side), name)


# --- volumes, classes


def _volume_unused(view: View, volume: Object) -> list[Call] | None:
    return None if (volume.get("status") or {}).get("phase") == "Bound" else []


def _classes_of(obj: Object) -> Iterable[str]:
    status = obj.get("status") or {}
    named = (
        (obj.get("spec") or {}).get("volumeAttributesClassName"),
        status.get("currentVolumeAttributesClassName"),
        (status.get("modifyVolumeStatus") or {}).get("targetVolumeAttributesClassName"),
    )
    return [name for name in named if name]


def _class_unused(view: View, attributes_class: Object) -> list[Call] | None:
    name = name_of(attributes_class)
    users = (obj for kind in (PERSISTENTVOLUME, PERSISTENTVOLUMECLAIM) for obj in view.list(kind))
    return None if any(name in _classes_of(obj) for obj in users) else []


def _classes_left(change: Change, view: View) -> Iterator[Key]:
    now = set(_classes_of(change.new)) if change.new is not None else set()
    for name in _classes_of(change.old) if change.old is not None else ():
        if name not in now:
            yield Key("", name)


CLAIM_PROTECTION_CONTROLLER: Final = Controller(
    name="persistentvolumeclaim-protection-controller",
    watches=((PERSISTENTVOLUMECLAIM, itself), (POD, _claims_of_pod)),
    plan=partial(plan, PERSISTENTVOLUMECLAIM, storage.CLAIM_PROTECTION, _claim_unused),
)
VOLUME_PROTECTION_CONTROLLER: Final = Controller(
    name="persistentvolume-protection-controller",
    watches=((PERSISTENTVOLUME, itself),),
    plan=partial(plan, PERSISTENTVOLUME, storage.VOLUME_PROTECTION, _volume_unused),
)
CLASS_PROTECTION_CONTROLLER: Final = Controller(
    name="volumeattributesclass-protection-controller",
    watches=((VOLUMEATTRIBUTESCLASS, itself), (PERSISTENTVOLUME, _classes_left), (PERSISTENTVOLUMECLAIM, _classes_left)),
    plan=partial(plan, VOLUMEATTRIBUTESCLASS, storage.ATTRIBUTES_CLASS_PROTECTION, _class_unused),
)
