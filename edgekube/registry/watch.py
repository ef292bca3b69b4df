"""The verb watch.

Enters: kind, namespace ("" for all) and the query.
Leaves: a WatchStream: initial objects when asked for, then changes, with bookmarks between them.
Holds: a watcher sees each matching change once, in order; a selector turns changes into ADDED and DELETED as objects begin
and cease to match; the revision of a bookmark is safe to resume from (sources: kubernetes.io, "API concepts", efficient
detection of changes and streaming lists; KEP-3157).
Bound: limits.WATCH_BACKLOG_EVENTS_MAX in the store's subscription; a slower watcher's stream ends.
Next: server.watching, registry.local.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Final

import orjson
import trio

from edgekube.api import errors
from edgekube.api.errors import Cause
from edgekube.api.kinds import Kind
from edgekube.api.verbs import ADDED, BOOKMARK, DELETED, MODIFIED, WatchEvent
from edgekube.registry.faults import as_status, too_large_revision, too_old_revision
from edgekube.registry.list import NOT_OLDER_THAN, parse_revision
from edgekube.registry.listing import Selection, select
from edgekube.registry.state import Registry
from edgekube.store.protocol import Change, Compacted, FutureRevision, Record, StoreError, Subscription, WatcherTooSlow

#: About once a minute, as upstream.
BOOKMARK_INTERVAL_SECONDS: Final = 60.0
#: Initial objects are handed out in pieces, so that a large list is not turned into events at once.
_INITIAL_CHUNK_EVENTS: Final = 500
_INITIAL_EVENTS_END: Final = "k8s.io/initial-events-end"


@dataclass(frozen=True, slots=True)
class WatchOptions:
    """The query of a watch. ``timeout_seconds`` None: until somebody hangs up."""

    label_selector: str = ""
    field_selector: str = ""
    revision: str = ""
    revision_match: str = ""
    send_initial_events: bool | None = None
    allow_bookmarks: bool = False
    timeout_seconds: float | None = None


class WatchStream:
    """One watcher's events."""

    def __init__(
        self,
        kind: Kind,
        selection: Selection,
        subscription: Subscription,
        initial: list[Record],
        first_bookmark: int | None,
        bookmarks: bool,
        timeout_seconds: float | None,
    ) -> None:
        self._kind = kind
        self._selection = selection
        self._subscription = subscription
        self._initial = initial
        self._first_bookmark = first_bookmark
        self._bookmarks = bookmarks
        now = trio.current_time()
        self._ends_at = now + timeout_seconds if timeout_seconds is not None else float("inf")
        self._bookmark_at = now + BOOKMARK_INTERVAL_SECONDS if bookmarks else float("inf")
        self._ended = False

    async def receive(self) -> list[WatchEvent]:
        """At least one event; waits. Empty at the end of the stream."""
        if self._initial:
            return self._next_initial()
        if self._first_bookmark is not None:
            revision, self._first_bookmark = self._first_bookmark, None
            return [bookmark(self._kind, revision, initial_events_end=True)]
        while not self._ended:
            changes: Sequence[Change] | None = None
            with trio.move_on_at(min(self._ends_at, self._bookmark_at)):
                try:
                    changes = await self._subscription.receive()
                except WatcherTooSlow:
                    self._ended = True
                    return []
            if changes is None:
                event = self._on_clock()
                if event is not None:
                    return [event]
                continue
            events = [event for change in changes if (event := _event(self._selection, change)) is not None]
            if events:
                return events
        return []

    def _next_initial(self) -> list[WatchEvent]:
        chunk, self._initial = self._initial[:_INITIAL_CHUNK_EVENTS], self._initial[_INITIAL_CHUNK_EVENTS:]
        convert = self._selection.convert
        return [WatchEvent(ADDED, convert(record.value) if convert else record.value) for record in chunk]

    def _on_clock(self) -> WatchEvent | None:
        now = trio.current_time()
        if now >= self._ends_at:
            self._ended = True
            return bookmark(self._kind, self._subscription.progress()) if self._bookmarks else None
        if now >= self._bookmark_at:
            self._bookmark_at = now + BOOKMARK_INTERVAL_SECONDS
            return bookmark(self._kind, self._subscription.progress())
        return None


