"""Stop a container by a signal of its own choice.

Enters: the signal's name as Pods spell it (SIGUSR1, SIGRTMIN+3); a running container.
Leaves: its number; True once the first process has ended of it; False when it had not by the end of its time, or cannot be told.
Holds: killing it is left to the caller. The CRI of containerd before 2.1 knows only the signal of the image, so this asks
containerd's own service; what is gone has ended.
Source: containerd api/services/tasks/v1; signal(7) for the numbers of the real-time ones.
Next: containerd.cri.
"""

from __future__ import annotations

import re
import signal
from typing import Any, Final

import trio

from edgekube.containerd._generated import tasks_pb2
from edgekube.containerd.model import RuntimeFailure
from edgekube.containerd.rpc import NAMESPACE, SHIM_GONE, Rpc

_TASKS: Final = tasks_pb2.DESCRIPTOR.services_by_name["Tasks"]
_NAMESPACE: Final = (("containerd-namespace", NAMESPACE),)
_REAL_TIME: Final = re.compile(r"(SIGRTMIN|SIGRTMAX)([+-]\d+)")


def number_of(name: str) -> int | None:
    """None: no such signal here."""
    if match := _REAL_TIME.fullmatch(name):
        number = signal.Signals[match[1]] + int(match[2])
        return number if signal.SIGRTMIN <= number <= signal.SIGRTMAX else None
    return int(signal.Signals[name]) if name in signal.Signals.__members__ else None


async def ends_of(rpc: Rpc, container_id: str, number: int, timeout_seconds: float) -> bool:
    """RuntimeFailure when containerd is away."""

    async def ask(method: str, request: Any) -> None:
        await rpc.call(_TASKS, method, request, timeout_seconds, _NAMESPACE)

    with trio.move_on_after(timeout_seconds):
        try:
            await ask("Kill", tasks_pb2.KillRequest(container_id=container_id, signal=number))
            await ask("Wait", tasks_pb2.WaitRequest(container_id=container_id))
        except RuntimeFailure as failure:
            if failure.code == "DEADLINE_EXCEEDED" or SHIM_GONE in failure.message:
                return False
            if failure.code != "NOT_FOUND":
                raise
        return True
    return False
