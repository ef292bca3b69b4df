"""What a plan may ask for, as data: the executor is left with no choices.

Enters: nothing.
Leaves: steps; two steps with the same key never run at once.
Holds: each step may be executed twice, or after a crash in its middle, without harm.
Next: agent.plan makes them, agent.execute does them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Prepare:
    """Directories, cgroup and volumes."""

    key: str = "prepare"


@dataclass(frozen=True, slots=True)
class RunSandbox:
    attempt: int
    key: str = "sandbox"


@dataclass(frozen=True, slots=True)
class StopSandbox:
    sandbox_id: str
    key: str = "sandbox"


@dataclass(frozen=True, slots=True)
class RemoveSandbox:
    """Stop and remove: frees its addresses. Its containers go with it."""

    sandbox_id: str
    key: str = "sandbox"


@dataclass(frozen=True, slots=True)
class StartContainer:
    """Image, config, create, start, postStart."""

    name: str
    attempt: int
    sandbox_id: str

    @property
    def key(self) -> str:
        return f"container/{self.name}"


@dataclass(frozen=True, slots=True)
class KillContainer:
    """preStop, SIGTERM, and SIGKILL when the grace period is over."""

    name: str
    container_id: str
    message: str
    grace_seconds: int

    @property
    def key(self) -> str:
        return f"container/{self.name}"


@dataclass(frozen=True, slots=True)
class ResizeContainer:
    """Give a running container, and the pod's cgroup, the resources that the pod names now."""

    name: str
    container_id: str

    @property
    def key(self) -> str:
        return f"container/{self.name}"


@dataclass(frozen=True, slots=True)
class RemoveContainer:
    """A dead container and its log."""

    name: str
    container_id: str
    attempt: int
    keep_log: bool = False

    @property
    def key(self) -> str:
        return f"remove/{self.container_id}"


@dataclass(frozen=True, slots=True)
class Fail:
    """Remember that the pod must end: status gets this reason and message."""

    reason: str
    message: str
    key: str = "fail"


@dataclass(frozen=True, slots=True)
class Finish:
    """Nothing runs any more: release volumes, cgroup and, when ``remove``, everything else and the API object."""

    remove: bool
    key: str = "finish"


Step: TypeAlias = (
    Prepare
    | RunSandbox
    | StopSandbox
    | RemoveSandbox
    | StartContainer
    | KillContainer
    | ResizeContainer
    | RemoveContainer
    | Fail
    | Finish
)


@dataclass(frozen=True, slots=True)
class Plan:
    steps: tuple[Step, ...] = ()
    #: Plan again then, whatever happens before (seconds since the epoch).
    wake_at: float | None = None
