"""A pod's conditions, each with the time it last turned.

Enters: container statuses, the phase, the conditions that were.
Leaves: all conditions: those of a kubelet computed, everybody else's as they were.
Holds: pure; lastTransitionTime moves only when the status does.
Source: Kubernetes documentation, "Pod conditions", "Pod readiness".
Next: agent.status.
"""

from __future__ import annotations

from collections.abc import Sequence

from edgekube.agent.outcome import restarts_all
from edgekube.agent.podspec import init_containers_of, is_sidecar
from edgekube.agent.state import PodMemory, PodObserved
from edgekube.api.objects import Object, spec_of
from edgekube.api.restarting import could_restart_all

OWN = (
    "PodReadyToStartContainers",
    "Initialized",
    "Ready",
    "ContainersReady",
    "PodScheduled",
    "PodResizePending",
    "PodResizeInProgress",
    "AllContainersRestarting",
)


def _condition(kind: str, status: bool, reason: str = "", message: str = "") -> Object:
    condition: Object = {"type": kind, "status": "True" if status else "False"}
    if reason:
        condition["reason"] = reason
    if message:
        condition["message"] = message
    return condition


def _initialized(pod: Object, phase: str, inits: list[Object]) -> Object:
    if phase == "Succeeded":
        return _condition("Initialized", True, "PodCompleted")
    specs = {container["name"]: container for container in init_containers_of(pod)}
    incomplete = []
    for status in inits:
        if is_sidecar(specs[status["name"]]):
            done = status["started"] or "terminated" in status["lastState"]
        else:
            done = (status["state"].get("terminated") or {}).get("exitCode") == 0
        if not done:
            incomplete.append(status["name"])
    if incomplete and phase not in ("Running",):
        message = f"containers with incomplete status: [{' '.join(incomplete)}]"
        return _condition("Initialized", False, "ContainersNotInitialized", message)
    return _condition("Initialized", True)


def _containers_ready(pod: Object, phase: str, inits: list[Object], ordinary: list[Object]) -> Object:
    if phase == "Succeeded":
        return _condition("ContainersReady", False, "PodCompleted")
    if phase == "Failed":
        return _condition("ContainersReady", False, "PodFailed")
    sidecars = {container["name"] for container in init_containers_of(pod) if is_sidecar(container)}
    counted = [status for status in inits if status["name"] in sidecars] + ordinary
    unready = [status["name"] for status in counted if not status["ready"]]
    if unready:
        message = f"containers with unready status: [{' '.join(unready)}]"
        return _condition("ContainersReady", False, "ContainersNotReady", message)
    return _condition("ContainersReady", True)


def _ready(pod: Object, containers_ready: Object, others: dict[str, Object]) -> Object:
    if containers_ready["status"] != "True":
        return {**containers_ready, "type": "Ready"}
    missing = []
    for gate in spec_of(pod).get("readinessGates") or []:
        kind = gate.get("conditionType")
        found = others.get(kind)
        if found is None:
            missing.append(f'corresponding condition of pod readiness gate "{kind}" does not exist.')
        elif found.get("status") != "True":
            missing.append(f'the status of pod readiness gate "{kind}" is not "True", but {found.get("status")}')
    if missing:
        return _condition("Ready", False, "ReadinessGatesNotReady", "; ".join(missing))
    return _condition("Ready", True)


def resize_conditions(memory: PodMemory) -> list[Object]:
    """Each is about a generation of its own."""
    found = []
    for kind, resize in (("PodResizePending", memory.resize_pending), ("PodResizeInProgress", memory.resize_progress)):
        if resize is not None:
            condition = _condition(kind, True, resize.reason, resize.message)
            found.append({**condition, "observedGeneration": resize.generation})
    return found


def _starting_anew(observed: PodObserved, phase: str, pod: Object) -> Object:
    match phase:
        case "Succeeded":
            return _condition("AllContainersRestarting", False, "PodCompleted")
        case "Failed":
            return _condition("AllContainersRestarting", False, "PodFailed")
    if restarts_all(pod, observed):
        message = "container exited with restart policy rule"
        return _condition("AllContainersRestarting", True, "RestartAllContainersStarted", message)
    return _condition("AllContainersRestarting", False)


def others_conditions(pod: Object) -> list[Object]:
    """Those that are not a kubelet's to say."""
    return [item for item in (pod.get("status") or {}).get("conditions") or [] if item.get("type") not in OWN]


def pod_conditions(
    pod: Object,
    observed: PodObserved,
    phase: str,
    inits: list[Object],
    ordinary: list[Object],
    generation: int | None,
    now: str,
    more: Sequence[Object] = (),
) -> list[Object]:
    """``more``: of resizes, and why somebody ended it."""
    before = {item["type"]: item for item in (pod.get("status") or {}).get("conditions") or []}
    sandbox = observed.sandbox
    has_network = bool(sandbox and sandbox.sandbox.state == "READY" and (sandbox.ips or sandbox.network == "NODE"))
    containers_ready = _containers_ready(pod, phase, inits, ordinary)
    computed = [
        _condition("PodReadyToStartContainers", has_network),
        _initialized(pod, phase, inits),
        _ready(pod, containers_ready, before),
        containers_ready,
        _condition("PodScheduled", True),
        *([_starting_anew(observed, phase, pod)] if could_restart_all(pod) else []),
        *(dict(condition) for condition in more),
    ]
    for condition in computed:
        earlier = before.get(condition["type"])
        turned = earlier is None or earlier.get("status") != condition["status"]
        condition["lastProbeTime"] = None
        condition["lastTransitionTime"] = now if turned or earlier is None else earlier.get("lastTransitionTime")
        if generation is not None and "observedGeneration" not in condition:
            condition["observedGeneration"] = generation
    told = {condition["type"] for condition in computed}
    return [*computed, *(item for item in others_conditions(pod) if item["type"] not in told)]
