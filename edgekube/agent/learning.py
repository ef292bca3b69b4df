"""What a look at containerd teaches of one pod: how containers ended, which probes run, whose restart is delayed.

Enters: the pod, what is observed of it, the steps under way, the clock.
Leaves: PodMemory as the plan and the status need it; probes begun and ended; the kubelet's BackOff events.
Holds: what is remembered of a container goes when it is neither observed nor the last of its name; BackOff is told once for each.
Next: agent.last_words, agent.probes.runner, agent.pod_resize.
"""

from __future__ import annotations

from collections.abc import Mapping

import trio

from edgekube.agent.context import NodeContext
from edgekube.agent.last_words import LastWords
from edgekube.agent.names import full_name
from edgekube.agent.outcome import RESTARTING_ALL, runs_again
from edgekube.agent.pod_resize import PodResize
from edgekube.agent.podspec import container_named, field_path, init_containers_of
from edgekube.agent.probes.runner import ProbeRunner
from edgekube.agent.problems import RunProblem
from edgekube.agent.state import PodMemory, PodObserved
from edgekube.agent.status import pod_ips
from edgekube.agent.steps import KillContainer, Step
from edgekube.api.objects import Object, is_deleting
from edgekube.containerd.model import ContainerStatus


class Learning:
    __slots__ = ("_memory", "_node", "_resize", "_told_backoff", "last_words", "probes")

    def __init__(self, node: NodeContext, memory: PodMemory, resize: PodResize) -> None:
        self._node = node
        self._memory = memory
        self._resize = resize
        self._told_backoff: set[str] = set()
        self.last_words = LastWords(memory)
        #: As long as the worker runs.
        self.probes: ProbeRunner | None = None

    def learn(
        self, pod: Object, observed: PodObserved, busy: Mapping[str, tuple[Step, trio.CancelScope]], now: float
    ) -> float | None:
        """What the plan and the status need beside containerd's own words. Returns when more of it will be there."""
        memory = self._memory
        inits = {container["name"] for container in init_containers_of(pod)}
        paths = self._node.paths(pod)
        for item in observed.containers:
            status = item.status
            if status.state == "EXITED":
                self._forget_probes(status.id)
                self.last_words.read(paths, status, now)
                known = memory.exited.get(status.name)
                removed = known is not None and known.id == status.id and known.reason == RESTARTING_ALL
                if known is None or (status.attempt >= known.attempt and not removed):
                    memory.exited[status.name] = status
                self._tell_backoff(pod, status, now, inits)
            elif status.state == "RUNNING":
                under_way = busy.get(f"container/{status.name}")
                self._watch_probes(pod, observed, status, under_way[0] if under_way else None)
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
        self._resize.learn(pod, observed)
        return self.last_words.settle(observed, now)

    def stop_probes(self, container_id: str) -> None:
        """It still answers readiness, so that traffic drains by the endpoints' rules; liveness no longer matters."""
        if self.probes is not None:
            self.probes.stop(container_id, keep_readiness=True)

    def _forget_probes(self, container_id: str) -> None:
        self._memory.probes.forget(container_id)
        if self.probes is not None:
            self.probes.stop(container_id)

    def _watch_probes(self, pod: Object, observed: PodObserved, status: ContainerStatus, under_way: Step | None) -> None:
        container = container_named(pod, status.name)
        if container is None or self.probes is None:
            return
        if self._memory.stopping_since or isinstance(under_way, KillContainer):
            self.stop_probes(status.id)
        elif under_way is None:
            addresses = pod_ips(pod, observed, self._node.host_ips)
            self.probes.watch(pod, container, status.id, addresses[0] if addresses else "", status.started_at_ns / 1e9)

    def _tell_backoff(self, pod: Object, status: ContainerStatus, now: float, inits: set[str]) -> None:
        name, container = status.name, container_named(pod, status.name)
        if container is None or status.id in self._told_backoff or is_deleting(pod) or name in self._memory.starting:
            return
        delayed = self._memory.backoff.remaining_seconds(name, status.finished_at_ns / 1e9, now) > 0
        if delayed and runs_again(pod, container, status.exit_code, init=name in inits):
            self._told_backoff.add(status.id)
            message = f"Back-off restarting failed container {name} in pod {full_name(pod)}"
            self._node.event(pod, "Warning", "BackOff", message, field_path(pod, name))
