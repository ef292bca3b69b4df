"""What a watch that asks for the initial state is given first: the objects that there are, page by page.

Enters: kind, namespace, a selection.
Leaves: ADDED events, in the order of keys, all of one revision.
Holds: a page is read when the one before it has been taken; a reader that is so slow that the history no longer reaches its
revision is told Expired, as one whose continue token is too old.
Bound: limits.WATCH_INITIAL_BYTES for all readers of this server, and never less than limits.WATCH_INITIAL_READER_BYTES for each.
Next: registry.watch.
"""

from __future__ import annotations

from edgekube import limits
from edgekube.api.kinds import Kind
from edgekube.api.verbs import ADDED, WatchEvent
from edgekube.registry import reading
from edgekube.registry.faults import as_status, too_old_revision
from edgekube.registry.listing import Selection
from edgekube.registry.state import Registry
from edgekube.store.protocol import Compacted, Key, Page, StoreError


class InitialState:
    """To be closed, whether it was read to its end or not."""

    def __init__(self, registry: Registry, kind: Kind, namespace: str, selection: Selection) -> None:
        self._registry = registry
        self._kind = kind
        self._namespace = namespace
        self._selection = selection
        self._page: Page | None = None
        self._after: Key | None = None
        self._objects_max = limits.WATCH_INITIAL_OBJECTS_MIN
        self._open = True
        #: Set by ``begin``: all events are of this state, and changes are watched from it on.
        self.revision = 0
        registry.initial_readers += 1

    def close(self) -> None:
        if self._open:
            self._open = False
            self._page = None
            self._registry.initial_readers -= 1

    async def begin(self) -> None:
        self._page = await self._read(None)
        self.revision = self._page.revision

    async def next(self) -> list[WatchEvent]:
        """At least one event; empty at the end, and then it is closed. StatusError Expired."""
        while self._open:
            page, self._page = self._page, None
            if page is None:
                page = await self._read(self.revision)
            served = await reading.from_records(self._registry, self._kind, page.records)
            pairs = zip(page.records, served, strict=True)
            events = [WatchEvent(ADDED, raw) for record, raw in pairs if self._selection.matches(record.key, raw)]
            self._after = page.next_after
            if self._after is None:
                self.close()
            if events:
                return events
        return []

    async def _read(self, revision: int | None) -> Page:
        store, scope = self._registry.store, self._namespace or None
        try:
            page = await store.list(
                self._kind.resource,
                scope,
                limit=self._objects_max,
                after=self._after,
                revision=revision,
                group=self._selection.group,
            )
        except Compacted:
            raise too_old_revision(self.revision, store.revision()) from None
        except StoreError as error:
            raise as_status(error, self._kind, "") from error
        share = max(limits.WATCH_INITIAL_BYTES // self._registry.initial_readers, limits.WATCH_INITIAL_READER_BYTES)
        size = sum(len(record.value) for record in page.records)
        if size:
            self._objects_max = max(limits.WATCH_INITIAL_OBJECTS_MIN, share * len(page.records) // size)
        return page
