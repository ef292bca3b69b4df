"""Volatile rows (Lease, Event): the latest state in RAM, what of it the disk does not know yet, and what has expired.

Enters: writes in the order of their revisions; the time of each.
Leaves: records; the dirty rows, once; the keys whose time has come.
Holds: what is here is what is published. Pure: no clock, no disk. Rows of a resource stand in the order of their last write.
Bound: limits.VOLATILE_OBJECTS_MAX and VOLATILE_BYTES_MAX; rows that may expire give way, oldest first, then creation is refused.
Next: store.sqlite.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from edgekube import limits
from edgekube.store.protocol import Key, KeyExists, KeyMissing, Record, RevisionConflict, StoreError, StoreUnavailable
from edgekube.store.writes import Write


class _Row(NamedTuple):
    record: Record
    written_seconds: float  # monotonic


class VolatileRows:
    def __init__(
        self,
        resources: Iterable[str],
        ttl_seconds: Mapping[str, float],
        *,
        objects_max: int = limits.VOLATILE_OBJECTS_MAX,
        bytes_max: int = limits.VOLATILE_BYTES_MAX,
    ) -> None:
        self._rows: dict[str, dict[Key, _Row]] = {resource: {} for resource in resources}
        self._ttl_seconds = {resource: seconds for resource, seconds in ttl_seconds.items() if resource in self._rows}
        self._objects_max = objects_max
        self._bytes_max = bytes_max
        self._objects = 0
        self._bytes = 0
        self._dirty: dict[Key, None] = {}

    def __contains__(self, resource: str) -> bool:
        return resource in self._rows

    def resources(self) -> list[str]:
        return sorted(self._rows)

    def load(self, records: Iterable[Record], now_seconds: float) -> None:
        """Rows from disk, oldest first. Their age is not known: they live from now."""
        for record in records:
            self._put(record, now_seconds)

    def get(self, key: Key) -> Record | None:
        row = self._rows[key.resource].get(key)
        return None if row is None else row.record

    def records(self, resource: str) -> list[Record]:
        return [row.record for row in self._rows[resource].values()]

    def count(self, resource: str) -> int:
        return len(self._rows[resource])

    def check(self, write: Write) -> StoreError | None:
        """Why the write cannot be; it sees the rows as they are when its turn has come."""
        found = self.get(write.record.key)
        if write.verb == "create":
            return None if found is None else KeyExists(write.record.key)
        if found is None:
            return KeyMissing(write.record.key)
        if found.revision != write.expected_revision:
            return RevisionConflict(f"{write.record.key} is at revision {found.revision}, not {write.expected_revision}")
        return None

    def apply(self, write: Write, now_seconds: float) -> None:
        """After check() found nothing."""
        self._dirty[write.record.key] = None
        write.previous = self._drop(write.record.key)
        if write.verb != "delete":
            self._put(write.record, now_seconds)

    def _drop(self, key: Key) -> Record | None:
        row = self._rows[key.resource].pop(key, None)
        if row is None:
            return None
        self._objects -= 1
        self._bytes -= len(row.record.value)
        return row.record

    def _put(self, record: Record, now_seconds: float) -> None:
        self._rows[record.key.resource][record.key] = _Row(record, now_seconds)
        self._objects += 1
        self._bytes += len(record.value)

    def giving_way(self) -> list[Record]:
        """The rows to delete before one more is taken. StoreUnavailable when that cannot make room."""
        objects, used = self._objects + 1 - self._objects_max, self._bytes + 1 - self._bytes_max
        leaving: list[Record] = []
        for resource in self._ttl_seconds:
            for row in self._rows[resource].values():
                if objects <= 0 and used <= 0:
                    return leaving
                leaving.append(row.record)
                objects -= 1
                used -= len(row.record.value)
        if objects > 0 or used > 0:
            raise StoreUnavailable("too many objects that live in memory only (leases, events)")
        return leaving

    def expired(self, now_seconds: float) -> Iterator[Record]:
        for resource, ttl_seconds in self._ttl_seconds.items():
            for row in self._rows[resource].values():
                if row.written_seconds + ttl_seconds > now_seconds:
                    break
                yield row.record

    def expires(self, resource: str) -> bool:
        return resource in self._ttl_seconds

    def take_dirty(self) -> dict[Key, Record | None]:
        """What has changed since the last call: the state now, None where the row is gone."""
        dirty, self._dirty = self._dirty, {}
        return {key: self.get(key) for key in dirty}

    def put_back_dirty(self, keys: Iterable[Key]) -> None:
        """A flush failed: these are still to be written."""
        for key in keys:
            self._dirty[key] = None
