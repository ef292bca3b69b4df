"""What can keep a container from starting, each with the reason that status shows.

Enters: nothing.
Leaves: exceptions that the worker turns into Waiting and an Event.
Holds: a problem is the pod's or the node's, never the agent's: anything else propagates.
Next: agent.worker.
"""

from __future__ import annotations

from collections.abc import Sequence


class PodProblem(Exception):
    """``reason`` is what containerStatuses[].state.waiting.reason shows."""

    reason = "CreateContainerError"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class ConfigProblem(PodProblem):
    """The pod refers to what is missing or forbids what it needs."""

    reason = "CreateContainerConfigError"


class CreateProblem(PodProblem):
    reason = "CreateContainerError"


class RunProblem(PodProblem):
    reason = "RunContainerError"


class HookProblem(PodProblem):
    reason = "PostStartHookError"


class VolumeProblem(PodProblem):
    """A volume cannot be made ready yet, and at what stage. ``unbound``: what stands behind its claim is not known.
    ``waiting``: others are at work, nothing is wrong. ``exhausted``: this node cannot have more volumes of the driver."""

    reason = "ContainerCreating"

    def __init__(
        self,
        message: str,
        *,
        unbound: bool = False,
        waiting: bool = False,
        exhausted: bool = False,
        stage: str = "MountVolume.SetUp",
    ) -> None:
        super().__init__(message)
        self.unbound = unbound
        self.waiting = waiting
        self.exhausted = exhausted
        self.stage = stage


class VolumesProblem(VolumeProblem):
    """What all of a pod's volumes wait for, each as an event tells it. ``rejection``: why the pod cannot be here at all."""

    def __init__(self, messages: Sequence[str], *, unbound: bool, rejection: str = "") -> None:
        super().__init__("; ".join(messages), unbound=unbound)
        self.messages = tuple(messages)
        self.rejection = rejection


class ResizeProblem(PodProblem):
    """Limits that cannot be set on what runs."""

    reason = "Error"


class ImageProblem(PodProblem):
    """ErrImagePull, ImagePullBackOff, ErrImageNeverPull, InvalidImageName."""

    def __init__(self, reason: str, message: str, retry_seconds: float, then: tuple[str, str] = ("", "")) -> None:
        super().__init__(message)
        self.reason = reason
        self.retry_seconds = retry_seconds
        self.then = then
