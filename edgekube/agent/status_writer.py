"""Tell the API what became of a pod: once, in time, and never over somebody else's words.

Enters: the pod as the API has it, the status that should be there.
Leaves: one patch of pods/status when they differ; the pod as it is then.
Holds: the patch carries the resourceVersion it was made from, so that a condition of another writer is never lost; a status
that the API keeps in other words is not sent again.
Next: api.verbs.
"""

from __future__ import annotations

from typing import Any

import orjson

from edgekube.api.kinds import POD
from edgekube.api.objects import Object, name_of, namespace_of, revision_of
from edgekube.api.verbs import Verbs


def _plain(value: Any) -> Any:
    """Without nulls and empty parts, which the API may keep or drop."""
    if isinstance(value, dict):
        plain = {key: _plain(item) for key, item in value.items()}
        return {key: item for key, item in plain.items() if item not in (None, {}, [])}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value


def _matters(status: Object) -> Any:
    """What somebody may wait for: how the pod stands, and what each container does or why it does not."""
    containers = [
        (
            item.get("name"),
            item.get("ready"),
            item.get("started"),
            item.get("restartCount"),
            {kind: (state or {}).get("reason") for kind, state in (item.get("state") or {}).items()},
        )
        for part in ("initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses")
        for item in status.get(part) or []
    ]
    conditions = {item.get("type"): item.get("status") for item in status.get("conditions") or []}
    conditions.pop("PodReadyToStartContainers", None)
    return status.get("phase"), status.get("reason"), status.get("message"), conditions, containers


_STARTING = ("ContainerCreating", "PodInitializing")
_PARTS = ("initContainerStatuses", "containerStatuses")


def can_wait(before: Object, status: Object) -> bool:
    """True while a pod only comes up: that it has an address can be told together with the start of its containers. And while a
    container makes room for the next: a kubelet tells nothing in between either, for it ends one and starts the other in one go,
    and clients count on a pod that stays Ready."""
    if status.get("phase") != "Pending" or before.get("phase") not in (None, "Pending"):
        return status.get("phase") == "Running" and _makes_room(before, status)
    if before.get("containerStatuses"):
        return bool(_matters(before) == _matters(status))
    return all(
        set(item["state"]) == {"waiting"} and item["state"]["waiting"]["reason"] in _STARTING
        for part in _PARTS
        for item in status.get(part) or []
    )


def _makes_room(before: Object, status: Object) -> bool:
    ran = {item["name"] for part in _PARTS for item in before.get(part) or () if "running" in (item.get("state") or {})}
    return any(
        item["name"] in ran and (item["state"].get("waiting") or {}).get("reason") == "ContainerCreating"
        for part in _PARTS
        for item in status.get(part) or ()
    )


def _mark(value: Any) -> int:
    """Tells it from others; the words themselves would be a fourth of what a pod costs in memory."""
    return hash(orjson.dumps(value, option=orjson.OPT_SORT_KEYS))


class StatusWriter:
    def __init__(self, verbs: Verbs) -> None:
        self._verbs = verbs
        #: Of what was sent last, and how the API has put it.
        self._told: tuple[int, int] | None = None

    def differs(self, pod: Object, status: Object) -> bool:
        before: Object = pod.get("status") or {}
        if all(before.get(key) == value for key, value in status.items()):
            return False  # word for word, as nearly always
        wanted = _plain(status)
        there = _plain({key: before.get(key) for key in status})
        if wanted == there:
            return False
        return self._told is None or (_mark(wanted), _mark(there)) != self._told

    async def write(self, pod: Object, status: Object) -> Object:
        """The pod after it. StatusError: Conflict (look again), NotFound (it is gone), or the API's trouble."""
        patch: Object = {"metadata": {"resourceVersion": revision_of(pod)}, "status": status}
        if not revision_of(pod):
            del patch["metadata"]
        after = await self._verbs.patch(POD, namespace_of(pod), name_of(pod), patch, subresource="status")
        answered: Object = after.get("status") or {}
        self._told = _mark(_plain(status)), _mark(_plain({key: answered.get(key) for key in status}))
        return after
