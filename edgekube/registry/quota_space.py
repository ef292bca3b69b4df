"""What the quotas of one namespace keep in memory: who is writing, who waits for a decision, and whether to count anew.

Enters: writers, before they are charged and after they are done; the news that something went away.
Leaves: turns; the namespaces that are to be counted, and when.
Holds: a namespace is counted while nobody is between charge and store, and nobody gets there meanwhile. A namespace that ever had
quotas has one space until it is deleted: two would not know of each other's writers.
Next: registry.quotas charges, registry.quota_counting counts.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import trio
from msgspec import Struct

from edgekube import limits
from edgekube.admission.pod_resources import Amounts
from edgekube.admission.quota.charge import Write
from edgekube.admission.quota.meters import Meter
from edgekube.api.errors import StatusError


class Waiting(Struct, eq=False):
    """A write that waits to hear whether there is room."""

    write: Write
    meter: Meter
    dry_run: bool
    #: Quota's name -> what was added to it. None: not decided.
    charged: dict[str, Amounts] | None = None
    refusal: StatusError | None = None

    @property
    def decided(self) -> bool:
        return self.charged is not None or self.refusal is not None


class Space:
    def __init__(self) -> None:
        #: Held by whoever reads and writes the quotas' status.
        self.deciding: Final = trio.Lock()
        self.waiting: list[Waiting] = []
        self._counter: Final = trio.Lock()
        self._writers = 0
        self._counting = False
        self._moved = trio.Event()

    async def enter(self) -> None:
        """Before a charge. Waits while the namespace is being counted."""
        while self._counting:
            await self._moved.wait()
        self._writers += 1

    def leave(self) -> None:
        """After the write, however it ended."""
        self._writers -= 1
        self._move()

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        async with self._counter:
            self._counting = True
            try:
                while self._writers:
                    await self._moved.wait()
                yield
            finally:
                self._counting = False
                self._move()

    def _move(self) -> None:
        self._moved.set()
        self._moved = trio.Event()


class Spaces:
    def __init__(self) -> None:
        self._spaces: dict[str, Space] = {}
        #: Namespace -> when it is to be counted, on trio's clock.
        self._due: dict[str, float] = {}
        #: Namespace -> not before, so that counting takes no more than its share.
        self._rest: dict[str, float] = {}
        self._news = trio.Event()

    def of(self, namespace: str) -> Space:
        return self._spaces.setdefault(namespace, Space())

    def forget(self, namespace: str) -> None:
        """It is gone. Whoever still stands in its space leaves the one that he entered."""
        self._spaces.pop(namespace, None)

    # --- what is to be counted

    def touch(self, namespace: str, *, at_once: bool = False) -> None:
        """Something of the namespace is not as it was counted. ``at_once``: one of its quotas is new."""
        now = trio.current_time()
        due = now if at_once else max(now + limits.QUOTA_SETTLE_SECONDS, self._rest.get(namespace, 0.0))
        if due < self._due.get(namespace, float("inf")):
            self._due[namespace] = due
            self._news.set()

    def counted(self, namespace: str, took_seconds: float) -> None:
        now = trio.current_time()
        self._rest[namespace] = now + took_seconds * 100 / limits.QUOTA_COUNTING_PERCENT_MAX
        for name in [name for name, until in self._rest.items() if until <= now]:
            del self._rest[name]

    async def next_due(self) -> str:
        """Waits for a namespace that is to be counted now, and takes it."""
        while True:
            self._news = trio.Event()
            namespace, due = min(self._due.items(), key=lambda item: item[1], default=("", float("inf")))
            if due <= trio.current_time():
                del self._due[namespace]
                return namespace
            with trio.move_on_at(due):
                await self._news.wait()
