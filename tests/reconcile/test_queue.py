"""The work queue: once, in turns, later, and never twice at once."""

from __future__ import annotations

import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from edgekube.api.controller import Key
from edgekube.metrics import Metrics
from edgekube.reconcile.queue import Item, WorkQueue
from edgekube.reconcile.queue_figures import QueueFigures


def item(name: str, lane: str = "a") -> Item:
    return Item(lane, Key("", name))


async def test_a_key_waits_once() -> None:
    queue = WorkQueue()
    for _ in range(3):
        queue.add(item("x"))
    assert len(queue) == 1
    assert await queue.take() == item("x")
    assert len(queue) == 0


async def test_what_is_added_while_worked_on_comes_again_afterwards() -> None:
    queue = WorkQueue()
    queue.add(item("x"))
    taken = await queue.take()
    queue.add(item("x"))
    queue.add(item("x"))
    assert len(queue) == 0, "nobody else gets it now"
    queue.done(taken)
    assert await queue.take() == item("x")
    queue.done(item("x"))
    assert queue.idle()


async def test_lanes_take_turns() -> None:
    queue = WorkQueue()
    for name in ("1", "2", "3"):
        queue.add(item(name, "busy"))
    queue.add(item("1", "quiet"))
    order = [(await queue.take()).lane for _ in range(4)]
    assert order == ["busy", "quiet", "busy", "busy"]


async def test_a_failed_key_pauses_longer_each_time(autojump_clock: MockClock) -> None:
    queue = WorkQueue()
    assert [queue.retry(item("x")) for _ in range(4)] == [0.005, 0.01, 0.02, 0.04]
    queue.forget(item("x"))
    assert queue.retry(item("x")) == 0.005
    for _ in range(30):
        last = queue.retry(item("y"))
    assert last == 60


async def test_the_earliest_deadline_wins(autojump_clock: MockClock) -> None:
    queue = WorkQueue()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(queue.run_deadlines)
        queue.add_after(item("x"), 100)
        queue.add_after(item("x"), 5)
        queue.add_after(item("x"), 50)
        queue.add_after(item("y"), 2)
        started = trio.current_time()
        first, second = await queue.take(), None
        assert (first, trio.current_time() - started) == (item("y"), 2)
        second = await queue.take()
        assert (second, trio.current_time() - started) == (item("x"), 5)
        nursery.cancel_scope.cancel()


async def test_a_waiting_worker_is_woken(autojump_clock: MockClock) -> None:
    queue = WorkQueue()
    got: list[Item] = []

    async def worker() -> None:
        got.append(await queue.take())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(worker)
        nursery.start_soon(worker)
        await wait_all_tasks_blocked()
        queue.add(item("x"))
        queue.add(item("y"))
    assert sorted(got) == [item("x"), item("y")]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from("uv"), st.integers(0, 3)), max_size=40))
def test_nothing_is_lost_and_nothing_is_worked_on_twice_at_once(happenings: list[tuple[str, str, int]]) -> None:
    async def scenario() -> None:
        queue = WorkQueue()
        working: set[Item] = set()
        last_added: dict[Item, int] = {}
        last_seen: dict[Item, int] = {}
        steps = 0

        async def worker() -> None:
            while True:
                taken = await queue.take()
                assert taken not in working
                working.add(taken)
                last_seen[taken] = last_added[taken]
                await trio.sleep(1)
                working.discard(taken)
                queue.done(taken)

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(worker)
            for name, lane, pause in happenings:
                steps += 1
                last_added[item(name, lane)] = steps
                queue.add(item(name, lane))
                await trio.sleep(pause / 2)
            await trio.sleep(100)
            assert queue.idle()
            nursery.cancel_scope.cancel()
        assert last_seen == last_added

    trio.run(scenario, clock=MockClock(autojump_threshold=0))


async def test_a_clock_that_is_set_hands_out_what_waits(autojump_clock: MockClock) -> None:
    queue = WorkQueue()
    queue.add_after(item("tomorrow"), 86_400)
    assert len(queue) == 0
    queue.hand_out_deadlines()
    assert await queue.take() == item("tomorrow")
    queue.add_after(item("other"), 5)
    assert len(queue) == 0, "what was handed out is forgotten"


async def test_figures_tell_how_a_loop_keeps_up() -> None:
    metrics, now = Metrics(), [0.0]
    queue = WorkQueue(QueueFigures(metrics, lambda: now[0]))
    lane = "endpointslice-controller"

    def told(name: str) -> float:
        line = next(line for line in metrics.text().splitlines() if line.startswith(f'workqueue_{name}{{name="endpoint_slice"}}'))
        return float(line.rpartition(" ")[2])

    for name in ("x", "y", "x"):
        queue.add(item(name, lane))
    now[0] = 3.0
    taken = await queue.take()
    queue.add(taken)
    queue.add(taken)
    now[0] = 5.0
    assert (told("adds_total"), told("depth")) == (3, 2), "x, y, and x again, once"
    assert (told("unfinished_work_seconds"), told("longest_running_processor_seconds")) == (2, 2)
    queue.done(taken)
    assert (told("depth"), told("unfinished_work_seconds")) == (2, 0)
    assert (told("queue_duration_seconds_sum"), told("work_duration_seconds_sum")) == (3, 2)
    queue.retry(item("z", lane))
    assert told("retries_total") == 1
    while not queue.idle():
        queue.done(await queue.take())
    assert (told("depth"), told("work_duration_seconds_count")) == (0, 3)
