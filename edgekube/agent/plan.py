"""What to do next for one pod: the whole lifecycle as one pure function.

Enters: the pod as the API wants it, what containerd shows, what this process remembers, which steps are under way, the time.
Leaves: steps to start now, and when to plan again.
Holds: a container is started only when none of its name may hold a process; nothing that runs is touched without a reason;
carrying out the steps and planning again comes to rest.
Source: Kubernetes documentation, "Pod Lifecycle", "Init Containers", "Sidecar Containers".
Next: agent.worker runs the steps through agent.execute.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from edgekube.agent.outcome import outcome_of
from edgekube.agent.plan_containers import plan_containers
from edgekube.agent.plan_stop import plan_stop
from edgekube.agent.state import PodMemory, PodObserved
from edgekube.agent.steps import Fail, Plan, Prepare, RemoveSandbox, RunSandbox, Step
from edgekube.api.objects import Object, is_deleting, spec_of

DEADLINE_MESSAGE: Final = "Pod was active on the node longer than the specified deadline"


def plan(pod: Object, observed: PodObserved, memory: PodMemory, busy: Collection[str], now: float) -> Plan:
    if memory.cleaned:
        return Plan()
    if ends(pod, observed, memory):
        remove = memory.gone or is_deleting(pod)
        return _without_busy(plan_stop(pod, observed, memory, busy, now, remove=remove), busy)
    return _without_busy(_plan_running(pod, observed, memory, busy, now), busy)


def ends(pod: Object, observed: PodObserved, memory: PodMemory) -> bool:
    """It comes down: somebody wants that, or its containers have come to their end."""
    if is_deleting(pod) or memory.gone or memory.failure or memory.terminal:
        return True
    return outcome_of(pod, observed, memory) != "Running"


def _without_busy(plan: Plan, busy: Collection[str]) -> Plan:
    if not busy:
        return plan
    return Plan(tuple(step for step in plan.steps if step.key not in busy), plan.wake_at)


def _plan_running(pod: Object, observed: PodObserved, memory: PodMemory, busy: Collection[str], now: float) -> Plan:
    wake_ats: list[float] = []
    deadline_seconds = spec_of(pod).get("activeDeadlineSeconds")
    if deadline_seconds is not None:
        deadline = memory.started_at + deadline_seconds
        if now >= deadline:
            return Plan((Fail("DeadlineExceeded", DEADLINE_MESSAGE),))
        wake_ats.append(deadline)

    steps: list[Step] = []
    if not memory.prepared:
        trouble = memory.troubles.get("prepare")
        if trouble and trouble.retry_at > now:
            wake_ats.append(trouble.retry_at)
        else:
            steps.append(Prepare())

    sandbox = observed.sandbox
    if sandbox is None or sandbox.sandbox.state != "READY":
        trouble = memory.troubles.get("sandbox")
        if trouble and trouble.retry_at > now:
            wake_ats.append(trouble.retry_at)
        elif observed.sandboxes:
            # Not one address is asked for while an old sandbox holds one; its containers' ends are remembered by the worker.
            steps.append(RemoveSandbox(observed.sandboxes[-1].sandbox.id))
        else:
            steps.append(RunSandbox(_next_sandbox_attempt(memory)))
        return Plan(tuple(steps), min(wake_ats, default=None))
    if len(observed.sandboxes) > 1:
        steps.append(RemoveSandbox(observed.sandboxes[-1].sandbox.id))
    if not memory.prepared:
        return Plan(tuple(steps), min(wake_ats, default=None))
    containers = plan_containers(pod, observed, memory, sandbox.sandbox.id, busy, now)
    if containers.wake_at is not None:
        wake_ats.append(containers.wake_at)
    return Plan((*steps, *containers.steps), min(wake_ats, default=None))


def _next_sandbox_attempt(memory: PodMemory) -> int:
    """Old sandboxes are removed before a new one runs, so the number only has to tell a first start from later ones."""
    return 1 if memory.exited else 0