def bookmark(kind: Kind, revision: int, *, initial_events_end: bool = False) -> WatchEvent:
    metadata: dict[str, object] = {"resourceVersion": str(revision), "creationTimestamp": None}
    if initial_events_end:
        metadata["annotations"] = {_INITIAL_EVENTS_END: "true"}
    return WatchEvent(BOOKMARK, orjson.dumps({"kind": kind.kind, "apiVersion": kind.api_version, "metadata": metadata}))


def _event(selection: Selection, change: Change) -> WatchEvent | None:
    """What the watcher sees of a change; None: nothing."""
    value = change.value
    convert = selection.convert
    if selection.everything:
        return WatchEvent(change.type, convert(value) if convert else value)
    if selection.name is not None and change.key.name != selection.name:
        return None
    if convert is not None:
        value = convert(value)
    matches = selection.matches(change.key, value)
    if change.type != MODIFIED or change.previous is None:
        return WatchEvent(change.type, value) if matches else None
    previous = convert(change.previous) if convert else change.previous
    matched = selection.matches(change.key, previous)
    if matches:
        return WatchEvent(MODIFIED if matched else ADDED, value)
    return WatchEvent(DELETED, _at_revision(previous, change.revision)) if matched else None


def _at_revision(raw: bytes, revision: int) -> bytes:
    """The last state that matched, as of the change that ended it."""
    obj = orjson.loads(raw)
    obj["metadata"]["resourceVersion"] = str(revision)
    return orjson.dumps(obj)


def _check(options: WatchOptions) -> None:
    def refuse(field: str, why: str) -> errors.StatusError:
        cause = Cause("FieldValueForbidden", f"Forbidden: {why}", field)
        return errors.invalid("meta.k8s.io", "ListOptions", "", [cause])

    if options.send_initial_events is None:
        if options.revision_match:
            why = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
            raise refuse("resourceVersionMatch", why)
        return
    if options.revision_match != NOT_OLDER_THAN:
        why = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
        raise refuse("resourceVersionMatch", why)


@asynccontextmanager
async def watch(registry: Registry, kind: Kind, namespace: str, options: WatchOptions) -> AsyncIterator[WatchStream]:
    """StatusError Expired when the revision is no longer held, Timeout when initial events are asked for a later one."""
    _check(options)
    selection = select(kind, options.label_selector, options.field_selector)
    asked = parse_revision(options.revision)
    initial: list[Record] = []
    wants_initial = options.send_initial_events if options.send_initial_events is not None else not asked
    async with AsyncExitStack() as stack:
        try:
            if wants_initial:
                if asked > registry.store.revision():
                    raise too_large_revision(asked, registry.store.revision())
                page = await registry.store.list(kind.resource, namespace or None)
                initial, after = _selected(page.records, selection), page.revision
            else:
                after = asked or registry.store.revision()
            subscribed = registry.store.watch(kind.resource, namespace or None, after=after)
            subscription = await stack.enter_async_context(subscribed)
        except (Compacted, FutureRevision):
            # Only a store that went back in time makes a client of the future: it, too, has to list again.
            raise too_old_revision(asked, registry.store.revision()) from None
        except StoreError as error:
            raise as_status(error, kind, "") from error
        first_bookmark = after if options.send_initial_events and options.allow_bookmarks else None
        bookmarks = options.allow_bookmarks
        yield WatchStream(kind, selection, subscription, initial, first_bookmark, bookmarks, options.timeout_seconds)


def _selected(records: list[Record], selection: Selection) -> list[Record]:
    if selection.everything:
        return records
    convert = selection.convert
    return [record for record in records if selection.matches(record.key, convert(record.value) if convert else record.value)]
