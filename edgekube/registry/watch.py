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

import math
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

import orjson
import trio
from msgspec import Struct

from edgekube.api import errors
from edgekube.api.errors import StatusError
from edgekube.api.kinds import Kind
from edgekube.api.verbs import ADDED, BOOKMARK, DELETED, MODIFIED, WatchEvent
from edgekube.registry import reading
from edgekube.registry.alarms import Alarm
from edgekube.registry.conversion import from_storage
from edgekube.registry.faults import as_status, too_large_revision, too_old_revision
from edgekube.registry.initial_state import InitialState
from edgekube.registry.list_options import check_watch, parse_revision
from edgekube.registry.listing import Selection, select
from edgekube.registry.state import Registry
from edgekube.store.protocol import Change, Compacted, FutureRevision, StoreError, Subscription, WatcherTooSlow

#: About once a minute, as upstream.
BOOKMARK_INTERVAL_SECONDS: Final = 60.0
_INITIAL_EVENTS_END: Final = "k8s.io/initial-events-end"


class WatchOptions(Struct, frozen=True):
    """The query of a watch. ``timeout_seconds`` None: until somebody hangs up."""

    label_selector: str = ""
    field_selector: str = ""
    revision: str = ""
    revision_match: str = ""
    send_initial_events: bool | None = None
    allow_bookmarks: bool = False
    continue_token: str = ""
    timeout_seconds: float | None = None


class WatchStream:
    """One watcher's events."""

    def __init__(
        self,
        registry: Registry,
        kind: Kind,
        selection: Selection,
        subscription: Subscription,
        initial: InitialState | None,
        first_bookmark: int | None,
        bookmarks: bool,
        timeout_seconds: float | None,
    ) -> None:
        self._registry = registry
        self._kind = kind
        self._selection = selection
        #: Whether changes are what the watcher sees of them.
        self._as_stored = (selection.everything or selection.told) and not kind.custom and from_storage(kind) is None
        self._subscription = subscription
        self._initial = initial
        self._first_bookmark = first_bookmark
        self._bookmarks = bookmarks
        now = trio.current_time()
        self._ends_at = now + timeout_seconds if timeout_seconds is not None else math.inf
        self._bookmark_at = now + BOOKMARK_INTERVAL_SECONDS if bookmarks else math.inf
        self._ended = False
        self._alarm: Alarm | None = None
        self._set_alarm()

    async def receive(self) -> list[WatchEvent]:
        """At least one event; waits. Empty at the end of the stream. StatusError Expired: too slow for the initial state."""
        if self._initial is not None:
            if events := await self._initial.next():
                return events
            self._initial = None
        if self._first_bookmark is not None:
            revision, self._first_bookmark = self._first_bookmark, None
            return [bookmark(self._kind, revision, initial_events_end=True)]
        while not self._ended:
            try:
                changes = await self._subscription.receive()
            except WatcherTooSlow:
                self._ended = True
                return []
            if not changes:
                event = self._on_clock()
                if event is not None:
                    return [event]
                continue
            events = await self._events(changes)
            if events:
                return events
        return []

    def end(self) -> None:
        """From another task: whoever waits in receive() is told that the stream has ended."""
        self._ended = True
        self._subscription.end()

    def close(self) -> None:
        """Nobody comes to receive() any more."""
        if self._alarm is not None:
            self._alarm.cancel()

    def _set_alarm(self) -> None:
        """A scope with a deadline for each change would cost a third of it."""
        wake_at = min(self._ends_at, self._bookmark_at)
        if wake_at != math.inf:
            self._alarm = self._registry.alarms.set(wake_at, self._subscription.nudge)

    async def _events(self, changes: Sequence[Change]) -> list[WatchEvent]:
        """What the watcher sees of the changes."""
        if self._as_stored:
            return [WatchEvent(change.type, change.value) for change in changes]
        selection = self._selection
        wanted = changes if selection.told else [c for c in changes if selection.name is None or c.key.name == selection.name]
        served = await reading.from_storage(
            self._registry, self._kind, [change.value for change in wanted], [change.revision for change in wanted]
        )
        if selection.everything or selection.told:
            return [WatchEvent(change.type, raw) for change, raw in zip(wanted, served, strict=True)]
        both = [change for change in wanted if change.type == MODIFIED and change.previous is not None]
        earlier = await reading.from_storage(self._registry, self._kind, [change.previous or b"" for change in both])
        previous = {change.revision: raw for change, raw in zip(both, earlier, strict=True)}
        events = (
            _event(selection, change, raw, previous.get(change.revision)) for change, raw in zip(wanted, served, strict=True)
        )
        return [event for event in events if event is not None]

    def _on_clock(self) -> WatchEvent | None:
        if self._ended:
            return None
        now = trio.current_time()
        if now >= self._ends_at:
            self._ended = True
            return bookmark(self._kind, self._subscription.progress()) if self._bookmarks else None
        due = now >= self._bookmark_at
        if due:
            self._bookmark_at = now + BOOKMARK_INTERVAL_SECONDS
        self._set_alarm()
        return bookmark(self._kind, self._subscription.progress()) if due else None


