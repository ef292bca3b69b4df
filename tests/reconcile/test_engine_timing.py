"""When a key is planned: after a clock was set, after changes that come together, and on a view that shows its own writes."""

from __future__ import annotations

import time

import pytest
import trio
import trio.lowlevel

from edgekube import limits
from edgekube.api.calls import Call, Create, Later
from edgekube.api.controller import Controller, Key, Moment, Plan, itself
from edgekube.api.kinds import CONFIGMAP
from edgekube.api.objects import Object
from edgekube.api.view import View
from edgekube.reconcile import clock_jumps
from edgekube.reconcile.engine import Engine
from edgekube.reconcile.recorder import Recorder
from tests.reconcile.conftest import Api


def config_map(name: str) -> Object:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}}


class Planned:
    """A controller that notes when it was asked."""

    def __init__(self, *calls: Call, **options: float) -> None:
        self.times = 0
        self.calls = list(calls)
        self.controller = Controller("noting", ((CONFIGMAP, itself),), plan=self.plan, **options)  # type: ignore[arg-type]

    def plan(self, view: View, key: Key, now: Moment) -> list[Call]:
        if key.name == "a":
            self.times += 1
            return self.calls
        return []


async def test_a_clock_that_is_set_wakes_what_waits_for_a_time(api: Api) -> None:
    planned = Planned(Later(86_400))
    ringing = trio.Event()

    async def jumps() -> None:
        nonlocal ringing
        await ringing.wait()
        ringing = trio.Event()

    engine = Engine(api.verbs, [planned.controller], recorder=Recorder(api.verbs), jumps=jumps)
    async with trio.open_nursery() as nursery:
        await nursery.start(engine.run)
        await api.verbs.create(CONFIGMAP, "default", config_map("a"))

        async def once() -> bool:
            return planned.times == 1 and engine.queue.idle()

        await api.until(once)
        ringing.set()

        async def twice() -> bool:
            return planned.times == 2

        await api.until(twice)
        nursery.cancel_scope.cancel()


async def test_changes_that_come_together_are_looked_at_together(api: Api) -> None:
    planned = Planned(settle_seconds=0.5)
    engine = Engine(api.verbs, [planned.controller], recorder=Recorder(api.verbs))
    async with trio.open_nursery() as nursery:
        await nursery.start(engine.run)
        await api.verbs.create(CONFIGMAP, "default", config_map("a"))

        async def once() -> bool:
            return planned.times == 1

        await api.until(once)
        began = trio.current_time()
        for number in range(20):
            await api.verbs.patch(CONFIGMAP, "default", "a", {"data": {"n": str(number)}})

        async def again() -> bool:
            return planned.times >= 2

        await api.until(again)
        # Twenty changes are not twenty plans, but as many as a busy machine took half seconds for them.
        assert planned.times <= 4 + (trio.current_time() - began) // 0.5
        nursery.cancel_scope.cancel()


async def test_an_exact_controller_waits_for_the_view(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "VIEW_CATCH_UP_SECONDS", 0.05)
    planned = Planned(Create(CONFIGMAP, "default", config_map("made")), exact=True)
    engine = Engine(api.verbs, [planned.controller], recorder=Recorder(api.verbs))
    shows = trio.Event()

    async def late(kind: object, revision: int) -> None:
        await shows.wait()

    monkeypatch.setattr(engine.view, "saw_revision", late)
    async with trio.open_nursery() as nursery:
        await nursery.start(engine.run)
        await api.verbs.create(CONFIGMAP, "default", config_map("a"))

        async def made() -> bool:
            return len(await api.all(CONFIGMAP, "default")) == 2

        await api.until(made)
        await api.verbs.patch(CONFIGMAP, "default", "a", {"data": {"n": "1"}})

        async def tried() -> bool:
            return bool(engine._behind)

        await api.until(tried)
        assert planned.times == 1
        shows.set()

        async def planned_again() -> bool:
            return planned.times >= 2  # the second finds its object there already, and is tried again

        await api.until(planned_again)
        nursery.cancel_scope.cancel()


async def test_the_kernel_is_asked_for_a_notice() -> None:
    with trio.move_on_after(0.1) as waiting:
        await clock_jumps.wait()
    assert waiting.cancelled_caught, "nobody has set the clock"


async def test_a_plan_that_looks_at_much_is_not_made_for_each_of_a_storm_of_changes(api: Api) -> None:
    planned = 0

    def plan(view: View, key: Key, now: Moment) -> list[Call]:
        nonlocal planned
        if key.name != "a":
            return []
        planned += 1
        until = time.perf_counter() + 0.2
        while time.perf_counter() < until:
            pass
        return []

    engine = Engine(api.verbs, [Controller("slow", ((CONFIGMAP, itself),), plan)], recorder=Recorder(api.verbs))
    async with trio.open_nursery() as nursery:
        await nursery.start(engine.run)
        began = trio.current_time()
        await api.verbs.create(CONFIGMAP, "default", config_map("a"))
        for number in range(30):
            await api.verbs.patch(CONFIGMAP, "default", "a", {"data": {"n": str(number)}})
            await trio.lowlevel.checkpoint()

        async def again() -> bool:
            return planned >= 2

        await api.until(again)
        # Thirty changes were looked at together: after each plan there is a rest.
        assert planned <= 5 + (trio.current_time() - began) // limits.PLAN_REST_SECONDS_MAX
        nursery.cancel_scope.cancel()


async def test_whoever_waits_for_answers_holds_up_nobody_else(api: Api) -> None:
    """More of them than there are workers: their metrics come from a server that does not answer."""
    planned = Planned()
    asked: set[str] = set()

    async def gather(view: View, key: Key) -> Plan:
        asked.add(key.name)
        await trio.sleep_forever()
        raise AssertionError

    slow = Controller("slow", ((CONFIGMAP, itself),), plan=planned.plan, gather=gather)
    engine = Engine(api.verbs, [slow, planned.controller], recorder=Recorder(api.verbs))
    async with trio.open_nursery() as nursery:
        await nursery.start(engine.run)
        for number in range(limits.RECONCILE_WORKERS + limits.GATHER_WORKERS):
            await api.verbs.create(CONFIGMAP, "default", config_map(f"m{number}"))
        await api.verbs.create(CONFIGMAP, "default", config_map("a"))

        async def planned_once() -> bool:
            return planned.times == 1

        await api.until(planned_once)
        assert len(asked) <= limits.GATHER_WORKERS
        nursery.cancel_scope.cancel()
