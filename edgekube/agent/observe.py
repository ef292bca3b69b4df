"""Containerd as it is now, pod by pod: list, ask only about what changed, tell the pods concerned.

Enters: the runtime's event stream (hints), the clock (safety net), workers that need to know now.
Leaves: PodObserved per pod uid; a call to ``changed`` for each pod whose picture differs.
Holds: one listing at a time; ``fresh`` returns only after a listing that began after the call, so a step sees its own effect.
Bound: one ContainerStatus call per change of state, not per listing.
Next: agent.worker.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable

import trio

from edgekube.agent.names import POD_UID
from edgekube.agent.state import NOTHING, ObservedContainer, PodObserved
from edgekube.containerd.model import Container, ContainerStatus, RuntimeFailure, Sandbox, SandboxStatus
from edgekube.containerd.protocol import Runtime
from edgekube.limits import RELIST_SECONDS, RELIST_WITHOUT_EVENTS_SECONDS

log = logging.getLogger("edgekube.agent")

#: containerd tells the world of an exit before its own CRI part has taken note, so a listing on the event's heels may still show
#: the old state: look again, soon at first.
_ECHO_SECONDS = (0.02, 0.08, 0.3, 1.0)


class Observer:
    def __init__(self, runtime: Runtime, changed: Callable[[str], None]) -> None:
        self._runtime = runtime
        self._changed = changed
        self._pods: dict[str, PodObserved] = {}
        self._sandboxes: dict[str, SandboxStatus] = {}
        self._containers: dict[str, ContainerStatus] = {}
        self._wake = trio.Event()
        self._done = trio.Event()  # replaced after each listing that succeeded
        self._began = 0  # listings begun; and the number of the last one that succeeded
        self._succeeded = 0
        self._streaming = False
        self._echoes: list[float] = []
        #: True once containerd has answered; False while it is away.
        self.healthy = False

    def pods(self) -> Iterable[str]:
        """The uids of pods that have a sandbox or container."""
        return list(self._pods)

    def of(self, uid: str) -> PodObserved:
        """As last seen."""
        return self._pods.get(uid, NOTHING)

    def hint(self) -> None:
        """Something happened: look soon."""
        self._echoes = list(_ECHO_SECONDS)
        self._wake.set()

    async def fresh(self, uid: str) -> PodObserved:
        """Waits for a listing that begins from now on; while containerd is away that is until it is back."""
        need = self._began + 1
        while self._succeeded < need:
            self._wake.set()
            await self._done.wait()
        return self.of(uid)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Listings until cancelled; started once the first has succeeded."""
        started = False
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._follow_events)
            while True:
                self._wake = trio.Event()
                self._began += 1
                number = self._began
                try:
                    await self._list()
                except RuntimeFailure as failure:
                    if self.healthy or not started:
                        log.warning("containerd does not answer code=%s error=%s", failure.code, failure.message)
                    self.healthy = False
                    await trio.sleep(0.2 if failure.code == "UNAVAILABLE" else 1.0)
                    continue
                self.healthy = True
                self._succeeded = number
                self._done.set()
                self._done = trio.Event()
                if not started:
                    started = True
                    task_status.started()
                with trio.move_on_after(self._echoes.pop(0) if self._echoes else self._pause_seconds()):
                    await self._wake.wait()

    def _pause_seconds(self) -> float:
        if not self._pods:
            return math.inf if self._streaming else RELIST_SECONDS
        return RELIST_SECONDS if self._streaming else RELIST_WITHOUT_EVENTS_SECONDS

    async def _follow_events(self) -> None:
        while True:
            try:
                async with self._runtime.events() as events:
                    self._streaming = True
                    self._wake.set()
                    async for _ in events:
                        self.hint()
            except RuntimeFailure as failure:
                log.debug("containerd events ended code=%s error=%s", failure.code, failure.message)
            self._streaming = False
            self._wake.set()
            await trio.sleep(1.0)

    async def _list(self) -> None:
        # Containers first: the sandbox of each that is listed is then listed too.
        containers = await self._runtime.list_containers()
        sandboxes = await self._runtime.list_sandboxes()
        await self._look_at_sandboxes(sandboxes)
        await self._look_at_containers(containers)
        self._publish(sandboxes, containers)

    async def _look_at_sandboxes(self, rows: list[Sandbox]) -> None:
        known = {row.id: self._sandboxes[row.id] for row in rows if row.id in self._sandboxes}
        for row in rows:
            status = known.get(row.id)
            if status is None or status.sandbox.state != row.state:
                try:
                    known[row.id] = await self._runtime.sandbox_status(row.id)
                except RuntimeFailure as failure:
                    if failure.code != "NOT_FOUND":
                        raise
                    known.pop(row.id, None)
        self._sandboxes = known

    async def _look_at_containers(self, rows: list[Container]) -> None:
        known = {row.id: self._containers[row.id] for row in rows if row.id in self._containers}
        for row in rows:
            status = known.get(row.id)
            if status is None or status.state != row.state:
                try:
                    known[row.id] = await self._runtime.container_status(row.id)
                except RuntimeFailure as failure:
                    if failure.code != "NOT_FOUND":
                        raise
                    known.pop(row.id, None)
        self._containers = known

    def _publish(self, sandboxes: list[Sandbox], containers: list[Container]) -> None:
        by_uid: dict[str, tuple[list[SandboxStatus], list[ObservedContainer]]] = {}
        for row in sandboxes:
            if row.id in self._sandboxes:
                by_uid.setdefault(row.uid, ([], []))[0].append(self._sandboxes[row.id])
        for container in containers:
            uid = container.labels.get(POD_UID)
            if uid and container.id in self._containers:
                observed = ObservedContainer(container.sandbox_id, self._containers[container.id])
                by_uid.setdefault(uid, ([], []))[1].append(observed)
        before, self._pods = self._pods, {}
        for uid, (pod_sandboxes, pod_containers) in by_uid.items():
            pod_sandboxes.sort(key=lambda status: status.sandbox.created_at_ns, reverse=True)
            pod_containers.sort(key=lambda item: (item.status.created_at_ns, item.status.attempt), reverse=True)
            self._pods[uid] = PodObserved(tuple(pod_sandboxes), tuple(pod_containers))
        for uid in before.keys() | self._pods.keys():
            if before.get(uid) != self._pods.get(uid):
                self._changed(uid)
