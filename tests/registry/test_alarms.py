"""Alarms, on a clock that jumps."""

from functools import partial

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from edgekube.registry.alarms import Alarms


async def test_each_rings_once_in_the_order_of_their_times(autojump_clock: MockClock) -> None:
    alarms = Alarms()
    rung: list[tuple[float, float]] = []
    start = trio.current_time()

    def ring(seconds: float) -> None:
        rung.append((seconds, trio.current_time() - start))

    for seconds in (30.0, 10.0, 20.0):
        alarms.set(start + seconds, partial(ring, seconds))
        await wait_all_tasks_blocked()  # the later ones are sooner than what is slept for
    await trio.sleep(100)
    assert rung == [(10.0, 10.0), (20.0, 20.0), (30.0, 30.0)]
    assert len(alarms) == 0


async def test_one_that_was_cancelled_does_not_ring(autojump_clock: MockClock) -> None:
    alarms, rung = Alarms(), []
    alarm = alarms.set(trio.current_time() + 10, lambda: rung.append("cancelled"))
    alarms.set(trio.current_time() + 20, lambda: rung.append("other"))
    alarm.cancel()
    alarm.cancel()
    await trio.sleep(30)
    assert rung == ["other"]


async def test_one_may_set_the_next(autojump_clock: MockClock) -> None:
    alarms, rung = Alarms(), []

    def ring() -> None:
        rung.append(trio.current_time())
        if len(rung) < 3:
            alarms.set(trio.current_time() + 10, ring)

    start = trio.current_time()
    alarms.set(start + 10, ring)
    await trio.sleep(100)
    assert [at - start for at in rung] == [10, 20, 30]
    alarms.set(trio.current_time() + 10, ring)  # after the task has ended
    await trio.sleep(11)
    assert len(rung) == 4


async def test_cancelled_ones_do_not_pile_up(autojump_clock: MockClock) -> None:
    alarms, rung = Alarms(), []
    alarms.set(trio.current_time() + 3600, lambda: rung.append("stays"))
    for _ in range(1000):
        alarms.set(trio.current_time() + 1800, lambda: rung.append("gone")).cancel()
    assert len(alarms) < 150
    await trio.sleep(4000)
    assert rung == ["stays"]
    assert len(alarms) == 0
