"""A runtime of plain values for planning tests: what containerd would show after each step."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from msgspec.structs import replace

from edgekube.agent.names import CONTAINER_HASH, RESOURCES, container_hash
from edgekube.agent.outcome import RESTARTING_ALL
from edgekube.agent.plan import plan
from edgekube.agent.podspec import all_containers, container_named
from edgekube.agent.resize import resources_text
from edgekube.agent.state import ObservedContainer, PodMemory, PodObserved
from edgekube.agent.steps import (
    Fail,
    Finish,
    KillContainer,
    Plan,
    Prepare,
    PreStop,
    RemoveContainer,
    RemoveSandbox,
    ResizePod,
    RunSandbox,
    StartContainer,
    Step,
    StopSandbox,
)
from edgekube.api.objects import Object
from edgekube.containerd.model import ContainerStatus, Sandbox, SandboxStatus


def make_pod(*containers: Object, init: list[Object] | None = None, metadata: Object | None = None, **spec: Any) -> Object:
    listed = list(containers) or [{"name": "web", "image": "busybox"}]
    return {
        "metadata": {"name": "web", "namespace": "default", "uid": "u1", "generation": 1, **(metadata or {})},
        "spec": {"containers": listed, "initContainers": init or [], "terminationGracePeriodSeconds": 30, **spec},
        "status": {},
    }


@dataclass
class Simulation:
    """A pod, its runtime and the clock. ``step()`` plans once and does everything asked for."""

    pod: Object
    now: float = 1_000_000.0
    observed: PodObserved = field(default_factory=PodObserved)
    memory: PodMemory = field(default_factory=lambda: PodMemory(started_at=1_000_000.0))
    busy: set[str] = field(default_factory=set)
    started: list[tuple[str, int]] = field(default_factory=list)
    _serial: int = 0

    def plan(self) -> Plan:
        return plan(self.pod, self.observed, self.memory, self.busy, self.now)

    def step(self) -> tuple[Step, ...]:
        planned = self.plan()
        for item in planned.steps:
            self.do(item)
        return planned.steps

    def settle(self, rounds: int = 60) -> None:
        """Until there is nothing to do now."""
        for _ in range(rounds):
            if not self.step():
                return
        raise AssertionError(f"still busy after {rounds} rounds: {self.plan().steps}")

    def do(self, step: Step) -> None:
        self._serial += 1
        match step:
            case Prepare():
                self.memory.prepared = True
            case RunSandbox():
                row = Sandbox(f"s{self._serial}", "web", "u1", "default", step.attempt, "READY", self._serial, {}, {})
                made = SandboxStatus(row, ("10.42.0.5",), "POD")
                self.observed = replace(self.observed, sandboxes=(made, *self.observed.sandboxes))
            case StopSandbox():
                self.sandbox_dies(step.sandbox_id)
            case RemoveSandbox():
                self.observed = PodObserved(
                    tuple(item for item in self.observed.sandboxes if item.sandbox.id != step.sandbox_id),
                    tuple(item for item in self.observed.containers if item.sandbox_id != step.sandbox_id),
                )
            case StartContainer():
                self.start(step)
            case PreStop():
                self.memory.hooks_done.add(step.container_id)
            case KillContainer():
                if step.restart:
                    self.memory.restarting.add(step.container_id)
                self.exits(step.name, 137)
            case ResizePod():
                for name, container_id in step.containers:
                    self.memory.resized[container_id] = (container_named(self.pod, name) or {}).get("resources") or {}
            case RemoveContainer():
                kept = tuple(item for item in self.observed.containers if item.status.id != step.container_id)
                self.observed = replace(self.observed, containers=kept)
                known = self.memory.exited.get(step.name)
                if step.starting_anew and known is not None:
                    self.memory.exited[step.name] = replace(known, reason=RESTARTING_ALL, exit_code=137)
            case Fail():
                self.memory.failure = (step.reason, step.message)
            case Finish():
                if step.remove:
                    self.memory.cleaned = True
                    self.observed = PodObserved()
                else:
                    self.memory.released = True

    def start(self, step: StartContainer) -> None:
        alive = [item for item in self.observed.named(step.name) if item.status.state in ("RUNNING", "UNKNOWN", "CREATED")]
        assert not alive, f"{step.name} would run twice"
        same = [item for item in self.observed.named(step.name) if item.status.attempt == step.attempt]
        assert not same, f"{step.name} attempt {step.attempt} exists"
        container = container_named(self.pod, step.name)
        assert container is not None
        if step.name in self.memory.exited:
            self.memory.backoff.advance(step.name, self.now)
        status = ContainerStatus(
            id=f"c{self._serial}",
            name=step.name,
            attempt=step.attempt,
            state="RUNNING",
            created_at_ns=int(self.now * 1e9) + self._serial,
            started_at_ns=int(self.now * 1e9),
            finished_at_ns=0,
            exit_code=0,
            reason="",
            message="",
            image=container["image"],
            image_ref="sha256:1",
            labels={},
            annotations={CONTAINER_HASH: container_hash(container), RESOURCES: resources_text(container)},
            log_path="",
        )
        made = ObservedContainer(step.sandbox_id, status)
        self.observed = replace(self.observed, containers=(made, *self.observed.containers))
        self.started.append((step.name, step.attempt))
        if not container.get("startupProbe"):
            self.memory.probes.started.add(status.id)
            self.memory.probes.ready.add(status.id)

    # --- what happens to it -------------------------------------------------------------------------------------------

    def exits(self, name: str, code: int) -> None:
        changed = []
        for item in self.observed.containers:
            if item.status.name == name and item.status.state in ("RUNNING", "UNKNOWN", "CREATED"):
                status = replace(item.status, state="EXITED", exit_code=code, finished_at_ns=int(self.now * 1e9))
                self.memory.exited[name] = status
                self.memory.probes.forget(status.id)
                changed.append(replace(item, status=status))
            else:
                changed.append(item)
        self.observed = replace(self.observed, containers=tuple(changed))

    def sandbox_dies(self, sandbox_id: str = "") -> None:
        """All of them when none is named: a power-off."""
        sandboxes = tuple(
            replace(item, sandbox=replace(item.sandbox, state="NOTREADY"))
            if not sandbox_id or item.sandbox.id == sandbox_id
            else item
            for item in self.observed.sandboxes
        )
        self.observed = replace(self.observed, sandboxes=sandboxes)

    def power_off(self) -> None:
        for container in all_containers(self.pod):
            self.exits(container["name"], 255)
        self.sandbox_dies()

    def forget(self) -> None:
        """The agent was killed and started again: only containerd remembers."""
        self.memory = PodMemory(started_at=self.memory.started_at, prepared=False)
        self.busy = set()
        for item in self.observed.containers:
            if item.status.state == "EXITED":
                known = self.memory.exited.get(item.status.name)
                if known is None or known.attempt < item.status.attempt:
                    self.memory.exited[item.status.name] = item.status
            elif item.status.state == "RUNNING":
                self.memory.probes.started.add(item.status.id)

    def running(self) -> list[str]:
        return sorted(item.status.name for item in self.observed.containers if item.status.state == "RUNNING")