def bookmark(kind: Kind, revision: int, *, initial_events_end: bool = False) -> WatchEvent:
    metadata: dict[str, object] = {"resourceVersion": str(revision)}
    if initial_events_end:
        metadata["annotations"] = {_INITIAL_EVENTS_END: "true"}
    return WatchEvent(BOOKMARK, orjson.dumps({"kind": kind.kind, "apiVersion": kind.api_version, "metadata": metadata}))


def _event(selection: Selection, change: Change, value: bytes, previous: bytes | None) -> WatchEvent | None:
    """What a selector makes of a change; None: nothing. ``value`` and ``previous`` are in the served version."""
    matches = selection.matches(change.key, value)
    if previous is None:
        return WatchEvent(change.type, value) if matches else None
    matched = selection.matches(change.key, previous)
    if matches:
        return WatchEvent(MODIFIED if matched else ADDED, value)
    return WatchEvent(DELETED, _at_revision(previous, change.revision)) if matched else None


def _at_revision(raw: bytes, revision: int) -> bytes:
    """The last state that matched, as of the change that ended it."""
    obj = orjson.loads(raw)
    obj["metadata"]["resourceVersion"] = str(revision)
    return orjson.dumps(obj)


def _asked(revision: str) -> int:
    """StatusError: upstream takes it for its own fault when it cannot read the number."""
    try:
        return parse_revision(revision)
    except StatusError as error:
        raise errors.failed(error.message.removeprefix("invalid resource version: ")) from None


@asynccontextmanager
async def watch(registry: Registry, kind: Kind, namespace: str, options: WatchOptions) -> AsyncIterator[WatchStream]:
    """StatusError Expired when the revision is no longer held, Timeout when initial events are asked for a later one."""
    check_watch(options.revision_match, options.continue_token, send_initial_events=options.send_initial_events)
    selection = select(kind, options.label_selector, options.field_selector)
    asked = _asked(options.revision)
    initial: InitialState | None = None
    wants_initial = options.send_initial_events if options.send_initial_events is not None else not asked
    async with AsyncExitStack() as stack:
        try:
            if wants_initial:
                if asked > registry.store.revision():
                    raise too_large_revision(asked, registry.store.revision())
                initial = InitialState(registry, kind, namespace, selection)
                stack.callback(initial.close)
                await initial.begin()
                after = initial.revision
            else:
                after = asked or registry.store.revision()
            subscribed = registry.store.watch(kind.resource, namespace or None, after=after, topic=selection.topic)
            subscription = await stack.enter_async_context(subscribed)
        except (Compacted, FutureRevision):
            # Only a store that went back in time makes a client of the future: it, too, has to list again.
            raise too_old_revision(asked, registry.store.revision()) from None
        except StoreError as error:
            raise as_status(error, kind, "") from error
        # To upstream a watch from "" or "0" is one that asks for the initial events.
        first_bookmark = after if wants_initial and options.allow_bookmarks else None
        stream = WatchStream(
            registry,
            kind,
            selection,
            subscription,
            initial,
            first_bookmark,
            options.allow_bookmarks,
            options.timeout_seconds,
        )
        stack.callback(stream.close)
        yield stream
