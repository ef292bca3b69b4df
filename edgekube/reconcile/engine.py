"""Run controllers: a change becomes keys, a key becomes a plan, a plan becomes calls.

Enters: controllers as data, and the API.
Leaves: the API's objects, moved towards what their specs say.
Holds: a key is planned by one worker at a time, and not again before the view shows what its last plan wrote, so no pod is
created twice; a failed key comes back after a growing pause; an idle engine does nothing.
Bound: limits.RECONCILE_WORKERS, and limits.GATHER_WORKERS for each controller that asks elsewhere: whoever is slow to answer
it holds up nobody else.
Next: reconcile.execute.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Final

import trio

from edgekube import limits
from edgekube.api.calls import Record
from edgekube.api.controller import Change, Controller, KeysFor, Moment
from edgekube.api.verbs import EVERYTHING, Verbs
from edgekube.reconcile import clock_jumps
from edgekube.reconcile.execute import Outcome, execute
from edgekube.reconcile.queue import Item, WorkQueue
from edgekube.reconcile.queue_figures import QueueFigures
from edgekube.reconcile.recorder import Recorder
from edgekube.reconcile.view import ClusterView

log = logging.getLogger("edgekube.reconcile.engine")

#: "Plan again": somebody else was faster, or the view was behind.
_STALE = frozenset({"AlreadyExists", "Conflict", "NotFound"})
#: How much longer a key rests than its plan took.
_REST_TIMES: Final = 4
#: The cause that admission gives for what is created in a namespace on its way out.
_NAMESPACE_ENDS = "NamespaceTerminating"


class Engine:
    def __init__(
        self,
        verbs: Verbs,
        controllers: Iterable[Controller],
        *,
        recorder: Recorder,
        clock: Callable[[], float] = time.time,
        jumps: Callable[[], Awaitable[None]] = clock_jumps.wait,
        figures: QueueFigures | None = None,
    ) -> None:
        """``jumps`` returns each time that the clock has been set."""
        self.view = ClusterView(verbs)
        self.queue = WorkQueue(figures)
        self._verbs = verbs
        self._recorder = recorder
        self._clock = clock
        self._jumps = jumps
        #: What the view has to show before a key of an exact controller is planned again.
        self._behind: dict[Item, Outcome] = {}
        #: When changes of a key may be looked at again, the oldest first.
        self._settling: OrderedDict[Item, float] = OrderedDict()
        self._controllers = {controller.name: controller for controller in controllers}
        self._gathering = {name: WorkQueue(figures) for name, each in self._controllers.items() if each.gather is not None}
        for controller in self._controllers.values():
            selections = dict(controller.selections)
            for kind in controller.kinds():
                self.view.want(kind, selections.get(kind, EVERYTHING))
            for kind, keys_for in controller.watches:
                self.view.subscribe(kind, partial(self._changed, controller.name, keys_for))

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Never returns. Started once the view is full and the workers are at work."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self.view.run)
            nursery.start_soon(self._follow_the_clock)
            for queue in self._queues():
                nursery.start_soon(queue.run_deadlines)
                for _ in range(limits.RECONCILE_WORKERS if queue is self.queue else limits.GATHER_WORKERS):
                    nursery.start_soon(self._work, queue)
            task_status.started()

    def _queue_of(self, item: Item) -> WorkQueue:
        return self._gathering.get(item.lane, self.queue)

    def _queues(self) -> list[WorkQueue]:
        return [self.queue, *self._gathering.values()]

    def _changed(self, controller: str, keys_for: KeysFor, change: Change) -> None:
        for key in keys_for(change, self.view):
            item = Item(controller, key)
            settled_at = self._settling.get(item)
            if settled_at is None:
                self._queue_of(item).add(item)
            else:
                self._queue_of(item).add_after(item, settled_at - trio.current_time())

    async def _follow_the_clock(self) -> None:
        while True:
            await self._jumps()
            log.info("the clock has been set: whatever waits for a time is looked at again")
            for queue in self._queues():
                queue.hand_out_deadlines()

    def _settle(self, item: Item, seconds: float) -> None:
        now = trio.current_time()
        while self._settling and next(iter(self._settling.values())) <= now:
            self._settling.popitem(last=False)
        if seconds:
            self._settling[item] = now + seconds
            self._settling.move_to_end(item)

    def _rest(self, item: Item, settle_seconds: float, took_seconds: float) -> None:
        """A plan that looks at very much is not made anew for each of a storm of changes: that would be a square of work."""
        if took_seconds >= limits.PLAN_LONG_SECONDS:
            self._settle(item, max(settle_seconds, min(limits.PLAN_REST_SECONDS_MAX, took_seconds * _REST_TIMES)))

    async def _work(self, queue: WorkQueue) -> None:
        while True:
            item = await queue.take()
            try:
                await self._reconcile(item)
            finally:
                queue.done(item)

    async def _reconcile(self, item: Item) -> None:
        controller, queue = self._controllers[item.lane], self._queue_of(item)
        behind = self._behind.pop(item, None)
        if behind is not None and not await self._catch_up(item, behind):
            self._wait_for_view(item, behind)
            return
        self._settle(item, controller.settle_seconds)
        try:
            plan = controller.plan if controller.gather is None else await controller.gather(self.view, item.key)
            moment = Moment(self._clock(), trio.current_time())
            began = time.perf_counter()
            calls = plan(self.view, item.key, moment)
            self._rest(item, controller.settle_seconds, time.perf_counter() - began)
        except Exception:
            # One object that a plan stumbles over must not stop the cluster's other objects; it stays visible in the log.
            pause = queue.retry(item)
            log.exception("controller=%s key=%s/%s plan failed, again in %.3f s", item.lane, *item.key, pause)
            return
        outcome = await execute(self._verbs, calls, partial(self._record, controller.name))
        if not await self._catch_up(item, outcome) and controller.exact:
            self._wait_for_view(item, outcome)
            return
        if outcome.failure is not None and any(cause.reason == _NAMESPACE_ENDS for cause in outcome.failure.causes):
            # Whatever was wanted there goes with the namespace.
            queue.forget(item)
            return
        if outcome.failure is not None:
            pause = queue.retry(item)
            level = logging.DEBUG if outcome.failure.reason in _STALE else logging.WARNING
            log.log(level, "controller=%s key=%s/%s again in %.3f s: %s", item.lane, *item.key, pause, outcome.failure.message)
            return
        queue.forget(item)
        if outcome.later_seconds is not None:
            queue.add_after(item, outcome.later_seconds)

    def _wait_for_view(self, item: Item, outcome: Outcome) -> None:
        self._behind[item] = outcome
        self._queue_of(item).retry(item)

    async def _catch_up(self, item: Item, outcome: Outcome) -> bool:
        """Wait until the view shows what was written: a plan from an older state would do it again."""
        if not outcome.revisions and not outcome.deletions:
            return True
        with trio.move_on_after(limits.VIEW_CATCH_UP_SECONDS) as waiting:
            for kind, revision in outcome.revisions.items():
                await self.view.saw_revision(kind, revision)
            for call in outcome.deletions:
                await self.view.saw_deletion(call.kind, call.namespace, call.name, call.options.precondition_uid or "")
        if waiting.cancelled_caught:
            log.warning("controller=%s key=%s/%s the view did not catch up with own writes", item.lane, *item.key)
        return not waiting.cancelled_caught

    def _record(self, component: str, event: Record) -> None:
        self._recorder.record(component, event)
