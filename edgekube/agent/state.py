"""What the agent knows of one pod: what containerd shows, and what only this process remembers.

Enters: rows of containerd (observe), results of steps and probes (worker).
Leaves: values that plan and status read.
Holds: PodObserved is never changed; PodMemory is changed by its pod's worker alone. Losing PodMemory costs no container:
what must survive a restart is in containerd's labels and annotations, or in the pod's status in the API.
Next: agent.plan, agent.status.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from edgekube.agent.restart import Backoff
from edgekube.api.objects import Object
from edgekube.containerd.model import ContainerStatus, SandboxStatus


@dataclass(frozen=True, slots=True)
class ObservedContainer:
    sandbox_id: str
    status: ContainerStatus


@dataclass(frozen=True, slots=True)
class PodObserved:
    """One pod's sandboxes and containers, newest first."""

    sandboxes: tuple[SandboxStatus, ...] = ()
    containers: tuple[ObservedContainer, ...] = ()

    @property
    def sandbox(self) -> SandboxStatus | None:
        """The newest sandbox, whatever its state."""
        return self.sandboxes[0] if self.sandboxes else None

    def named(self, name: str) -> Iterator[ObservedContainer]:
        return (container for container in self.containers if container.status.name == name)

    def latest(self, name: str, sandbox_id: str = "") -> ObservedContainer | None:
        """The newest container of the name; in one sandbox when that is given."""
        return next((c for c in self.named(name) if not sandbox_id or c.sandbox_id == sandbox_id), None)

    def alive(self) -> Iterator[ObservedContainer]:
        """Containers that may hold a process."""
        return (container for container in self.containers if container.status.state in ("RUNNING", "UNKNOWN"))


NOTHING = PodObserved()


@dataclass(frozen=True, slots=True)
class Waiting:
    """Why a container is not there yet. After ``later_at`` the second pair is shown (ErrImagePull becomes ImagePullBackOff)."""

    reason: str
    message: str
    retry_at: float
    later_at: float = 0.0
    later_reason: str = ""
    later_message: str = ""

    def shown(self, now: float) -> tuple[str, str]:
        if self.later_reason and now >= self.later_at:
            return self.later_reason, self.later_message
        return self.reason, self.message


@dataclass(slots=True)
class ProbeView:
    """What probes have found so far, by container id."""

    started: set[str] = field(default_factory=set)  # the startup probe passed; or there is none
    ready: set[str] = field(default_factory=set)
    #: container id -> (message of the Killing event, grace period override or None)
    failed: dict[str, tuple[str, int | None]] = field(default_factory=dict)

    def forget(self, container_id: str) -> None:
        self.started.discard(container_id)
        self.ready.discard(container_id)
        self.failed.pop(container_id, None)


@dataclass(slots=True)
class PodMemory:
    """Beside containerd: reasons, results and counters of one pod, kept by its worker."""

    started_at: float
    backoff: Backoff = field(default_factory=Backoff)
    probes: ProbeView = field(default_factory=ProbeView)
    #: Directories, cgroup and volumes are there.
    prepared: bool = False
    #: Why preparing or the sandbox failed, and when to try again; keys "prepare" and "sandbox".
    troubles: dict[str, Waiting] = field(default_factory=dict)
    #: Why a container does not start, by name.
    waiting: dict[str, Waiting] = field(default_factory=dict)
    #: Containers that are being started at this moment.
    starting: set[str] = field(default_factory=set)
    #: The last known end of each container, also when containerd no longer has it.
    exited: dict[str, ContainerStatus] = field(default_factory=dict)
    #: Termination messages by container id.
    messages: dict[str, str] = field(default_factory=dict)
    #: The resources that running containers were given after they were made, by container id.
    resized: dict[str, Object] = field(default_factory=dict)
    #: The restart counts that the API had when this process took the pod over.
    restarts: dict[str, int] = field(default_factory=dict)
    #: Set when the pod must end although its containers would go on: (reason, message) of status.
    failure: tuple[str, str] | None = None
    #: The phase in the API is Succeeded or Failed: nothing is ever started again.
    terminal: bool = False
    #: The API no longer has the pod.
    gone: bool = False
    #: When stopping began.
    stopping_since: float = 0.0
    #: It came to its end, and volumes and cgroup are released.
    released: bool = False
    #: Everything that the pod had on this node is gone.
    cleaned: bool = False
