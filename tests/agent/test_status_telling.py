"""When the API hears of a pod: one write for what comes up at once, none for what is no news, the rest at once."""

from __future__ import annotations

from typing import Any

import trio
import trio.testing

from edgekube.agent.status_telling import ComingUp, StatusTelling
from edgekube.api.objects import Object
from edgekube.limits import POD_STATUS_DELAY_SECONDS


class Pod:
    """One pod, and the API that has it."""

    def __init__(self, name: str) -> None:
        self.object: Object = {"metadata": {"name": name, "namespace": "default", "uid": name, "resourceVersion": "1"}}
        self.now = coming_up("ContainerCreating")
        self.looks = 0
        self.patch_seconds = 0.0
        #: (seconds, phase, address) of each write.
        self.writes: list[tuple[float, str, str]] = []
        self.words = trio.Event()
        self.words.set()

    def look(self) -> tuple[Object | None, Object]:
        self.looks += 1
        return self.object, self.now

    def told(self) -> bool:
        return True

    def take(self, pod: Object) -> None:
        self.object = pod

    async def complete(self) -> None:
        await self.words.wait()

    async def patch(self, kind: Any, namespace: str, name: str, patch: Object, *, subresource: str) -> Object:
        status = patch["status"]
        await trio.sleep(self.patch_seconds)
        self.writes.append((trio.current_time(), status["phase"], status.get("podIP") or ""))
        return {**self.object, "status": {**status, "kept": "another's word"}}


def coming_up(reason: str, address: str = "") -> Object:
    containers = [{"name": "c", "ready": False, "state": {"waiting": {"reason": reason}}}]
    return {"phase": "Pending", "podIP": address or None, "containerStatuses": containers}


def running(message: str = "") -> Object:
    containers = [{"name": "c", "ready": True, "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}}]
    return {"phase": "Running", "podIP": "10.42.0.9", "containerStatuses": containers, "message": message or None}


def telling(pod: Pod, together: ComingUp) -> StatusTelling:
    verbs: Any = pod
    return StatusTelling(verbs, pod, pod.complete, lambda before, after: None, together)


async def test_one_write_tells_what_three_would(autojump_clock: trio.testing.MockClock) -> None:
    pod, together = Pod("web"), ComingUp()
    tells = telling(pod, together)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(tells.run)
        for at, status in ((0.0, pod.now), (0.1, coming_up("PodInitializing", "10.42.0.9")), (0.3, running())):
            await trio.sleep_until(at)
            pod.now = status
            tells.changed()
        await trio.sleep(10)
        assert [(round(at, 3), *told) for at, *told in pod.writes] == [(0.3, "Running", "10.42.0.9")]
        looks = pod.looks
        for _ in range(5):
            tells.changed()  # a look at containerd that found nothing new
            await trio.sleep(1)
        assert (len(pod.writes), pod.looks) == (1, looks + 5), "no news costs one look"
        pod.now = running("more words")
        tells.changed()
        await trio.sleep(1)
        assert len(pod.writes) == 2
        nursery.cancel_scope.cancel()


async def test_pods_that_come_up_together_get_more_time_each(autojump_clock: trio.testing.MockClock) -> None:
    together = ComingUp()
    pods = [Pod(f"p{number}") for number in range(20)]
    async with trio.open_nursery() as nursery:
        tells = [telling(pod, together) for pod in pods]
        for each in tells:
            nursery.start_soon(each.run)
            each.changed()
        for number, (pod, each) in enumerate(zip(pods, tells, strict=True)):
            await trio.sleep_until(0.12 * (number + 1))
            pod.now = running()
            each.changed()
        await trio.sleep(10)
        assert [len(pod.writes) for pod in pods] == [1] * 20
        assert together.patience_seconds == POD_STATUS_DELAY_SECONDS, "the next one alone"
        nursery.cancel_scope.cancel()


async def test_a_pod_that_stays_where_it_is_is_told_after_a_moment(autojump_clock: trio.testing.MockClock) -> None:
    pod = Pod("slow")
    tells = telling(pod, ComingUp())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(tells.run)
        tells.changed()
        await trio.sleep(10)
        assert [(round(at, 3), *told) for at, *told in pod.writes] == [(POD_STATUS_DELAY_SECONDS, "Pending", "")]
        nursery.cancel_scope.cancel()


async def test_how_it_ended_is_told_with_its_last_words(autojump_clock: trio.testing.MockClock) -> None:
    pod = Pod("dead")
    tells = telling(pod, ComingUp())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(tells.run)
        pod.now, pod.words = {"phase": "Failed"}, trio.Event()
        tells.changed()
        await trio.sleep(3)
        assert pod.writes == []
        pod.now = {"phase": "Failed", "podIP": "last"}
        pod.words.set()
        await trio.sleep(3)
        assert [(phase, words) for _, phase, words in pod.writes] == [("Failed", "last")]
        nursery.cancel_scope.cancel()


async def test_two_who_tell_at_once_write_once(autojump_clock: trio.testing.MockClock) -> None:
    """A pod that goes tells its last word itself, while the loop may be about to."""
    pod = Pod("web")
    pod.now, pod.patch_seconds = running(), 0.5
    tells = telling(pod, ComingUp())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(tells.write)
        nursery.start_soon(tells.write)
    assert [told for _, *told in pod.writes] == [["Running", "10.42.0.9"]]
