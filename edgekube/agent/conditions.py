"""A pod's conditions, each with the time it last turned.

Enters: container statuses, the phase, the conditions that were.
Leaves: all conditions: those of a kubelet computed, everybody else's as they were.
Holds: pure; lastTransitionTime moves only when the status does.
Source: Kubernetes documentation, "Pod conditions", "Pod readiness".
Next: agent.status.
"""

from __future__ import annotations

from edgekube.agent.podspec import init_containers_of, is_sidecar, spec_of
from edgekube.agent.state import PodObserved
from edgekube.api.objects import Object

OWN = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled")


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


def pod_conditions(
    pod: Object,
    observed: PodObserved,
    phase: str,
    inits: list[Object],
    ordinary: list[Object],
    generation: int | None,
    now: str,
) -> list[Object]:
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
    ]
    for condition in computed:
        earlier = before.get(condition["type"])
        turned = earlier is None or earlier.get("status") != condition["status"]
        condition["lastProbeTime"] = None
        condition["lastTransitionTime"] = now if turned or earlier is None else earlier.get("lastTransitionTime")
        if generation is not None:
            condition["observedGeneration"] = generation
    return [*computed, *(item for kind, item in before.items() if kind not in OWN)]
