"""Events: one object per series, counted; similar ones combined; floods cut."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import trio

from edgekube import limits
from edgekube.api.calls import Record
from edgekube.api.kinds import CONFIGMAP, EVENT, NAMESPACE
from edgekube.api.objects import Object
from edgekube.reconcile.recorder import Recorder
from tests.reconcile.conftest import Api


@pytest.fixture
async def recorder(api: Api) -> AsyncIterator[Recorder]:
    recorder = Recorder(api.verbs, host="n1", clock=lambda: 1_800_000_000.0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(recorder.run)
        yield recorder
        nursery.cancel_scope.cancel()


async def events(api: Api, count: int) -> list[Object]:
    """Once the sum of the counts is ``count``."""

    async def enough() -> list[Object] | None:
        found = await api.all(EVENT)
        return found if sum(event["count"] for event in found) == count else None

    found: list[Object] = await api.until(enough)
    return found


async def thing(api: Api) -> Object:
    return await api.verbs.create(CONFIGMAP, "default", {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "web"}})


async def test_repeats_are_counted(api: Api, recorder: Recorder) -> None:
    about = await thing(api)
    for _ in range(3):
        recorder.record("tester", Record(about, "Warning", "BackOff", "Back-off restarting", "spec.containers{web}"))
    recorder.record("tester", Record(about, "Normal", "Pulled", "Image is here"))
    found = {event["reason"]: event for event in await events(api, 4)}
    event = found["BackOff"]
    assert event["count"] == 3
    assert event["involvedObject"] == {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "namespace": "default",
        "name": "web",
        "uid": about["metadata"]["uid"],
        "resourceVersion": about["metadata"]["resourceVersion"],
        "fieldPath": "spec.containers{web}",
    }
    assert (event["type"], event["message"]) == ("Warning", "Back-off restarting")
    assert event["source"] == {"component": "tester", "host": "n1"}
    assert event["firstTimestamp"] == event["lastTimestamp"] == "2027-01-15T08:00:00Z"
    assert event["metadata"]["name"].startswith("web.")


async def test_many_similar_ones_become_one(api: Api, recorder: Recorder) -> None:
    about = await thing(api)
    for number in range(15):
        recorder.record("tester", Record(about, "Warning", "Failed", f"attempt {number} failed"))
    found = await events(api, 15)
    assert len(found) == limits.EVENT_SIMILAR_MAX + 1
    (combined,) = [event for event in found if event["message"].startswith("(combined from similar events): ")]
    assert combined["count"] == 5
    assert combined["message"].endswith("attempt 14 failed")


async def test_a_flood_about_one_object_is_cut_and_others_are_still_heard(api: Api, recorder: Recorder) -> None:
    about = await thing(api)
    for _ in range(100):
        recorder.record("tester", Record(about, "Warning", "Loop", "again"))
    namespace = await api.verbs.get(NAMESPACE, "", "default")
    recorder.record("tester", Record(namespace, "Normal", "Seen", "hello"))
    found = {event["reason"]: event["count"] for event in await events(api, limits.EVENT_BURST + 1)}
    assert found == {"Loop": limits.EVENT_BURST, "Seen": 1}


async def test_an_event_that_expired_starts_anew(api: Api, recorder: Recorder) -> None:
    about = await thing(api)
    recorder.record("tester", Record(about, "Normal", "Tick", "tock"))
    (event,) = await events(api, 1)
    await api.verbs.delete(EVENT, "default", event["metadata"]["name"])
    recorder.record("tester", Record(about, "Normal", "Tick", "tock"))
    (again,) = await events(api, 1)
    assert again["metadata"]["name"] != event["metadata"]["name"]


async def test_what_cannot_be_written_is_dropped(api: Api, recorder: Recorder) -> None:
    lost = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "no-such-namespace", "uid": "1"}}
    recorder.record("tester", Record(lost, "Normal", "Gone", "nobody reads this"))
    about = await thing(api)
    recorder.record("tester", Record(about, "Normal", "Here", "x" * 5000))
    (event,) = await events(api, 1)
    assert (event["reason"], len(event["message"])) == ("Here", 1024)


async def test_a_burst_that_is_dropped_is_counted_for_one_line(api: Api) -> None:
    recorder = Recorder(api.verbs)
    about = await thing(api)
    for _ in range(limits.EVENTS_WAITING_MAX + 500):
        recorder.record("tester", Record(about, "Warning", "BackOff", "again"))
    assert recorder._dropped >= 500
    async with trio.open_nursery() as nursery:
        nursery.start_soon(recorder.run)
        await events(api, limits.EVENT_BURST)
        nursery.cancel_scope.cancel()
