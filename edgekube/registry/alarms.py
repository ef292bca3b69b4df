"""Times at which streams want to be told, without a timer each.

Enters: a time and what to call then.
Leaves: the call, once, at that time or soon after it; none once the alarm was cancelled.
Holds: one task sleeps for all of them, and there is none while nobody waits. A stream that lasts sets an alarm once a minute; a
scope with a deadline around each wait would cost every event as much as sending it.
Bound: one entry for each stream that lasts (limits.WATCHES_MAX), and no more cancelled ones than others.
Next: registry.watch.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Final

import trio

#: Fewer cancelled ones are left where they are until their time.
_CANCELLED_KEPT_MAX: Final = 64


class Alarm:
    __slots__ = ("_alarms", "_ring", "at")

    def __init__(self, alarms: Alarms, at: float, ring: Callable[[], object]) -> None:
        self._alarms = alarms
        self._ring: Callable[[], object] | None = ring
        #: On trio's clock.
        self.at = at

    def __lt__(self, other: Alarm) -> bool:
        return self.at < other.at

    @property
    def is_set(self) -> bool:
        return self._ring is not None

    def cancel(self) -> None:
        if self._ring is not None:
            self._ring = None
            self._alarms.cancelled()

    def ring(self) -> None:
        if self._ring is not None:
            ring, self._ring = self._ring, None
            ring()


class Alarms:
    def __init__(self) -> None:
        self._waiting: list[Alarm] = []  # a heap
        self._cancelled = 0
        self._sleeping: trio.CancelScope | None = None
        self._running = False

    def __len__(self) -> int:
        return len(self._waiting)

    def set(self, at: float, ring: Callable[[], object]) -> Alarm:
        """``ring`` must neither block nor raise."""
        alarm = Alarm(self, at, ring)
        heapq.heappush(self._waiting, alarm)
        if not self._running:
            self._running = True
            trio.lowlevel.spawn_system_task(self._run, name="alarms")
        elif self._sleeping is not None and at < self._sleeping.deadline:
            self._sleeping.deadline = at
        return alarm

    def cancelled(self) -> None:
        """One of them was: for Alarm alone."""
        self._cancelled += 1
        if self._cancelled > _CANCELLED_KEPT_MAX and 2 * self._cancelled > len(self._waiting):
            self._waiting = [alarm for alarm in self._waiting if alarm.is_set]
            heapq.heapify(self._waiting)
            self._cancelled = 0

    async def _run(self) -> None:
        try:
            while self._waiting:
                with trio.CancelScope(deadline=self._waiting[0].at) as self._sleeping:
                    await trio.sleep_forever()
                self._sleeping = None
                now = trio.current_time()
                while self._waiting and self._waiting[0].at <= now:
                    alarm = heapq.heappop(self._waiting)
                    if alarm.is_set:
                        alarm.ring()
                    else:
                        self._cancelled -= 1
        finally:
            self._running, self._sleeping = False, None
