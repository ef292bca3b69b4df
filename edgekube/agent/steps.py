"""What a plan may ask for, as data: the executor is left with no choices.

Enters: nothing.
Leaves: steps; two steps with the same key never run at once.
Holds: each step may be executed twice, or after a crash in its middle, without harm.
Next: agent.plan makes them, agent.execute does them.
"""

from __future__ import annotations

from typing import TypeAlias

from msgspec import Struct


class Prepare(Struct, frozen=True):
    """Directories, cgroup and volumes."""

    key: str = "prepare"


class RunSandbox(Struct, frozen=True):
    attempt: int
    key: str = "sandbox"


class StopSandbox(Struct, frozen=True):
    sandbox_id: str
    key: str = "sandbox"


class RemoveSandbox(Struct, frozen=True):
    """Stop and remove: frees its addresses. Its containers go with it."""

    sandbox_id: str
    key: str = "sandbox"


class StartContainer(Struct, frozen=True):
    """Image, config, create, start, postStart."""

    name: str
    attempt: int
    sandbox_id: str

    @property
    def key(self) -> str:
        return f"container/{self.name}"


class PreStop(Struct, frozen=True):
    """The hook of a sidecar whose turn to end comes later: hooks of one pod run at the same time. It ends with its container."""

    name: str
    container_id: str
    message: str

    @property
    def key(self) -> str:
        return f"prestop/{self.name}"


class KillContainer(Struct, frozen=True):
    """preStop, SIGTERM, and SIGKILL when the grace period is over."""

    name: str
    container_id: str
    message: str
    #: For hook and container; 0: no hook.
    grace_seconds: int
    #: It is to run again, however it ends and whatever its policy says of that.
    restart: bool = False
    #: Its preStop hook was run, or has had its time, and the end was announced with it.
    hook_done: bool = False

    @property
    def key(self) -> str:
        return f"container/{self.name}"


class ResizePod(Struct, frozen=True):
    """Give running containers, and the pod's cgroup, the resources that the pod was allocated."""

    #: (name, container id)
    containers: tuple[tuple[str, str], ...]
    key: str = "resize"


class RemoveContainer(Struct, frozen=True):
    """A dead container and its log."""

    name: str
    container_id: str
    attempt: int
    keep_log: bool = False
    #: For the whole pod to start anew (RestartAllContainers): it is remembered as such.
    starting_anew: bool = False

    @property
    def key(self) -> str:
        return f"remove/{self.container_id}"


class Fail(Struct, frozen=True):
    """Remember that the pod must end: status gets this reason and message."""

    reason: str
    message: str
    key: str = "fail"


class Finish(Struct, frozen=True):
    """Nothing runs any more: release volumes, cgroup and, when ``remove``, everything else and the API object."""

    remove: bool
    key: str = "finish"


Step: TypeAlias = (
    Prepare
    | RunSandbox
    | StopSandbox
    | RemoveSandbox
    | StartContainer
    | PreStop
    | KillContainer
    | ResizePod
    | RemoveContainer
    | Fail
    | Finish
)


class Plan(Struct, frozen=True):
    steps: tuple[Step, ...] = ()
    #: Plan again then, whatever happens before (seconds since the epoch).
    wake_at: float | None = None
