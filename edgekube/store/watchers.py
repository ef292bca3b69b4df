"""Fan committed changes out to watchers.

Enters: changes in commit order, a commit's worth at a time.
Leaves: the same changes per watcher, filtered by resource, namespace and topic.
Holds: a watcher sees each matching change once, in order, until it closes or is closed; a commit wakes it once at most.
Bound: limits.WATCH_BACKLOG_EVENTS_MAX and WATCH_BACKLOG_BYTES_MAX per watcher; a slower one is closed.
Next: registry.watch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import NamedTuple

import outcome
import trio

from edgekube import limits
from edgekube.store.protocol import Change, Topic, WatcherTooSlow


class Watcher:
    """A Subscription: one task at a time may wait in receive()."""

    __slots__ = ("_backlog", "_backlog_bytes", "_closed", "_ended", "_events_max", "_nudged", "_published", "_received", "_task")

    def __init__(self, published: Callable[[], int], backlog: list[Change], after: int) -> None:
        self._published = published
        self._backlog = backlog
        self._backlog_bytes = 0
        # What a resuming watcher missed is no sign of slowness: it counts only once it has been handed over.
        self._events_max = len(backlog) + limits.WATCH_BACKLOG_EVENTS_MAX
        self._received = after
        self._closed = False
        self._ended = False
        self._nudged = False
        self._task: trio.lowlevel.Task | None = None

    async def receive(self) -> Sequence[Change]:
        if self._task is not None:
            raise trio.BusyResourceError("another task waits for this watcher's changes")
        if self._backlog or self._closed or self._ended or self._nudged:
            await trio.lowlevel.checkpoint()
        else:
            self._task = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(self._abort)
        if self._closed:
            raise WatcherTooSlow("the watcher fell behind its bound of unread changes")
        self._nudged = False
        if self._ended or not self._backlog:
            return []
        changes, self._backlog = self._backlog, []
        self._backlog_bytes = 0
        self._events_max = limits.WATCH_BACKLOG_EVENTS_MAX
        self._received = changes[-1].revision
        return changes

    def end(self) -> None:
        self._ended = True
        self.wake()

    def nudge(self) -> None:
        self._nudged = True
        self.wake()

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


class Interest(NamedTuple):
    """What a watcher wants: of a resource, of a namespace (None: all), of a topic (None: any)."""

    resource: str
    namespace: str | None
    topic: Topic | None = None

    def meets(self, change: Change) -> bool:
        """Whether a change of the resource and the namespace is one of the topic."""
        return self.topic is None or self.topic.value in self.topic.told_by(change)


class Watchers:
    """Who wants what: looked up by resource, by topic, then by namespace. A change costs the watchers that want it, and one call
    of each function that tells topics of its resource."""

    def __init__(self) -> None:
        self._index: dict[str, dict[tuple[Topic | None, str | None], dict[Watcher, None]]] = {}
        #: For each resource, how many of its watchers have their topics told by this function.
        self._tellers: dict[str, Counter[Callable[[Change], Collection[str]]]] = {}

    def add(self, interest: Interest, watcher: Watcher) -> None:
        of_resource = self._index.setdefault(interest.resource, {})
        of_resource.setdefault((interest.topic, interest.namespace), {})[watcher] = None
        if interest.topic is not None:
            self._tellers.setdefault(interest.resource, Counter())[interest.topic.told_by] += 1

    def discard(self, interest: Interest, watcher: Watcher) -> None:
        """Also of one that was too slow, and is gone from the index already."""
        if interest.topic is not None:
            tellers = self._tellers[interest.resource]
            tellers[interest.topic.told_by] -= 1
            if not tellers[interest.topic.told_by]:
                del tellers[interest.topic.told_by]
            if not tellers:
                del self._tellers[interest.resource]
        of_resource = self._index.get(interest.resource, {})
        watchers = of_resource.get((interest.topic, interest.namespace), {})
        watchers.pop(watcher, None)
        if not watchers:
            of_resource.pop((interest.topic, interest.namespace), None)
        if not of_resource:
            self._index.pop(interest.resource, None)

    def dispatch(self, changes: Iterable[Change]) -> None:
        touched: dict[Watcher, None] = {}
        for change in changes:
            of_resource = self._index.get(change.key.resource)
            if of_resource is None:
                continue
            topics: list[Topic | None] = [None]
            for told_by in self._tellers.get(change.key.resource, ()):
                topics += [Topic(told_by, value) for value in told_by(change)]
            for topic in topics:
                for namespace in (None, change.key.namespace):
                    watchers = of_resource.get((topic, namespace))
                    if not watchers:
                        continue
                    too_slow = [watcher for watcher in watchers if not watcher.offer(change)]
                    touched.update(watchers)
                    for watcher in too_slow:
                        del watchers[watcher]
        for watcher in touched:
            watcher.wake()
