"""One pod on this node: look, plan, do, tell; again whenever something changes.

Enters: the pod from the API, what containerd shows, results of steps and probes, the clock.
Leaves: steps to the executor, the status to the API.
Holds: what is news only pokes; every decision is the plan's, which sees the pod, containerd and PodMemory as they are now. The
loop itself waits for nothing but news.
Next: agent.learning looks, agent.plan plans, agent.step_runner does, agent.status_telling tells; agent.pod_copy is the pod as it
is known here, agent.pod_saving keeps of it what must not be lost.
"""

from __future__ import annotations

import math

import orjson
import trio

from edgekube.agent import allocation
from edgekube.agent.context import NodeContext
from edgekube.agent.ending import Ending
from edgekube.agent.held import Held
from edgekube.agent.learning import Learning
from edgekube.agent.names import redefined
from edgekube.agent.plan import ends, plan
from edgekube.agent.plan_stop import stop_grace_seconds
from edgekube.agent.pod_copy import PodCopy, revision_number
from edgekube.agent.pod_resize import PodResize
from edgekube.agent.pod_saving import PodSaving
from edgekube.agent.podspec import all_containers
from edgekube.agent.probes.runner import ProbeRunner
from edgekube.agent.problems import ConfigProblem
from edgekube.agent.references import references_of
from edgekube.agent.state import PodMemory
from edgekube.agent.status import pod_status
from edgekube.agent.status_telling import StatusTelling
from edgekube.agent.step_outcomes import StepOutcomes
from edgekube.agent.step_runner import StepRunner
from edgekube.agent.steps import Fail, Prepare
from edgekube.agent.takeover import memory_from
from edgekube.api.objects import Object, is_deleting, name_of, namespace_of, uid_of
from edgekube.limits import CLOCK_STEP_SECONDS


class _Wake:
    """Whether there is news since the loop last looked. Those who poke refer to this, not to the worker: with it gone, a pod's
    memory is free at once, not when all that lives is gone through."""

    __slots__ = ("_news",)

    def __init__(self) -> None:
        self._news = trio.Event()

    def poke(self) -> None:
        self._news.set()

    def heeded(self) -> None:
        self._news = trio.Event()

    async def wait(self) -> None:
        await self._news.wait()


def _metadata_key(pod: Object) -> tuple[object, object]:
    metadata = pod.get("metadata") or {}
    return metadata.get("labels"), metadata.get("annotations")


