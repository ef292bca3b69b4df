"""Keep the node alive when it runs short: free what is unused, then end pods, one at a time.

Enters: thresholds, the node's figures each limits.EVICTION_CHECK_SECONDS, pods and what they use.
Leaves: the node's pressures (agent.node tells them, agent.admission goes by them), images removed, pods ended as Failed with
reason Evicted.
Holds: what to do is decided by pure functions; critical pods are never evicted; after an eviction the pod is waited for before
anybody else has to go.
Next: agent.worker ends the pod.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TypeAlias

import trio

from edgekube.agent.context import NodeContext
from edgekube.agent.eviction import local_storage, messages
from edgekube.agent.eviction.judging import Memory, Observation, judge, short
from edgekube.agent.eviction.measuring import (
    Places,
    container_use,
    has_image_disk,
    observe,
    processes_of,
    space_of,
    space_of_mount,
)
from edgekube.agent.eviction.ranking import ContainerUse, PodUse, Space, ranked
from edgekube.agent.eviction.thresholds import ALLOCATABLE_MEMORY, CONDITION_OF, MEMORY, PIDS, RESOURCE_OF, Threshold
from edgekube.agent.podspec import grace_period_seconds
from edgekube.agent.resources import is_critical, qos_class
from edgekube.agent.worker import PodWorker
from edgekube.api.objects import Object, spec_of, uid_of
from edgekube.containerd.model import RuntimeFailure
from edgekube.limits import DISK_USE_CHECK_SECONDS, EVICTION_CHECK_SECONDS, EVICTION_WAIT_SECONDS

log = logging.getLogger("edgekube.agent")

#: What a pod has when a hard threshold ends it.
HARD_GRACE_SECONDS = 1

Workers: TypeAlias = Callable[[], Iterable[PodWorker]]
Layers: TypeAlias = Mapping[str, tuple[int, int]]


class Evictor:
    def __init__(
        self,
        node: NodeContext,
        workers: Workers,
        thresholds: tuple[Threshold, ...],
        allocatable_memory_bytes: int,
        reclaim: Callable[[], Awaitable[None]],
        changed: Callable[[], None],
    ) -> None:
        """``allocatable_memory_bytes``: what all pods together may have. ``reclaim`` frees the images' disk; ``changed``: the
        pressures are others than they were."""
        self._node = node
        self._workers = workers
        self._thresholds = thresholds
        self._allocatable_memory_bytes = allocatable_memory_bytes
        self._reclaim = reclaim
        self._changed = changed
        self._rules = node.settings.node
        self._places = Places(node.settings.agent_dir, node.settings.containerd_root)
        self._memory = Memory()
        self._walked_at = -DISK_USE_CHECK_SECONDS
        #: MemoryPressure, DiskPressure, PIDPressure: those that hold.
        self.pressures: frozenset[str] = frozenset()

    async def run(self) -> None:
        """For ever."""
        while True:
            try:
                evicted = await self.look()
            except (RuntimeFailure, OSError) as error:
                log.warning("eviction not possible error=%s", error)
                evicted = []
            if evicted:
                with trio.move_on_after(EVICTION_WAIT_SECONDS):
                    for worker in evicted:
                        await worker.ended.wait()
            else:
                await trio.sleep(EVICTION_CHECK_SECONDS)

    async def look(self) -> list[PodWorker]:
        """Once; the pods that must go."""
        now = trio.current_time()
        observed = self._observe()
        verdict = judge(self._thresholds, observed, self._memory, now, self._rules.eviction_transition_seconds)
        self._memory = verdict.memory
        if verdict.pressures != self.pressures:
            log.info("node pressures=%s", ",".join(sorted(verdict.pressures)) or "none")
            self.pressures = verdict.pressures
            self._changed()
        if too_large := await self._too_large(now):
            return too_large
        if not verdict.act_on:
            return []
        return await self._relieve(verdict.act_on, observed)

    def _observe(self) -> dict[str, Observation]:
        return observe(self._places, self._node.cgroups, self._allocatable_memory_bytes)

    # --- pods beyond their own limits

    async def _too_large(self, now: float) -> list[PodWorker]:
        if now - self._walked_at < DISK_USE_CHECK_SECONDS:
            return []
        self._walked_at = now
        limited = [worker for worker in self._active() if local_storage.has_limits(worker.pod())]
        if not limited:
            return []
        uses = await self._uses(limited, disk=True)
        image_disk = has_image_disk(self._places)
        evicted = []
        for worker in limited:
            pod = worker.pod()
            why = local_storage.why_too_large(pod, uses[worker.uid], image_disk=image_disk)
            if why and self._evict(worker, pod, why, HARD_GRACE_SECONDS, condition=False):
                evicted.append(worker)
        return evicted

    # --- a node that is short of something

    async def _relieve(self, act_on: tuple[Threshold, ...], observed: Mapping[str, Observation]) -> list[PodWorker]:
        threshold = act_on[0]
        resource = RESOURCE_OF[threshold.signal]
        log.warning("node is short resource=%s signal=%s", resource, threshold.signal)
        self._node.node_event("Warning", "EvictionThresholdMet", messages.attempting(resource))
        if CONDITION_OF[threshold.signal] == "DiskPressure":
            await self._reclaim()
            if not short(self._thresholds, self._observe(), with_reclaim=True):
                return []
        active = {worker.uid: worker for worker in self._active()}
        memory_or_pids = threshold.signal in (MEMORY, ALLOCATABLE_MEMORY, PIDS)
        uses = await self._uses(active.values(), disk=not memory_or_pids)
        pods = [worker.pod() for worker in active.values()]
        for pod in ranked(threshold.signal, pods, uses, image_disk=has_image_disk(self._places)):
            grace_seconds = HARD_GRACE_SECONDS
            if not threshold.hard:
                grace_seconds = min(self._rules.eviction_grace_seconds_max, grace_period_seconds(pod))
            message = messages.evicted(threshold.signal, pod, uses.get(uid_of(pod)), act_on, observed)
            worker = active[uid_of(pod)]
            if self._evict(worker, pod, message, grace_seconds, condition=True):
                return [worker]
        log.warning("nobody can be evicted resource=%s", resource)
        return []

    def _active(self) -> list[PodWorker]:
        return [worker for worker in self._workers() if worker.holds_resources() and worker.memory.failure is None]

    def _evict(self, worker: PodWorker, pod: Object, message: str, grace_seconds: int, *, condition: bool) -> bool:
        if is_critical(pod):
            log.error("a critical pod is not evicted pod=%s/%s", worker.namespace, worker.name)
            return False
        self._node.event(pod, "Warning", messages.REASON, message)
        disruption = {"type": "DisruptionTarget", "status": "True", "reason": "TerminationByKubelet", "message": message}
        worker.end(messages.REASON, message, condition=disruption if condition else None, grace_seconds=grace_seconds)
        log.info("pod evicted pod=%s/%s reason=%s", worker.namespace, worker.name, message.strip())
        return True

    # --- what they use

    async def _uses(self, workers: Iterable[PodWorker], *, disk: bool) -> dict[str, PodUse]:
        layers: Layers = {}
        if disk:
            try:
                layers = await self._node.runtime.writable_layers()
            except RuntimeFailure as failure:
                log.warning("writable layers are not known error=%s", failure.message)
        found = {}
        for worker in workers:
            pod = worker.pod()
            containers = {
                item.status.name: item.status.id
                for item in reversed(self._node.observer.of(worker.uid).containers)
                if item.status.state == "RUNNING"
            }
            found[worker.uid] = await trio.to_thread.run_sync(self._use, pod, containers, layers, disk)
        return found

    def _use(self, pod: Object, containers: Mapping[str, str], layers: Layers, disk: bool) -> PodUse:
        cgroups, paths = self._node.cgroups, self._node.paths(pod)
        cgroup = cgroups.path_of(qos_class(pod), uid_of(pod))
        parts: dict[str, ContainerUse] = {}
        for name, container_id in containers.items():
            memory_bytes = cgroups.working_set_bytes(f"{cgroup}/{container_id}") or 0
            root = Space(*layers[container_id]) if container_id in layers else Space()
            parts[name] = container_use(memory_bytes, root, paths.logs / name) if disk else ContainerUse(memory_bytes, root)
        volumes: dict[str, Space] = {}
        for volume in spec_of(pod).get("volumes") or [] if disk else []:
            if "emptyDir" in volume:
                medium = (volume["emptyDir"] or {}).get("medium") or ""
                directory = paths.volume("empty-dir", volume["name"])
                volumes[volume["name"]] = space_of(directory) if not medium else space_of_mount(directory)
        return PodUse(cgroups.working_set_bytes(cgroup) or 0, processes_of(cgroups, cgroup), parts, volumes)
