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

from edgekube.agent.conditions import pod_conditions
from edgekube.agent.outcome import outcome_of
from edgekube.agent.podspec import (
    containers_of,
    ephemeral_containers_of,
    host_network,
    init_containers_of,
    is_sidecar,
    restart_policy,
)
from edgekube.agent.resources import qos_class
from edgekube.agent.state import PodMemory, PodObserved
from edgekube.agent.status_containers import container_status
from edgekube.api import times
from edgekube.api.objects import Object, metadata_of


def pod_ips(pod: Object, observed: PodObserved, host_ips: Sequence[str]) -> tuple[str, ...]:
    if host_network(pod):
        return tuple(host_ips) if observed.sandboxes else ()
    sandbox = observed.sandbox
    return sandbox.ips if sandbox and sandbox.sandbox.state == "READY" else ()


def _phase(pod: Object, observed: PodObserved, memory: PodMemory, inits: list[Object], ordinary: list[Object]) -> str:
    alive = any(True for _ in observed.alive())
    if memory.failure:
        return "Failed" if not alive else "Running"
    outcome = outcome_of(pod, observed, memory)
    if outcome != "Running" and not alive:
        return outcome
    before = str((pod.get("status") or {}).get("phase") or "Pending")
    if memory.terminal and before in ("Succeeded", "Failed"):
        return before
    specs = {container["name"]: container for container in init_containers_of(pod)}
    for status in inits:
        state = status["state"]
        if is_sidecar(specs[status["name"]]):
            if not status["started"] and "terminated" not in status["lastState"]:
                return "Pending"
        elif "terminated" not in state or state["terminated"]["exitCode"] != 0:
            if any("running" in s["state"] or "terminated" in s["state"] or s["lastState"] for s in ordinary):
                continue
            return "Pending"
    if any("waiting" in status["state"] and not status["lastState"] for status in ordinary):
        return "Pending"
    stopping = memory.gone or metadata_of(pod).get("deletionTimestamp")
    if stopping and not alive and ordinary and restart_policy(pod) != "Never":
        codes = [((s["state"].get("terminated") or {}).get("exitCode")) for s in ordinary]
        return "Succeeded" if all(code == 0 for code in codes) else "Failed"
    return "Running"


def pod_status(pod: Object, observed: PodObserved, memory: PodMemory, now: float, host_ips: Sequence[str]) -> Object:
    before: Object = pod.get("status") or {}
    ips = pod_ips(pod, observed, host_ips)
    initialized = any(observed.latest(c["name"]) or c["name"] in memory.exited for c in containers_of(pod))
    inits = [container_status(pod, c, observed, memory, now, init=True, initialized=initialized) for c in init_containers_of(pod)]
    ordinary = [container_status(pod, c, observed, memory, now, init=False, initialized=initialized) for c in containers_of(pod)]
    ephemeral = [
        container_status(pod, c, observed, memory, now, init=False, initialized=True) for c in ephemeral_containers_of(pod)
    ]
    phase = _phase(pod, observed, memory, inits, ordinary)
    generation = metadata_of(pod).get("generation")
    if phase in ("Succeeded", "Failed"):
        for shown in (*inits, *ordinary):
            shown["started"] = False
        for shown in ordinary:
            shown["ready"] = False
        ips = ips or tuple(item["ip"] for item in before.get("podIPs") or [])
    return {
        "phase": phase,
        "conditions": pod_conditions(pod, observed, phase, inits, ordinary, generation, times.rfc3339(now)),
        "hostIP": host_ips[0] if host_ips else None,
        "hostIPs": [{"ip": ip} for ip in host_ips],
        "podIP": ips[0] if ips else None,
        "podIPs": [{"ip": ip} for ip in ips] or None,
        "startTime": before.get("startTime") or times.rfc3339(memory.started_at),
        "qosClass": before.get("qosClass") or qos_class(pod),
        "containerStatuses": ordinary,
        "initContainerStatuses": inits or None,
        "ephemeralContainerStatuses": ephemeral or None,
        "reason": memory.failure[0] if memory.failure else before.get("reason"),
        "message": memory.failure[1] if memory.failure else before.get("message"),
        "observedGeneration": generation,
    }