class PodWorker:
    __slots__ = (
        "_clock_ahead",
        "_copy",
        "_generation",
        "_grace_seconds",
        "_labels",
        "_learning",
        "_node",
        "_outcomes",
        "_references",
        "_saving",
        "_steps",
        "_telling",
        "_wake",
        "memory",
        "name",
        "namespace",
        "resize",
        "uid",
    )

    def __init__(self, node: NodeContext, pod: Object, *, gone: bool = False) -> None:
        self._node = node
        self.uid = uid_of(pod)
        self.namespace = namespace_of(pod)
        self.name = name_of(pod)
        self._wake = _Wake()
        self.memory: PodMemory = memory_from(pod, node.clock())
        self.memory.gone = gone
        self._copy = PodCopy(pod, self.memory)
        poke = self._wake.poke
        self._saving = PodSaving(node, self._copy, self.memory, poke)
        changed = self._saving.changed
        self.resize = PodResize(node, self.uid, self.memory, poke, changed)
        self._learning = Learning(node, self.memory, self.resize)
        self._telling = StatusTelling(node.verbs, self, self._all_said, node.terminations.tell, node.coming_up)
        self._outcomes = StepOutcomes(node, self._copy, self.memory, self.resize, changed=changed, poke=poke)
        self._steps = StepRunner(
            node, self.uid, self._copy, self.memory, self.resize, self._outcomes,
            stop_probes=self._learning.stop_probes, tell=self._telling.write, poke=poke,
        )  # fmt: skip
        #: Of the time that only passes.
        self._clock_ahead = node.clock() - trio.current_time()
        self._grace_seconds: int | None = None
        # What of the last news is held against the next.
        self._labels = _metadata_key(pod)
        self._references = references_of(pod)
        self._generation = (pod.get("metadata") or {}).get("generation")

    @property
    def static(self) -> bool:
        """From a file of this node, not from the API; then the API is shown a mirror."""
        return self._copy.static

    @property
    def ended(self) -> trio.Event:
        """Set once nothing of it runs any more."""
        return self._outcomes.ended

    def succeed(self, failed: PodWorker) -> None:
        """In place of one that failed: what it was told holds, and whoever waits for its end waits for this one's."""
        self._outcomes.ended = failed.ended
        self._copy.show(failed._copy.mirror)
        for name in ("failure", "disruption", "stop_grace_seconds", "refused"):
            setattr(self.memory, name, getattr(failed.memory, name))
        ending = failed._saving.ending
        if ending is not None and self.memory.failure is None:
            self._saving.end(ending)

    # --- the pod ------------------------------------------------------------------------------------------------------

    def pod(self) -> Object:
        """The pod as this node runs it: as last heard, with the resources that it was given. Decoded anew: the caller's own."""
        return self._copy.pod()

    def desired(self) -> Object:
        """The pod as last heard; of a static pod the API's mirror has the status."""
        return self._copy.desired()

    def held(self) -> Held:
        return self._copy.held()

    def holds_resources(self) -> bool:
        """It was admitted, and has not come to its end. One that the API has not any more does not count, though it may still be
        ending: whoever deleted it at once wants its room now (the kubelet counts as much)."""
        if not self.memory.admitted or self.memory.gone or self.ended.is_set():
            return False
        # One whose end has been told: whoever heard that may have given its room to another already.
        return not self._copy.is_finished() or any(
            item.status.state == "RUNNING" for item in self._node.observer.of(self.uid).containers
        )

    # --- news ---------------------------------------------------------------------------------------------------------

    def poke(self) -> None:
        self._wake.poke()

    def mirror_told(self, mirror: Object | None) -> None:
        """The API has this of a static pod now; None: nothing."""
        self._copy.show(mirror)
        self._telling.changed()

    def update(self, raw: bytes, revision: int) -> None:
        """The API has this now."""
        if revision > self._copy.revision:
            self._heard(orjson.loads(raw), revision, echo=False)

    def _heard(self, pod: Object, revision: int, *, echo: bool) -> None:
        """``echo``: it came as the answer to a status that was written here, which is no news by itself."""
        generation = (pod.get("metadata") or {}).get("generation")
        given = allocation.allocation_of(self.pod()) if generation != self._generation else None
        before = self.desired() if given is not None else pod
        self._copy.heard(pod, revision)
        if given is not None:
            self.resize.heed(pod, given)
            self._generation = generation
            self._saving.changed()
            echo = False
        for name in redefined(all_containers(before), all_containers(pod)):
            # What became of the other one says nothing about this one.
            self.memory.backoff.forget(name)
            self.memory.waiting.pop(name, None)
        references = references_of(pod)
        if references != self._references:
            self._references = references
            self._node.references.keep(self.uid, references)
        key = _metadata_key(pod)
        if key != self._labels:
            self._labels = key
            self.memory.refresh_at = 0.0
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
        self._saving.take_up()
        self.resize.take_up(self.desired())

    def refuse(self, reason: str, message: str) -> None:
        """This node does not take it."""
        self._outcomes.refuse(reason, message)

    def end(self, reason: str, message: str, *, condition: Object | None = None, grace_seconds: int | None = None) -> None:
        """It must come to its end now, as Failed: preempted, evicted, too old. ``ended`` tells when it has.

        ``condition`` is shown from then on (DisruptionTarget); ``grace_seconds`` counts when it is less than the pod's own.
        """
        if not (self.memory.terminal or self.memory.failure is not None or self._saving.ending is not None):
            self._saving.end(Ending(reason, message, condition, grace_seconds))

    def references_changed(self) -> None:
        """A ConfigMap or Secret that the pod names is not what it was."""
        self.memory.refresh_at = 0.0
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

    # --- the loop -----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Until the pod and everything it had here are gone."""
        self._node.references.keep(self.uid, () if self.memory.gone else self._references)
        async with trio.open_nursery() as nursery:
            self._learning.probes = ProbeRunner(self._node, nursery, self.memory.probes, self._wake.poke)
            nursery.start_soon(self._telling.run)
            nursery.start_soon(self._saving.run)
            while not (self.memory.cleaned and not self._steps.busy):
                self._wake.heeded()
                wake_at = self._round(nursery)
                pause_seconds = math.inf if wake_at is None else max(0.0, wake_at - self._node.clock())
                with trio.move_on_after(pause_seconds):
                    await self._wake.wait()
            nursery.cancel_scope.cancel()
        self._node.references.keep(self.uid, ())
        self._node.tokens.forget(self.uid)
        self._node.images.forget(self.uid)
        self._telling.let_go()
        self._learning.probes = None

    def _round(self, nursery: trio.Nursery) -> float | None:
        pod, observed, now = self.pod(), self._node.observer.of(self.uid), self._node.clock()
        self._heed_clock(now)
        unread_at = self._learning.learn(pod, observed, self._steps.busy, now)
        self._steps.end_hooks(pod, observed)
        if ends(pod, observed, self.memory):
            self._hurry(pod, now)
        planned = plan(pod, observed, self.memory, self._steps.busy.keys(), now)
        wake_at = min((at for at in (planned.wake_at, unread_at) if at is not None), default=None)
        for step in planned.steps:
            if isinstance(step, Fail):
                if self._saving.ending is not None:
                    continue
                self._node.event(pod, "Normal", step.reason, step.message)
                self.end(step.reason, step.message)
            else:
                self._steps.launch(nursery, pod, observed, step)
        memory = self.memory
        if memory.prepared and not (memory.released or memory.gone) and "prepare" not in self._steps.busy:
            if memory.refresh_at <= now:
                self._steps.launch(nursery, pod, observed, Prepare())
            elif memory.refresh_at < math.inf:
                wake_at = memory.refresh_at if wake_at is None else min(wake_at, memory.refresh_at)
        self._telling.changed()
        return wake_at

    def _heed_clock(self, now: float) -> None:
        """A board without a clock of its own learns the time when it has run for a while."""
        set_by = now - trio.current_time() - self._clock_ahead
        if abs(set_by) > CLOCK_STEP_SECONDS:
            self._clock_ahead += set_by
            self.memory.shift(set_by)
            if self.memory.refresh_at < math.inf:
                self.memory.refresh_at = now  # tokens end by the clock, other things wait for time to pass

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
            self._steps.hurry()

    # --- status -------------------------------------------------------------------------------------------------------

    def look(self) -> tuple[Object | None, Object]:
        pod, node = self.pod(), self._node
        status = pod_status(pod, node.observer.of(self.uid), self.memory, node.clock(), node.host_ips)
        node.devices.into_status(pod, status)
        return self._copy.mirror if self.static else pod, status

    def told(self) -> bool:
        return not self.memory.gone and not self.memory.cleaned and "finish" not in self._steps.busy

    def take(self, pod: Object) -> None:
        if self.static:
            self._copy.show(pod)
        elif uid_of(pod) == self.uid and revision_number(pod) > self._copy.revision:
            self._heard(pod, revision_number(pod), echo=True)
        # What a resize gave back counts as held until the API has been told.
        self._node.room_changed()

    async def _all_said(self) -> None:
        await self._learning.last_words.all_read(lambda: self._node.observer.of(self.uid))
