"""The row of a pod: what its containers are up to, in one word.

Enters: a pod and the time.
Leaves: cells.
Source: behaviour of kubectl get pods (Init:1/2, CrashLoopBackOff, Completed, Terminating, restarts with their age).
Next: tables.core.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from edgekube.api.objects import Object, is_deleting
from edgekube.api.tables.columns import AGE, NAME, Table, age, condition, listed, name, part, section, text, wide
from edgekube.api.times import age_since


class _Restarts(NamedTuple):
    """How often, and when last (RFC 3339 of the termination before the last start, "" for never)."""

    times: int = 0
    last: str = ""

    def and_of(self, status: Object) -> _Restarts:
        finished = part(status, "lastState", "terminated", "finishedAt") or ""
        return _Restarts(self.times + (status.get("restartCount") or 0), max(self.last, finished))

    def shown(self, now: float) -> str:
        if self.times and self.last:
            return f"{self.times} ({age_since(self.last, now)} ago)"
        return str(self.times)


class _Progress(NamedTuple):
    reason: str
    restarts: _Restarts
    ready: int


def _ended(terminated: Object) -> str:
    """Why a container ended: its reason, or what the kernel said."""
    if terminated.get("reason"):
        return str(terminated["reason"])
    if terminated.get("signal"):
        return f"Signal:{terminated['signal']}"
    return f"ExitCode:{terminated.get('exitCode') or 0}"


def _is_sidecar(container: Object) -> bool:
    return container.get("restartPolicy") == "Always"


def _initializing(pod: Object, sidecars: set[str]) -> tuple[_Progress | None, _Restarts, int]:
    """What holds the pod up (None once every init container is done), restarts of sidecars, sidecars that are ready."""
    restarts, of_sidecars, ready = _Restarts(), _Restarts(), 0
    for index, status in enumerate(listed(pod, "status", "initContainerStatuses")):
        restarts = restarts.and_of(status)
        sidecar = status.get("name") in sidecars
        if sidecar:
            of_sidecars = of_sidecars.and_of(status)
        terminated = part(status, "state", "terminated")
        waiting = part(status, "state", "waiting", "reason")
        if terminated is not None and not terminated.get("exitCode"):
            continue
        if sidecar and status.get("started"):
            ready += bool(status.get("ready"))
            continue
        if terminated is not None:
            reason = f"Init:{_ended(terminated)}"
        elif waiting and waiting != "PodInitializing":
            reason = f"Init:{waiting}"
        else:
            reason = f"Init:{index}/{len(listed(pod, 'spec', 'initContainers'))}"
        return _Progress(reason, restarts, ready), of_sidecars, ready
    return None, of_sidecars, ready


def _running(pod: Object, reason: str, restarts: _Restarts, ready: int) -> _Progress:
    running = False
    for status in reversed(listed(pod, "status", "containerStatuses")):
        restarts = restarts.and_of(status)
        waiting = part(status, "state", "waiting", "reason")
        terminated = part(status, "state", "terminated")
        if waiting:
            reason = waiting
        elif terminated is not None:
            reason = _ended(terminated)
        elif status.get("ready") and part(status, "state", "running") is not None:
            running = True
            ready += 1
    if reason == "Completed" and running:
        is_ready = condition(pod, "Ready")
        reason = "Running" if is_ready is not None and is_ready.get("status") == "True" else "NotReady"
    return _Progress(reason, restarts, ready)


def _progress(pod: Object, sidecars: set[str]) -> _Progress:
    status = section(pod, "status")
    reason = status.get("reason") or status.get("phase") or ""
    if any(
        held.get("type") == "PodScheduled" and held.get("reason") == "SchedulingGated" for held in listed(status, "conditions")
    ):
        reason = "SchedulingGated"
    held_up, of_sidecars, ready = _initializing(pod, sidecars)
    initialized = condition(pod, "Initialized")
    if held_up is not None and not (initialized is not None and initialized.get("status") == "True"):
        progress = held_up
    else:
        progress = _running(pod, held_up.reason if held_up is not None else reason, of_sidecars, ready)
    if not is_deleting(pod):
        return progress
    if status.get("reason") == "NodeLost":
        return progress._replace(reason="Unknown")
    if status.get("phase") not in ("Succeeded", "Failed"):
        return progress._replace(reason="Terminating")
    return progress


def _readiness_gates(pod: Object) -> str:
    gates = listed(pod, "spec", "readinessGates")
    if not gates:
        return "<none>"
    conditions = (condition(pod, gate.get("conditionType") or "") for gate in gates)
    return f"{sum(held is not None and held.get('status') == 'True' for held in conditions)}/{len(gates)}"


def _pod_ip(pod: Object) -> str:
    ips = listed(pod, "status", "podIPs")
    return (ips[0].get("ip") if ips else part(pod, "status", "podIP")) or "<none>"


def _cells(pod: Object, now: float) -> list[Any]:
    sidecars = {container.get("name") or "" for container in listed(pod, "spec", "initContainers") if _is_sidecar(container)}
    progress = _progress(pod, sidecars)
    total = len(listed(pod, "spec", "containers")) + len(sidecars)
    return [
        name(pod),
        f"{progress.ready}/{total}",
        progress.reason,
        progress.restarts.shown(now),
        age(pod, now),
        _pod_ip(pod),
        part(pod, "spec", "nodeName") or "<none>",
        part(pod, "status", "nominatedNodeName") or "<none>",
        _readiness_gates(pod),
    ]


POD: Final = Table(
    (
        NAME,
        text("Ready", "Containers that are ready, of all."),
        text("Status", "What the pod's containers are up to, in one word."),
        text("Restarts", "How often containers of the pod were restarted, and when last."),
        AGE,
        wide("IP", "The pod's first address."),
        wide("Node", "The node that the pod runs on."),
        wide("Nominated Node", "The node that is being cleared for the pod by preemption."),
        wide("Readiness Gates", "Additional conditions that are true, of all that readiness waits for."),
    ),
    _cells,
)
