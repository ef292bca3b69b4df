"""The SQLite engine: revisions on the trio thread, rows in the writer's, changes published in between.

Enters: the Protocol's calls; batches from the writer.
Leaves: records, pages, changes.
Holds: a write gets its revision when it is submitted; writes end, and are published, in that order, also across durable and
volatile resources: so the published revision names one state, and a list at it plus a watch after it misses nothing.
A read that met rows ahead of the published revision waits for their publication, or undoes them.
A write that was submitted is waited for, also by a caller that is cancelled: it happens whole or not at all.
Bound: limits.WRITE_QUEUE_WRITES_MAX and WRITE_QUEUE_BYTES_MAX writes that wait.
Next: store.writer, store.reads, store.ring, store.watchers, store.volatile.
"""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Final

import outcome
import trio

from edgekube import limits
from edgekube.store.giving_way import GivingWay
from edgekube.store.groups import Groups
from edgekube.store.opening import Database, open_database
from edgekube.store.pages import page, selects, undo
from edgekube.store.protocol import (
    Change,
    Compacted,
    Documents,
    Encode,
    FutureRevision,
    Group,
    Key,
    Page,
    Record,
    StoreUnavailable,
    Subscription,
    Topic,
)
from edgekube.store.reads import Reader
from edgekube.store.recent import Recent
from edgekube.store.ring import Entry, Ring
from edgekube.store.snapshots import write_snapshot
from edgekube.store.values import trimmed
from edgekube.store.volatile import VolatileRows
from edgekube.store.watchers import Interest, Watcher, Watchers
from edgekube.store.writer import Writer
from edgekube.store.writes import Batch, Close, Flush, Reserve, Verb, Write

log = logging.getLogger("edgekube.store")

#: How often rows that may expire are looked at; Events live an hour, so a minute does not matter.
EXPIRY_SECONDS: Final = 30.0
#: How often a fresh list starts again because writes moved the whole ring on while it was read.
_LIST_ATTEMPTS_MAX: Final = 3


