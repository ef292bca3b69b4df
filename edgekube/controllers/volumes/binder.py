"""The binder: claims and volumes find each other.

Enters: claims, volumes, classes; pods, for what a claim waits for.
Leaves: bound pairs and phases.
Holds: key ("", name) is a volume, any other a claim. A volume that becomes free wakes the claims that wait for one; nothing is
looked at again without a change.
Next: controllers.volumes.claim_binding, controllers.volumes.volume_phases.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from edgekube.api import podstate, storage
from edgekube.api.calls import Call
from edgekube.api.controller import Change, Controller, Key, Moment, key_of, sides
from edgekube.api.kinds import PERSISTENTVOLUME, PERSISTENTVOLUMECLAIM, POD, STORAGECLASS
from edgekube.api.objects import Object, annotations_of, name_of, namespace_of
from edgekube.api.view import View
from edgekube.controllers.volumes.claim_binding import plan_claim
from edgekube.controllers.volumes.volume_phases import plan_volume


def plan(view: View, key: Key, now: Moment) -> list[Call]:
    kind, do = (PERSISTENTVOLUMECLAIM, plan_claim) if key.namespace else (PERSISTENTVOLUME, plan_volume)
    obj = view.get(kind, *key)
    return do(view, obj) if obj is not None else []


def _claim_changed(change: Change, view: View) -> Iterable[Key]:
    """The claim, the volume that it names, and those that name it: it may have gone."""
    yield change.key
    for side in sides(change):
        volume = (side.get("spec") or {}).get("volumeName")
        if volume:
            yield Key("", volume)
    if change.new is None or change.old is None:
        for volume in view.list(PERSISTENTVOLUME):
            reference = storage.claim_of(volume) or {}
            if (reference.get("namespace"), reference.get("name")) == change.key:
                yield Key("", name_of(volume))


def _volume_changed(change: Change, view: View) -> Iterable[Key]:
    yield change.key
    for side in sides(change):
        reference = storage.claim_of(side)
        if reference is not None:
            yield Key(str(reference.get("namespace") or ""), str(reference.get("name") or ""))
    volume = change.new
    if volume is not None and storage.claim_of(volume) is None:
        for claim in view.list(PERSISTENTVOLUMECLAIM):
            if (claim.get("spec") or {}).get("volumeName") == change.key.name or _waits(claim):
                yield key_of(claim)


def _waits(claim: Object) -> bool:
    return not (claim.get("spec") or {}).get("volumeName") and storage.BIND_COMPLETED not in annotations_of(claim)


def _class_changed(change: Change, view: View) -> Iterable[Key]:
    """Claims of the class, and those without a word about one: this may be the default."""
    for claim in view.list(PERSISTENTVOLUMECLAIM):
        if _waits(claim) and (not storage.has_class(claim) or storage.class_of(claim) == change.key.name):
            yield key_of(claim)


def _pod_changed(change: Change, view: View) -> Iterator[Key]:
    """What a claim waits for is told anew when a pod comes that has no node yet."""
    pod = change.new
    if pod is None or change.old is not None or podstate.node_of(pod):
        return
    for name in storage.claims_of(pod):
        claim = view.get(PERSISTENTVOLUMECLAIM, namespace_of(pod), name)
        if claim is not None and _waits(claim):
            yield Key(namespace_of(pod), name)


BINDER_CONTROLLER: Final = Controller(
    name="persistentvolume-controller",
    watches=(
        (PERSISTENTVOLUMECLAIM, _claim_changed),
        (PERSISTENTVOLUME, _volume_changed),
        (STORAGECLASS, _class_changed),
        (POD, _pod_changed),
    ),
    plan=plan,
)
