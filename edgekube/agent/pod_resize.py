"""One pod's resize: what it wants, what it was allocated, what is in force, and what is told of it.

Enters: the spec when it changes, the answers of agent.resizing, the outcome of ResizePod steps.
Leaves: PodMemory's part about resizes, the kubelet's events.
Holds: nothing but that part: whoever loses it reads it from disk (agent.allocation_file) or from containers' annotations.
Next: agent.resizing, agent.actuate, agent.conditions.
"""

from __future__ import annotations

from collections.abc import Callable

import orjson

from edgekube.agent import allocation, allocation_file
from edgekube.agent.context import NodeContext
from edgekube.agent.resize import resources_in_force, unfinished
from edgekube.agent.restart import Backoff
from edgekube.agent.state import PodMemory, PodObserved, ResizePending, ResizeProgress, Waiting
from edgekube.agent.steps import ResizePod
from edgekube.api.objects import Object, metadata_of
from edgekube.limits import RESIZE_RETRY_SECONDS, RESIZE_RETRY_SECONDS_MAX


def _generation(pod: Object) -> int:
    return int(metadata_of(pod).get("generation") or 0)


class PodResize:
    __slots__ = ("_memory", "_node", "_poke", "_retries", "_uid", "_unsaved")

    def __init__(
        self, node: NodeContext, uid: str, memory: PodMemory, poke: Callable[[], None], unsaved: Callable[[], None]
    ) -> None:
        self._node = node
        self._uid = uid
        self._memory = memory
        self._poke = poke
        self._unsaved = unsaved
        self._retries = Backoff(RESIZE_RETRY_SECONDS, RESIZE_RETRY_SECONDS_MAX)

    def heed(self, wanted: Object, given: Object) -> None:
        """Does the spec name other resources than the pod was given?"""
        memory = self._memory
        if memory.refused or memory.terminal:
            return
        if allocation.wants_resize(wanted, given):
            memory.allocated = given
            memory.resize_undecided = True
            self._node.wants_resize(self._uid)
        elif memory.resize_pending is not None:
            self.settled()

    # --- the answers --------------------------------------------------------------------------------------------------

    def settled(self) -> None:
        """Nothing is wanted any more."""
        self._memory.resize_pending = None
        self._memory.resize_undecided = False
        self._poke()

    def allocated(self, wanted: Object) -> None:
        memory, generation = self._memory, _generation(wanted)
        memory.allocated = allocation.allocation_of(wanted)
        memory.resize_pending = None
        memory.resize_undecided = False
        memory.resize_progress = ResizeProgress(generation)
        self._forget_trouble()
        self._unsaved()
        self._node.event(wanted, "Normal", "ResizeStarted", allocation.event_text("Pod resize started", wanted, generation))
        self._poke()

    def refused(self, wanted: Object, reason: str, message: str) -> None:
        """Deferred or Infeasible: it goes on with what it has."""
        before, generation = self._memory.resize_pending, _generation(wanted)
        since = before.since if before else self._node.clock()
        self._memory.resize_pending = ResizePending(reason, message, generation, since)
        self._memory.resize_undecided = False
        self._unsaved()
        if before is None or (before.reason, before.generation) != (reason, generation):
            text = allocation.event_text(f"Pod resize {reason}", wanted, generation, message)
            self._node.event(wanted, "Warning", f"Resize{reason}", text)
        self._poke()

    # --- carrying it out ----------------------------------------------------------------------------------------------

    def learn(self, pod: Object, observed: PodObserved) -> None:
        progress = self._memory.resize_progress
        if progress is not None and not unfinished(pod, observed, self._memory):
            self._memory.resize_progress = None
            text = allocation.event_text("Pod resize completed", pod, progress.generation)
            self._node.event(pod, "Normal", "ResizeCompleted", text)

    def in_force(self, pod: Object, observed: PodObserved) -> Object:
        """The pod with the resources that its cgroup and running containers have now."""
        held = allocation.allocation_of(pod)
        if self._memory.whole_in_force is not None:
            held["resources"] = self._memory.whole_in_force or None
        for name in held["containers"]:
            latest = observed.latest(name)
            has = resources_in_force(latest.status, self._memory) if latest and latest.status.state == "RUNNING" else None
            if has is not None:
                held["containers"][name] = has
        copy: Object = orjson.loads(orjson.dumps(pod))
        return allocation.as_allocated(copy, held)

    def carried_out(self, pod: Object, step: ResizePod) -> None:
        given = allocation.allocation_of(pod)
        self._memory.resized |= {container_id: given["containers"][name] for name, container_id in step.containers}
        self._memory.whole_in_force = given["resources"] or {}
        self._forget_trouble()
        self._unsaved()

    def failed(self, pod: Object, message: str) -> None:
        now, progress = self._node.clock(), self._memory.resize_progress
        retry_at = now + self._retries.advance("resize", now)
        self._memory.troubles["resize"] = Waiting("Error", message, retry_at)
        failed = ResizeProgress(progress.generation if progress else _generation(pod), "Error", message)
        if failed != progress:
            self._memory.resize_progress = failed
            text = allocation.event_text("Pod resize error", pod, failed.generation, message)
            self._node.event(pod, "Warning", "ResizeError", text)

    def _forget_trouble(self) -> None:
        self._memory.troubles.pop("resize", None)
        self._retries.forget("resize")

    # --- after a start of this process --------------------------------------------------------------------------------

    def take_up(self, pod: Object) -> None:
        """What was it given, and has it asked for something else since?"""
        memory = self._memory
        if memory.terminal or memory.gone:
            return
        allocation_file.read(self._node.paths(pod).allocation, memory)
        if memory.allocated is None:
            self.heed(pod, allocation.allocation_of(self.in_force(pod, self._node.observer.of(self._uid))))
        elif allocation.wants_resize(pod, memory.allocated):
            self._node.wants_resize(self._uid)
