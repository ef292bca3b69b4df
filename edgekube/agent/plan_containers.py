"""Which containers to start, stop or remove in a pod whose sandbox is ready.

Enters: as agent.plan, and the sandbox's id.
Leaves: steps for init containers in their order, sidecars, then all ordinary containers at once.
Holds: an ordinary init container starts only after the one before it has succeeded, a sidecar lets the next begin once it has
started; once an ordinary container exists in the sandbox the pod counts as initialized.
Next: agent.plan.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from edgekube.agent.names import CONTAINER_HASH, container_hash
from edgekube.agent.outcome import runs_again
from edgekube.agent.podspec import containers_of, ephemeral_containers_of, grace_period_seconds, init_containers_of, is_sidecar
from edgekube.agent.resize import needs_restart, resources_in_force
from edgekube.agent.state import ObservedContainer, PodMemory, PodObserved
from edgekube.agent.steps import KillContainer, Plan, RemoveContainer, ResizeContainer, StartContainer, Step
from edgekube.api.objects import Object


class _Planner:
    """One round of planning: collects steps and wake-up times."""

    def __init__(
        self, pod: Object, observed: PodObserved, memory: PodMemory, sandbox_id: str, busy: Collection[str], now: float
    ) -> None:
        self.pod = pod
        self.observed = observed
        self.memory = memory
        self.sandbox_id = sandbox_id
        self.busy = busy
        self.now = now
        self.steps: list[Step] = []
        self.wake_ats: list[float] = []

    def start(self, container: Object) -> None:
        """Start it now, or once what holds it back has passed."""
        name = container["name"]
        if f"container/{name}" in self.busy:
            return
        stale = [old for old in self.observed.named(name) if old.status.state in ("CREATED", "RUNNING", "UNKNOWN")]
        for old in stale:
            # CREATED: this process died between create and start. The others: of an older sandbox.
            if old.status.state == "CREATED":
                self.steps.append(RemoveContainer(name, old.status.id, old.status.attempt, keep_log=True))
            else:
                self.kill(old, f"Container {name} belongs to an older sandbox", None)
        if stale:
            return
        waiting = self.memory.waiting.get(name)
        if waiting:
            if self.now < waiting.later_at:
                self.wake_ats.append(waiting.later_at)
            if self.now < waiting.retry_at:
                self.wake_ats.append(waiting.retry_at)
                return
        last = self.memory.exited.get(name)
        found = self.observed.latest(name)
        if found and (last is None or found.status.attempt >= last.attempt):
            last = found.status
        if last is not None:
            delay_seconds = self.memory.backoff.remaining_seconds(name, last.finished_at_ns / 1e9, self.now)
            if delay_seconds > 0:
                self.wake_ats.append(self.now + delay_seconds)
                return
        attempt = max(last.attempt if last else -1, self.memory.restarts.get(name, -1)) + 1
        self.steps.append(StartContainer(name, attempt, self.sandbox_id))

    def kill(self, container: ObservedContainer, message: str, grace_seconds: int | None) -> None:
        status = container.status
        if grace_seconds is None:
            grace_seconds = grace_period_seconds(self.pod)
        self.steps.append(KillContainer(status.name, status.id, message, grace_seconds))

    def keep(self, container: Object, running: ObservedContainer) -> None:
        """A running container goes on, unless its definition changed or a probe gave it up; its resources may change."""
        name, status = container["name"], running.status
        wanted, actual = container_hash(container), status.annotations.get(CONTAINER_HASH)
        if actual is not None and actual != wanted:
            self.kill(running, f"Container {name} definition changed, will be restarted", None)
        elif status.id in self.memory.probes.failed:
            message, grace_seconds = self.memory.probes.failed[status.id]
            self.kill(running, message, grace_seconds)
        else:
            self.resize(container, running)

    def resize(self, container: Object, running: ObservedContainer) -> None:
        name, before = container["name"], resources_in_force(running.status, self.memory)
        if before is None or before == (container.get("resources") or {}):
            return
        if needs_restart(container, before):
            self.kill(running, f"Container {name} resize requires restart", None)
        else:
            self.steps.append(ResizeContainer(name, running.status.id))

    def settle(self, container: Object, *, init: bool = False) -> None:
        """A container that should run, or run again if its policy says so."""
        found = self.observed.latest(container["name"], self.sandbox_id)
        if found and found.status.state == "RUNNING":
            self.keep(container, found)
        elif found and found.status.state == "UNKNOWN":
            self.kill(found, f"Container {container['name']} is in an unknown state, try killing it before restart", None)
        elif found and found.status.state == "EXITED":
            if runs_again(self.pod, container, found.status.exit_code, init=init):
                self.start(container)
        else:
            last = self.memory.exited.get(container["name"]) if not init else None
            before = self.observed.latest(container["name"])
            if before and before.status.state == "EXITED" and not init:
                last = before.status
            if last is None or runs_again(self.pod, container, last.exit_code):
                self.start(container)

    def initialize(self) -> bool:
        """True once ordinary containers may start."""
        begun = any(self.observed.latest(container["name"], self.sandbox_id) for container in containers_of(self.pod))
        for container in init_containers_of(self.pod):
            found = self.observed.latest(container["name"], self.sandbox_id)
            if is_sidecar(container):
                self.settle(container, init=True)
                running = found and found.status.state == "RUNNING"
                if not begun and not (running and found and found.status.id in self.memory.probes.started):
                    return False
            elif not begun and not (found and found.status.state == "EXITED" and found.status.exit_code == 0):
                self.settle(container, init=True)
                return False
        return True

    def collect_dead(self) -> None:
        """Of each name the newest dead container stays (``kubectl logs --previous``); older ones go."""
        seen: dict[str, int] = {}
        for container in self.observed.containers:
            name, status = container.status.name, container.status
            if status.state != "EXITED":
                continue
            seen[name] = seen.get(name, 0) + 1
            if seen[name] > 1:
                self.steps.append(RemoveContainer(name, status.id, status.attempt))


def plan_containers(
    pod: Object, observed: PodObserved, memory: PodMemory, sandbox_id: str, busy: Collection[str], now: float
) -> Plan:
    planner = _Planner(pod, observed, memory, sandbox_id, busy, now)
    if planner.initialize():
        for container in containers_of(pod):
            planner.settle(container)
    for container in _unstarted_ephemeral(pod, observed, memory):
        planner.start(container)
    planner.collect_dead()
    return Plan(tuple(planner.steps), min(planner.wake_ats, default=None))


def _unstarted_ephemeral(pod: Object, observed: PodObserved, memory: PodMemory) -> Iterator[Object]:
    """Ephemeral containers run once, whatever the policy."""
    for container in ephemeral_containers_of(pod):
        if observed.latest(container["name"]) is None and container["name"] not in memory.exited:
            yield container
