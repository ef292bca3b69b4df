"""Whether the end of a container may turn out to have been for want of memory.

Enters: a container's status from containerd, the time, whether a step of ours ends the container.
Leaves: yes or no.
Holds: pure. containerd learns of an exit and of memory that ran out by two ways, which do not wait for each other: for some
hundredths of a second, more on a busy machine, the end has exit code 137 and no reason. Told as ``Error`` then, a pod that is
not started again would keep it.
Next: agent.observe looks again.
"""

from __future__ import annotations

from typing import Final

from edgekube.containerd.model import ContainerStatus

#: 128 + SIGKILL.
_KILLED: Final = 137
#: How long after an end its reason may still come.
SETTLES_SECONDS: Final = 1.0
#: Pauses between looks: about half a second in all.
LOOKS_SECONDS: Final = (0.02, 0.05, 0.1, 0.15, 0.2)


def may_be(status: ContainerStatus, now_seconds: float, *, ended_here: bool) -> bool:
    if status.state != "EXITED" or status.exit_code != _KILLED or status.reason not in ("", "Error") or ended_here:
        return False
    return now_seconds - status.finished_at_ns / 1e9 < SETTLES_SECONDS
