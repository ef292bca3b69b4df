"""Writing a status: conditions that keep their transition times, and patches of only what changed.

Enters: the status an object has and the one it should have.
Leaves: condition lists, and Patch calls (none when nothing changes).
Holds: a status is patched, not replaced, so that a change of the spec in between is no conflict; the uid in the patch keeps it
from landing on a namesake.
Next: controllers.
"""

from __future__ import annotations

from typing import Any

from edgekube.api import times
from edgekube.api.calls import Call, Patch
from edgekube.api.kinds import Kind
from edgekube.api.objects import Object, name_of, namespace_of, uid_of


def status_calls(kind: Kind, obj: Object, status: Object) -> list[Call]:
    """The patch that turns the object's status into ``status``; a key that is absent there, or None, is removed."""
    before: Object = obj.get("status") or {}
    wanted = {key: value for key, value in status.items() if value is not None}
    changed: dict[str, Any] = {key: value for key, value in wanted.items() if before.get(key) != value}
    changed |= {key: None for key in before if key not in wanted}
    if not changed:
        return []
    patch = {"metadata": {"uid": uid_of(obj)}, "status": changed}
    return [Patch(kind, namespace_of(obj), name_of(obj), patch, subresource="status")]


def with_condition(
    conditions: list[Object], type_: str, status: str, reason: str, message: str, wall_seconds: float
) -> list[Object]:
    """The list with this condition; the old entry stays while status and reason are the same, its transition time while the
    status is."""
    condition: Object = {
        "type": type_,
        "status": status,
        "lastTransitionTime": times.rfc3339(wall_seconds),
        "reason": reason,
        "message": message,
    }
    found = False
    result = []
    for each in conditions:
        if each.get("type") != type_:
            result.append(each)
            continue
        found = True
        if each.get("status") == status:
            if each.get("reason") == reason:
                result.append(each)
                continue
            condition["lastTransitionTime"] = each.get("lastTransitionTime") or condition["lastTransitionTime"]
        result.append(condition)
    return result if found else [*result, condition]


def without_condition(conditions: list[Object], type_: str) -> list[Object]:
    return [each for each in conditions if each.get("type") != type_]
