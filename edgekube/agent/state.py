"""What the agent knows of one pod: what containerd shows, and what only this process remembers.

Enters: rows of containerd (observe), results of steps and probes (worker).
Leaves: values that plan and status read.
Holds: PodObserved is never changed; PodMemory is changed by its pod's worker alone. Losing PodMemory costs no container:
what must survive a restart is in containerd's labels and annotations, or in the pod's status in the API.
Next: agent.plan, agent.status.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import orjson
from msgspec import Struct, field
from msgspec.structs import replace

from edgekube.agent.restart import Backoff
from edgekube.api.objects import Object
from edgekube.containerd.model import ContainerStatus, SandboxStatus


def kept(pod: Object) -> bytes:
    """A pod as it is kept: without what says who wrote which field, a third of it, which a node does not read; and in a block of
    its own size, not in the 8 kB that orjson writes into."""
    metadata: Object = pod.get("metadata") or {}
    slim = {**pod, "metadata": {key: value for key, value in metadata.items() if key != "managedFields"}}
    return b"".join((orjson.dumps(slim), b""))


class ObservedContainer(Struct, frozen=True):
    sandbox_id: str
    status: ContainerStatus


class PodObserved(Struct, frozen=True):
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


class Waiting(Struct, frozen=True):
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


class ResizePending(Struct, frozen=True):
    """A resize that was not allocated: deferred until there is room, or infeasible."""

    reason: str
    message: str
    generation: int
    since: float


class ResizeProgress(Struct, frozen=True):
    """A resize that was allocated and is being carried out; with the error that keeps it from that."""

    generation: int
    reason: str = ""
    message: str = ""


class ProbeView(Struct):
    """What probes have found so far, by container id."""

    started: set[str] = field(default_factory=set)  # the startup probe passed; or there is none
    ready: set[str] = field(default_factory=set)
    #: container id -> (what it did: "failed liveness probe", grace period override or None)
    failed: dict[str, tuple[str, int | None]] = field(default_factory=dict)

    def forget(self, container_id: str) -> None:
        self.started.discard(container_id)
        self.ready.discard(container_id)
        self.failed.pop(container_id, None)


class PodMemory(Struct):
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
    #: Ids of containers that were ended here in order to run again.
    restarting: set[str] = field(default_factory=set)
    #: Ids of containers whose preStop hooks have run while others were to end before them.
    hooks_done: set[str] = field(default_factory=set)
    #: Containers that are being started at this moment.
    starting: set[str] = field(default_factory=set)
    #: The last known end of each container, also when containerd no longer has it.
    exited: dict[str, ContainerStatus] = field(default_factory=dict)
    #: Termination messages by container id.
    messages: dict[str, str] = field(default_factory=dict)
    #: The resources that running containers were given after they were made, by container id.
    resized: dict[str, Object] = field(default_factory=dict)
    #: What the pod was given, where that is not simply its spec (agent.allocation).
    allocated: Object | None = None
    #: The pod's own resources that its cgroup has; None before it is made.
    whole_in_force: Object | None = None
    #: A resize was asked for, and it is not decided yet what becomes of it.
    resize_undecided: bool = False
    resize_pending: ResizePending | None = None
    resize_progress: ResizeProgress | None = None
    #: The restart counts that the API had when this process took the pod over.
    restarts: dict[str, int] = field(default_factory=dict)
    #: Set when the pod must end although its containers would go on: (reason, message) of status.
    failure: tuple[str, str] | None = None
    #: It must end within this, whatever its own grace period; None: by its own.
    stop_grace_seconds: int | None = None
    #: The condition that tells why it was ended from outside, shown once it has ended.
    disruption: Object | None = None
    #: This node has taken it (agent.entry); it is not asked again.
    admitted: bool = False
    #: This node does not take it: ``failure`` says why, and nothing of it was ever here.
    refused: bool = False
    #: The phase in the API is Succeeded or Failed: nothing is ever started again.
    terminal: bool = False
    #: The API no longer has the pod.
    gone: bool = False
    #: When stopping began.
    stopping_since: float = 0.0
    #: When its volumes and files are looked after again, once they are prepared.
    refresh_at: float = math.inf
    #: It came to its end, and volumes and cgroup are released.
    released: bool = False
    #: Everything that the pod had on this node is gone.
    cleaned: bool = False

    def shift(self, seconds: float) -> None:
        """The clock was set by so much: what is waited for comes when it would have come."""
        if self.stopping_since:
            self.stopping_since += seconds
        for waits in (self.troubles, self.waiting):
            for key, each in waits.items():
                later_at = each.later_at and each.later_at + seconds
                waits[key] = replace(each, retry_at=each.retry_at + seconds, later_at=later_at)
