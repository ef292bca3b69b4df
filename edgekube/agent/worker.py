"""One pod on this node: look, plan, do, tell; again whenever something changes.

Enters: the pod from the API, what containerd shows, results of steps and probes, the clock.
Leaves: steps to the executor, the status to the API.
Holds: steps of one key never overlap, and a key is free again only after containerd was looked at anew: so a plan always sees
what the last step did. The loop itself waits for nothing but news.
Next: agent.plan, agent.execute, agent.status_telling.
"""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import Awaitable, Callable

import orjson
import trio
from msgspec.structs import replace

from edgekube.agent import allocation, allocation_file, ending
from edgekube.agent.actuate import resize_pod
from edgekube.agent.checkpoint import write_checkpoint
from edgekube.agent.context import NodeContext
from edgekube.agent.ending import Ending
from edgekube.agent.execute import Executor
from edgekube.agent.held import Held, held_by
from edgekube.agent.last_words import LastWords
from edgekube.agent.names import full_name, redefined
from edgekube.agent.outcome import RESTARTING_ALL, runs_again
from edgekube.agent.plan import ends, plan
from edgekube.agent.plan_stop import stop_grace_seconds
from edgekube.agent.pod_resize import PodResize
from edgekube.agent.podspec import all_containers, container_named, field_path, init_containers_of, spec_of
from edgekube.agent.probes.runner import ProbeRunner
from edgekube.agent.problems import (
    ConfigProblem,
    HookProblem,
    ImageProblem,
    PodProblem,
    ResizeProblem,
    RunProblem,
    VolumeProblem,
    VolumesProblem,
)
from edgekube.agent.references import references_of
from edgekube.agent.restart import Backoff
from edgekube.agent.state import PodMemory, PodObserved, Waiting, kept
from edgekube.agent.static.manifest import is_static
from edgekube.agent.status import pod_ips, pod_status
from edgekube.agent.status_telling import StatusTelling
from edgekube.agent.steps import (
    Fail,
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
from edgekube.agent.takeover import memory_from
from edgekube.api import podstate
from edgekube.api.errors import StatusError
from edgekube.api.objects import Object, is_deleting, name_of, namespace_of, revision_of, uid_of
from edgekube.containerd.model import RuntimeFailure
from edgekube.limits import CLOCK_STEP_SECONDS

log = logging.getLogger("edgekube.agent")

CONFIG_RETRY_SECONDS = 10.0
STARTING_ANEW = "The container is removed because RestartAllContainers in place"
#: As a kubelet: an operation on a volume that failed is tried again after 0.5 s, and twice as long each time up to this.
MOUNT_RETRY_SECONDS_MAX = 122.0
UNBOUND_RETRY_SECONDS_MAX = 5.0
FAILURE_PAUSE_SECONDS = 1.0
#: RunContainerError is shown this long before it reads CrashLoopBackOff.
RUN_ERROR_SHOWN_SECONDS = 1.0


def _revision(pod: Object) -> int:
    text = revision_of(pod)
    return int(text) if text.isdigit() else 0


class PodWorker:
    def __init__(self, node: NodeContext, pod: Object, *, gone: bool = False) -> None:
        self._node = node
        self._raw = kept(pod)
        self._revision = _revision(pod)
        self.uid = uid_of(pod)
        #: From a file of this node, not from the API; then the API is shown a mirror.
        self.static = is_static(pod)
        self._mirror: Object | None = None
        self.namespace = namespace_of(pod)
        self.name = name_of(pod)
        self._executor = Executor(node)
        self.memory: PodMemory = memory_from(pod, node.clock())
        self._last_words = LastWords(self.memory)
        self._telling = StatusTelling(node.verbs, self, self._all_said, node.terminations.tell, node.coming_up)
        self.memory.gone = gone
        #: Set once nothing of it runs any more.
        self.ended = trio.Event()
        self._wake = trio.Event()
        self._unsaved = trio.Event()
        self._busy: dict[str, tuple[Step, trio.CancelScope]] = {}
        self._retries = Backoff(0.5, MOUNT_RETRY_SECONDS_MAX)
        self.resize = PodResize(node, self.uid, self.memory, self.poke, self._unsaved_now)
        self._refresh_at = math.inf
        #: Of the time that only passes.
        self._clock_ahead = node.clock() - trio.current_time()
        self._told_backoff: set[str] = set()
        self._labels = self._metadata_key(pod)
        self._grace_seconds: int | None = None
        self._ending: Ending | None = None
        self._probes: ProbeRunner | None = None
        #: Whether it has come to its end, and what it holds; None: to be read anew, for there is news of it.
        self._finished: bool | None = None
        self._held: tuple[Object | None, Held] | None = None
        self._references = references_of(pod)
        self._generation = (pod.get("metadata") or {}).get("generation")

    def succeed(self, failed: PodWorker) -> None:
        """In place of one that failed: what it was told holds, and whoever waits for its end waits for this one's."""
        self.ended = failed.ended
        self._mirror = failed._mirror
        self._read_anew()
        for name in ("failure", "disruption", "stop_grace_seconds", "refused"):
            setattr(self.memory, name, getattr(failed.memory, name))
        if failed._ending is not None and self.memory.failure is None:
            self._end(failed._ending)

    # --- news ---------------------------------------------------------------------------------------------------------

    def pod(self) -> Object:
        """The pod as this node runs it: as last heard, with the resources that it was given. Decoded anew: the caller's own."""
        pod = self.desired()
        return pod if self.memory.allocated is None else allocation.as_allocated(pod, self.memory.allocated)

    def desired(self) -> Object:
        """The pod as last heard; of a static pod the API's mirror has the status."""
        pod: Object = orjson.loads(self._raw)
        if self._mirror is not None:
            pod["status"] = self._mirror.get("status") or {}
            pod["metadata"]["generation"] = (self._mirror.get("metadata") or {}).get("generation")
        return pod

    def mirror_told(self, mirror: Object | None) -> None:
        """The API has this of a static pod now; None: nothing."""
        self._mirror = mirror
        self._read_anew()
        self._telling.changed()

    def _unsaved_now(self) -> None:
        self._unsaved.set()

    def poke(self) -> None:
        self._wake.set()

    def update(self, raw: bytes, revision: int) -> None:
        """The API has this now."""
        if revision > self._revision:
            self._heard(orjson.loads(raw), revision, echo=False)

    def _heard(self, pod: Object, revision: int, *, echo: bool) -> None:
        """``echo``: it came as the answer to a status that was written here, which is no news by itself."""
        generation = (pod.get("metadata") or {}).get("generation")
        given = allocation.allocation_of(self.pod()) if generation != self._generation else None
        before = self.desired() if given is not None else pod
        self._raw = kept(pod)
        self._revision = revision
        self._read_anew()
        if given is not None:
            self.resize.heed(pod, given)
            self._generation = generation
            self._unsaved.set()
            echo = False
        for name in redefined(all_containers(before), all_containers(pod)):
            # What became of the other one says nothing about this one.
            self.memory.backoff.forget(name)
            self.memory.waiting.pop(name, None)
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
            # What it names is no business of this node any more, and the API says so.
            self._node.references.keep(self.uid, ())
            self.poke()

    def take_up(self) -> None:
        """What an earlier process, or worker, kept on the disk of it."""
        pod = self.desired()
        # A static pod bears the same uid after the next boot, and lives again.
        begun = None if self.static else ending.read(self._node.paths(pod).ending)
        if begun is not None and self.memory.failure is None and not podstate.is_finished(pod):
            begun.begin(self.memory)
        self.resize.take_up(pod)

    def holds_resources(self) -> bool:
        """It was admitted, and has not come to its end. One that the API has not any more does not count, though it may still be
        ending: whoever deleted it at once wants its room now (the kubelet counts as much)."""
        if not self.memory.admitted or self.memory.gone or self.ended.is_set():
            return False
        # One whose end has been told: whoever heard that may have given its room to another already.
        return not self._is_finished() or any(
            item.status.state == "RUNNING" for item in self._node.observer.of(self.uid).containers
        )

    def held(self) -> Held:
        """What it takes up. This and whether it is finished is asked of every pod of the node whenever one comes or goes."""
        given = self.memory.allocated
        if self._held is None or self._held[0] is not given:
            self._held = (given, held_by(self.pod()))
        return self._held[1]

    def _is_finished(self) -> bool:
        """As the API has it."""
        if self._finished is None:
            self._finished = podstate.is_finished(self.desired())
        return self._finished

    def _read_anew(self) -> None:
        self._finished = self._held = None

    def refuse(self, reason: str, message: str) -> None:
        """This node does not take it."""
        self.memory.refused = True
        self.memory.failure = (reason, f"Pod was rejected: {message}")
        self._node.event(self.pod(), "Warning", reason, message)
        self.poke()

    def end(self, reason: str, message: str, *, condition: Object | None = None, grace_seconds: int | None = None) -> None:
        """It must come to its end now, as Failed: preempted, evicted, too old. ``ended`` tells when it has.

        ``condition`` is shown from then on (DisruptionTarget); ``grace_seconds`` counts when it is less than the pod's own.
        """
        if not (self.memory.terminal or self.memory.failure is not None or self._ending is not None):
            self._end(Ending(reason, message, condition, grace_seconds))

    def _end(self, ending: Ending) -> None:
        """Begun once it is on the disk."""
        self._ending = ending
        self._unsaved.set()

    def references_changed(self) -> None:
        """A ConfigMap or Secret that the pod names is not what it was."""
        self._refresh_at = 0.0
        for name, waiting in list(self.memory.waiting.items()):
            if waiting.reason == ConfigProblem.reason:
                del self.memory.waiting[name]
        self.memory.troubles.pop("prepare", None)
        self.memory.troubles.pop("finish", None)
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
        self._node.references.keep(self.uid, () if self.memory.gone else self._references)
        async with trio.open_nursery() as nursery:
            self._probes = ProbeRunner(self._node, nursery, self.memory.probes, self.poke)
            nursery.start_soon(self._telling.run)
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
        # What refers back to this: with it gone, a pod's memory is free at once, not when all that lives is gone through.
        self._telling.let_go()
        self.resize.let_go()
        self._probes = None

    async def _save(self) -> None:
        """What must not be lost: on the disk soon after each change. Preparing wrote a first checkpoint, and did not wait."""
        while True:
            await self._unsaved.wait()
            self._unsaved = trio.Event()
            paths = self._node.paths(self.desired())
            if self._ending is not None and self.memory.failure is None:
                if not self.static:
                    await trio.to_thread.run_sync(ending.write, paths.ending, self._ending)
                if not self.memory.terminal:  # it came to its end by itself meanwhile
                    self._ending.begin(self.memory)
                    self.poke()
            try:
                write = functools.partial(write_checkpoint, paths.checkpoint, self._raw, durable=True)
                await trio.to_thread.run_sync(write)
                if self.memory.allocated is not None:
                    await trio.to_thread.run_sync(allocation_file.write, paths.allocation, self.memory)
            except OSError as error:
                log.warning("checkpoint not written path=%s error=%s", paths.checkpoint, error)

    def _round(self, nursery: trio.Nursery) -> float | None:
        pod, observed, now = self.pod(), self._node.observer.of(self.uid), self._node.clock()
        self._heed_clock(now)
        unread_at = self._learn(pod, observed, now)
        self._end_hooks(pod, observed)
        if ends(pod, observed, self.memory):
            self._hurry(pod, now)
        planned = plan(pod, observed, self.memory, self._busy.keys(), now)
        wake_at = min((at for at in (planned.wake_at, unread_at) if at is not None), default=None)
        for step in planned.steps:
            if isinstance(step, Fail):
                if self._ending is not None:
                    continue
                self._node.event(pod, "Normal", step.reason, step.message)
                self.end(step.reason, step.message)
            else:
                self._launch(nursery, pod, observed, step)
        memory = self.memory
        if memory.prepared and not (memory.released or memory.gone) and "prepare" not in self._busy:
            if self._refresh_at <= now:
                self._launch(nursery, pod, observed, Prepare())
            elif self._refresh_at < math.inf:
                wake_at = self._refresh_at if wake_at is None else min(wake_at, self._refresh_at)
        self._telling.changed()
        return wake_at

    def _heed_clock(self, now: float) -> None:
        """A board without a clock of its own learns the time when it has run for a while."""
        set_by = now - trio.current_time() - self._clock_ahead
        if abs(set_by) > CLOCK_STEP_SECONDS:
            self._clock_ahead += set_by
            self.memory.shift(set_by)
            if self._refresh_at < math.inf:
                self._refresh_at = now  # tokens end by the clock, other things wait for time to pass

    def _learn(self, pod: Object, observed: PodObserved, now: float) -> float | None:
        """What the plan and the status need beside containerd's own words. Returns when more of it will be there."""
        memory = self.memory
        inits = {container["name"] for container in init_containers_of(pod)}
        paths = self._node.paths(pod)
        for item in observed.containers:
            status = item.status
            if status.state == "EXITED":
                self._forget_probes(status.id)
                self._last_words.read(paths, status, now)
                known = memory.exited.get(status.name)
                removed = known is not None and known.id == status.id and known.reason == RESTARTING_ALL
                if known is None or (status.attempt >= known.attempt and not removed):
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
            memory.restarting.discard(container_id)
            memory.hooks_done.discard(container_id)
            self._told_backoff.discard(container_id)
        for container_id in [known_id for known_id in memory.resized if known_id not in present]:
            del memory.resized[container_id]
        self.resize.learn(pod, observed)
        return self._last_words.settle(observed, now)

    def _end_hooks(self, pod: Object, observed: PodObserved) -> None:
        """A preStop hook lives no longer than its container."""
        hooks = [(step, scope) for step, scope in self._busy.values() if isinstance(step, PreStop)]
        alive = {item.status.id for item in observed.alive()} if hooks else set()
        for step, scope in hooks:
            if step.container_id not in alive and not scope.cancel_called:
                hook_failed(self._node, pod, step)
                scope.cancel()

    def _forget_probes(self, container_id: str) -> None:
        self.memory.probes.forget(container_id)
        if self._probes is not None:
            self._probes.stop(container_id)

    def _watch_probes(self, pod: Object, observed: PodObserved, name: str, container_id: str, started_at: float) -> None:
        busy = self._busy.get(f"container/{name}")
        container = container_named(pod, name)
        if container is None or self._probes is None:
            return
        if self.memory.stopping_since or (busy and isinstance(busy[0], KillContainer)):
            self._stop_probes(container_id)
        elif not busy:
            addresses = pod_ips(pod, observed, self._node.host_ips)
            self._probes.watch(pod, container, container_id, addresses[0] if addresses else "", started_at)

    def _stop_probes(self, container_id: str) -> None:
        """It still answers readiness, so that traffic drains by the endpoints' rules; liveness no longer matters."""
        if self._probes is not None:
            self._probes.stop(container_id, keep_readiness=True)

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
        grace_seconds = stop_grace_seconds(pod, self.memory)
        shorter = self._grace_seconds is not None and grace_seconds < self._grace_seconds
        if self._grace_seconds is None or shorter:
            if shorter:
                self.memory.stopping_since = now
            self._grace_seconds = grace_seconds
            for step, scope in self._busy.values():
                if isinstance(step, StartContainer | Prepare | PreStop | KillContainer):
                    scope.cancel()

    # --- steps --------------------------------------------------------------------------------------------------------

    def _launch(self, nursery: trio.Nursery, pod: Object, observed: PodObserved, step: Step) -> None:
        if isinstance(step, StartContainer) and step.name in self.memory.exited:
            waiting = self.memory.waiting.get(step.name)
            if waiting is None or waiting.reason == RunProblem.reason:
                self.memory.backoff.advance(step.name, self._node.clock())
        if isinstance(step, KillContainer):
            if step.restart:
                self.memory.restarting.add(step.container_id)
            self.memory.probes.failed.pop(step.container_id, None)
            self._stop_probes(step.container_id)
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
            case PreStop():
                await do.pre_stop(pod, observed, step)
                return trio.lowlevel.checkpoint
            case KillContainer():
                await do.kill_container(pod, observed, step)
            case ResizePod():
                await resize_pod(self._node, pod, self.resize.in_force(pod, observed), step)
                self.resize.carried_out(pod, step)
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
            await self._telling.write()
        await self._executor.remove_everything(self.pod(), observed)
        if not self.memory.gone:
            await self._executor.delete_object(self.pod())

    def _succeeded(self, step: Step) -> None:
        memory = self.memory
        match step:
            case Prepare():
                if memory.whole_in_force is None:
                    memory.whole_in_force = spec_of(self.pod()).get("resources") or {}
                if not memory.prepared:
                    memory.prepared = True
                    self._unsaved.set()
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
        elif isinstance(problem, ResizeProblem):
            self.resize.failed(pod, problem.message)
        elif isinstance(problem, VolumeProblem):
            delay_seconds = self._retries.advance("prepare", now)
            # Nobody tells a node that a claim was bound.
            retry_at = now + (min(delay_seconds, UNBOUND_RETRY_SECONDS_MAX) if problem.unbound else delay_seconds)
            self.memory.troubles["prepare"] = Waiting(problem.reason, problem.message, retry_at)
            self._refresh_at = retry_at if self.memory.prepared else math.inf
            for message in problem.messages if isinstance(problem, VolumesProblem) else [problem.message]:
                self._node.event(pod, "Warning", "FailedMount", message)
            if isinstance(problem, VolumesProblem) and problem.rejection and self.memory.failure is None:
                self.refuse("VolumeAttachmentLimitExceeded", problem.rejection)

    def _failed(self, pod: Object, step: Step, code: str, message: str) -> None:
        now = self._node.clock()
        log.warning("step failed pod=%s/%s step=%s code=%s error=%s", namespace_of(pod), name_of(pod), step.key, code, message)
        if step.key in ("sandbox", "prepare", "finish"):
            retry_at = now + self._retries.advance(step.key, now)
            self.memory.troubles[step.key] = Waiting(code, message, retry_at)
        if isinstance(step, KillContainer):
            self._node.event(pod, "Warning", "FailedKillPod", f"error killing pod: {message}")

    # --- status -------------------------------------------------------------------------------------------------------

    def look(self) -> tuple[Object | None, Object]:
        pod, node = self.pod(), self._node
        status = pod_status(pod, node.observer.of(self.uid), self.memory, node.clock(), node.host_ips)
        node.devices.into_status(pod, status)
        return self._mirror if self.static else pod, status

    def told(self) -> bool:
        return not self.memory.gone and not self.memory.cleaned and "finish" not in self._busy

    def take(self, pod: Object) -> None:
        if self.static:
            self._mirror = pod
            self._read_anew()
        elif uid_of(pod) == self.uid and _revision(pod) > self._revision:
            self._heard(pod, _revision(pod), echo=True)
        # What a resize gave back counts as held until the API has been told.
        self._node.room_changed()

    async def _all_said(self) -> None:
        await self._last_words.all_read(lambda: self._node.observer.of(self.uid))
