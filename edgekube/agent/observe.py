"""Containerd as it is now, pod by pod: list, ask only about what changed, tell the pods concerned.

Enters: the ends of containers from the runtime's event stream, the clock (safety net), workers that know what they did.
Leaves: PodObserved per pod uid; a call to ``changed`` for each pod whose picture differs.
Holds: one listing at a time; ``fresh`` returns only after a listing that began after the call, so a step sees its own effect.
What a step made is asked for by its id, without a listing: with twenty pods starting at once, listings of the world would be
most of the work. A listing that began before such a look does not undo it.
Bound: one status call per change of state, not per listing; limits.RUNTIME_LOOKS_AT_ONCE_MAX of them at a time.
Next: agent.worker.
"""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections.abc import Callable, Iterable, Iterator

import trio

from edgekube.agent import out_of_memory
from edgekube.agent.names import POD_UID
from edgekube.agent.state import NOTHING, ObservedContainer, PodObserved
from edgekube.containerd.model import Container, ContainerStatus, RuntimeFailure, Sandbox, SandboxStatus
from edgekube.containerd.protocol import Runtime
from edgekube.limits import RELIST_SECONDS, RELIST_WITHOUT_EVENTS_SECONDS, RUNTIME_LOOKS_AT_ONCE_MAX

log = logging.getLogger("edgekube.agent")

#: containerd tells the world of an exit before its own CRI part has taken note, so a look on the event's heels may still show
#: the old state: look again, soon at first.
_ECHO_SECONDS = (0.0, 0.02, 0.08, 0.3, 1.0)


