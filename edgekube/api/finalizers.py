"""Putting a finalizer on an object and taking it off, without touching those of others.

Enters: an object, and the name of a finalizer.
Leaves: operations of a JSON patch, none when there is nothing to do.
Holds: they fail when somebody else has changed the finalizers since; whoever asked plans again.
Next: api.ownership, controllers.
"""

from __future__ import annotations

from edgekube.api.calls import Call, Patch
from edgekube.api.kinds import Kind
from edgekube.api.objects import Object, name_of, namespace_of, uid_of
from edgekube.api.verbs import JSON_PATCH

_PATH = "/metadata/finalizers"


def finalizers_of(obj: Object) -> list[str]:
    return (obj.get("metadata") or {}).get("finalizers") or []


def adding(obj: Object, finalizer: str) -> list[Object]:
    present = finalizers_of(obj)
    return [] if finalizer in present else _changing(present, [*present, finalizer])


def removing(obj: Object, finalizer: str) -> list[Object]:
    present = finalizers_of(obj)
    return _changing(present, [each for each in present if each != finalizer]) if finalizer in present else []


def without(kind: Kind, obj: Object, finalizer: str) -> list[Call]:
    """The call that takes it off this object, and no namesake."""
    operations = removing(obj, finalizer)
    if not operations:
        return []
    same: list[Object] = [{"op": "test", "path": "/metadata/uid", "value": uid_of(obj)}]
    return [Patch(kind, namespace_of(obj), name_of(obj), [*same, *operations], patch_type=JSON_PATCH)]


def _changing(present: list[str], wanted: list[str]) -> list[Object]:
    tested: list[Object] = [{"op": "test", "path": _PATH, "value": present}] if present else []
    return [*tested, {"op": "add", "path": _PATH, "value": wanted} if wanted else {"op": "remove", "path": _PATH}]
