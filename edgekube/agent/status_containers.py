"""One container's status: its state now, the one before, restarts, readiness.

Enters: as agent.status, and the container.
Leaves: a ContainerStatus as the API shows it.
Holds: pure. OOMKilled is believed only of a container that has ended.
Next: agent.status.
"""

from __future__ import annotations

from edgekube.agent.names import full_name
from edgekube.agent.outcome import RESTARTING_ALL, comes_back
from edgekube.agent.podspec import is_sidecar
from edgekube.agent.resize import resources_in_force
from edgekube.agent.restart import duration_text
from edgekube.agent.state import PodMemory, PodObserved
from edgekube.agent.volumes.read_only import shown, supported
from edgekube.api import times
from edgekube.api.objects import Object, is_deleting, spec_of
from edgekube.containerd.model import ContainerStatus


def terminated(status: ContainerStatus, memory: PodMemory) -> Object:
    reason = status.reason or ("Completed" if status.exit_code == 0 else "Error")
    state: Object = {
        "exitCode": status.exit_code,
        "reason": reason,
        "startedAt": times.rfc3339(status.started_at_ns / 1e9) if status.started_at_ns > 0 else None,
        "finishedAt": times.rfc3339(status.finished_at_ns / 1e9) if status.finished_at_ns > 0 else None,
        "containerID": f"containerd://{status.id}",
    }
    message = memory.messages.get(status.id) or status.message
    if message:
        state["message"] = message
    return state


def crash_loop_message(pod: Object, name: str, delay_seconds: float) -> str:
    return f"back-off {duration_text(delay_seconds)} restarting failed container={name} pod={full_name(pod)}"


def _waiting(reason: str, message: str = "") -> Object:
    return {"waiting": {"reason": reason, **({"message": message} if message else {})}}


def _previous(name: str, current: ContainerStatus | None, observed: PodObserved, memory: PodMemory) -> ContainerStatus | None:
    """The newest ended container of the name that is not the current one."""
    ended = [item.status for item in observed.named(name) if item.status.state == "EXITED"]
    if name in memory.exited:
        ended.append(memory.exited[name])
    ended = [status for status in ended if current is None or (status.id != current.id and status.attempt < current.attempt)]
    return max(ended, key=lambda status: status.attempt, default=None)


def container_status(
    pod: Object,
    container: Object,
    observed: PodObserved,
    memory: PodMemory,
    now: float,
    *,
    init: bool,
    initialized: bool,
) -> Object:
    name = container["name"]
    sidecar = init and is_sidecar(container)
    found = observed.latest(name)
    current = found.status if found else None
    remembered = memory.exited.get(name)
    if current is None or (remembered and remembered.attempt > current.attempt):
        current = remembered or current
    before = _before(pod, name)
    last_state: Object = {}
    started = False
    ready = False
    waiting = memory.waiting.get(name)
    ends = is_deleting(pod) or memory.gone or memory.failure is not None or memory.terminal

    # It runs once its postStart hook has ended (Kubernetes documentation, "Container Lifecycle Hooks").
    if current is not None and current.state == "RUNNING" and name not in memory.starting:
        state: Object = {"running": {"startedAt": times.rfc3339(current.started_at_ns / 1e9)}}
        started = current.id in memory.probes.started
        ready = started and current.id in memory.probes.ready if not init or sidecar else False
    elif waiting is not None and not ends:
        state = _waiting(*waiting.shown(now))
        if current is not None and current.state == "EXITED":
            last_state = {"terminated": terminated(current, memory)}
    elif current is not None and current.reason == RESTARTING_ALL and not ends and name not in memory.starting:
        state = _waiting(RESTARTING_ALL, "The container is removed because RestartAllContainers in place")
        last_state = {"terminated": terminated(current, memory)}
    elif current is not None and current.state == "EXITED":
        delay_seconds = memory.backoff.remaining_seconds(name, current.finished_at_ns / 1e9, now)
        if (
            delay_seconds > 0
            and not ends
            and name not in memory.starting
            and comes_back(pod, container, current, memory, init=init)
        ):
            state = _waiting("CrashLoopBackOff", crash_loop_message(pod, name, memory.backoff.delay_seconds(name)))
            last_state = {"terminated": terminated(current, memory)}
        elif current.id in memory.restarting and not ends:
            # Never shown as ended: the API lets nothing come back that ended for good by its policy.
            state = _waiting("ContainerCreating")
            last_state = {"terminated": terminated(current, memory)}
        else:
            state = {"terminated": terminated(current, memory)}
            ready = init and not sidecar and current.exit_code == 0
    else:
        has_inits = bool(spec_of(pod).get("initContainers"))
        state = _waiting("PodInitializing" if has_inits and not initialized else "ContainerCreating")
        current = None

    if not last_state:
        previous = _previous(name, current, observed, memory)
        if previous is not None:
            last_state = {"terminated": terminated(previous, memory)}
        elif current is not None and before.get("lastState") and before.get("restartCount") == current.attempt:
            last_state = before["lastState"]
    restarts = max(current.attempt if current else 0, memory.restarts.get(name, 0))
    status: Object = {
        "name": name,
        "state": state,
        "lastState": last_state,
        "ready": ready,
        "started": started,
        "restartCount": restarts,
        "image": (current.image if current else "") or container.get("image") or "",
        "imageID": current.image_ref if current else "",
    }
    if current is not None:
        status["containerID"] = f"containerd://{current.id}"
    elif before.get("containerID"):
        status["containerID"] = before["containerID"]
    if current is not None:
        given: Object = container.get("resources") or {}
        has = resources_in_force(current, memory) if current.state == "RUNNING" else None
        status["resources"] = given if has is None else has
        if given.get("requests"):
            status["allocatedResources"] = given["requests"]
    if current is not None and current.user is not None:
        user = current.user
        status["user"] = {"linux": {"uid": user.uid, "gid": user.gid, "supplementalGroups": list(user.supplemental_groups)}}
    mounts = container.get("volumeMounts")
    if mounts:
        status["volumeMounts"] = [shown(mount, able=supported()) for mount in mounts]
    return status


def _before(pod: Object, name: str) -> Object:
    status = pod.get("status") or {}
    for part in ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"):
        for item in status.get(part) or []:
            if item.get("name") == name:
                found: Object = item
                return found
    return {}
