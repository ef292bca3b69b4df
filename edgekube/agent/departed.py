"""Pods that this node has taken down to the last, while the API's word of that is still on its way.

Enters: the ends of workers, the API's events and lists.
Leaves: whether what is told of a pod is news of the past.
Holds: a pod that left does not come back under its uid. What its node wrote last about it is told to the node as well, and comes
after its worker has ended where the server is another machine; one that has finalizers stays in the API for as long as they do.
Bound: one uid for each such pod, until the API says that it is gone or lists its pods without it.
Next: agent.pods.
"""

from __future__ import annotations

from collections.abc import Container


class Departed:
    def __init__(self) -> None:
        self._uids: set[str] = set()

    def __contains__(self, uid: str) -> bool:
        return uid in self._uids

    def left(self, uid: str) -> None:
        self._uids.add(uid)

    def deleted(self, uid: str) -> None:
        """The API has said so: nothing follows."""
        self._uids.discard(uid)

    def listed(self, uids: Container[str]) -> None:
        self._uids = {uid for uid in self._uids if uid in uids}
