"""Tables of the group resource.k8s.io.

Enters: objects and the time.
Leaves: cells.
Next: tables.
"""

from __future__ import annotations

from typing import Any, Final

from edgekube.api.objects import Object, is_deleting
from edgekube.api.tables.columns import AGE, NAME, Table, age, listed, name, part, section, text


def _named(obj: Object, now: float) -> list[Any]:
    return [name(obj), age(obj, now)]


def _claim(claim: Object, now: float) -> list[Any]:
    states = ["deleted"] if is_deleting(claim) else []
    if part(claim, "status", "allocation") is not None:
        states.append("allocated")
        if listed(claim, "status", "reservedFor"):
            states.append("reserved")
    elif not states:
        states.append("pending")
    return [name(claim), ",".join(states), age(claim, now)]


def _slice(resource_slice: Object, now: float) -> list[Any]:
    spec = section(resource_slice, "spec")
    return [
        name(resource_slice),
        spec.get("nodeName") or "",
        spec.get("driver") or "",
        part(spec, "pool", "name") or "",
        age(resource_slice, now),
    ]


_NAMED: Final = Table((NAME, AGE), _named)

TABLES: Final[dict[str, Table]] = {
    "DeviceClass": _NAMED,
    "ResourceClaimTemplate": _NAMED,
    "ResourceClaim": Table((NAME, text("State", "Pending, allocated, reserved or deleted."), AGE), _claim),
    "ResourceSlice": Table(
        (
            NAME,
            text("Node", "The node that has the devices."),
            text("Driver", "The driver that publishes them."),
            text("Pool", "The pool that the slice belongs to."),
            AGE,
        ),
        _slice,
    ),
}
