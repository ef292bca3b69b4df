"""What is asked one after the other, because the next answer hangs on the one before: disks looked at, resizes given."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import trio
import trio.testing

from edgekube.agent import allocation
from edgekube.agent.admission import Applicant, Refusal
from edgekube.agent.resizing import DEFERRED, Resizes
from edgekube.agent.state import PodMemory
from edgekube.agent.statistics.disks import Disks
from edgekube.api.objects import Object
from edgekube.limits import DISK_USE_KEPT_SECONDS


class Runtime:
    """One that takes its time, and counts."""

    def __init__(self) -> None:
        self.looks = self.at_once = self.most_at_once = 0
        self.go_on = trio.Event()

    async def writable_layers(self) -> dict[str, tuple[int, int]]:
        self.looks += 1
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await self.go_on.wait()
        self.at_once -= 1
        return {"c1": (self.looks, 1)}

    async def list_images(self) -> list[Any]:
        return []


async def test_whoever_asks_while_the_disk_is_looked_at_gets_that_look(autojump_clock: trio.testing.MockClock) -> None:
    runtime = Runtime()
    pods: Any = SimpleNamespace(node=SimpleNamespace(runtime=runtime), workers=list)
    disks, answers = Disks(pods), []

    async def ask() -> None:
        answers.append(await disks.look())

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked()
        runtime.go_on.set()
    assert (runtime.looks, runtime.most_at_once) == (1, 1)
    assert [answer.layers for answer in answers] == [{"c1": (1, 1)}] * 5
    await trio.sleep(DISK_USE_KEPT_SECONDS + 1)
    await ask()
    assert answers[-1].layers == {"c1": (2, 1)}, "older than it may be"


def pod(cpu: str) -> Object:
    container = {"name": "c", "image": "i", "resources": {"requests": {"cpu": cpu}}}
    return {"metadata": {"name": "p", "uid": "u"}, "spec": {"containers": [container]}}


class Worker:
    """Of a pod that was given 1 and is to have 2, until somebody wants something else."""

    def __init__(self) -> None:
        self.uid, self.wanted, self.memory, self.ended = "u", pod("2"), PodMemory(0.0), trio.Event()
        self.told: list[Any] = []
        self.resize = SimpleNamespace(
            settled=lambda: self.told.append("settled"),
            refused=lambda wanted, reason, message: self.told.append((reason, cpu_of(wanted))),
            allocated=lambda wanted: self.told.append(("allocated", cpu_of(wanted))),
        )

    def desired(self) -> Object:
        return self.wanted

    def pod(self) -> Object:
        return pod("1")


def cpu_of(wanted: Object) -> str:
    return str(wanted["spec"]["containers"][0]["resources"]["requests"]["cpu"])


class Entry:
    """A node without room, on which others end when they are told to, which takes time."""

    def __init__(self, worker: Worker) -> None:
        self.one_at_a_time, self.worker, self.asked = trio.Lock(), worker, 0
        self.machine: Any = SimpleNamespace(swap_bytes=0, memory_bytes=1 << 30)
        self.others_end = trio.Event()

    async def applicant(self, worker: Worker, wanted: Object) -> Applicant:
        node = {"metadata": {"name": "n1", "labels": {"kubernetes.io/os": "linux"}}}
        return Applicant(wanted, node, [], allocatable={"cpu": "1", "memory": "1Gi", "pods": "110"})

    async def make_room(self, worker: Worker, applicant: Applicant, refusal: Refusal) -> Refusal | None:
        self.asked += 1
        if self.asked > 1:
            return refusal
        await self.others_end.wait()
        return None


async def test_a_resize_that_changed_while_others_made_room_is_judged_anew() -> None:
    worker: Any = Worker()
    entry: Any = Entry(worker)
    resizes = Resizes(entry)
    assert allocation.wants_resize(worker.desired(), allocation.allocation_of(worker.pod()))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(resizes.run)
        resizes.want(worker)
        await trio.testing.wait_all_tasks_blocked()
        assert worker.told == [], "others are ending"
        worker.wanted = pod("3")
        entry.others_end.set()
        with trio.fail_after(60):
            while not worker.told:
                await trio.testing.wait_all_tasks_blocked()
        assert worker.told == [(DEFERRED, "3")], "what was asked for first is not given, and the room is not taken for it"
        worker.wanted = pod("1")
        resizes.want(worker)
        await trio.testing.wait_all_tasks_blocked()
        assert worker.told[-1] == "settled"
        nursery.cancel_scope.cancel()
