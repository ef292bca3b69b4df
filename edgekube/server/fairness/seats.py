"""Seats of the priority levels: how many requests of each may run at once, and who is next.

Enters: levels (shares, queue or refuse), a flow for each request.
Leaves: a seat, in turn among the flows that wait; or StatusError TooManyRequests with Retry-After.
Holds: a level always gets its own seats, so that a flood in another one cannot take them; seats that others lend may be borrowed
while they lie idle. Flows of a level take turns, whatever one of them sends. A seat is given back whatever happens.
Bound: limits.REQUESTS_SEATED_MAX seats in all; what a level says of its queues, at most limits.REQUESTS_WAITING_MAX that wait;
limits.REQUEST_WAIT_SECONDS for each.
Source: kubernetes.io, "API Priority and Fairness" (shares, lending; exact queues for each flow in place of shuffle sharding).
Next: server.fairness.fairness.
"""

from __future__ import annotations

import math
from collections import Counter, OrderedDict, deque
from collections.abc import Iterable, Mapping
from typing import Final

import trio
from msgspec import Struct

from edgekube import limits
from edgekube.api import errors
from edgekube.api.objects import Object, metadata_of, name_of

_REFUSED: Final = "too many requests, please try again later"


class LevelRules(Struct, frozen=True):
    """A PriorityLevelConfiguration. ``queue_max`` 0: refuse at once."""

    name: str
    uid: str = ""
    exempt: bool = False
    shares: int = 30
    lendable_percent: int = 0
    borrow_percent: int | None = None
    queues: int = 0
    queue_max: int = 0


def rules_of(obj: Object) -> LevelRules:
    spec = obj.get("spec") or {}
    name, uid = name_of(obj), str(metadata_of(obj).get("uid") or "")
    if spec.get("type") == "Exempt":
        return LevelRules(name, uid, exempt=True)
    limited = spec.get("limited") or {}
    response = limited.get("limitResponse") or {}
    queuing = (response.get("queuing") or {}) if response.get("type") == "Queue" else None
    shares, borrow = limited.get("nominalConcurrencyShares"), limited.get("borrowingLimitPercent")
    return LevelRules(
        name,
        uid,
        shares=30 if shares is None else int(shares),
        lendable_percent=int(limited.get("lendablePercent") or 0),
        borrow_percent=None if borrow is None else int(borrow),
        queues=0 if queuing is None else int(queuing.get("queues") or 64),
        queue_max=0 if queuing is None else int(queuing.get("queueLengthLimit") or 50),
    )


class _Waiter:
    __slots__ = ("seated", "woken")

    def __init__(self) -> None:
        self.woken = trio.Event()
        self.seated = False


class _Level:
    def __init__(self, rules: LevelRules) -> None:
        self.rules = rules
        self.seats = 0
        self.running = 0
        self.waiting = 0
        self.flows: OrderedDict[str, deque[_Waiter]] = OrderedDict()

    def push(self, flow: str, waiter: _Waiter) -> None:
        self.flows.setdefault(flow, deque()).append(waiter)
        self.waiting += 1

    def pop(self) -> _Waiter:
        """The next one: flows take turns."""
        flow, waiters = self.flows.popitem(last=False)
        waiter = waiters.popleft()
        if waiters:
            self.flows[flow] = waiters
        self.waiting -= 1
        return waiter

    def leave(self, flow: str, waiter: _Waiter) -> None:
        waiters = self.flows[flow]
        waiters.remove(waiter)
        if not waiters:
            del self.flows[flow]
        self.waiting -= 1


class Seat:
    """Of one request, as an asynchronous context manager; or, where nobody else has to be let first, by sit() and leave()."""

    __slots__ = ("_flow", "_level", "_seats", "_taken")

    def __init__(self, seats: Seats | None = None, level: _Level | None = None, flow: str = "") -> None:
        """Without a level: the request needs none."""
        self._seats = seats
        self._level = level
        self._flow = flow
        self._taken = False

    def sit(self) -> bool:
        """False: the seat has to be waited for."""
        if self._seats is not None and self._level is not None:
            self._taken = self._seats.take(self._level)
            return self._taken
        return True

    def leave(self) -> None:
        if self._taken and self._seats is not None and self._level is not None:
            self._taken = False
            self._seats.give_back(self._level)

    async def __aenter__(self) -> None:
        """StatusError TooManyRequests."""
        if not self.sit() and self._seats is not None and self._level is not None:
            await self._seats.wait(self._level, self._flow)
            self._taken = True

    async def __aexit__(self, *error: object) -> None:
        self.leave()


