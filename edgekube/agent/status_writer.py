"""Tell the API what became of a pod: once, in time, and never over somebody else's words.

Enters: the pod as the API has it, the status that should be there.
Leaves: one patch of pods/status when they differ; the pod as it is then.
Holds: the patch carries the resourceVersion it was made from, so that a condition of another writer is never lost; a status
that the API keeps in other words is not sent again.
Next: api.verbs.
"""

from __future__ import annotations

from typing import Any

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


def can_wait(before: Object, status: Object) -> bool:
    """True while a pod only comes up: that it has an address can be told together with the start of its containers."""
    if status.get("phase") != "Pending" or before.get("phase") not in (None, "Pending"):
        return False
    if before.get("containerStatuses"):
        return bool(_matters(before) == _matters(status))
    return all(
        set(item["state"]) == {"waiting"} and item["state"]["waiting"]["reason"] in _STARTING
        for part in ("initContainerStatuses", "containerStatuses")
        for item in status.get(part) or []
    )


class StatusWriter:
    def __init__(self, verbs: Verbs) -> None:
        self._verbs = verbs
        self._sent: Any = None
        self._answered: Any = None

    def differs(self, pod: Object, status: Object) -> bool:
        before: Object = pod.get("status") or {}
        wanted = _plain(status)
        there = _plain({key: before.get(key) for key in status})
        if wanted == there:
            return False
        return not (wanted == self._sent and there == self._answered)

    async def write(self, pod: Object, status: Object) -> Object:
        """The pod after it. StatusError: Conflict (look again), NotFound (it is gone), or the API's trouble."""
        patch: Object = {"metadata": {"resourceVersion": revision_of(pod)}, "status": status}
        if not revision_of(pod):
            del patch["metadata"]
        after = await self._verbs.patch(POD, namespace_of(pod), name_of(pod), patch, subresource="status")
        self._sent = _plain(status)
        answered: Object = after.get("status") or {}
        self._answered = _plain({key: answered.get(key) for key in status})
        return after
