"""A pod's steps under way: each in a task of its own, seen in containerd before its key is free again.

Enters: the steps of a plan.
Leaves: calls of the executor; what became of each, to agent.step_outcomes.
Holds: steps of one key never overlap, and a key is free again only after containerd was looked at anew: so a plan always sees
what the last step did. When the pod must end, starts are given up.
Next: agent.execute, agent.step_outcomes.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Awaitable, Callable

import trio

from edgekube.agent.actuate import resize_pod
from edgekube.agent.context import NodeContext
from edgekube.agent.execute import Executor
from edgekube.agent.pod_copy import PodCopy
from edgekube.agent.pod_resize import PodResize
from edgekube.agent.problems import PodProblem, RunProblem
from edgekube.agent.state import PodMemory, PodObserved
from edgekube.agent.status import pod_ips
from edgekube.agent.step_outcomes import StepOutcomes
from edgekube.agent.steps import (
    Finish,
    KillContainer,
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
from edgekube.agent.stopping import hook_failed
from edgekube.api.errors import StatusError
from edgekube.api.objects import Object
from edgekube.containerd.model import RuntimeFailure

FAILURE_PAUSE_SECONDS = 1.0


class StepRunner:
    __slots__ = (
        "_copy",
        "_executor",
        "_memory",
        "_node",
        "_outcomes",
        "_poke",
        "_resize",
        "_stop_probes",
        "_tell",
        "_uid",
        "busy",
    )

    def __init__(
        self,
        node: NodeContext,
        uid: str,
        copy: PodCopy,
        memory: PodMemory,
        resize: PodResize,
        outcomes: StepOutcomes,
        *,
        stop_probes: Callable[[str], None],
        tell: Callable[[], Awaitable[None]],
        poke: Callable[[], None],
    ) -> None:
        """``stop_probes``: of a container that is about to end. ``tell``: writes the status, and returns when the API has it."""
        self._node = node
        self._uid = uid
        self._copy = copy
        self._memory = memory
        self._resize = resize
        self._outcomes = outcomes
        self._stop_probes = stop_probes
        self._tell = tell
        self._poke = poke
        self._executor = Executor(node)
        self.busy: dict[str, tuple[Step, trio.CancelScope]] = {}

    def launch(self, nursery: trio.Nursery, pod: Object, observed: PodObserved, step: Step) -> None:
        memory = self._memory
        if isinstance(step, StartContainer) and step.name in memory.exited:
            waiting = memory.waiting.get(step.name)
            if waiting is None or waiting.reason == RunProblem.reason:
                memory.backoff.advance(step.name, self._node.clock())
        if isinstance(step, KillContainer):
            if step.restart:
                memory.restarting.add(step.container_id)
            memory.probes.failed.pop(step.container_id, None)
            self._stop_probes(step.container_id)
        if isinstance(step, StartContainer):
            memory.starting.add(step.name)
        scope = trio.CancelScope()
        self.busy[step.key] = (step, scope)
        nursery.start_soon(self._run, pod, observed, step, scope)

    def end_hooks(self, pod: Object, observed: PodObserved) -> None:
        """A preStop hook lives no longer than its container."""
        hooks = [(step, scope) for step, scope in self.busy.values() if isinstance(step, PreStop)]
        alive = {item.status.id for item in observed.alive()} if hooks else set()
        for step, scope in hooks:
            if step.container_id not in alive and not scope.cancel_called:
                hook_failed(self._node, pod, step)
                scope.cancel()

    def hurry(self) -> None:
        """Starts are given up; the plan asks again for what there is now less time for."""
        for step, scope in self.busy.values():
            if isinstance(step, StartContainer | Prepare | PreStop | KillContainer):
                scope.cancel()

    async def _run(self, pod: Object, observed: PodObserved, step: Step, scope: trio.CancelScope) -> None:
        failed = seen = False
        try:
            with scope:
                see = await self._do(pod, observed, step)
                self._outcomes.succeeded(step)
                await see()
                seen = True
        except PodProblem as problem:
            self._outcomes.problem(pod, step, problem)
        except RuntimeFailure as failure:
            failed = True
            self._outcomes.failed(pod, step, failure.code, failure.message)
        except StatusError as error:
            failed = True
            self._outcomes.failed(pod, step, error.reason, error.message)
        except OSError as error:
            failed = True
            self._outcomes.failed(pod, step, "OSError", str(error))
        if not seen:
            await self._node.observer.fresh(self._uid)
        if failed:
            await trio.sleep(FAILURE_PAUSE_SECONDS)
        del self.busy[step.key]
        if isinstance(step, StartContainer):
            self._memory.starting.discard(step.name)
        self._poke()

    async def _do(self, pod: Object, observed: PodObserved, step: Step) -> Callable[[], Awaitable[object]]:
        """Returns how to see its effect in containerd: by what it made or ended, by a listing, or not at all."""
        do, observer, memory = self._executor, self._node.observer, self._memory
        match step:
            case Prepare():
                memory.refresh_at = math.inf
                again = await do.prepare(pod, pod_ips(pod, observed, self._node.host_ips))
                if again is not None:
                    memory.refresh_at = min(memory.refresh_at, again)
                return trio.lowlevel.checkpoint
            case RunSandbox():
                return functools.partial(observer.look_at_sandbox, await do.run_sandbox(pod, step))
            case StopSandbox():
                await do.stop_sandbox(step.sandbox_id)
            case RemoveSandbox():
                await do.remove_sandbox(pod, step.sandbox_id, changed=True)
            case StartContainer():
                container_id = await do.start_container(pod, observed, step)
                return functools.partial(observer.look_at_container, step.sandbox_id, container_id)
            case PreStop():
                await do.pre_stop(pod, observed, step)
                return trio.lowlevel.checkpoint
            case KillContainer():
                await do.kill_container(pod, observed, step)
            case ResizePod():
                await resize_pod(self._node, pod, self._resize.in_force(pod, observed), step)
                self._resize.carried_out(pod, step)
                return trio.lowlevel.checkpoint
            case RemoveContainer():
                await do.remove_container(pod, step)
            case Finish(remove=False):
                await do.release(pod)
            case Finish():
                await self._finish(observed)
                return trio.lowlevel.checkpoint
        return functools.partial(observer.fresh, self._uid)

    async def _finish(self, observed: PodObserved) -> None:
        """Status first, so that watchers see how it ended; the object last, so that its name is free only when all is gone."""
        if not self._memory.gone:
            await self._tell()
        await self._executor.remove_everything(self._copy.pod(), observed)
        if not self._memory.gone:
            await self._executor.delete_object(self._copy.pod())