#: For requests that need no seat.
FREE: Final = Seat()


class Seats:
    def __init__(self, total: int = limits.REQUESTS_SEATED_MAX) -> None:
        self._total = total
        self._levels: dict[str, _Level] = {}
        self._waiting = 0
        self._refused: Counter[str] = Counter()

    def follow(self, levels: Iterable[LevelRules]) -> None:
        """Instead of those that there were; what runs and waits goes on."""
        before, self._levels = self._levels, {}
        for rules in levels:
            level = self._levels[rules.name] = before.get(rules.name) or _Level(rules)
            level.rules = rules
        shares = sum(level.rules.shares for level in self._limited()) or 1
        for level in self._limited():
            level.seats = math.ceil(self._total * level.rules.shares / shares)
        for gone in before.keys() - self._levels.keys():  # nobody waits for a seat that is no more
            while before[gone].waiting:
                before[gone].pop().woken.set()
        self._seat_waiting()

    def nominal(self) -> Mapping[str, int]:
        """Seats that are each level's own."""
        return {name: level.seats for name, level in self._levels.items() if not level.rules.exempt}

    def running(self) -> Mapping[str, int]:
        return {name: level.running for name, level in self._levels.items()}

    def waiting(self) -> Mapping[str, int]:
        return {name: level.waiting for name, level in self._levels.items()}

    def refused(self) -> Mapping[str, int]:
        """Since the server started."""
        return self._refused

    def seat(self, name: str, flow: str) -> Seat:
        """``name`` of a level; one that is not there is refused nothing."""
        level = self._levels.get(name)
        return FREE if level is None or level.rules.exempt else Seat(self, level, flow)

    def take(self, level: _Level) -> bool:
        """For Seat alone, as what follows. False: all are taken, or others came first."""
        if level.waiting or not self._is_free(level):
            return False
        level.running += 1
        return True

    def give_back(self, level: _Level) -> None:
        level.running -= 1
        self._seat_waiting()

    async def wait(self, level: _Level, flow: str) -> None:
        rules = level.rules
        mine = len(level.flows.get(flow, ()))
        crowded = level.waiting >= rules.queues * rules.queue_max or self._waiting >= limits.REQUESTS_WAITING_MAX
        if crowded or mine >= rules.queue_max:
            self._refused[rules.name] += 1
            raise errors.too_many_requests(_REFUSED, retry_after_seconds=1)
        waiter = _Waiter()
        level.push(flow, waiter)
        self._waiting += 1
        try:
            with trio.move_on_after(limits.REQUEST_WAIT_SECONDS):
                await waiter.woken.wait()
        finally:
            self._waiting -= 1
            if not waiter.woken.is_set():
                level.leave(flow, waiter)
        if not waiter.seated:
            self._refused[rules.name] += 1
            raise errors.too_many_requests(_REFUSED, retry_after_seconds=1)

    def _limited(self) -> list[_Level]:
        return [level for level in self._levels.values() if not level.rules.exempt]

    def _is_free(self, level: _Level) -> bool:
        if level.running < level.seats:
            return True
        borrowed = level.running - level.seats
        most = level.rules.borrow_percent
        if most is not None and borrowed >= level.seats * most // 100:
            return False
        lent = idle = 0
        for other in self._limited():
            lendable = other.seats * other.rules.lendable_percent // 100
            if other is not level:
                lent += max(0, other.running - other.seats)
                idle += max(0, min(lendable, other.seats - other.running))
        return borrowed + lent < idle

    def _seat_waiting(self) -> None:
        for level in self._levels.values():
            while level.waiting and self._is_free(level):
                waiter = level.pop()
                waiter.seated = True
                level.running += 1
                waiter.woken.set()