class Observer:
    def __init__(self, runtime: Runtime, changed: Callable[[str], None]) -> None:
        self._runtime = runtime
        self._changed = changed
        self._pods: dict[str, PodObserved] = {}
        self._sandboxes: dict[str, SandboxStatus] = {}
        self._containers: dict[str, ObservedContainer] = {}
        #: Looked at by id: the number of the listing that was under way, which knows less.
        self._looked: dict[str, int] = {}
        #: Containers that a step ends: how they end is no riddle.
        self._ending: set[str] = set()
        self._looks = trio.CapacityLimiter(RUNTIME_LOOKS_AT_ONCE_MAX)
        self._wake = trio.Event()
        self._done = trio.Event()  # replaced after each listing that succeeded
        self._began = 0  # listings begun; and the number of the last one that succeeded
        self._succeeded = 0
        self._streaming = False
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
        self._wake.set()

    async def fresh(self, uid: str) -> PodObserved:
        """Waits for a listing that begins from now on; while containerd is away that is until it is back."""
        need = self._began + 1
        while self._succeeded < need:
            self._wake.set()
            await self._done.wait()
        return self.of(uid)

    async def look_at_sandbox(self, sandbox_id: str) -> None:
        """As it is now: of() shows it when this returns. Raises RuntimeFailure."""
        status = await self._runtime.sandbox_status(sandbox_id)
        self._looked[sandbox_id] = self._began
        self._sandboxes[sandbox_id] = status
        self._publish({status.sandbox.uid})

    async def look_at_container(self, sandbox_id: str, container_id: str) -> None:
        """As it is now: of() shows it when this returns. Raises RuntimeFailure."""
        status = await self._status(container_id)
        self._looked[container_id] = self._began
        self._containers[container_id] = ObservedContainer(sandbox_id, status)
        self._publish({status.labels.get(POD_UID, "")})

    def ends(self, container_id: str) -> None:
        """Said before a step ends it."""
        self._ending.add(container_id)

    async def _status(self, container_id: str) -> ContainerStatus:
        """With the reason of an end, where it comes a little later. Raises RuntimeFailure."""
        for pause_seconds in out_of_memory.LOOKS_SECONDS:
            status = await self._runtime.container_status(container_id)
            if not out_of_memory.may_be(status, time.time(), ended_here=container_id in self._ending):
                return status
            await trio.sleep(pause_seconds)
        return await self._runtime.container_status(container_id)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Listings until cancelled; started once the first has succeeded."""
        started = False
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._follow_events, nursery)
            while True:
                self._wake = trio.Event()
                self._began += 1
                number = self._began
                began_at = trio.current_time()
                try:
                    await self._list(number)
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
                # No more than half of the time: what happens meanwhile is seen by one listing.
                await trio.sleep(trio.current_time() - began_at)
                with trio.move_on_after(self._pause_seconds()):
                    await self._wake.wait()

    def _pause_seconds(self) -> float:
        if not self._pods:
            return math.inf if self._streaming else RELIST_SECONDS
        return RELIST_SECONDS if self._streaming else RELIST_WITHOUT_EVENTS_SECONDS

    async def _follow_events(self, nursery: trio.Nursery) -> None:
        while True:
            try:
                async with self._runtime.events() as events:
                    self._streaming = True
                    self._wake.set()
                    async for event in events:
                        # Starts are the steps' own doing, and they look for themselves.
                        if event.topic == "/tasks/exit":
                            nursery.start_soon(self.ended, event.container_id)
                        elif event.topic == "/tasks/oom":
                            nursery.start_soon(self._ran_out_of_memory, event.container_id)
            except RuntimeFailure as failure:
                log.debug("containerd events ended code=%s error=%s", failure.code, failure.message)
            self._streaming = False
            self._wake.set()
            await trio.sleep(1.0)

    async def ended(self, subject_id: str) -> None:
        """Containerd says that it ended: look until its CRI says so too. The main process of a sandbox has the sandbox's id."""
        listing = math.inf  # the first that began after the event
        for pause_seconds in _ECHO_SECONDS:
            await trio.sleep(pause_seconds)
            container = self._containers.get(subject_id)
            sandbox = self._sandboxes.get(subject_id)
            try:
                if container is not None:
                    if container.status.state == "EXITED":
                        return
                    await self.look_at_container(container.sandbox_id, subject_id)
                elif sandbox is not None:
                    if sandbox.sandbox.state == "NOTREADY":
                        return
                    await self.look_at_sandbox(subject_id)
                elif self._succeeded >= listing:
                    return  # it is in no listing since: removed by now
                else:
                    listing = min(listing, self._began + 1)
                    self.hint()
            except RuntimeFailure:
                self.hint()

    async def _ran_out_of_memory(self, container_id: str) -> None:
        """A container of it may live on, for the kernel ends one process; the end of one that is told already is told anew."""
        for pause_seconds in _ECHO_SECONDS:
            await trio.sleep(pause_seconds)
            item = self._containers.get(container_id)
            if item is None or item.status.state != "EXITED" or item.status.reason not in ("", "Error"):
                return
            with contextlib.suppress(RuntimeFailure):
                await self.look_at_container(item.sandbox_id, container_id)

    async def _list(self, number: int) -> None:
        # Containers first: the sandbox of each that is listed is then listed too.
        containers = await self._runtime.list_containers()
        sandboxes = await self._runtime.list_sandboxes()
        self._forget({row.id for row in sandboxes} | {row.id for row in containers}, number)
        failures: list[RuntimeFailure] = []
        async with trio.open_nursery() as nursery:
            for sandbox_id in self._changed_sandboxes(sandboxes, number):
                nursery.start_soon(self._learn_sandbox, sandbox_id, failures)
            for sandbox_id, container_id in self._changed_containers(containers, number):
                nursery.start_soon(self._learn_container, sandbox_id, container_id, failures)
        if failures:
            raise failures[0]
        self._looked = {known_id: at for known_id, at in self._looked.items() if at >= number}
        self._publish(None)

    def _forget(self, listed: set[str], number: int) -> None:
        """What the listing has not, unless it was looked at since."""
        stay = listed | {known_id for known_id, at in self._looked.items() if at >= number}
        self._sandboxes = {known_id: status for known_id, status in self._sandboxes.items() if known_id in stay}
        self._containers = {known_id: item for known_id, item in self._containers.items() if known_id in stay}
        self._ending &= stay

    def _changed_sandboxes(self, rows: list[Sandbox], number: int) -> Iterator[str]:
        for row in rows:
            known = self._sandboxes.get(row.id)
            if self._looked.get(row.id, 0) < number and (known is None or known.sandbox.state != row.state):
                yield row.id

    def _changed_containers(self, rows: list[Container], number: int) -> Iterator[tuple[str, str]]:
        for row in rows:
            known = self._containers.get(row.id)
            if self._looked.get(row.id, 0) < number and (known is None or known.status.state != row.state):
                yield row.sandbox_id, row.id

    async def _learn_sandbox(self, sandbox_id: str, failures: list[RuntimeFailure]) -> None:
        async with self._looks:
            try:
                self._sandboxes[sandbox_id] = await self._runtime.sandbox_status(sandbox_id)
            except RuntimeFailure as failure:
                self._sandboxes.pop(sandbox_id, None)
                if failure.code != "NOT_FOUND":  # it went between the listing and the question
                    failures.append(failure)

    async def _learn_container(self, sandbox_id: str, container_id: str, failures: list[RuntimeFailure]) -> None:
        async with self._looks:
            try:
                self._containers[container_id] = ObservedContainer(sandbox_id, await self._status(container_id))
            except RuntimeFailure as failure:
                self._containers.pop(container_id, None)
                if failure.code != "NOT_FOUND":
                    failures.append(failure)

    def _publish(self, only: set[str] | None) -> None:
        """Tell the pods that differ; of ``only`` these, when it is known that no others can."""
        by_uid: dict[str, tuple[list[SandboxStatus], list[ObservedContainer]]] = {}
        for status in self._sandboxes.values():
            uid = status.sandbox.uid
            if only is None or uid in only:
                by_uid.setdefault(uid, ([], []))[0].append(status)
        for item in self._containers.values():
            uid = item.status.labels.get(POD_UID, "")
            if uid and (only is None or uid in only):
                by_uid.setdefault(uid, ([], []))[1].append(item)
        now: dict[str, PodObserved] = {}
        for uid, (sandboxes, containers) in by_uid.items():
            sandboxes.sort(key=lambda status: status.sandbox.created_at_ns, reverse=True)
            containers.sort(key=lambda item: (item.status.created_at_ns, item.status.attempt), reverse=True)
            now[uid] = PodObserved(tuple(sandboxes), tuple(containers))
        for uid in (self._pods.keys() if only is None else only) | now.keys():
            if self._pods.get(uid) != now.get(uid):
                if uid in now:
                    self._pods[uid] = now[uid]
                else:
                    del self._pods[uid]
                self._changed(uid)
