"""The latest changes in RAM: what watchers resume from, and how older states are rebuilt.

Enters: changes in commit order.
Leaves: the changes of a resource after a revision; the state of keys at a revision.
Holds: for each resource, every change above floor(resource) is here. Pure: the time of a change comes with it.
Bound: limits.WATCH_RING_EVENTS_MAX and WATCH_RING_BYTES_MAX over all resources; the oldest changes go first, whosever they are.
Next: store.watchers, store.pages.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from edgekube import limits
from edgekube.store.protocol import Change, Compacted, Key, Record


class Entry(NamedTuple):
    change: Change
    previous_revision: int  # 0 for ADDED
    time_seconds: float  # monotonic

    @property
    def size_bytes(self) -> int:
        return len(self.change.value) + len(self.change.previous or b"")


def _revision_of(entry: Entry) -> int:
    return entry.change.revision


class Ring:
    def __init__(
        self,
        start_revision: int,
        *,
        events_max: int = limits.WATCH_RING_EVENTS_MAX,
        bytes_max: int = limits.WATCH_RING_BYTES_MAX,
    ) -> None:
        """Nothing is known of changes up to ``start_revision``."""
        self._start_revision = start_revision
        self._events_max = events_max
        self._bytes_max = bytes_max
        self._bytes = 0
        self._order: deque[Entry] = deque()
        self._by_resource: dict[str, deque[Entry]] = {}
        self._floors: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._order)

    @property
    def size_bytes(self) -> int:
        return self._bytes

    def append(self, entry: Entry) -> None:
        self._order.append(entry)
        self._by_resource.setdefault(entry.change.key.resource, deque()).append(entry)
        self._bytes += entry.size_bytes
        while len(self._order) > self._events_max or self._bytes > self._bytes_max:
            oldest = self._order.popleft()
            resource = oldest.change.key.resource
            of_resource = self._by_resource[resource]
            of_resource.popleft()  # the same entry: both are in commit order
            if not of_resource:
                del self._by_resource[resource]
            self._floors[resource] = oldest.change.revision
            self._bytes -= oldest.size_bytes

    def floor(self, resource: str) -> int:
        """The history of ``resource`` is whole above this revision."""
        return self._floors.get(resource, self._start_revision)

    def _newest_first(self, resource: str, after: int) -> Iterator[Entry]:
        for entry in reversed(self._by_resource.get(resource, ())):
            if entry.change.revision <= after:
                return
            yield entry

    def changed_since(self, resource: str, namespace: str | None, revision: int) -> bool:
        """Whether anything of the range has changed since ``revision``, or may have."""
        if revision < self.floor(resource):
            return True
        newer = self._newest_first(resource, revision)
        return any(namespace is None or entry.change.key.namespace == namespace for entry in newer)

    def since(self, resource: str, namespace: str | None, after: int) -> list[Change]:
        """Changes above ``after``, oldest first. Compacted when some may be missing."""
        self._require(resource, after)
        changes = [
            entry.change
            for entry in self._newest_first(resource, after)
            if namespace is None or entry.change.key.namespace == namespace
        ]
        changes.reverse()
        return changes

    def state_at(self, resource: str, namespace: str | None, revision: int) -> dict[Key, Record | None]:
        """What the keys that changed since ``revision`` were then; None: they were not. Compacted when that is unknown."""
        self._require(resource, revision)
        states: dict[Key, Record | None] = {}
        for change, previous_revision, _ in self._newest_first(resource, revision):
            if namespace is None or change.key.namespace == namespace:
                previous = change.previous
                states[change.key] = None if previous is None else Record(change.key, previous_revision, previous)
        return states

    def superseded_at(self, revision: int) -> float | None:
        """When ``revision`` stopped being the latest of all resources, or later if that is forgotten; None: it still is."""
        after = bisect_right(self._order, revision, key=_revision_of)
        return self._order[after].time_seconds if after < len(self._order) else None

    def _require(self, resource: str, revision: int) -> None:
        if revision < self.floor(resource):
            raise Compacted(f"revision {revision} of {resource} is older than the history held ({self.floor(resource)})")
