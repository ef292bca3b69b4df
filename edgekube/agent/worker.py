"""One pod on this node: look, plan, do, tell; again whenever something changes.

Enters: the pod from the API, what containerd shows, results of steps and probes, the clock.
Leaves: steps to the executor, the status to the API.
Holds: steps of one key never overlap, and a key is free again only after containerd was looked at anew: so a plan always sees
what the last step did. The loop itself waits for nothing but news.
Next: agent.plan, agent.execute, agent.status_writer.
"""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import Awaitable, Callable

import orjson
import trio

from edgekube.agent.checkpoint import write_checkpoint
from edgekube.agent.context import NodeContext
from edgekube.agent.execute import Executor
from edgekube.agent.names import full_name
from edgekube.agent.outcome import runs_again
from edgekube.agent.plan import plan
from edgekube.agent.podspec import container_named, field_path, grace_period_seconds, init_containers_of
from edgekube.agent.probes.runner import ProbeRunner
from edgekube.agent.problems import ConfigProblem, HookProblem, ImageProblem, PodProblem, RunProblem, VolumeProblem
from edgekube.agent.references import references_of
from edgekube.agent.restart import Backoff
from edgekube.agent.state import PodMemory, PodObserved, Waiting
from edgekube.agent.status import pod_ips, pod_status
from edgekube.agent.status_writer import StatusWriter, can_wait
from edgekube.agent.steps import (
    Fail,
    Finish,
    KillContainer,
    Prepare,
    RemoveContainer,
    RemoveSandbox,
    ResizeContainer,
    RunSandbox,
    StartContainer,
    Step,
    StopSandbox,
)
from edgekube.agent.takeover import memory_from
from edgekube.agent.termination import termination_message
from edgekube.api.errors import StatusError
from edgekube.api.kinds import POD
from edgekube.api.objects import Object, is_deleting, name_of, namespace_of, revision_of, uid_of
from edgekube.containerd.model import RuntimeFailure
from edgekube.limits import POD_STATUS_DELAY_SECONDS

log = logging.getLogger("edgekube.agent")

CONFIG_RETRY_SECONDS = 10.0
FAILURE_PAUSE_SECONDS = 1.0
#: RunContainerError is shown this long before it reads CrashLoopBackOff.
RUN_ERROR_SHOWN_SECONDS = 1.0
STATUS_RETRY_SECONDS_MAX = 30.0


def _revision(pod: Object) -> int:
    text = revision_of(pod)
    return int(text) if text.isdigit() else 0


