"""What a pod was given, on disk: so that after a restart a resize that waits still waits, and one that was done is done.

Enters: the allocation, and what its containers have in force.
Leaves: a file in the pod's directory, written when a resize changes it; pods that are never resized have none.
Holds: the file is whole, old or new, also after a power cut: without it a resize that waits would be taken for one that was
given. One that cannot be read is as good as none.
Next: agent.worker.
"""

from __future__ import annotations

from pathlib import Path

import orjson

from edgekube.agent.checkpoint import write_checkpoint
from edgekube.agent.state import PodMemory


def write(path: Path, memory: PodMemory) -> None:
    held = {"allocated": memory.allocated, "resized": memory.resized, "whole": memory.whole_in_force}
    write_checkpoint(path, orjson.dumps(held), durable=True)


def read(path: Path, memory: PodMemory) -> None:
    """Into the memory of a pod that is being taken over."""
    try:
        held = orjson.loads(path.read_bytes())
        memory.allocated = held["allocated"]
        memory.resized = held["resized"]
        memory.whole_in_force = held["whole"]
    except (OSError, ValueError, KeyError, TypeError):
        return
