"""A pod's phase, from the statuses of its containers.

Enters: the pod, container statuses as they will be shown, whether the pod is past its end, whether it was ever initialized.
Leaves: Pending, Running, Succeeded or Failed.
Holds: pure; a container counts as started once it has a state or a last state of its own.
Source: Kubernetes documentation, "Pod Lifecycle", "Sidecar Containers".
Next: agent.status.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from edgekube.agent.outcome import RESTARTING_ALL, runs_again
from edgekube.agent.podspec import containers_of, init_containers_of, is_sidecar
from edgekube.api.objects import Object


class _Count(Struct):
    running: int = 0
    waiting: int = 0
    stopped: int = 0
    for_good: int = 0
    succeeded: int = 0
    unknown: int = 0


def _ended(status: Object) -> Object | None:
    """How it ended, when it is not running and has run."""
    state = status.get("state") or {}
    if "terminated" in state:
        ended: Object = state["terminated"]
        return ended
    if "waiting" in state:
        last: Object | None = (status.get("lastState") or {}).get("terminated")
        return last
    return None


def _again(pod: Object, container: Object, ended: Object, *, init: bool = False) -> bool:
    if ended.get("reason") == RESTARTING_ALL:
        return True
    return runs_again(pod, container, int(ended.get("exitCode") or 0), init=init)


def phase_of(pod: Object, statuses: Sequence[Object], *, over: bool, initialized: bool) -> str:
    """``over``: nothing of it will be started again."""
    by_name = {status["name"]: status for status in statuses}
    pending_inits = pending_sidecars = 0
    count = _Count()
    for container in init_containers_of(pod):
        status = by_name[container["name"]]
        running, ended = "running" in status["state"], _ended(status)
        if is_sidecar(container):
            if running:
                count.running += 1
                pending_sidecars += not status.get("started")
            elif ended is None:
                count.waiting += 1
                pending_sidecars += 1
        elif ended is None:
            pending_inits += 1
        elif ended.get("exitCode") and not _again(pod, container, ended, init=True):
            return "Failed"
    for container in containers_of(pod):
        status = by_name[container["name"]]
        ended = _ended(status)
        if "running" in status["state"]:
            count.running += 1
        elif ended is None:
            count.waiting += 1
        else:
            count.stopped += 1
            count.for_good += not _again(pod, container, ended)
            count.succeeded += not ended.get("exitCode") and "terminated" in status["state"]
    if pending_inits or (pending_sidecars and not initialized) or count.waiting:
        return "Pending"
    if count.running:
        return "Running"
    if count.stopped and (over or count.stopped == count.for_good):
        return "Succeeded" if count.stopped == count.succeeded else "Failed"
    return "Running" if count.stopped else "Pending"
