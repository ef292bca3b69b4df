"""What can keep a container from starting, each with the reason that status shows.

Enters: nothing.
Leaves: exceptions that the worker turns into Waiting and an Event.
Holds: a problem is the pod's or the node's, never the agent's: anything else propagates.
Next: agent.worker.
"""

from __future__ import annotations


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
    """A volume cannot be made ready yet."""

    reason = "ContainerCreating"


class ImageProblem(PodProblem):
    """ErrImagePull, ImagePullBackOff, ErrImageNeverPull, InvalidImageName."""

    def __init__(self, reason: str, message: str, retry_seconds: float, then: tuple[str, str] = ("", "")) -> None:
        super().__init__(message)
        self.reason = reason
        self.retry_seconds = retry_seconds
        self.then = then
