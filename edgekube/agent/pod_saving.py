"""What must not be lost of one pod, on the disk soon after each change.

Enters: word that the pod, or what it was given, has changed; that it must come to its end.
Leaves: its checkpoint, what it was allocated, its ending. Preparing wrote a first checkpoint, and did not wait.
Holds: an ending begins, in PodMemory, once it is on the disk; a disk that takes nothing more holds up nobody.
Next: agent.checkpoint, agent.allocation_file, agent.ending.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable

import trio

from edgekube.agent import allocation_file, ending
from edgekube.agent.checkpoint import write_checkpoint
from edgekube.agent.context import NodeContext
from edgekube.agent.ending import Ending
from edgekube.agent.pod_copy import PodCopy
from edgekube.agent.state import PodMemory
from edgekube.api import podstate

log = logging.getLogger("edgekube.agent")


class PodSaving:
    __slots__ = ("_copy", "_memory", "_news", "_node", "_poke", "ending")

    def __init__(self, node: NodeContext, copy: PodCopy, memory: PodMemory, poke: Callable[[], None]) -> None:
        self._node = node
        self._copy = copy
        self._memory = memory
        self._poke = poke
        self._news = trio.Event()
        #: Why it must end, if somebody said so.
        self.ending: Ending | None = None

    def changed(self) -> None:
        self._news.set()

    def end(self, why: Ending) -> None:
        """Begun once it is on the disk."""
        self.ending = why
        self._news.set()

    def take_up(self) -> None:
        """An end that an earlier process, or worker, began."""
        pod = self._copy.desired()
        # A static pod bears the same uid after the next boot, and lives again.
        begun = None if self._copy.static else ending.read(self._node.paths(pod).ending)
        if begun is not None and self._memory.failure is None and not podstate.is_finished(pod):
            begun.begin(self._memory)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._news.wait()
            self._news = trio.Event()
            paths = self._node.paths(self._copy.desired())
            if self.ending is not None and self._memory.failure is None:
                if not self._copy.static:
                    await trio.to_thread.run_sync(ending.write, paths.ending, self.ending)
                if not self._memory.terminal:  # it came to its end by itself meanwhile
                    self.ending.begin(self._memory)
                    self._poke()
            try:
                write = functools.partial(write_checkpoint, paths.checkpoint, self._copy.raw, durable=True)
                await trio.to_thread.run_sync(write)
                if self._memory.allocated is not None:
                    await trio.to_thread.run_sync(allocation_file.write, paths.allocation, self._memory)
            except OSError as error:
                log.warning("checkpoint not written path=%s error=%s", paths.checkpoint, error)
