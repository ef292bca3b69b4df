"""What the API remembers of a pod, for a process that has just begun to care for it.

Enters: the pod's status as the API has it.
Leaves: a PodMemory to start from.
Holds: pure. With it a restart of the agent loses no restart count, no last state and no readiness.
Next: agent.worker.
"""

from __future__ import annotations

from edgekube.agent.names import TERMINATION_PATH
from edgekube.agent.state import PodMemory, ResizeProgress
from edgekube.api import times
from edgekube.api.objects import Object
from edgekube.containerd.model import ContainerStatus


def _time_ns(text: str | None) -> int:
    return int(times.parse(text) * 1e9) if text else 0


def _ended(item: Object, state: Object, attempt: int) -> ContainerStatus:
    container_id = str(state.get("containerID") or "").removeprefix("containerd://")
    finished_at_ns = _time_ns(state.get("finishedAt"))
    return ContainerStatus(
        id=container_id,
        name=item["name"],
        attempt=attempt,
        state="EXITED",
        created_at_ns=_time_ns(state.get("startedAt")),
        started_at_ns=_time_ns(state.get("startedAt")),
        finished_at_ns=finished_at_ns,
        exit_code=int(state.get("exitCode") or 0),
        reason=state.get("reason") or "",
        message=state.get("message") or "",
        image=item.get("image") or "",
        image_ref=item.get("imageID") or "",
        labels={},
        annotations={TERMINATION_PATH: ""},
        log_path="",
    )


def memory_from(pod: Object, now: float) -> PodMemory:
    status: Object = pod.get("status") or {}
    start = status.get("startTime")
    memory = PodMemory(started_at=times.parse(start) if start else now)
    memory.admitted = bool(start)
    memory.terminal = status.get("phase") in ("Succeeded", "Failed")
    for condition in status.get("conditions") or []:
        if condition.get("type") == "PodResizeInProgress":
            generation = int(condition.get("observedGeneration") or 0)
            memory.resize_progress = ResizeProgress(generation, condition.get("reason") or "", condition.get("message") or "")
    for part in ("initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses"):
        for item in status.get(part) or []:
            container_id = str(item.get("containerID") or "").removeprefix("containerd://")
            if not container_id:
                continue
            name, restarts = item["name"], int(item.get("restartCount") or 0)
            memory.restarts[name] = restarts
            state, last = item.get("state") or {}, (item.get("lastState") or {}).get("terminated")
            if "terminated" in state:
                memory.exited[name] = _ended(item, state["terminated"], restarts)
            elif last:
                memory.exited[name] = _ended(item, last, restarts if "waiting" in state else restarts - 1)
            if item.get("started"):
                memory.probes.started.add(container_id)
            if item.get("ready"):
                memory.probes.ready.add(container_id)
    return memory
