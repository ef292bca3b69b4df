"""The scheduler at work: watch pods and nodes, place, bind.

Enters: pods and nodes, by their watches.
Leaves: bindings; PodScheduled=False with the reasons for pods that fit nowhere; Scheduled and FailedScheduling events.
Holds: one pod is placed at a time, on the picture that includes every earlier decision; bindings are written side by side; a
binding that fails gives the room back.
Bound: limits.BINDINGS_IN_FLIGHT_MAX.
Next: the agent of the node.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from typing import Final

import orjson
import trio

from edgekube import limits
from edgekube.api import times
from edgekube.api.calls import Record
from edgekube.api.errors import StatusError
from edgekube.api.kinds import NODE, POD, Kind
from edgekube.api.objects import Object, uid_of
from edgekube.api.verbs import DELETED, STRATEGIC_MERGE_PATCH, Verbs, WatchEvent
from edgekube.reconcile.follow import follow
from edgekube.reconcile.recorder import Recorder
from edgekube.scheduler.cluster import Cluster
from edgekube.scheduler.facts import PendingPod, node_facts, pending_pod, pod_facts, uses_node, wants_node
from edgekube.scheduler.pending import Pending
from edgekube.scheduler.place import Placed, place

log = logging.getLogger("edgekube.reconcile.scheduling")

COMPONENT: Final = "default-scheduler"


class _Feed:
    """A Sink that hands decoded objects on and remembers only who there is."""

    def __init__(self, kind: Kind, changed: Callable[[Object], None], gone: Callable[[str], None]) -> None:
        self.kind = kind
        self.synced = trio.Event()
        self._changed = changed
        self._gone = gone
        self._uids: set[str] = set()
        self._listing: set[str] = set()
        self._revision = 0

    def begin(self) -> None:
        self._listing = set()

    def add(self, items: Sequence[bytes]) -> None:
        for raw in items:
            obj: Object = orjson.loads(raw)
            self._listing.add(uid_of(obj))
            self._changed(obj)

    def finish(self, revision: int) -> None:
        for uid in self._uids - self._listing:
            self._gone(uid)
        self._uids, self._listing = self._listing, set()
        self._revision = revision
        self.synced.set()

    def apply(self, event: WatchEvent) -> None:
        obj = event.object()
        self._revision = int(obj["metadata"]["resourceVersion"])
        uid = uid_of(obj)
        if event.type == DELETED:
            self._uids.discard(uid)
            self._gone(uid)
        else:
            self._uids.add(uid)
            self._changed(obj)

    def progressed(self, revision: int) -> None:
        self._revision = max(self._revision, revision)

    def resume_from(self) -> int:
        return self._revision


class Scheduler:
    def __init__(self, verbs: Verbs, recorder: Recorder, *, clock: Callable[[], float] = time.time) -> None:
        self._verbs = verbs
        self._recorder = recorder
        self._clock = clock
        self._cluster = Cluster()
        self._pending = Pending()
        self._node_names: dict[str, str] = {}  # uid -> name
        self._binding: set[str] = set()  # uids
        self._room = trio.CapacityLimiter(limits.BINDINGS_IN_FLIGHT_MAX)
        self._wake = trio.Event()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Never returns."""
        nodes = _Feed(NODE, self._node_changed, self._node_gone)
        pods = _Feed(POD, self._pod_changed, self._pod_gone)
        async with trio.open_nursery() as nursery:
            for feed in (nodes, pods):
                nursery.start_soon(follow, self._verbs, feed.kind, feed)
            await nodes.synced.wait()
            await pods.synced.wait()
            task_status.started()
            await self._place_all(nursery)

    # What the watches bring.

    def _node_changed(self, node: Object) -> None:
        facts = node_facts(node)
        before = self._cluster.nodes.get(facts.name)
        self._node_names[uid_of(node)] = facts.name
        # A heartbeat changes nothing here, and wakes nobody.
        if before is None or before.facts != facts:
            self._cluster.set_node(facts)
            self._changed()

    def _node_gone(self, uid: str) -> None:
        name = self._node_names.pop(uid, None)
        # A namesake may have come before the news of the first one's end.
        if name is not None and name not in self._node_names.values():
            self._cluster.remove_node(name)

    def _pod_changed(self, pod: Object) -> None:
        uid = uid_of(pod)
        if wants_node(pod):
            if uid not in self._binding and not self._cluster.holds(uid):
                self._pending.add(pending_pod(pod))
                self._wake.set()
            return
        self._pending.remove(uid)
        if uses_node(pod):
            self._cluster.set_pod(pod_facts(pod))
        elif self._cluster.remove_pod(uid):
            self._changed()

    def _pod_gone(self, uid: str) -> None:
        self._pending.remove(uid)
        if self._cluster.remove_pod(uid):
            self._changed()

    def _changed(self) -> None:
        self._pending.something_changed()
        self._wake.set()

    # Placing.

    async def _place_all(self, nursery: trio.Nursery) -> None:
        while True:
            self._wake = trio.Event()
            while (pod := self._pending.take(trio.current_time())) is not None:
                answer = place(pod, list(self._cluster.nodes.values()))
                if isinstance(answer, Placed):
                    self._cluster.assume(pod.facts, answer.node)
                    self._binding.add(pod.facts.uid)
                    nursery.start_soon(self._bind, pod, answer.node)
                else:
                    self._pending.park(pod, trio.current_time())
                    nursery.start_soon(self._tell, pod, answer.message)
                await trio.lowlevel.checkpoint()
            deadline = self._pending.next_at()
            with trio.move_on_at(math.inf if deadline is None else deadline):
                await self._wake.wait()

    async def _bind(self, pod: PendingPod, node: str) -> None:
        facts = pod.facts
        binding: Object = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": facts.name, "namespace": facts.namespace, "uid": facts.uid},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        }
        try:
            async with self._room:
                await self._verbs.create(POD, facts.namespace, binding, subresource="binding", name=facts.name)
        except StatusError as error:
            await self._not_bound(pod, node, error)
            return
        self._binding.discard(facts.uid)
        message = f"Successfully assigned {facts.namespace}/{facts.name} to {node}"
        self._recorder.record(COMPONENT, Record(pod.reference(), "Normal", "Scheduled", message))

    async def _not_bound(self, pod: PendingPod, node: str, error: StatusError) -> None:
        """Give the room back, and try again unless the pod is gone or bound by somebody else."""
        facts = pod.facts
        log.info("pod=%s/%s node=%s not bound: %s", facts.namespace, facts.name, node, error.message)
        wanted = error.reason != "NotFound"
        if error.reason == "Conflict":
            try:
                found = await self._verbs.get(POD, facts.namespace, facts.name)
                wanted = uid_of(found) == facts.uid and wants_node(found)
            except StatusError as second:
                wanted = second.reason != "NotFound"
        self._binding.discard(facts.uid)
        if self._cluster.is_assumed(facts.uid):
            self._cluster.remove_pod(facts.uid)
        if wanted:
            self._pending.park(pod, trio.current_time(), retry=True)
        self._changed()

    async def _tell(self, pod: PendingPod, message: str) -> None:
        """Say why the pod has no node: in its status once per message, in an event now and then too."""
        now_seconds = trio.current_time()
        news = pod.told != ("Unschedulable", message)
        if news or pod.told_at is None or now_seconds - pod.told_at >= limits.UNSCHEDULABLE_EVENT_SECONDS:
            pod.told_at = now_seconds
            self._recorder.record(COMPONENT, Record(pod.reference(), "Warning", "FailedScheduling", message))
        if not news:
            return
        now = times.rfc3339(self._clock())
        condition: Object = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
        if not pod.told[0]:
            condition["lastTransitionTime"] = now
        if pod.generation:
            condition["observedGeneration"] = pod.generation
        patch: Object = {"metadata": {"uid": pod.facts.uid}, "status": {"conditions": [condition]}}
        try:
            await self._verbs.patch(
                POD, pod.facts.namespace, pod.facts.name, patch, patch_type=STRATEGIC_MERGE_PATCH, subresource="status"
            )
        except StatusError as error:
            log.debug("pod=%s/%s status not written: %s", pod.facts.namespace, pod.facts.name, error.message)
        else:
            pod.told = ("Unschedulable", message)


async def run_scheduler(
    verbs: Verbs,
    recorder: Recorder,
    *,
    clock: Callable[[], float] = time.time,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Never returns; started once pods and nodes have been listed."""
    await Scheduler(verbs, recorder, clock=clock).run(task_status=task_status)
