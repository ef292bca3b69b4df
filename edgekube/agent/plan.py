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
from edgekube.agent.podspec import grace_period_seconds, spec_of
from edgekube.agent.state import PodMemory, PodObserved
from edgekube.agent.steps import Fail, Plan, Prepare, RemoveSandbox, RunSandbox, Step
from edgekube.api.objects import Object, is_deleting

#: Namespaced, and of no effect on other pods (Kubernetes documentation, "Using sysctls in a Kubernetes Cluster").
SAFE_SYSCTLS: Final = frozenset({
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.tcp_wmem",
})  # fmt: skip
DEADLINE_MESSAGE: Final = "Pod was active on the node longer than the specified deadline"


def plan(pod: Object, observed: PodObserved, memory: PodMemory, busy: Collection[str], now: float) -> Plan:
    if memory.cleaned:
        return Plan()
    if is_deleting(pod) or memory.gone:
        return _without_busy(plan_stop(pod, observed, memory, busy, now, grace_period_seconds(pod), remove=True), busy)
    if memory.failure or memory.terminal or outcome_of(pod, observed, memory) != "Running":
        return _without_busy(plan_stop(pod, observed, memory, busy, now, grace_period_seconds(pod), remove=False), busy)
    return _without_busy(_plan_running(pod, observed, memory, busy, now), busy)


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

    if not observed.sandboxes and (forbidden := _forbidden_sysctl(pod)):
        return Plan((Fail("SysctlForbidden", f'forbidden sysctl: "{forbidden}" not allowlisted'),))

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


def _forbidden_sysctl(pod: Object) -> str:
    for item in (spec_of(pod).get("securityContext") or {}).get("sysctls") or []:
        name = str(item["name"]).replace("/", ".")
        if name not in SAFE_SYSCTLS:
            return name
    return ""


def _next_sandbox_attempt(memory: PodMemory) -> int:
    """Old sandboxes are removed before a new one runs, so the number only has to tell a first start from later ones."""
    return 1 if memory.exited else 0
