"""The documents that were read or written last, by key: what is asked for again and again takes no query.

Enters: records as they are published, and as they are read while no write of them is under way.
Leaves: the record, if it is here.
Holds: a record that is here is the published one; whoever publishes a change tells of it before anybody is answered. First in,
first out: to be asked for keeps nothing, for that would cost more than now and then a query.
Bound: limits.RECENT_BYTES_MAX of documents, mostly shared with store.ring; a larger one than RECENT_RECORD_BYTES_MAX is not kept.
Next: store.sqlite.
"""

from __future__ import annotations

from edgekube import limits
from edgekube.store.protocol import Key, Record


class Recent:
    def __init__(self) -> None:
        self._records: dict[Key, Record] = {}
        self._bytes = 0
        self.get = self._records.get

    @property
    def size_bytes(self) -> int:
        return self._bytes

    def put(self, record: Record) -> None:
        """In place of an older one."""
        self.drop(record.key)
        size_bytes = len(record.value)
        if size_bytes > limits.RECENT_RECORD_BYTES_MAX:
            return
        self._records[record.key] = record
        self._bytes += size_bytes
        while self._bytes > limits.RECENT_BYTES_MAX:
            self.drop(next(iter(self._records)))

    def drop(self, key: Key) -> None:
        gone = self._records.pop(key, None)
        if gone is not None:
            self._bytes -= len(gone.value)
