"""How a pod comes down: ordinary containers together, sidecars after them from the last to the first, then the sandbox.

preStop hooks wait for nobody's turn: those of all containers run at once, as upstream's do.

Enters: as agent.plan.
Leaves: steps.
Holds: a container is told what is left of the pod's grace period, whole seconds having passed; when it is over nobody waits for a
turn or a hook any more, though a hook goes on for as long as its container does. The sandbox stays until nothing runs in it.
Source: Kubernetes documentation, "Termination of Pods" and "Sidecar Containers".
Next: agent.plan.
"""

from __future__ import annotations

from collections.abc import Collection

from edgekube.agent.podspec import container_named, grace_period_seconds, init_containers_of, is_sidecar
from edgekube.agent.state import ObservedContainer, PodMemory, PodObserved
from edgekube.agent.steps import Finish, KillContainer, Plan, PreStop, Step, StopSandbox
from edgekube.api.objects import Object


def stop_grace_seconds(pod: Object, memory: PodMemory) -> int:
    """For the whole pod: its own, or the shorter one of whoever ends it."""
    own = grace_period_seconds(pod)
    return own if memory.stop_grace_seconds is None else max(1, min(own, memory.stop_grace_seconds))


def plan_stop(
    pod: Object,
    observed: PodObserved,
    memory: PodMemory,
    busy: Collection[str],
    now: float,
    *,
    remove: bool,
) -> Plan:
    grace_seconds = stop_grace_seconds(pod, memory)
    alive = list(observed.alive())
    if alive:
        return _stop(pod, alive, memory, busy, grace_seconds, now)
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


def _stop(
    pod: Object, alive: list[ObservedContainer], memory: PodMemory, busy: Collection[str], grace_seconds: int, now: float
) -> Plan:
    since = memory.stopping_since or now
    ends_at = since + grace_seconds
    left_seconds = max(0, grace_seconds - int(now - since))
    over = now >= ends_at
    due = alive if over else _next_to_stop(pod, alive)
    steps: list[Step] = []
    waits = False
    for status in (each.status for each in alive):
        message = f"Stopping container {status.name}"
        in_hook, hook_done = f"prestop/{status.name}" in busy, status.id in memory.hooks_done
        if all(each.status.id != status.id for each in due):
            waits = True
            if not hook_done and status.state == "RUNNING" and _has_hook(pod, status.name):
                steps.append(PreStop(status.name, status.id, message))
        elif in_hook and not over:
            waits = True
        else:
            steps.append(KillContainer(status.name, status.id, message, left_seconds, hook_done=hook_done or in_hook))
    return Plan(tuple(steps), ends_at if waits else None)


def _has_hook(pod: Object, name: str) -> bool:
    return bool(((container_named(pod, name) or {}).get("lifecycle") or {}).get("preStop"))


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
