"""Volumes that are staged for nobody any more: unstaged at once if their driver is there and willing, else again and again.

Enters: a volume that its last pod has left; drivers that register.
Leaves: calls of agent.csi.staging; what is to be done once the driver has let go.
Holds: the end of a pod does not wait for a driver that does not let go, as a kubelet's does not. What a process that ended had
not got rid of is found on the disk when the driver registers.
Bound: a volume is tried again after half a second, and twice as long each time up to two minutes.
Next: agent.csi.staging.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import Final

import trio
from msgspec import Struct

from edgekube.agent.csi.staging import Staging
from edgekube.agent.problems import VolumeProblem
from edgekube.agent.restart import Backoff
from edgekube.limits import CSI_UNSTAGE_RETRY_SECONDS, CSI_UNSTAGE_RETRY_SECONDS_MAX

log = logging.getLogger("edgekube.agent")

_Key = tuple[str, str, Path]
NOBODY: Final = ""


class _Left(Struct):
    leaving: str
    then: list[Callable[[], None]]
    due: float = 0.0


class Leaving:
    def __init__(self, staging: Staging) -> None:
        self._staging = staging
        self._left: dict[_Key, _Left] = {}
        self._retries = Backoff(CSI_UNSTAGE_RETRY_SECONDS, CSI_UNSTAGE_RETRY_SECONDS_MAX)
        self._more = trio.Event()

    async def leave(self, driver: str, handle: str, path: Path, leaving: str, then: Callable[[], None]) -> None:
        """``leaving``: the uid of the pod. ``then``: once it is unstaged, or another has it."""
        key = (driver, handle, path)
        left = self._left.setdefault(key, _Left(leaving, []))
        left.leaving = leaving
        left.then.append(then)
        await self._try(key, left)

    async def run(self) -> None:
        """For ever; nothing to do is no work."""
        while True:
            self._more = trio.Event()
            for key, left in list(self._left.items()):
                if left.due <= trio.current_time():
                    await self._try(key, left)
            pause_seconds = min((left.due for left in self._left.values()), default=math.inf) - trio.current_time()
            with trio.move_on_after(max(0.0, pause_seconds)):
                await self._more.wait()

    async def _try(self, key: _Key, left: _Left) -> None:
        driver, handle, path = key
        left.due = math.inf
        try:
            await self._staging.unstage(driver, handle, path, left.leaving)
        except (VolumeProblem, OSError) as problem:
            left.due = trio.current_time() + self._retries.advance(str(path), trio.current_time())
            self._more.set()
            log.warning("a volume stays staged driver=%s path=%s error=%s", driver, path, problem)
            return
        if self._left.get(key) is left:
            del self._left[key]
            self._retries.forget(str(path))
        while left.then:
            left.then.pop()()
