"""A pod's status, from what is observed.

Enters: the pod, what containerd shows, what this process remembers, the node's addresses, the time.
Leaves: the status object as the API shows it.
Holds: pure; asking twice gives the same, so that a status is written only when something changed. A phase never goes back
from Succeeded or Failed.
Source: Kubernetes documentation, "Pod Lifecycle".
Next: agent.status_containers, agent.status_writer.
"""

from __future__ import annotations

from collections.abc import Sequence

from edgekube.agent.conditions import others_conditions, pod_conditions, resize_conditions
from edgekube.agent.outcome import outcome_of
from edgekube.agent.phase import phase_of
from edgekube.agent.podspec import (
    containers_of,
    ephemeral_containers_of,
    host_network,
    init_containers_of,
)
from edgekube.agent.resources import qos_class
from edgekube.agent.state import PodMemory, PodObserved
from edgekube.agent.status_containers import container_status
from edgekube.agent.status_resources import whole_in_force, whole_requests
from edgekube.api import times
from edgekube.api.objects import Object, metadata_of


def pod_ips(pod: Object, observed: PodObserved, host_ips: Sequence[str]) -> tuple[str, ...]:
    if host_network(pod):
        return tuple(host_ips) if observed.sandboxes else ()
    sandbox = observed.sandbox
    return sandbox.ips if sandbox and sandbox.sandbox.state == "READY" else ()


def _refused(pod: Object, memory: PodMemory) -> Object:
    """Of a pod that this node does not take: others' conditions stay, of containers there is nothing to tell."""
    before: Object = pod.get("status") or {}
    reason, message = memory.failure or ("", "")
    return {
        "phase": "Failed",
        "conditions": others_conditions(pod),
        "startTime": before.get("startTime") or times.rfc3339(memory.started_at),
        "qosClass": before.get("qosClass") or qos_class(pod),
        "reason": reason,
        "message": message,
        "observedGeneration": metadata_of(pod).get("generation"),
    }


def _phase(pod: Object, observed: PodObserved, memory: PodMemory, statuses: list[Object], initialized: bool) -> str:
    alive = any(True for _ in observed.alive())
    before = str((pod.get("status") or {}).get("phase") or "Pending")
    if memory.failure and before != "Succeeded":
        # How it ended is told once it has.
        return before if alive and before in ("Pending", "Running") else "Failed"
    over = not alive and bool(memory.gone or metadata_of(pod).get("deletionTimestamp"))
    if memory.terminal and before in ("Succeeded", "Failed"):
        return before
    outcome = outcome_of(pod, observed, memory)
    if outcome != "Running" and not alive:
        return outcome
    phase = phase_of(pod, statuses, over=over, initialized=initialized)
    if phase in ("Succeeded", "Failed") and (alive or (outcome == "Running" and not over)):
        return before if before in ("Pending", "Running") else "Running"
    return phase


def pod_status(pod: Object, observed: PodObserved, memory: PodMemory, now: float, host_ips: Sequence[str]) -> Object:
    if memory.refused:
        return _refused(pod, memory)
    before: Object = pod.get("status") or {}
    ips = pod_ips(pod, observed, host_ips)
    initialized = any(observed.latest(c["name"]) or c["name"] in memory.exited for c in containers_of(pod))
    inits = [container_status(pod, c, observed, memory, now, init=True, initialized=initialized) for c in init_containers_of(pod)]
    ordinary = [container_status(pod, c, observed, memory, now, init=False, initialized=initialized) for c in containers_of(pod)]
    ephemeral = [
        container_status(pod, c, observed, memory, now, init=False, initialized=True) for c in ephemeral_containers_of(pod)
    ]
    phase = _phase(pod, observed, memory, [*inits, *ordinary], initialized)
    # Whoever waits for a resize looks at the conditions once its generation is observed: not before it is decided.
    generation = before.get("observedGeneration") if memory.resize_undecided else metadata_of(pod).get("generation")
    if phase in ("Succeeded", "Failed"):
        for shown in (*inits, *ordinary):
            shown["started"] = False
        for shown in ordinary:
            shown["ready"] = False
        ips = ips or tuple(item["ip"] for item in before.get("podIPs") or [])
    # How it ended is told once it has.
    failure = memory.failure if phase == "Failed" else None
    more = [memory.disruption] if failure and memory.disruption else []
    if phase not in ("Succeeded", "Failed"):
        more = [*more, *resize_conditions(memory)]
    return {
        "phase": phase,
        "conditions": pod_conditions(pod, observed, phase, inits, ordinary, generation, times.rfc3339(now), more),
        "hostIP": host_ips[0] if host_ips else None,
        "hostIPs": [{"ip": ip} for ip in host_ips],
        "podIP": ips[0] if ips else None,
        "podIPs": [{"ip": ip} for ip in ips] or None,
        "startTime": before.get("startTime") or times.rfc3339(memory.started_at),
        "qosClass": before.get("qosClass") or qos_class(pod),
        "allocatedResources": whole_requests(pod),
        "resources": whole_in_force(pod, memory),
        "containerStatuses": ordinary,
        "initContainerStatuses": inits or None,
        "ephemeralContainerStatuses": ephemeral or None,
        "reason": failure[0] if failure else before.get("reason"),
        "message": failure[1] if failure else before.get("message"),
        "observedGeneration": generation,
    }
