"""When a pod's status is told: soon after each change, together with what follows at once, and again until the API has taken it.

Enters: news of changes; the pod as the API has it, and the status that it should have.
Leaves: writes by agent.status_writer; the pod as it is after each.
Holds: one write at a time and none too many; a conflict is answered by looking again. A pod that is coming up gets a little time
to get further: one write then tells what three would. How a container ended is told together with why (agent.last_words).
Bound: limits.POD_STATUS_DELAY_SECONDS late, where many pods come up POD_STATUS_DELAY_SECONDS_MAX.
Next: agent.status_writer.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

import trio

from edgekube.agent.status_writer import StatusWriter, can_wait
from edgekube.api.errors import StatusError
from edgekube.api.kinds import POD
from edgekube.api.objects import Object, name_of, namespace_of, uid_of
from edgekube.api.verbs import Verbs
from edgekube.limits import POD_STATUS_DELAY_EACH_SECONDS, POD_STATUS_DELAY_SECONDS, POD_STATUS_DELAY_SECONDS_MAX

log = logging.getLogger("edgekube.agent")

STATUS_RETRY_SECONDS_MAX = 30.0


class Subject(Protocol):
    """Whose status it is."""

    def look(self) -> tuple[Object | None, Object]:
        """The pod in the API (None: it has none to write to), and its status as it should be."""

    def told(self) -> bool:
        """Whether anything is to be told of it now."""

    def take(self, pod: Object) -> None:
        """The API has this now."""


class ComingUp:
    """The pods of a node that get a little time now. Those that come up together take longer, and get more."""

    def __init__(self) -> None:
        self._count = self._most = 0

    @property
    def patience_seconds(self) -> float:
        return min(max(POD_STATUS_DELAY_SECONDS, self._most * POD_STATUS_DELAY_EACH_SECONDS), POD_STATUS_DELAY_SECONDS_MAX)

    @contextmanager
    def one_more(self) -> Iterator[None]:
        self._count += 1
        self._most = max(self._most, self._count)
        try:
            yield
        finally:
            self._count -= 1
            if not self._count:
                self._most = 0


class StatusTelling:
    __slots__ = ("_coming_up", "_complete", "_dirty", "_heard", "_one_at_a_time", "_subject", "_verbs", "_writer")

    def __init__(
        self,
        verbs: Verbs,
        subject: Subject,
        complete: Callable[[], Awaitable[None]],
        told: Callable[[Object, Object], None],
        coming_up: ComingUp,
    ) -> None:
        """``complete``: returns when the status has all its words. ``told``: hears what the API had, and what it has now.
        ``coming_up``: this node's."""
        self._coming_up = coming_up
        self._verbs = verbs
        self._writer = StatusWriter(verbs)
        self._subject = subject
        self._complete = complete
        self._heard = told
        self._dirty = trio.Event()
        self._one_at_a_time = trio.Lock()

    def changed(self) -> None:
        self._dirty.set()

    def let_go(self) -> None:
        """After its last word: nothing is told any more, and nobody is referred to."""
        del self._subject, self._complete

    async def run(self) -> None:
        """Until cancelled."""
        pause_seconds = 0.2
        while True:
            await self._dirty.wait()
            self._dirty = trio.Event()
            try:
                if await self._until_worth_telling() and self._subject.told():
                    await self.write()
                pause_seconds = 0.2
            except StatusError as error:
                log.info("status not written pod=%s error=%s", name_of(self._subject.look()[0] or {}), error.message)
                self._dirty.set()
                await trio.sleep(pause_seconds)
                pause_seconds = min(pause_seconds * 2, STATUS_RETRY_SECONDS_MAX)

    async def _until_worth_telling(self) -> bool:
        """False: nothing is new after all, as with most news of a pod."""
        began = trio.current_time()
        with self._coming_up.one_more():
            while (news := self._news(patient=True)) is None:
                until = began + self._coming_up.patience_seconds
                if trio.current_time() >= until:
                    return bool(self._news(patient=False))
                with trio.move_on_at(until):
                    await self._dirty.wait()
                    self._dirty = trio.Event()
        return news

    def _news(self, *, patient: bool) -> bool | None:
        """Whether there is something to tell; None: it can wait. Keeps nothing of the pod, for many wait at once."""
        shown, status = self._subject.look()
        if patient and can_wait((shown or {}).get("status") or {}, status):
            return None
        return shown is not None and self._writer.differs(shown, status)

    async def write(self) -> None:
        await self._complete()
        async with self._one_at_a_time:
            await self._write()

    async def _write(self) -> None:
        for _ in range(5):
            shown, status = self._subject.look()
            if shown is None or not self._writer.differs(shown, status):
                return
            try:
                after = await self._writer.write(shown, status)
            except StatusError as error:
                if error.reason == "NotFound":
                    return
                if error.reason != "Conflict":
                    raise
                latest = await self._latest(shown)
                if latest is None:
                    return
                after = latest
            else:
                self._heard(shown.get("status") or {}, status)
            self._subject.take(after)

    async def _latest(self, pod: Object) -> Object | None:
        try:
            latest = await self._verbs.get(POD, namespace_of(pod), name_of(pod))
        except StatusError as error:
            # Forbidden: the pod is gone, or its name is now one of another node's.
            if error.reason not in ("NotFound", "Forbidden"):
                raise
            return None
        return latest if uid_of(latest) == uid_of(pod) else None
