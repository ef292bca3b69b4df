"""That a pod must come to its end, and why: remembered before anything of it is stopped.

Enters: the words of whoever ends it (eviction, preemption, shutdown, its deadline).
Leaves: a file in the pod's directory; PodMemory of whoever takes the pod over.
Holds: an end that was begun goes on after a restart, in the same words; without the file its containers, killed half way, would
be started again. A file that cannot be read is as good as none.
Next: agent.worker.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final

import msgspec

from edgekube.agent.checkpoint import write_checkpoint
from edgekube.agent.state import PodMemory
from edgekube.api.objects import Object

log = logging.getLogger("edgekube.agent")


class Ending(msgspec.Struct, frozen=True):
    reason: str
    message: str
    #: Shown once it has ended (DisruptionTarget).
    condition: Object | None = None
    #: It must end within this, whatever its own grace period.
    grace_seconds: int | None = None

    def begin(self, memory: PodMemory) -> None:
        memory.failure = (self.reason, self.message)
        memory.disruption = self.condition
        memory.stop_grace_seconds = self.grace_seconds


_endings: Final = msgspec.json.Decoder(Ending)


def write(path: Path, ending: Ending) -> None:
    """On the disk when this returns, if the disk can take it: a full one is among the reasons for ending pods."""
    try:
        write_checkpoint(path, msgspec.json.encode(ending), durable=True)
    except OSError as error:
        log.warning("a pod's end is not remembered path=%s error=%s", path, error)


def read(path: Path) -> Ending | None:
    try:
        return _endings.decode(path.read_bytes())
    except (OSError, msgspec.MsgspecError):
        return None
