"""A claim that asks for more: its directory may hold more at once, when the node has room.

Enters: a bound claim of ours, its volume, the room that the node has left.
Leaves: the volume's new capacity, then the claim's; or a condition and an event that say there is no room.
Holds: a request that was taken back is as if it had never been made; nothing becomes smaller.
Source: kubernetes.io, "Expanding Persistent Volumes Claims", "Recovering from Failure when Expanding Volumes".
Next: controllers.localpath.controller; the agent sets the quota where the file system has one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from edgekube.api import quantities, storage
from edgekube.api.calls import Call, Patch, Record
from edgekube.api.kinds import PERSISTENTVOLUME, PERSISTENTVOLUMECLAIM
from edgekube.api.objects import Object, name_of, uid_of
from edgekube.api.statuses import status_calls, with_condition, without_condition

_INFEASIBLE: Final = "ControllerResizeInfeasible"
_ERROR: Final = "ControllerResizeError"


def expanded(claim: Object, volume: Object, left: int, wall_seconds: float) -> Iterator[Call]:
    """``left``: the node's room in bytes beside what the volume has."""
    status: Object = claim.get("status") or {}
    if status.get("phase") != "Bound":
        return
    wanted, has = storage.requested(claim), storage.capacity_of(volume)
    more = quantities.to_bytes(wanted) - quantities.to_bytes(has)
    if more > left:
        yield from _refused(claim, wanted, left, wall_seconds)
        return
    if more > 0:
        patch: Object = {"metadata": {"uid": uid_of(volume)}, "spec": {"capacity": {"storage": wanted}}}
        yield Patch(PERSISTENTVOLUME, "", name_of(volume), patch)
        return  # that change wakes us again
    shown = str((status.get("capacity") or {}).get("storage") or "0")
    grown = quantities.compare(shown, has) < 0
    calls = status_calls(PERSISTENTVOLUMECLAIM, claim, _settled(status, has, grown))
    yield from calls
    if grown:
        yield Record(claim, "Normal", "VolumeResizeSuccessful", "Resize volume succeeded")


def _settled(status: Object, has: str, grown: bool) -> Object:
    """Nothing is pending. What was allocated stays to be read once there was a resize."""
    states = {key: value for key, value in (status.get("allocatedResourceStatuses") or {}).items() if key != "storage"}
    conditions = without_condition(status.get("conditions") or [], _ERROR)
    settled = {**status, "allocatedResourceStatuses": states or None, "conditions": conditions or None}
    if grown:
        settled["capacity"] = {**(status.get("capacity") or {}), "storage": has}
    if grown or (status.get("allocatedResources") or {}).get("storage"):
        settled["allocatedResources"] = {**(status.get("allocatedResources") or {}), "storage": has}
    return settled


def _refused(claim: Object, wanted: str, left: int, wall_seconds: float) -> Iterator[Call]:
    status: Object = claim.get("status") or {}
    room = quantities.text_of(max(0, left), "binary")
    why = f"the node has room for {room} more, {wanted} in all were asked for"
    conditions = with_condition(status.get("conditions") or [], _ERROR, "True", "", why, wall_seconds)
    refused = {
        **status,
        "allocatedResources": {**(status.get("allocatedResources") or {}), "storage": wanted},
        "allocatedResourceStatuses": {**(status.get("allocatedResourceStatuses") or {}), "storage": _INFEASIBLE},
        "conditions": conditions,
    }
    calls = status_calls(PERSISTENTVOLUMECLAIM, claim, refused)
    yield from calls
    if calls:
        yield Record(claim, "Warning", "VolumeResizeFailed", f"resize volume failed: {why}")
