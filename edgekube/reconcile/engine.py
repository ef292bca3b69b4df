"""Run controllers: a change becomes keys, a key becomes a plan, a plan becomes calls.

Enters: controllers as data, and the API.
Leaves: the API's objects, moved towards what their specs say.
Holds: a key is planned by one worker at a time, and not again before the view shows what its last plan wrote, so no pod is
created twice; a failed key comes back after a growing pause; an idle engine does nothing.
Bound: limits.RECONCILE_WORKERS.
Next: reconcile.execute.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from functools import partial

import trio

from edgekube import limits
from edgekube.api.calls import Record
from edgekube.api.controller import Change, Controller, KeysFor, Moment
from edgekube.api.verbs import EVERYTHING, Verbs
from edgekube.reconcile.execute import Outcome, execute
from edgekube.reconcile.queue import Item, WorkQueue
from edgekube.reconcile.recorder import Recorder
from edgekube.reconcile.view import ClusterView

log = logging.getLogger("edgekube.reconcile.engine")

#: "Plan again": somebody else was faster, or the view was behind.
_STALE = frozenset({"AlreadyExists", "Conflict", "NotFound"})
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
    ) -> None:
        self.view = ClusterView(verbs)
        self.queue = WorkQueue()
        self._verbs = verbs
        self._recorder = recorder
        self._clock = clock
        self._controllers = {controller.name: controller for controller in controllers}
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
            nursery.start_soon(self.queue.run_deadlines)
            for _ in range(limits.RECONCILE_WORKERS):
                nursery.start_soon(self._work)
            task_status.started()

    def _changed(self, controller: str, keys_for: KeysFor, change: Change) -> None:
        for key in keys_for(change, self.view):
            self.queue.add(Item(controller, key))

    async def _work(self) -> None:
        while True:
            item = await self.queue.take()
            try:
                await self._reconcile(item)
            finally:
                self.queue.done(item)

    async def _reconcile(self, item: Item) -> None:
        controller = self._controllers[item.lane]
        moment = Moment(self._clock(), trio.current_time())
        try:
            calls = controller.plan(self.view, item.key, moment)
        except Exception:
            # One object that a plan stumbles over must not stop the cluster's other objects; it stays visible in the log.
            pause = self.queue.retry(item)
            log.exception("controller=%s key=%s/%s plan failed, again in %.3f s", item.lane, *item.key, pause)
            return
        outcome = await execute(self._verbs, calls, partial(self._record, controller.name))
        await self._catch_up(item, outcome)
        if outcome.failure is not None and any(cause.reason == _NAMESPACE_ENDS for cause in outcome.failure.causes):
            # Whatever was wanted there goes with the namespace.
            self.queue.forget(item)
            return
        if outcome.failure is not None:
            pause = self.queue.retry(item)
            level = logging.DEBUG if outcome.failure.reason in _STALE else logging.WARNING
            log.log(level, "controller=%s key=%s/%s again in %.3f s: %s", item.lane, *item.key, pause, outcome.failure.message)
            return
        self.queue.forget(item)
        if outcome.later_seconds is not None:
            self.queue.add_after(item, outcome.later_seconds)

    async def _catch_up(self, item: Item, outcome: Outcome) -> None:
        """Wait until the view shows what was written: a plan from an older state would do it again."""
        if not outcome.revisions and not outcome.deletions:
            return
        with trio.move_on_after(limits.VIEW_CATCH_UP_SECONDS) as waiting:
            for kind, revision in outcome.revisions.items():
                await self.view.saw_revision(kind, revision)
            for call in outcome.deletions:
                await self.view.saw_deletion(call.kind, call.namespace, call.name, call.options.precondition_uid or "")
        if waiting.cancelled_caught:
            log.warning("controller=%s key=%s/%s the view did not catch up with own writes", item.lane, *item.key)

    def _record(self, component: str, event: Record) -> None:
        self._recorder.record(component, event)
