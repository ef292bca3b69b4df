"""Claims that ask for more than they have: who is to see to it is said once, in an event.

Enters: bound claims and their volumes.
Leaves: an event. The work is left to the driver's own resizer, which reads and writes the claim's status; local-path has its own.
Source: kubernetes.io, "Expanding Persistent Volumes Claims"; pkg/controller/volume/expand.
Next: nothing; an external resizer, controllers.localpath.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from edgekube.api import local_path, quantities, storage
from edgekube.api.calls import Call, Record
from edgekube.api.controller import Change, Controller, Key, Moment
from edgekube.api.kinds import PERSISTENTVOLUME, PERSISTENTVOLUMECLAIM
from edgekube.api.objects import Object, annotations_of
from edgekube.api.view import View


def plan(view: View, key: Key, now: Moment) -> list[Call]:
    claim = view.get(PERSISTENTVOLUMECLAIM, *key)
    if claim is None or not storage.is_fully_bound(claim) or not _wants_more(claim):
        return []
    volume = view.get(PERSISTENTVOLUME, "", claim["spec"]["volumeName"])
    if volume is None or not storage.is_bound_to(volume, claim) or local_path.is_local_path(annotations_of(volume)):
        return []
    kind = "Normal" if (volume.get("spec") or {}).get("csi") else "Warning"  # nobody knows how to resize the others
    return [Record(claim, kind, "ExternalExpanding", "waiting for an external controller to expand this PVC")]


def _has(claim: Object) -> str:
    return str(((claim.get("status") or {}).get("capacity") or {}).get("storage") or "0")


def _wants_more(claim: Object) -> bool:
    return quantities.compare(storage.requested(claim), _has(claim)) > 0


def _claim_changed(change: Change, view: View) -> Iterator[Key]:
    new, old = change.new, change.old
    if new is not None and old is not None and quantities.compare(storage.requested(new), storage.requested(old)) > 0:
        yield change.key


EXPANSION_CONTROLLER: Final = Controller(
    name="volume_expand",
    watches=((PERSISTENTVOLUMECLAIM, _claim_changed),),
    reads=(PERSISTENTVOLUME,),
    plan=plan,
)