class PodWorker:
    def __init__(self, node: NodeContext, pod: Object, *, gone: bool = False) -> None:
        self._node = node
        self._raw = orjson.dumps(pod)
        self._revision = _revision(pod)
        self.uid = uid_of(pod)
        self.namespace = namespace_of(pod)
        self.name = name_of(pod)
        self._executor = Executor(node)
        self._writer = StatusWriter(node.verbs)
        self.memory: PodMemory = memory_from(pod, node.clock())
        self.memory.gone = gone
        self._wake = trio.Event()
        self._dirty = trio.Event()
        self._unsaved = trio.Event()
        self._busy: dict[str, tuple[Step, trio.CancelScope]] = {}
        self._retries = Backoff(0.5, 60.0)
        self._refresh_at = math.inf
        self._told_backoff: set[str] = set()
        self._labels = self._metadata_key(pod)
        self._grace_seconds: int | None = None
        self._probes: ProbeRunner | None = None
        self._references = references_of(pod)
        self._generation = (pod.get("metadata") or {}).get("generation")

    # --- news ---------------------------------------------------------------------------------------------------------

    def pod(self) -> Object:
        """The pod as last heard, decoded anew: the caller's own."""
        pod: Object = orjson.loads(self._raw)
        return pod

    def poke(self) -> None:
        self._wake.set()

    def update(self, raw: bytes, revision: int, *, echo: bool = False) -> None:
        """The API has this now. ``echo``: by a status that was written here, which is no news by itself."""
        if revision <= self._revision:
            return
        pod: Object = orjson.loads(raw)
        self._raw = bytes(raw)
        self._revision = revision
        generation = (pod.get("metadata") or {}).get("generation")
        if generation != self._generation:
            self._generation = generation
            self._unsaved.set()
            echo = False
        references = references_of(pod)
        if references != self._references:
            self._references = references
            self._node.references.keep(self.uid, references)
        key = self._metadata_key(pod)
        if key != self._labels:
            self._labels = key
            self._refresh_at = 0.0
            echo = False
        if not echo or is_deleting(pod):
            self.poke()

    def removed(self) -> None:
        """The API no longer has it."""
        if not self.memory.gone:
            self.memory.gone = True
            self.poke()

    def references_changed(self) -> None:
        """A ConfigMap or Secret that the pod names is not what it was."""
        self._refresh_at = 0.0
        for name, waiting in list(self.memory.waiting.items()):
            if waiting.reason == ConfigProblem.reason:
                del self.memory.waiting[name]
        self.memory.troubles.pop("prepare", None)
        self.poke()

    def retry_images(self) -> None:
        """An image arrived: containers that wait for one try again now."""
        for name, waiting in list(self.memory.waiting.items()):
            if waiting.reason in ("ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull"):
                del self.memory.waiting[name]
                self._node.images.forget(self.uid)
        self.poke()

    @staticmethod
    def _metadata_key(pod: Object) -> tuple[object, object]:
        metadata = pod.get("metadata") or {}
        return metadata.get("labels"), metadata.get("annotations")

    # --- the loop -----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Until the pod and everything it had here are gone."""
        self._node.references.keep(self.uid, self._references)
        async with trio.open_nursery() as nursery:
            self._probes = ProbeRunner(self._node, nursery, self.memory.probes, self.poke)
            nursery.start_soon(self._publish)
            nursery.start_soon(self._save)
            while not (self.memory.cleaned and not self._busy):
                self._wake = trio.Event()
                wake_at = self._round(nursery)
                pause_seconds = math.inf if wake_at is None else max(0.0, wake_at - self._node.clock())
                with trio.move_on_after(pause_seconds):
                    await self._wake.wait()
            nursery.cancel_scope.cancel()
        self._node.references.keep(self.uid, ())
        self._node.tokens.forget(self.uid)
        self._node.images.forget(self.uid)

    async def _save(self) -> None:
        """Preparing wrote the first checkpoint; this keeps up with changes."""
        while True:
            await self._unsaved.wait()
            self._unsaved = trio.Event()
            path = self._node.paths(self.pod()).checkpoint
            try:
                await trio.to_thread.run_sync(write_checkpoint, path, self._raw)
            except OSError as error:
                log.warning("checkpoint not written path=%s error=%s", path, error)

    def _round(self, nursery: trio.Nursery) -> float | None:
        pod, observed, now = self.pod(), self._node.observer.of(self.uid), self._node.clock()
        self._learn(pod, observed, now)
        if is_deleting(pod) or self.memory.gone or self.memory.failure:
            self._hurry(pod, now)
        planned = plan(pod, observed, self.memory, self._busy.keys(), now)
        wake_at = planned.wake_at
        for step in planned.steps:
            if isinstance(step, Fail):
                self.memory.failure = (step.reason, step.message)
                self._node.event(pod, "Normal", step.reason, step.message)
                self.poke()
            else:
                self._launch(nursery, pod, observed, step)
        if self.memory.prepared and not self.memory.released and "prepare" not in self._busy:
            if self._refresh_at <= now:
                self._launch(nursery, pod, observed, Prepare())
            elif self._refresh_at < math.inf:
                wake_at = self._refresh_at if wake_at is None else min(wake_at, self._refresh_at)
        self._dirty.set()
        return wake_at

    def _learn(self, pod: Object, observed: PodObserved, now: float) -> None:
        """What the plan and the status need beside containerd's own words."""
        memory = self.memory
        inits = {container["name"] for container in init_containers_of(pod)}
        paths = self._node.paths(pod)
        for item in observed.containers:
            status = item.status
            if status.state == "EXITED":
                self._forget_probes(status.id)
                if status.id not in memory.messages:
                    memory.messages[status.id] = termination_message(paths, status)
                known = memory.exited.get(status.name)
                if known is None or status.attempt >= known.attempt:
                    memory.exited[status.name] = status
                self._tell_backoff(pod, status.name, status.id, status.exit_code, status.finished_at_ns / 1e9, now, inits)
            elif status.state == "RUNNING":
                self._watch_probes(pod, observed, status.name, status.id, status.started_at_ns / 1e9)
        for name, waiting in list(memory.waiting.items()):
            if waiting.reason == RunProblem.reason and now >= waiting.retry_at:
                del memory.waiting[name]  # from here on it is a container that ended, and waits as such
        present = {item.status.id for item in observed.containers} | {status.id for status in memory.exited.values()}
        for container_id in [known_id for known_id in memory.messages if known_id not in present]:
            del memory.messages[container_id]
            self._told_backoff.discard(container_id)
        for container_id in [known_id for known_id in memory.resized if known_id not in present]:
            del memory.resized[container_id]

    def _forget_probes(self, container_id: str) -> None:
        self.memory.probes.forget(container_id)
        if self._probes is not None:
            self._probes.stop(container_id)

    def _watch_probes(self, pod: Object, observed: PodObserved, name: str, container_id: str, started_at: float) -> None:
        busy = self._busy.get(f"container/{name}")
        container = container_named(pod, name)
        if container is None or self._probes is None:
            return
        if busy and isinstance(busy[0], KillContainer):
            # It still answers readiness, so that traffic drains by the endpoints' rules; liveness no longer matters.
            self._probes.stop(container_id, keep_readiness=True)
        elif not busy:
            addresses = pod_ips(pod, observed, self._node.host_ips)
            self._probes.watch(pod, container, container_id, addresses[0] if addresses else "", started_at)

    def _tell_backoff(
        self, pod: Object, name: str, container_id: str, exit_code: int, finished_at: float, now: float, inits: set[str]
    ) -> None:
        container = container_named(pod, name)
        if container is None or container_id in self._told_backoff or is_deleting(pod) or name in self.memory.starting:
            return
        delayed = self.memory.backoff.remaining_seconds(name, finished_at, now) > 0
        if delayed and runs_again(pod, container, exit_code, init=name in inits):
            self._told_backoff.add(container_id)
            message = f"Back-off restarting failed container {name} in pod {full_name(pod)}"
            self._node.event(pod, "Warning", "BackOff", message, field_path(pod, name))

    def _hurry(self, pod: Object, now: float) -> None:
        """The pod must end: starts are given up, and kills done again when there is now less time for them."""
        if not self.memory.stopping_since:
            self.memory.stopping_since = now
        grace_seconds = grace_period_seconds(pod)
        shorter = self._grace_seconds is not None and grace_seconds < self._grace_seconds
        if self._grace_seconds is None or shorter:
            if shorter:
                self.memory.stopping_since = now
            self._grace_seconds = grace_seconds
            for step, scope in self._busy.values():
                if isinstance(step, StartContainer | Prepare | KillContainer):
                    scope.cancel()

    # --- steps --------------------------------------------------------------------------------------------------------

    def _launch(self, nursery: trio.Nursery, pod: Object, observed: PodObserved, step: Step) -> None:
        if isinstance(step, StartContainer) and step.name in self.memory.exited:
            waiting = self.memory.waiting.get(step.name)
            if waiting is None or waiting.reason == RunProblem.reason:
                self.memory.backoff.advance(step.name, self._node.clock())
        if isinstance(step, KillContainer):
            self.memory.probes.failed.pop(step.container_id, None)
            if self._probes is not None:
                self._probes.stop(step.container_id, keep_readiness=True)
        if isinstance(step, StartContainer):
            self.memory.starting.add(step.name)
        scope = trio.CancelScope()
        self._busy[step.key] = (step, scope)
        nursery.start_soon(self._run_step, pod, observed, step, scope)

    async def _run_step(self, pod: Object, observed: PodObserved, step: Step, scope: trio.CancelScope) -> None:
        failed = seen = False
        try:
            with scope:
                see = await self._do(pod, observed, step)
                self._succeeded(step)
                await see()
                seen = True
        except PodProblem as problem:
            self._problem(pod, step, problem)
        except RuntimeFailure as failure:
            failed = True
            self._failed(pod, step, failure.code, failure.message)
        except StatusError as error:
            failed = True
            self._failed(pod, step, error.reason, error.message)
        except OSError as error:
            failed = True
            self._failed(pod, step, "OSError", str(error))
        if not seen:
            await self._node.observer.fresh(self.uid)
        if failed:
            await trio.sleep(FAILURE_PAUSE_SECONDS)
        del self._busy[step.key]
        if isinstance(step, StartContainer):
            self.memory.starting.discard(step.name)
        self.poke()

    async def _do(self, pod: Object, observed: PodObserved, step: Step) -> Callable[[], Awaitable[object]]:
        """Returns how to see its effect in containerd: by what it made or ended, by a listing, or not at all."""
        do, observer = self._executor, self._node.observer
        match step:
            case Prepare():
                self._refresh_at = math.inf
                again = await do.prepare(pod, pod_ips(pod, observed, self._node.host_ips))
                if again is not None:
                    self._refresh_at = min(self._refresh_at, again)
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
            case KillContainer():
                await do.kill_container(pod, observed, step)
            case ResizeContainer():
                self.memory.resized[step.container_id] = await do.resize_container(pod, step)
                return trio.lowlevel.checkpoint
            case RemoveContainer():
                await do.remove_container(pod, step)
            case Finish(remove=False):
                await do.release(pod)
            case Finish():
                await self._finish(observed)
                return trio.lowlevel.checkpoint
        return functools.partial(observer.fresh, self.uid)

    async def _finish(self, observed: PodObserved) -> None:
        """Status first, so that watchers see how it ended; the object last, so that its name is free only when all is gone."""
        if not self.memory.gone:
            await self._write_status()
        await self._executor.remove_everything(self.pod(), observed)
        if not self.memory.gone:
            await self._executor.delete_object(self.pod())

    def _succeeded(self, step: Step) -> None:
        memory = self.memory
        match step:
            case Prepare():
                memory.prepared = True
                memory.troubles.pop("prepare", None)
                self._retries.forget("prepare")
            case RunSandbox():
                memory.troubles.pop("sandbox", None)
                self._retries.forget("sandbox")
            case StartContainer():
                memory.waiting.pop(step.name, None)
            case Finish(remove=False):
                memory.released = True
                memory.terminal = True
            case Finish():
                memory.cleaned = True

    def _problem(self, pod: Object, step: Step, problem: PodProblem) -> None:
        now = self._node.clock()
        if isinstance(step, StartContainer):
            name = step.name
            match problem:
                case ImageProblem():
                    later_at = now + 2.0 if problem.then[0] else 0.0
                    self.memory.waiting[name] = Waiting(
                        problem.reason, problem.message, now + problem.retry_seconds, later_at, *problem.then
                    )
                case RunProblem():
                    if self.memory.backoff.delay_seconds(name) == 0:
                        self.memory.backoff.advance(name, now)
                    retry_at = now + RUN_ERROR_SHOWN_SECONDS
                    self.memory.waiting[name] = Waiting(problem.reason, problem.message, retry_at)
                case HookProblem():
                    self.memory.waiting.pop(name, None)
                case _:
                    retry_at = now + CONFIG_RETRY_SECONDS
                    self.memory.waiting[name] = Waiting(problem.reason, problem.message, retry_at)
        elif isinstance(problem, VolumeProblem):
            retry_at = now + self._retries.advance("prepare", now)
            self.memory.troubles["prepare"] = Waiting(problem.reason, problem.message, retry_at)
            self._refresh_at = retry_at if self.memory.prepared else math.inf
            self._node.event(pod, "Warning", "FailedMount", problem.message)

    def _failed(self, pod: Object, step: Step, code: str, message: str) -> None:
        now = self._node.clock()
        log.warning("step failed pod=%s/%s step=%s code=%s error=%s", namespace_of(pod), name_of(pod), step.key, code, message)
        if step.key in ("sandbox", "prepare", "finish"):
            retry_at = now + self._retries.advance(step.key, now)
            self.memory.troubles[step.key] = Waiting(code, message, retry_at)
        if isinstance(step, KillContainer):
            self._node.event(pod, "Warning", "FailedKillPod", f"error killing pod: {message}")

    # --- status -------------------------------------------------------------------------------------------------------

    async def _publish(self) -> None:
        pause_seconds = 0.2
        while True:
            await self._dirty.wait()
            self._dirty = trio.Event()
            try:
                await self._until_worth_telling()
                if not self.memory.gone and not self.memory.cleaned and "finish" not in self._busy:
                    await self._write_status()
                pause_seconds = 0.2
            except StatusError as error:
                log.info("status not written pod=%s/%s error=%s", self.namespace, self.name, error.message)
                self._dirty.set()
                await trio.sleep(pause_seconds)
                pause_seconds = min(pause_seconds * 2, STATUS_RETRY_SECONDS_MAX)

    async def _until_worth_telling(self) -> None:
        """A pod that is coming up gets a little time to get further: one write then tells what three would."""
        with trio.move_on_after(POD_STATUS_DELAY_SECONDS):
            while can_wait(*self._status()):
                await self._dirty.wait()
                self._dirty = trio.Event()

    def _status(self) -> tuple[Object, Object]:
        """What the API has, and what it should have."""
        pod, node = self.pod(), self._node
        status = pod_status(pod, node.observer.of(self.uid), self.memory, node.clock(), node.host_ips)
        return pod.get("status") or {}, status

    async def _write_status(self) -> None:
        for _ in range(5):
            pod = self.pod()
            status = pod_status(pod, self._node.observer.of(self.uid), self.memory, self._node.clock(), self._node.host_ips)
            if not self._writer.differs(pod, status):
                return
            try:
                after = await self._writer.write(pod, status)
            except StatusError as error:
                if error.reason == "NotFound":
                    return
                if error.reason != "Conflict":
                    raise
                latest = await self._latest()
                if latest is None:
                    return
                after = latest
            self._take(after)

    async def _latest(self) -> Object | None:
        try:
            latest = await self._node.verbs.get(POD, self.namespace, self.name)
        except StatusError as error:
            if error.reason != "NotFound":
                raise
            return None
        return latest if uid_of(latest) == self.uid else None

    def _take(self, pod: Object) -> None:
        if uid_of(pod) == self.uid:
            self.update(orjson.dumps(pod), _revision(pod), echo=True)
