"""A work queue: each key waits once, is worked on by one worker, and comes back later when that failed.

Enters: keys in lanes (a lane is a controller), from watches, retries and deadlines.
Leaves: keys to work on, the lanes taking turns.
Holds: a key is never worked on twice at once; added while worked on, it is handed out again afterwards; of several deadlines
the earliest wins.
Bound: one place per key of an existing or once existing object; a burst of changes to a key costs one place.
Next: reconcile.engine.
"""

from __future__ import annotations

import heapq
import math
from collections import OrderedDict
from typing import NamedTuple

import trio

from edgekube import limits
from edgekube.api.controller import Key
from edgekube.reconcile.queue_figures import QueueFigures


class Item(NamedTuple):
    lane: str
    key: Key


class WorkQueue:
    """Not thread-safe; all calls come from one trio run."""

    def __init__(self, figures: QueueFigures | None = None) -> None:
        self._figures = figures
        self._lanes: OrderedDict[str, OrderedDict[Key, None]] = OrderedDict()
        self._working: set[Item] = set()
        self._again: set[Item] = set()
        self._failures: dict[Item, int] = {}
        self._deadlines: dict[Item, float] = {}
        self._heap: list[tuple[float, Item]] = []
        self._workers = trio.lowlevel.ParkingLot()
        self._earlier = trio.Event()

    def add(self, item: Item) -> None:
        """Work on it soon."""
        if item in self._working:
            if item not in self._again:
                self._again.add(item)
                if self._figures is not None:
                    self._figures.added(item.lane, item.key)
        elif self._place(item) and self._figures is not None:
            self._figures.added(item.lane, item.key)

    def _place(self, item: Item) -> bool:
        """False: it waits already."""
        lane = self._lanes.get(item.lane)
        if lane is None:
            lane = self._lanes[item.lane] = OrderedDict()
        elif item.key in lane:
            return False
        lane[item.key] = None
        self._workers.unpark()
        return True

    def add_after(self, item: Item, delay_seconds: float) -> None:
        """Work on it after so many seconds, or when an earlier deadline of the same key comes."""
        if self._figures is not None:
            self._figures.retried(item.lane)
        if delay_seconds <= 0:
            self.add(item)
            return
        deadline = trio.current_time() + delay_seconds
        if deadline >= self._deadlines.get(item, math.inf):
            return
        self._deadlines[item] = deadline
        heapq.heappush(self._heap, (deadline, item))
        if self._heap[0][1] == item:
            self._earlier.set()

    def hand_out_deadlines(self) -> None:
        """Work on whatever waits for its time: the clock that it was reckoned by has been set."""
        for item in list(self._deadlines):
            self.add(item)
        self._deadlines.clear()
        self._heap.clear()

    def retry(self, item: Item, last_seconds: float = limits.RETRY_LAST_SECONDS) -> float:
        """Work on it again after a pause that doubles with each failure up to ``last_seconds``; answers the pause."""
        failures = self._failures.get(item, 0)
        self._failures[item] = failures + 1
        delay: float = min(last_seconds, limits.RETRY_FIRST_SECONDS * 2 ** min(failures, 30))
        self.add_after(item, delay)
        return delay

    def forget(self, item: Item) -> None:
        """It went well: the next failure starts from the shortest pause."""
        self._failures.pop(item, None)

    async def take(self) -> Item:
        """The next key; call done() with it afterwards, whatever happened."""
        while True:
            await trio.lowlevel.checkpoint_if_cancelled()
            for name in self._lanes:
                lane = self._lanes[name]
                key, _ = lane.popitem(last=False)
                if lane:
                    self._lanes.move_to_end(name)
                else:
                    del self._lanes[name]
                item = Item(name, key)
                self._working.add(item)
                if self._figures is not None:
                    self._figures.taken(item.lane, item.key)
                await trio.lowlevel.cancel_shielded_checkpoint()
                return item
            await self._workers.park()

    def done(self, item: Item) -> None:
        self._working.discard(item)
        if self._figures is not None:
            self._figures.done(item.lane, item.key)
        if item in self._again:
            self._again.discard(item)
            self._place(item)

    async def run_deadlines(self) -> None:
        """Hand out delayed keys when their time comes; sleeps until the nearest one."""
        while True:
            now = trio.current_time()
            while self._heap and self._heap[0][0] <= now:
                deadline, item = heapq.heappop(self._heap)
                if self._deadlines.get(item) == deadline:
                    del self._deadlines[item]
                    self.add(item)
            self._earlier = trio.Event()
            with trio.move_on_at(self._heap[0][0] if self._heap else math.inf):
                await self._earlier.wait()

    def idle(self) -> bool:
        """Nothing waits and nothing is worked on (deadlines aside)."""
        return not self._lanes and not self._working

    def __len__(self) -> int:
        """Keys waiting now, deadlines aside."""
        return sum(len(lane) for lane in self._lanes.values())