class SqliteStore:
    """A Store (store.protocol). Made by open_store(); all methods belong to the trio thread."""

    def __init__(self, database: Database, rows: VolatileRows) -> None:
        self._path = database.path
        self._reader = Reader(database.reader)
        self._volatile = rows
        self._recent = Recent()
        self._ring = Ring(database.start_revision)
        self._watchers = Watchers()
        #: By resource and the function that tells an object's group.
        self._groups: dict[str, dict[Callable[[bytes], str], Groups]] = {}
        self._published = database.start_revision
        self._next_revision = max(database.start_revision, database.reserved_revision if not database.was_clean else 0) + 1
        self._reserved = database.reserved_revision
        self._reserving = False
        self._writer = Writer(database.writer, self._reserved, trio.lowlevel.current_trio_token(), self._deliver)
        #: Submitted and not yet answered, in order; the first ones may already be on disk.
        self._pending: deque[Write] = deque()
        self._pending_of: Counter[str] = Counter()
        self._pending_bytes = 0
        self._answered_revision = self._published
        self._answered = trio.lowlevel.ParkingLot()
        #: Deleted volatile rows without an end of their own: they ride along with the next commit, so that after a power
        #: cut a lease does not come back whose namespace is gone.
        self._forgotten: dict[Key, Record | None] = {}
        self._closed = False
        self._crash: BaseException | None = None
        self._crashed = trio.Event()
        self._giving_way = GivingWay(self._pending)

    # --- reads

    def revision(self) -> int:
        return self._published

    def submitted_revision(self) -> int:
        return self._next_revision - 1

    async def get(self, key: Key) -> Record | None:
        """Does not checkpoint unless it must wait: a read takes microseconds."""
        if key.resource in self._volatile:
            return self._volatile.get(key)
        recent = self._recent.get(key)
        if recent is not None:
            return recent
        while True:
            record = self._reader.get(key)
            if not self._pending_of[key.resource]:
                if record is not None:
                    self._recent.put(record)
                return record
            if record is not None:
                await self._until_answered(record.revision)
                return record
            deletion = max((w.record.revision for w in self._pending if w.record.key == key and w.verb == "delete"), default=0)
            if not deletion:
                return None
            await self._until_answered(deletion)

    async def list(
        self,
        resource: str,
        namespace: str | None = None,
        *,
        limit: int = 0,
        after: Key | None = None,
        revision: int | None = None,
        group: Group | None = None,
    ) -> Page:
        if revision is not None:
            if revision > self._published:
                raise FutureRevision(f"revision {revision} has not happened yet (now {self._published})")
            # By the whole store's revision, as etcd's compaction: a list of what never changes expires as well.
            superseded = self._ring.superseded_at(revision)
            if superseded is not None and superseded + limits.LIST_REVISION_AGE_SECONDS_MAX < trio.current_time():
                raise Compacted(f"the list at revision {revision} is older than {limits.LIST_REVISION_AGE_SECONDS_MAX} s")
        if resource in self._volatile:
            return self._volatile_page(resource, namespace, limit, after, revision, group)
        attempt = 1
        while True:
            at = self._published if revision is None else revision
            try:
                if group is not None:
                    return await self._group(resource, namespace, limit, after, at, group)
                if limit:
                    return await self._page(resource, namespace, limit, after, at)
                return await self._whole(resource, namespace, after, at)
            except Compacted:
                if revision is not None or attempt == _LIST_ATTEMPTS_MAX:
                    raise
            attempt += 1

    def _states(self, resource: str, namespace: str | None, after: Key | None, revision: int) -> dict[Key, Record | None]:
        states = self._ring.state_at(resource, namespace, revision)
        return {key: state for key, state in states.items() if selects(key, namespace, after)} if after else states

    def _volatile_page(
        self, resource: str, namespace: str | None, limit: int, after: Key | None, revision: int | None, group: Group | None
    ) -> Page:
        at = self._published if revision is None else revision
        records = [r for r in self._volatile.records(resource) if selects(r.key, namespace, after)]
        records.sort(key=lambda record: record.key)
        whole = undo(records, self._states(resource, namespace, after, at))
        if group is not None:
            whole = [record for record in whole if group.of(record.value) == group.value]
        return page(whole, {}, revision=at, limit=limit or len(whole), more=False, behind=0, existing=frozenset())

    async def _page(self, resource: str, namespace: str | None, limit: int, after: Key | None, revision: int) -> Page:
        # Keys whose row may differ from the state at the revision: changed since, or on their way to be.
        touched = set(self._states(resource, namespace, after, revision))
        if self._pending_of[resource]:
            touched.update(
                w.record.key for w in self._pending
                if w.record.key.resource == resource and selects(w.record.key, namespace, after)
            )  # fmt: skip
        rows = self._reader.range(resource, namespace, after, limit + len(touched), count_behind=True, exist=touched)
        await self._until_settled(resource)
        states = self._states(resource, namespace, after, revision)
        # A later change than the read needs no undoing, and would be counted wrongly.
        states = {key: state for key, state in states.items() if key in touched}
        return page(
            rows.records, states, revision=revision, limit=limit, more=rows.more, behind=rows.behind, existing=rows.existing
        )

    async def _whole(self, resource: str, namespace: str | None, after: Key | None, revision: int) -> Page:
        """Chunk by chunk, each from another state of the database: everything that changed meanwhile is undone at the end."""
        records: list[Record] = []
        position = after
        while True:
            rows = self._reader.range(resource, namespace, position, limits.LIST_CHUNK_ROWS_MAX)
            records += rows.records
            if not rows.more:
                break
            position = rows.records[-1].key
            await trio.lowlevel.checkpoint()
        await self._until_settled(resource)
        return Page(undo(records, self._states(resource, namespace, after, revision)), revision, None, 0)

    async def documents(self, resource: str, namespace: str | None = None) -> Documents:
        if resource not in self._volatile and not self._pending_of[resource]:
            unchanged = await self._unchanged(resource, namespace)
            if unchanged is not None:
                return unchanged
        page = await self.list(resource, namespace)
        return Documents([record.value for record in page.records], page.revision)

    async def _unchanged(self, resource: str, namespace: str | None) -> Documents | None:
        """The documents of the whole range; None when some of it was written meanwhile: without its key nothing can be undone."""
        documents = Documents([], self._published)
        position: Key | None = None
        while True:
            values, position = self._reader.documents(resource, namespace, position, limits.LIST_CHUNK_ROWS_MAX)
            if self._pending_of[resource] or self._ring.changed_since(resource, namespace, documents.revision):
                return None
            documents.values.extend(values)
            if position is None:
                return documents
            await trio.lowlevel.checkpoint()

    async def _group(
        self, resource: str, namespace: str | None, limit: int, after: Key | None, revision: int, group: Group
    ) -> Page:
        """The rows of the group as it is now, with everything of it that changed since the revision undone."""
        groups = await self._groups_of(resource, group.of)
        keys = [key for key in groups.keys(group.value) if selects(key, namespace, after)]
        records = [record for key in keys if (record := self._reader.get(key)) is not None]
        await self._until_settled(resource)
        states = self._states(resource, namespace, after, revision)
        whole = [record for record in records if record.key not in states]
        whole += [state for state in states.values() if state is not None and group.of(state.value) == group.value]
        whole.sort(key=lambda record: record.key)
        limit = limit or len(whole)
        return page(whole, {}, revision=revision, limit=limit, more=False, behind=0, existing=frozenset())

    async def _groups_of(self, resource: str, of: Callable[[bytes], str]) -> Groups:
        """Read once; whoever else asks meanwhile waits, and reads again if that was given up."""
        of_resource = self._groups.setdefault(resource, {})
        while (groups := of_resource.get(of)) is not None:
            await groups.read.wait()
            if of_resource.get(of) is groups:
                return groups
        groups = of_resource[of] = Groups(of)
        position: Key | None = None
        try:
            while True:
                rows = self._reader.range(resource, None, position, limits.LIST_CHUNK_ROWS_MAX)
                groups.begin(rows.records)
                if not rows.more:
                    break
                position = rows.records[-1].key
                await trio.lowlevel.checkpoint()
        except BaseException:
            del of_resource[of]
            raise
        finally:
            groups.finish()
        return groups

    async def count(self, resource: str) -> int:
        return self._volatile.count(resource) if resource in self._volatile else self._reader.count(resource)

    async def _until_settled(self, resource: str) -> None:
        """Until every write of ``resource`` that the last read could have seen is published."""
        if self._pending_of[resource]:
            await self._until_answered(max(w.record.revision for w in self._pending if w.record.key.resource == resource))

    async def _until_answered(self, revision: int) -> None:
        while self._answered_revision < revision:
            await self._answered.park()

    # --- writes

    async def create(self, key: Key, encode: Encode) -> Record:
        return await self._write("create", key, encode, 0)

    async def update(self, key: Key, encode: Encode, *, expected_revision: int) -> Record:
        return await self._write("update", key, encode, expected_revision)

    async def delete(self, key: Key, encode: Encode, *, expected_revision: int) -> Record:
        return await self._write("delete", key, encode, expected_revision)

    async def _write(self, verb: Verb, key: Key, encode: Encode, expected_revision: int) -> Record:
        await trio.lowlevel.checkpoint_if_cancelled()
        write = self._submit(verb, key, encode, expected_revision, trio.lowlevel.current_task())
        if write.task is None:  # answered at once
            await trio.lowlevel.cancel_shielded_checkpoint()
            if write.error is not None:
                raise write.error
            return write.record

        record: Record = await trio.lowlevel.wait_task_rescheduled(_waits)
        return record

    def _submit(self, verb: Verb, key: Key, encode: Encode, expected_revision: int, task: trio.lowlevel.Task | None) -> Write:
        if self._closed:
            raise StoreUnavailable("the store is closed")
        if len(self._pending) >= limits.WRITE_QUEUE_WRITES_MAX or self._pending_bytes >= limits.WRITE_QUEUE_BYTES_MAX:
            raise StoreUnavailable("too many writes wait for the disk")
        volatile = key.resource in self._volatile
        if volatile and verb == "create":
            for record in self._volatile.giving_way():
                self._expire(record)
        revision = self._next_revision
        value = trimmed(encode(revision))
        if value[:1] != b"{":
            raise ValueError("a stored document must be a JSON object")
        self._next_revision = revision + 1
        write = Write(verb, Record(key, revision, value), expected_revision, volatile, task)
        self._reserve_ahead()
        if volatile and revision <= self._reserved:
            if self._pending:
                self._enqueue(write)
            else:
                write.task = None
                self._finish([write])
            return write
        if self._forgotten:
            self._writer.submit(Flush(self._forgotten, trio.Event()))
            self._forgotten = {}
        self._enqueue(write)
        self._writer.submit(write)
        return write

    def _enqueue(self, write: Write) -> None:
        self._pending.append(write)
        self._pending_of[write.record.key.resource] += 1
        self._pending_bytes += len(write.record.value)

    def _reserve_ahead(self) -> None:
        """Volatile changes must not wait for the disk: have the next block on it before this one ends."""
        if not self._reserving and self._next_revision > self._reserved - limits.REVISION_BLOCK // 2:
            self._reserving = True
            self._writer.submit(Reserve(self._next_revision))

    # --- outcomes (on the trio thread, from the writer)

    def _deliver(self, batch: Batch) -> None:
        if batch.crash is not None:
            self._closed = True
            self._crash = batch.crash
            batch.failure = StoreUnavailable(f"the store's writer has stopped: {batch.crash!r}")
            self._crashed.set()
        self._reserved = batch.reserved_revision
        finished: list[Write] = []
        for item in batch.items:
            if isinstance(item, Write):
                if item.passed:
                    continue
                while True:  # volatile writes in between went past the writer
                    write = self._pending.popleft()
                    finished.append(write)
                    if write is item:
                        break
                if batch.failure is not None:
                    item.error = batch.failure
            elif isinstance(item, Reserve):
                self._reserving = False
            else:
                item.failed = batch.failure is not None
                item.done.set()
                if item.failed:
                    self._volatile.put_back_dirty(item.rows)
        while self._pending and self._pending[0].volatile and self._pending[0].record.revision <= self._reserved:
            write = self._pending.popleft()
            write.passed = True
            finished.append(write)
        if self._crash is not None:
            for write in self._pending:
                write.error = batch.failure
            finished += self._pending
            self._pending.clear()
        for write in finished:
            self._pending_of[write.record.key.resource] -= 1
            self._pending_bytes -= len(write.record.value)
        self._finish(finished)

    def _finish(self, writes: Sequence[Write]) -> None:
        """Publish what succeeded, then tell everybody: watchers first, for they are behind."""
        if not writes:
            return
        now_seconds = trio.current_time()
        changes: list[Change] = []
        for write in writes:
            if write.volatile and write.error is None:
                write.error = self._volatile.check(write)
                if write.error is None:
                    self._volatile.apply(write, now_seconds)
                    if write.verb == "delete" and not self._volatile.expires(write.record.key.resource):
                        self._forgotten[write.record.key] = None
            if write.error is None:
                change = _change(write)
                changes.append(change)
                self._ring.append(Entry(change, write.previous.revision if write.previous else 0, now_seconds))
                if write.verb == "delete":
                    self._recent.drop(write.record.key)
                elif not write.volatile:
                    self._recent.put(write.record)
        if changes:
            self._published = changes[-1].revision
            for change in changes:
                if (of_resource := self._groups.get(change.key.resource)) is not None:
                    for groups in of_resource.values():
                        groups.apply(change)
            self._watchers.dispatch(changes)
        self._answered_revision = writes[-1].record.revision
        self._answered.unpark_all()
        for write in writes:
            task, write.task = write.task, None
            if task is not None:
                result = outcome.Value(write.record) if write.error is None else outcome.Error(write.error)
                trio.lowlevel.reschedule(task, result)

    # --- watches

    @asynccontextmanager
    async def _watch(self, interest: Interest, after: int) -> AsyncIterator[Subscription]:
        if after > self._published:
            raise FutureRevision(f"revision {after} has not happened yet (now {self._published})")
        missed = [change for change in self._ring.since(interest.resource, interest.namespace, after) if interest.meets(change)]
        watcher = Watcher(self.revision, missed, after)
        self._watchers.add(interest, watcher)
        try:
            yield watcher
        finally:
            self._watchers.discard(interest, watcher)

    def watch(
        self, resource: str, namespace: str | None = None, *, after: int, topic: Topic | None = None
    ) -> AbstractAsyncContextManager[Subscription]:
        return self._watch(Interest(resource, namespace, topic), after)

    # --- volatile rows and the end

    def _expire(self, record: Record) -> None:
        def encode(revision: int) -> bytes:
            import orjson

            document = orjson.loads(record.value)
            document.setdefault("metadata", {})["resourceVersion"] = str(revision)
            return orjson.dumps(document)

        self._submit("delete", record.key, encode, record.revision, None)

    async def expire_now_and_then(self) -> None:
        """Deletes rows past their time to live; for the store's nursery."""
        while True:
            await trio.sleep(EXPIRY_SECONDS)
            try:
                for record in list(self._volatile.expired(trio.current_time())):
                    self._expire(record)
            except StoreUnavailable as error:
                log.warning("error=%s expired objects stay for now", error)

    async def flush_now_and_then(self, interval_seconds: float) -> None:
        """Takes volatile rows to disk; for the store's nursery."""
        while True:
            await trio.sleep(interval_seconds)
            await self.flush()

    async def flush(self) -> bool:
        """Volatile rows to disk, now. False: the disk refused; they stay in RAM and are written the next time."""
        rows = self._forgotten | self._volatile.take_dirty()
        self._forgotten = {}
        if not rows or self._closed:
            return not rows
        flush = Flush(rows, trio.Event())
        self._writer.submit(flush)
        await flush.done.wait()
        return not flush.failed

    async def snapshot(self, path: Path) -> None:
        """A whole database of this moment at ``path``, durable when it returns. StoreUnavailable; FileExistsError."""
        await self.flush()
        await trio.to_thread.run_sync(write_snapshot, self._path, path)

    async def raise_crash(self) -> None:
        """Waits for a defect of the writer thread and raises it; for the store's nursery."""
        await self._crashed.wait()
        assert self._crash is not None
        raise self._crash

    def start(self) -> None:
        """Loads what lives in RAM and starts the writer."""
        for resource in self._volatile.resources():
            self._volatile.load(self._reader.all_of(resource), trio.current_time())
        trio.lowlevel.add_instrument(self._giving_way)
        self._writer.start()

    async def close(self) -> None:
        """Answers what was submitted, writes volatile rows, marks a clean stop. Later calls are refused."""
        self._closed = True
        if self._crash is not None:
            trio.lowlevel.remove_instrument(self._giving_way)
            return
        await self._until_answered(max((w.record.revision for w in self._pending), default=0))
        close = Close(self._forgotten | self._volatile.take_dirty(), self._published, trio.Event())
        self._writer.submit(close)
        await close.done.wait()
        self._writer.join()
        trio.lowlevel.remove_instrument(self._giving_way)
        if close.failed:
            log.error("path=%s the last volatile rows could not be written", self._path)


