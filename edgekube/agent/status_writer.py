"""Tell the API what became of a pod: at once, once, and never over somebody else's words.

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
