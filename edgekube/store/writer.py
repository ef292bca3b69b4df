"""The single writer: a thread that puts everything queued into one transaction.

Enters: items, in the order in which their revisions were given.
Leaves: batches with their outcomes, in the same order, through ``deliver`` (on the trio thread).
Holds: a write is answered only after its transaction is on disk (synchronous=FULL); each is checked against the rows on its own,
so one conflict does not fail its neighbours; when the transaction fails, nothing of the batch is in the database.
Bound: limits.COMMIT_WRITES_MAX items a transaction.
Next: store.sqlite publishes the batches.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Final

import trio

from edgekube import limits
from edgekube.store.protocol import Key, KeyExists, KeyMissing, Record, RevisionConflict, StoreUnavailable
from edgekube.store.values import pack, unpack
from edgekube.store.writes import Batch, Close, Flush, Item, Reserve, Write

log = logging.getLogger("edgekube.store")

_INSERT: Final = (
    "INSERT INTO objects (resource, namespace, name, revision, value) VALUES (?, ?, ?, ?, ?)"
    " ON CONFLICT (resource, namespace, name) DO NOTHING"
)
_SELECT: Final = "SELECT id, revision, value FROM objects WHERE resource = ? AND namespace = ? AND name = ?"
_UPDATE: Final = "UPDATE objects SET revision = ?, value = ? WHERE id = ?"
_DELETE: Final = "DELETE FROM objects WHERE id = ?"
_UPSERT: Final = (
    "INSERT INTO objects (resource, namespace, name, revision, value) VALUES (?, ?, ?, ?, ?)"
    " ON CONFLICT (resource, namespace, name) DO UPDATE SET revision = excluded.revision, value = excluded.value"
)
_FORGET: Final = "DELETE FROM objects WHERE resource = ? AND namespace = ? AND name = ?"


class Writer:
    """Owns the writing connection from start() until the batch that holds Close."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        reserved_revision: int,
        token: trio.lowlevel.TrioToken,
        deliver: Callable[[Batch], None],
    ) -> None:
        self._connection = connection
        self._reserved = reserved_revision
        self._token = token
        self._deliver = deliver
        self._queue: SimpleQueue[Item] = SimpleQueue()
        self._resources: dict[str, int] = {
            name: row_id for row_id, name in connection.execute("SELECT id, name FROM resources").fetchall()
        }
        self._suspect = False
        self._thread = threading.Thread(target=self._run, name="edgekube-store-writer", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def submit(self, item: Item) -> None:
        self._queue.put(item)

    def join(self) -> None:
        """Only after Close was delivered: returns at once."""
        self._thread.join()

    # Everything below runs in the thread.

    def _run(self) -> None:
        last = False
        while not last:
            batch = Batch(self._take(), self._reserved)
            last = isinstance(batch.items[-1], Close)
            try:
                self._commit(batch)
            except BaseException as defect:
                self._roll_back()
                batch.crash = defect
                last = True
            batch.reserved_revision = self._reserved
            with suppress(trio.RunFinishedError):  # the loop is gone: nobody is left to be told
                self._token.run_sync_soon(self._deliver, batch)

    def _take(self) -> list[Item]:
        """What is queued now; Close ends a batch."""
        items = [self._queue.get()]
        while len(items) < limits.COMMIT_WRITES_MAX and not isinstance(items[-1], Close):
            try:
                items.append(self._queue.get_nowait())
            except Empty:
                break
        return items

    def _commit(self, batch: Batch) -> None:
        reserved = self._reserved
        known = dict(self._resources)
        try:
            if self._suspect:
                self._settle()
            alone = len(batch.items) == 1 and self._fits_one_statement(batch.items[0])
            if not alone:
                self._connection.execute("BEGIN IMMEDIATE")
                self._reserve(batch.items)
            for item in batch.items:
                self._apply(item)
            if not alone:
                self._connection.execute("COMMIT")
            if isinstance(batch.items[-1], Close):
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        except sqlite3.Error as error:
            self._roll_back()
            self._reserved, self._resources = reserved, known
            batch.failure = StoreUnavailable(f"the database could not be written: {error}")
            log.error("items=%d error=%s the database could not be written", len(batch.items), _name(error))
            if not _is_full(error):
                self._suspect = True
                with suppress(sqlite3.Error):
                    self._settle()

    def _fits_one_statement(self, item: Item) -> bool:
        """A single write of a known resource needs no explicit transaction: two round trips less through the GIL."""
        return (
            isinstance(item, Write)
            and not item.volatile
            and item.record.key.resource in self._resources
            and not self._wants_block(item.record.revision)
        )

    def _roll_back(self) -> None:
        if self._connection.in_transaction:
            with suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")

    def _settle(self) -> None:
        """After a failed write or fsync the kernel may believe that pages of the log are clean which never reached the disk. Fold
        the log into the database, which writes and syncs every committed page anew, and start an empty one."""
        busy = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        if busy:
            raise sqlite3.OperationalError("the log could not be folded into the database after an I/O error")
        self._suspect = False

    def _wants_block(self, revision: int) -> bool:
        return revision > self._reserved - limits.REVISION_BLOCK // 2

    def _reserve(self, items: list[Item]) -> None:
        """No revision may be seen by anybody before a higher one is on disk as reserved."""
        highest = max((_revision(item) for item in items), default=0)
        if self._wants_block(highest):
            self._reserved = highest + limits.REVISION_BLOCK
            self._connection.execute("UPDATE counter SET reserved_revision = ?", (self._reserved,))

    def _resource_id(self, resource: str) -> int:
        known = self._resources.get(resource)
        if known is None:
            known = self._connection.execute("INSERT INTO resources (name) VALUES (?)", (resource,)).lastrowid
            assert known is not None
            self._resources[resource] = known
        return known

    def _apply(self, item: Item) -> None:
        if isinstance(item, Write):
            if not item.volatile:
                self._write(item)
        elif isinstance(item, Flush | Close):
            self._flush(item.rows)
            if isinstance(item, Close):
                self._connection.execute("UPDATE counter SET clean_revision = ?", (item.revision,))

    def _write(self, write: Write) -> None:
        key, revision, value = write.record
        row_key = (self._resource_id(key.resource), key.namespace, key.name)
        if write.verb == "create":
            if self._connection.execute(_INSERT, (*row_key, revision, pack(value))).rowcount == 0:
                write.error = KeyExists(key)
            return
        row = self._connection.execute(_SELECT, row_key).fetchone()
        if row is None:
            write.error = KeyMissing(key)
            return
        row_id, found_revision, stored = row
        if found_revision != write.expected_revision:
            write.error = RevisionConflict(f"{key} is at revision {found_revision}, not {write.expected_revision}")
            return
        write.previous = Record(key, found_revision, unpack(stored))
        if write.verb == "update":
            self._connection.execute(_UPDATE, (revision, pack(value), row_id))
        else:
            self._connection.execute(_DELETE, (row_id,))

    def _flush(self, rows: dict[Key, Record | None]) -> None:
        for key, record in rows.items():
            row_key = (self._resource_id(key.resource), key.namespace, key.name)
            if record is None:
                self._connection.execute(_FORGET, row_key)
            else:
                self._connection.execute(_UPSERT, (*row_key, record.revision, pack(record.value)))


def _revision(item: Item) -> int:
    if isinstance(item, Write):
        return item.record.revision
    return item.revision if isinstance(item, Reserve) else 0


def _is_full(error: sqlite3.Error) -> bool:
    """ENOSPC and quota: the transaction is rolled back whole, the log before it is sound."""
    return (getattr(error, "sqlite_errorcode", 0) & 0xFF) == sqlite3.SQLITE_FULL


def _name(error: sqlite3.Error) -> str:
    return str(getattr(error, "sqlite_errorname", type(error).__name__))
