"""Who may have more now? Resizes that pods of this node wait for, asked one after the other.

Enters: workers whose pods name other resources than they were given; the news that something became free.
Leaves: workers that were told: allocated, deferred, or infeasible.
Holds: nobody polls: pending ones are asked again when a pod ends, shrinks or goes. The order is agent.allocation's. A
critical pod makes room for its resize as it does when it enters.
Next: agent.worker, which carries it out.
"""

from __future__ import annotations

import trio

from edgekube.agent import allocation
from edgekube.agent.admission import refusal_of
from edgekube.agent.entry import Entry
from edgekube.agent.podspec import containers_of, init_containers_of
from edgekube.agent.resources import swap_bytes
from edgekube.agent.worker import PodWorker
from edgekube.api.objects import Object
from edgekube.api.pod_requests import amounts

INFEASIBLE = "Infeasible"
DEFERRED = "Deferred"
WITH_SWAP = "In-place resize of containers with swap is not supported."


class Resizes:
    def __init__(self, entry: Entry) -> None:
        self._entry = entry
        self._pending: dict[str, PodWorker] = {}
        self._wake = trio.Event()

    def want(self, worker: PodWorker) -> None:
        self._pending[worker.uid] = worker
        self._wake.set()

    def something_is_free(self) -> None:
        if self._pending:
            self._wake.set()

    async def run(self) -> None:
        """For ever."""
        while True:
            await self._wake.wait()
            self._wake = trio.Event()
            for worker in sorted(self._pending.values(), key=_turn):
                await self._ask(worker)

    async def _ask(self, worker: PodWorker) -> None:
        async with self._entry.one_at_a_time:
            wanted, given = worker.desired(), worker.pod()
            if (
                worker.memory.gone
                or worker.ended.is_set()
                or not allocation.wants_resize(wanted, allocation.allocation_of(given))
            ):
                self._pending.pop(worker.uid, None)
                worker.resize.settled()
                return
            if self._swaps(wanted, given):
                self._pending.pop(worker.uid, None)
                worker.resize.refused(wanted, INFEASIBLE, WITH_SWAP)
                return
            applicant = await self._entry.applicant(worker, wanted)
            refusal = refusal_of(applicant)
            if refusal is not None:
                refusal = await self._entry.make_room(worker, applicant, refusal)
                if worker.memory.gone or worker.ended.is_set() or worker.desired().get("spec") != wanted.get("spec"):
                    self._wake.set()  # others took their time to end, and something else is wanted by now
                    return
            if refusal is not None:
                worker.resize.refused(wanted, DEFERRED, refusal.message)
                return
            self._pending.pop(worker.uid, None)
            if not allocation.asks_for_more(wanted, given):
                self.something_is_free()
            worker.resize.allocated(wanted)

    def _swaps(self, wanted: Object, given: Object) -> bool:
        """A container that may swap would need another share of it."""
        before = {container["name"]: container for container in (*init_containers_of(given), *containers_of(given))}
        for container in (*init_containers_of(wanted), *containers_of(wanted)):
            old = before.get(container["name"])
            if old is None or _memory_request(container) == _memory_request(old) or _restarts_for_memory(old):
                continue
            machine = self._entry.machine
            if swap_bytes(wanted, container, machine) or swap_bytes(given, old, machine):
                return True
        return False


def _turn(worker: PodWorker) -> tuple[object, ...]:
    pending = worker.memory.resize_pending
    return allocation.turn(worker.desired(), worker.pod(), pending.since if pending else float("inf"))


def _memory_request(container: Object) -> int | None:
    return amounts((container.get("resources") or {}).get("requests")).get("memory")


def _restarts_for_memory(container: Object) -> bool:
    policies = container.get("resizePolicy") or []
    return any(each["resourceName"] == "memory" and each["restartPolicy"] == "RestartContainer" for each in policies)
