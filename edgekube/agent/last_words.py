"""What each ended container of a pod had to say, once it is all there.

Enters: ended containers, as often as the worker looks; the clock.
Leaves: their messages in PodMemory; when to look again; an end of the wait for those that are still being written.
Holds: a message is read once. One that comes from a log is read when the log is complete, and the status waits for that: how a
container ended is told together with why.
Bound: limits.LOG_COMPLETE_SECONDS_MAX for a log that somebody keeps open.
Next: agent.termination, agent.log_writer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import trio

from edgekube.agent.log_writer import is_being_written
from edgekube.agent.names import PodPaths
from edgekube.agent.state import PodMemory, PodObserved
from edgekube.agent.termination import message_of_file, message_of_log, wants_log
from edgekube.containerd.model import ContainerStatus
from edgekube.limits import LOG_COMPLETE_SECONDS_MAX, LOG_LOOK_SECONDS


class LastWords:
    __slots__ = ("_awaited", "_looked", "_memory")

    def __init__(self, memory: PodMemory) -> None:
        self._memory = memory
        #: Container id -> since when its log is waited for.
        self._awaited: dict[str, float] = {}
        self._looked = trio.Event()  # replaced with each round

    def read(self, paths: PodPaths, status: ContainerStatus, now: float) -> None:
        """Of a container that has ended."""
        if status.id in self._memory.messages:
            return
        message = message_of_file(paths, status)
        if not message and wants_log(status):
            since = self._awaited.setdefault(status.id, now)
            patient = 0 <= now - since < LOG_COMPLETE_SECONDS_MAX
            if patient and is_being_written(paths.log(status.name, status.attempt)):
                return
            message = message_of_log(paths, status)
        self._memory.messages[status.id] = message

    def settle(self, observed: PodObserved, now: float) -> float | None:
        """After a round of reading: when the next is due."""
        unread = {status.id for status in self._unread(observed)}
        self._awaited = {known: since for known, since in self._awaited.items() if known in unread}
        self._looked.set()
        self._looked = trio.Event()
        return now + LOG_LOOK_SECONDS if unread else None

    async def all_read(self, observed: Callable[[], PodObserved]) -> None:
        while any(True for _ in self._unread(observed())):
            await self._looked.wait()

    def _unread(self, observed: PodObserved) -> Iterator[ContainerStatus]:
        for item in observed.containers:
            if item.status.state == "EXITED" and item.status.id not in self._memory.messages:
                yield item.status
