"""What became of a pod's steps: remembered for the next plan, and told as events.

Enters: steps that succeeded; problems of the pod's own making; failures of containerd, the API or the disk.
Leaves: PodMemory: what is done, why something is not, and when to try again.
Holds: what failed waits longer each time, until it succeeds.
Next: agent.plan.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable

import trio
from msgspec.structs import replace

from edgekube.agent.context import NodeContext
from edgekube.agent.outcome import RESTARTING_ALL
from edgekube.agent.pod_copy import PodCopy
from edgekube.agent.pod_resize import PodResize
from edgekube.agent.problems import (
    HookProblem,
    ImageProblem,
    PodProblem,
    ResizeProblem,
    RunProblem,
    VolumeProblem,
    VolumesProblem,
)
from edgekube.agent.restart import Backoff
from edgekube.agent.state import PodMemory, Waiting
from edgekube.agent.steps import Finish, KillContainer, Prepare, PreStop, RemoveContainer, RunSandbox, StartContainer, Step
from edgekube.api.objects import Object, name_of, namespace_of, spec_of

log = logging.getLogger("edgekube.agent")

CONFIG_RETRY_SECONDS = 10.0
STARTING_ANEW = "The container is removed because RestartAllContainers in place"
#: As a kubelet: an operation on a volume that failed is tried again after 0.5 s, and twice as long each time up to this.
MOUNT_RETRY_SECONDS_MAX = 122.0
UNBOUND_RETRY_SECONDS_MAX = 5.0
#: RunContainerError is shown this long before it reads CrashLoopBackOff.
RUN_ERROR_SHOWN_SECONDS = 1.0


class StepOutcomes:
    __slots__ = ("_changed", "_copy", "_memory", "_node", "_poke", "_resize", "_retries", "ended")

    def __init__(
        self,
        node: NodeContext,
        copy: PodCopy,
        memory: PodMemory,
        resize: PodResize,
        *,
        changed: Callable[[], None],
        poke: Callable[[], None],
    ) -> None:
        """``changed``: something is to be saved."""
        self._node = node
        self._copy = copy
        self._memory = memory
        self._resize = resize
        self._changed = changed
        self._poke = poke
        self._retries = Backoff(0.5, MOUNT_RETRY_SECONDS_MAX)
        #: Set once nothing of it runs any more.
        self.ended = trio.Event()

    def succeeded(self, step: Step) -> None:
        memory = self._memory
        match step:
            case Prepare():
                if memory.whole_in_force is None:
                    memory.whole_in_force = spec_of(self._copy.pod()).get("resources") or {}
                if not memory.prepared:
                    memory.prepared = True
                    self._changed()
                memory.troubles.pop("prepare", None)
                self._retries.forget("prepare")
            case RunSandbox():
                memory.troubles.pop("sandbox", None)
                self._retries.forget("sandbox")
            case StartContainer():
                memory.waiting.pop(step.name, None)
            case PreStop():
                memory.hooks_done.add(step.container_id)
            case RemoveContainer(starting_anew=True):
                known = memory.exited.get(step.name)
                if known is not None and known.id == step.container_id:
                    memory.exited[step.name] = replace(known, reason=RESTARTING_ALL, exit_code=137)
                    memory.messages[step.container_id] = STARTING_ANEW
            case Finish(remove=False):
                memory.released = True
                memory.terminal = True
                self.ended.set()
                self._node.room_changed()
            case Finish():
                memory.cleaned = True
                self.ended.set()

    def problem(self, pod: Object, step: Step, problem: PodProblem) -> None:
        if isinstance(step, StartContainer):
            self._not_started(step.name, problem)
        elif isinstance(problem, ResizeProblem):
            self._resize.failed(pod, problem.message)
        elif isinstance(problem, VolumeProblem):
            self._not_prepared(pod, problem)

    def _not_started(self, name: str, problem: PodProblem) -> None:
        memory, now = self._memory, self._node.clock()
        match problem:
            case ImageProblem():
                later_at = now + 2.0 if problem.then[0] else 0.0
                retry_at = now + problem.retry_seconds
                memory.waiting[name] = Waiting(problem.reason, problem.message, retry_at, later_at, *problem.then)
            case RunProblem():
                if memory.backoff.delay_seconds(name) == 0:
                    memory.backoff.advance(name, now)
                memory.waiting[name] = Waiting(problem.reason, problem.message, now + RUN_ERROR_SHOWN_SECONDS)
            case HookProblem():
                memory.waiting.pop(name, None)
            case _:
                memory.waiting[name] = Waiting(problem.reason, problem.message, now + CONFIG_RETRY_SECONDS)

    def _not_prepared(self, pod: Object, problem: VolumeProblem) -> None:
        memory, now = self._memory, self._node.clock()
        delay_seconds = self._retries.advance("prepare", now)
        # Nobody tells a node that a claim was bound.
        retry_at = now + (min(delay_seconds, UNBOUND_RETRY_SECONDS_MAX) if problem.unbound else delay_seconds)
        memory.troubles["prepare"] = Waiting(problem.reason, problem.message, retry_at)
        memory.refresh_at = retry_at if memory.prepared else math.inf
        for message in problem.messages if isinstance(problem, VolumesProblem) else [problem.message]:
            self._node.event(pod, "Warning", "FailedMount", message)
        if isinstance(problem, VolumesProblem) and problem.rejection and memory.failure is None:
            self.refuse("VolumeAttachmentLimitExceeded", problem.rejection)

    def refuse(self, reason: str, message: str) -> None:
        """This node does not take it."""
        self._memory.refused = True
        self._memory.failure = (reason, f"Pod was rejected: {message}")
        self._node.event(self._copy.pod(), "Warning", reason, message)
        self._poke()

    def failed(self, pod: Object, step: Step, code: str, message: str) -> None:
        now = self._node.clock()
        log.warning("step failed pod=%s/%s step=%s code=%s error=%s", namespace_of(pod), name_of(pod), step.key, code, message)
        if step.key in ("sandbox", "prepare", "finish"):
            retry_at = now + self._retries.advance(step.key, now)
            self._memory.troubles[step.key] = Waiting(code, message, retry_at)
        if isinstance(step, KillContainer):
            self._node.event(pod, "Warning", "FailedKillPod", f"error killing pod: {message}")