def _waits(_: object) -> trio.lowlevel.Abort:
    """It is on its way to the disk: whoever is cancelled hears of that afterwards, and what became of it is heeded."""
    return trio.lowlevel.Abort.FAILED


def _change(write: Write) -> Change:
    key, revision, value = write.record
    if write.verb == "create":
        return Change("ADDED", key, revision, value, None)
    assert write.previous is not None
    kind: Final = "MODIFIED" if write.verb == "update" else "DELETED"
    return Change(kind, key, revision, value, write.previous.value)


@asynccontextmanager
async def open_store(
    path: Path,
    *,
    volatile_resources: frozenset[str] = frozenset(),
    ttl_seconds: Mapping[str, float] = MappingProxyType({}),
    flush_interval_seconds: float = limits.VOLATILE_FLUSH_SECONDS,
) -> AsyncIterator[SqliteStore]:
    """The store in the database file ``path``, made when missing. ``ttl_seconds``: time to live since the last write, of volatile
    resources only. StoreRefused with a message for the operator when the file cannot be used; it is left as it is."""
    database = await trio.to_thread.run_sync(open_database, path)
    try:
        rows = VolatileRows(volatile_resources, ttl_seconds)
        store = SqliteStore(database, rows)
        store.start()
        log.info("path=%s revision=%d clean=%s store open", path, store.revision(), database.was_clean)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(store.raise_crash)
            nursery.start_soon(store.expire_now_and_then)
            nursery.start_soon(store.flush_now_and_then, flush_interval_seconds)
            try:
                yield store
            finally:
                with trio.CancelScope(shield=True):
                    await store.close()
                nursery.cancel_scope.cancel()
    finally:
        database.close()
