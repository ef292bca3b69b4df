"""Which containers to start, stop or remove in a pod whose sandbox is ready.

Enters: as agent.plan, and the sandbox's id.
Leaves: steps for init containers in their order, sidecars, then the ordinary containers: at once, except that those after one
with a postStart hook wait until it has ended (as upstream's; a proxy holds the others back in this way).
Holds: an ordinary init container starts only after the one before it has succeeded, a sidecar lets the next begin once it has
started; once an ordinary container exists in the sandbox the pod counts as initialized.
Next: agent.plan.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from edgekube.agent.names import CONTAINER_HASH, container_hash
from edgekube.agent.outcome import comes_back, restarts_all
from edgekube.agent.podspec import (
    container_named,
    containers_of,
    ephemeral_containers_of,
    grace_period_seconds,
    init_containers_of,
    is_sidecar,
    restart_policy,
)
from edgekube.agent.resize import behind, needs_restart, resources_in_force, whole_is_behind
from edgekube.agent.state import ObservedContainer, PodMemory, PodObserved
from edgekube.agent.steps import KillContainer, Plan, RemoveContainer, ResizePod, StartContainer, Step
from edgekube.api.objects import Object
from edgekube.api.restarting import RESTART_ALL, action_of
from edgekube.containerd.model import ContainerStatus


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
        #: A container before this one is in its postStart hook, or will be.
        self.held = False

    def start(self, container: Object) -> None:
        """Start it now, or once what holds it back has passed."""
        name = container["name"]
        if f"container/{name}" in self.busy or self.held:
            return
        stale = [old for old in self.observed.named(name) if old.status.state in ("CREATED", "RUNNING", "UNKNOWN")]
        for old in stale:
            if old.status.state != "CREATED":
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

    def kill(self, container: ObservedContainer, message: str, grace_seconds: int | None, *, restart: bool = False) -> None:
        status = container.status
        if grace_seconds is None:
            grace_seconds = grace_period_seconds(self.pod)
        self.steps.append(KillContainer(status.name, status.id, message, grace_seconds, restart))

    def keep(self, container: Object, running: ObservedContainer) -> None:
        """A running container goes on, unless its definition changed or a probe gave it up; its resources may change."""
        name, status = container["name"], running.status
        ordinary = any(each["name"] == name for each in containers_of(self.pod))
        wanted, actual = container_hash(container), status.annotations.get(CONTAINER_HASH)
        # An init container that runs is left to do its work, as it was begun.
        if actual is not None and actual != wanted and (ordinary or is_sidecar(container)):
            message = f"Container {name} definition changed, will be restarted"
            self.kill(running, message if ordinary else f"Init container {name} definition changed", None, restart=True)
        elif status.id in self.memory.probes.failed:
            what, grace_seconds = self.memory.probes.failed[status.id]
            restart = (container.get("restartPolicy") or restart_policy(self.pod)) != "Never"
            then = ", will be restarted" if restart and ordinary else ""
            message = f"{'Container' if ordinary else 'Init container'} {name} {what}{then}"
            self.kill(running, message, grace_seconds, restart=restart)
        elif (before := resources_in_force(status, self.memory)) is not None and needs_restart(container, before):
            self.kill(running, f"Container {name} resize requires restart", None, restart=True)

    def resize(self) -> None:
        """What runs and stays gets what the pod was allocated."""
        killed = {step.name for step in self.steps if isinstance(step, KillContainer)}
        changed = tuple(
            (each.status.name, each.status.id)
            for each in behind(self.pod, self.observed, self.memory)
            if each.status.name not in killed and f"container/{each.status.name}" not in self.busy
        )
        if not changed and not whole_is_behind(self.pod, self.memory):
            return
        trouble = self.memory.troubles.get("resize")
        if trouble and trouble.retry_at > self.now:
            self.wake_ats.append(trouble.retry_at)
        else:
            self.steps.append(ResizePod(changed))

    def settle(self, container: Object, *, init: bool = False) -> None:
        """A container that should run, or run again if its policy says so."""
        found = self.observed.latest(container["name"], self.sandbox_id)
        if found and found.status.state == "RUNNING":
            self.keep(container, found)
        elif found and found.status.state == "UNKNOWN":
            what = "Init container" if init else "Container"
            self.kill(found, f'{what} is in "unknown" state, try killing it before restart', None)
        elif found and found.status.state == "EXITED":
            if comes_back(self.pod, container, found.status, self.memory, init=init):
                self.start(container)
        else:
            last = self.memory.exited.get(container["name"]) if not init else None
            before = self.observed.latest(container["name"])
            if before and before.status.state == "EXITED" and not init:
                last = before.status
            if last is None or comes_back(self.pod, container, last, self.memory):
                self.start(container)

    def hold(self, container: Object) -> None:
        """Those after it wait while it is being started."""
        if (container.get("lifecycle") or {}).get("postStart"):
            starting = self.memory.starting | {step.name for step in self.steps if isinstance(step, StartContainer)}
            self.held = self.held or container["name"] in starting

    def initialize(self) -> bool:
        """True once ordinary containers may start."""
        begun = any(
            each.status.state != "CREATED" and each.sandbox_id == self.sandbox_id
            for container in containers_of(self.pod)
            for each in self.observed.named(container["name"])
        )
        for container in init_containers_of(self.pod):
            found = self.observed.latest(container["name"], self.sandbox_id)
            if is_sidecar(container):
                self.settle(container, init=True)
                running = found and found.status.state == "RUNNING"
                if not begun and not (running and found and found.status.id in self.memory.probes.started):
                    return False
            elif begun and found and found.status.state == "UNKNOWN":
                self.kill(found, 'Init container is in "unknown" state, try killing it before restart', None)
            elif not begun and not (found and found.status.state == "EXITED" and found.status.exit_code == 0):
                self.settle(container, init=True)
                return False
        return True

    def start_anew(self) -> None:
        """Everything is removed, what asked for it last of all: until then the pod shows that it is not done."""
        alive = list(self.observed.alive())
        for each in alive:
            self.kill(each, "killing", 0)
        if alive:
            return
        triggers: list[ContainerStatus] = []
        victims: list[ContainerStatus] = []
        for each in self.observed.containers:
            container = container_named(self.pod, each.status.name)
            asked = container is not None and action_of(container, each.status.exit_code) == RESTART_ALL
            (triggers if asked else victims).append(each.status)
        for status in victims or triggers:
            self.steps.append(RemoveContainer(status.name, status.id, status.attempt, keep_log=True, starting_anew=True))

    def collect_dead(self) -> None:
        """Of each name the newest dead container stays (``kubectl logs --previous``); older ones go, and what was never started:
        this process died between create and start."""
        seen: dict[str, int] = {}
        for container in self.observed.containers:
            name, status = container.status.name, container.status
            if status.state == "CREATED" and f"container/{name}" not in self.busy:
                self.steps.append(RemoveContainer(name, status.id, status.attempt, keep_log=True))
            if status.state != "EXITED":
                continue
            seen[name] = seen.get(name, 0) + 1
            if seen[name] > 1:
                self.steps.append(RemoveContainer(name, status.id, status.attempt))


def plan_containers(
    pod: Object, observed: PodObserved, memory: PodMemory, sandbox_id: str, busy: Collection[str], now: float
) -> Plan:
    planner = _Planner(pod, observed, memory, sandbox_id, busy, now)
    if restarts_all(pod, observed):
        planner.start_anew()
        return Plan(tuple(planner.steps))
    if planner.initialize():
        for container in containers_of(pod):
            planner.settle(container)
            planner.hold(container)
    planner.held = False
    for container in _unstarted_ephemeral(pod, observed, memory):
        planner.start(container)
    planner.resize()
    planner.collect_dead()
    return Plan(tuple(planner.steps), min(planner.wake_ats, default=None))


def _unstarted_ephemeral(pod: Object, observed: PodObserved, memory: PodMemory) -> Iterator[Object]:
    """Ephemeral containers run once, whatever the policy."""
    for container in ephemeral_containers_of(pod):
        if observed.latest(container["name"]) is None and container["name"] not in memory.exited:
            yield container
