"""Fan committed changes out to watchers.

Enters: changes in commit order, a commit's worth at a time.
Leaves: the same changes per watcher, filtered by resource and namespace.
Holds: a watcher sees each matching change once, in order, until it closes or is closed; a commit wakes it once at most.
Bound: limits.WATCH_BACKLOG_EVENTS_MAX and WATCH_BACKLOG_BYTES_MAX per watcher; a slower one is closed.
Next: registry.watch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import outcome
import trio

from edgekube import limits
from edgekube.store.protocol import Change, WatcherTooSlow


class Watcher:
    """A Subscription: one task at a time may wait in receive()."""

    __slots__ = ("_backlog", "_backlog_bytes", "_closed", "_events_max", "_published", "_received", "_task")

    def __init__(self, published: Callable[[], int], backlog: list[Change], after: int) -> None:
        self._published = published
        self._backlog = backlog
        self._backlog_bytes = 0
        # What a resuming watcher missed is no sign of slowness: it counts only once it has been handed over.
        self._events_max = len(backlog) + limits.WATCH_BACKLOG_EVENTS_MAX
        self._received = after
        self._closed = False
        self._task: trio.lowlevel.Task | None = None

    async def receive(self) -> Sequence[Change]:
        if self._task is not None:
            raise trio.BusyResourceError("another task waits for this watcher's changes")
        if self._backlog or self._closed:
            await trio.lowlevel.checkpoint()
        else:
            self._task = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(self._abort)
        if self._closed:
            raise WatcherTooSlow("the watcher fell behind its bound of unread changes")
        changes, self._backlog = self._backlog, []
        self._backlog_bytes = 0
        self._events_max = limits.WATCH_BACKLOG_EVENTS_MAX
        self._received = changes[-1].revision
        return changes

    def _abort(self, _: object) -> trio.lowlevel.Abort:
        self._task = None
        return trio.lowlevel.Abort.SUCCEEDED

    def progress(self) -> int:
        if self._closed or self._backlog:
            return self._received
        self._received = max(self._received, self._published())
        return self._received

    def offer(self, change: Change) -> bool:
        """Queue one change; False: the watcher was too slow and is closed now."""
        self._backlog.append(change)
        self._backlog_bytes += len(change.value)
        if len(self._backlog) > self._events_max or self._backlog_bytes > limits.WATCH_BACKLOG_BYTES_MAX:
            self._closed = True
            self._backlog = []
        return not self._closed

    def wake(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            trio.lowlevel.reschedule(task, outcome.Value(None))


class Watchers:
    """Who wants what: looked up by resource, then by namespace (None: all)."""

    def __init__(self) -> None:
        self._index: dict[str, dict[str | None, dict[Watcher, None]]] = {}

    def add(self, resource: str, namespace: str | None, watcher: Watcher) -> None:
        self._index.setdefault(resource, {}).setdefault(namespace, {})[watcher] = None

    def discard(self, resource: str, namespace: str | None, watcher: Watcher) -> None:
        by_namespace = self._index.get(resource, {})
        watchers = by_namespace.get(namespace, {})
        watchers.pop(watcher, None)
        if not watchers:
            by_namespace.pop(namespace, None)
        if not by_namespace:
            self._index.pop(resource, None)

    def dispatch(self, changes: Iterable[Change]) -> None:
        touched: dict[Watcher, None] = {}
        for change in changes:
            by_namespace = self._index.get(change.key.resource)
            if by_namespace is None:
                continue
            for namespace in (None, change.key.namespace):
                watchers = by_namespace.get(namespace)
                if not watchers:
                    continue
                too_slow = [watcher for watcher in watchers if not watcher.offer(change)]
                touched.update(watchers)
                for watcher in too_slow:
                    del watchers[watcher]
        for watcher in touched:
            watcher.wake()
