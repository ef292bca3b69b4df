"""How a pod comes down: ordinary containers together, sidecars after them from the last to the first, then the sandbox.

Enters: as agent.plan; the grace period of the whole pod.
Leaves: steps.
Holds: a container gets what is left of the pod's grace period, at least one second; the sandbox stays until nothing runs in it.
Source: Kubernetes documentation, "Termination of Pods" and "Sidecar Containers".
Next: agent.plan.
"""

from __future__ import annotations

from collections.abc import Collection

from edgekube.agent.podspec import init_containers_of, is_sidecar
from edgekube.agent.state import ObservedContainer, PodMemory, PodObserved
from edgekube.agent.steps import Finish, KillContainer, Plan, Step, StopSandbox
from edgekube.api.objects import Object


def plan_stop(
    pod: Object,
    observed: PodObserved,
    memory: PodMemory,
    busy: Collection[str],
    now: float,
    grace_seconds: int,
    *,
    remove: bool,
) -> Plan:
    alive = list(observed.alive())
    if alive:
        left_seconds = grace_seconds
        if memory.stopping_since:
            left_seconds = max(1, round(memory.stopping_since + grace_seconds - now))
        return Plan(tuple(_kill(container, left_seconds) for container in _next_to_stop(pod, alive)))
    if any(key.startswith("container/") for key in busy):
        return Plan()  # a start that is being cancelled may yet show a container
    ready = [sandbox for sandbox in observed.sandboxes if sandbox.sandbox.state == "READY"]
    if ready:
        steps: tuple[Step, ...] = (StopSandbox(ready[0].sandbox.id),)
        return Plan(steps)
    if busy:
        return Plan()
    if memory.released and not remove:
        return Plan()
    trouble = memory.troubles.get("finish")
    if trouble and trouble.retry_at > now:
        return Plan(wake_at=trouble.retry_at)
    return Plan((Finish(remove),))


def _kill(container: ObservedContainer, grace_seconds: int) -> KillContainer:
    status = container.status
    return KillContainer(status.name, status.id, f"Stopping container {status.name}", grace_seconds)


def _next_to_stop(pod: Object, alive: list[ObservedContainer]) -> list[ObservedContainer]:
    sidecars = [container["name"] for container in init_containers_of(pod) if is_sidecar(container)]
    ordinary = [container for container in alive if container.status.name not in sidecars]
    if ordinary:
        return ordinary
    for name in reversed(sidecars):
        last = [container for container in alive if container.status.name == name]
        if last:
            return last
    return alive
