"""The scheduler at work: watch pods and nodes, place, bind.

Enters: pods, nodes and what rules ask of besides, by their watches.
Leaves: bindings; for pods that fit nowhere PodScheduled=False with the reasons, evictions that make room, and the node that the
room is on; Scheduled and FailedScheduling events.
Holds: one pod is placed at a time, on the picture that includes every earlier decision; bindings are written side by side; a
binding that fails gives the room back.
Bound: limits.BINDINGS_IN_FLIGHT_MAX.
Next: the agent of the node; reconcile.preempting.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence

import trio
from msgspec.structs import replace

from edgekube import limits
from edgekube.api import times
from edgekube.api.calls import Record
from edgekube.api.errors import StatusError
from edgekube.api.kinds import NODE, POD
from edgekube.api.objects import Object, uid_of
from edgekube.api.verbs import STRATEGIC_MERGE_PATCH, Verbs
from edgekube.reconcile.follow import follow
from edgekube.reconcile.preempting import evict_all, forget_room
from edgekube.reconcile.recorder import Recorder
from edgekube.reconcile.scheduler_feeds import Feed, surrounding_feeds
from edgekube.reconcile.storage_feeds import StorageFeeds
from edgekube.reconcile.volume_binding import VolumeBinder, VolumesNotBound
from edgekube.scheduler.cluster import Cluster
from edgekube.scheduler.events import Happening, NodeHappening, PodHappening, helps, node_may_help
from edgekube.scheduler.facts import node_facts, pod_facts, uses_node
from edgekube.scheduler.pending import Pending
from edgekube.scheduler.place import Placed, Unplaced, place
from edgekube.scheduler.pods import PendingPod, is_gated, is_unplaced, pending_pod, scheduler_of, wants_node
from edgekube.scheduler.preemption import Preemption, preempt
from edgekube.scheduler.profiles import Profile

log = logging.getLogger("edgekube.reconcile.scheduling")


class Scheduler:
    def __init__(
        self,
        verbs: Verbs,
        recorder: Recorder,
        profiles: Sequence[Profile] = (),
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._verbs = verbs
        self._recorder = recorder
        self._clock = clock
        self._profiles = {profile.name: profile for profile in profiles or (Profile(),)}
        self._cluster = Cluster()
        self._volumes = VolumeBinder(verbs, self._cluster)
        self._pending = Pending()
        self._node_names: dict[str, str] = {}  # uid -> name
        self._binding: dict[str, PendingPod] = {}  # by uid
        self._room = trio.CapacityLimiter(limits.BINDINGS_IN_FLIGHT_MAX)
        self._wake = trio.Event()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Never returns."""
        feeds = [
            Feed(NODE, self._node_changed, self._node_gone),
            Feed(POD, self._pod_changed, self._pod_gone),
            *surrounding_feeds(self._cluster.surroundings),
            *StorageFeeds(self._cluster.surroundings.storage, self._happened, self._volumes.changed).feeds(),
        ]
        async with trio.open_nursery() as nursery:
            for feed in feeds:
                nursery.start_soon(follow, self._verbs, feed.kind, feed)
            for feed in feeds:
                await feed.synced.wait()
            task_status.started()
            await self._place_all(nursery)

    # What the watches bring.

    def _node_changed(self, node: Object) -> None:
        facts = node_facts(node)
        state = self._cluster.nodes.get(facts.name)
        before = state.facts if state is not None else None
        self._node_names[uid_of(node)] = facts.name
        # A heartbeat changes nothing here, and wakes nobody.
        if before != facts:
            self._cluster.set_node(facts)
            self._happened(NodeHappening(before, facts))

    def _node_gone(self, uid: str) -> None:
        name = self._node_names.pop(uid, None)
        # A namesake may have come before the news of the first one's end.
        if name is not None and name not in self._node_names.values():
            state = self._cluster.nodes.get(name)
            self._cluster.remove_node(name)
            if state is not None:
                self._happened(NodeHappening(state.facts, None))

    def _pod_changed(self, pod: Object) -> None:
        uid = uid_of(pod)
        if is_unplaced(pod):
            if uid not in self._binding and self._cluster.pod(uid) is None:
                self._unplaced(pod)
            return
        self._forget_pending(uid)
        if uses_node(pod):
            before, facts = self._cluster.pod(uid), pod_facts(pod)
            if before != facts:
                self._cluster.set_pod(facts)
                self._happened(PodHappening(before, facts))
            else:
                self._cluster.confirm(uid)
        elif (before := self._cluster.remove_pod(uid)) is not None:
            self._happened(PodHappening(before, None))

    def _unplaced(self, pod: Object) -> None:
        if not wants_node(pod, self._profiles):
            # Somebody else's; or it was ours and has been changed.
            self._pending.remove(uid_of(pod))
            if scheduler_of(pod) in self._profiles and is_gated(pod):
                self._cluster.forget_nomination(uid_of(pod))
            return
        wanted = pending_pod(pod)
        self._cluster.nominate(wanted.facts, wanted.nominated)
        self._pending.add(wanted)
        self._wake.set()

    def _pod_gone(self, uid: str) -> None:
        self._forget_pending(uid)
        before = self._cluster.remove_pod(uid)
        if before is not None:
            self._happened(PodHappening(before, None))

    def _forget_pending(self, uid: str) -> None:
        self._pending.remove(uid)
        if self._binding.pop(uid, None) is not None:
            self._volumes.changed()  # whoever binds its volumes looks up
        node = self._cluster.forget_nomination(uid)
        state = self._cluster.nodes.get(node)
        if state is not None and self._cluster.pod(uid) is None:
            # The room that was kept for it is for others now.
            self._happened(NodeHappening(None, state.facts))

    def _happened(self, happening: Happening) -> None:
        if isinstance(happening, NodeHappening) and not node_may_help(happening):
            return
        cluster, profiles = self._cluster, self._profiles

        def may_help(pod: PendingPod, plugins: frozenset[str]) -> bool:
            return helps(happening, pod, plugins, cluster, profiles[pod.scheduler])

        if self._pending.wake(may_help):
            self._wake.set()

    # Placing.

    async def _place_all(self, nursery: trio.Nursery) -> None:
        while True:
            self._wake = trio.Event()
            while (pod := self._pending.take(trio.current_time())) is not None:
                try:
                    self._place(pod, nursery)
                except Exception:
                    # One pod that a rule stumbles over must not stop the others; it stays visible in the log.
                    log.exception("pod=%s/%s not placed", pod.facts.namespace, pod.facts.name)
                    self._pending.park(pod, trio.current_time(), retry=True)
                await trio.lowlevel.checkpoint()
            deadline = self._pending.next_at()
            with trio.move_on_at(math.inf if deadline is None else deadline):
                await self._wake.wait()

    def _place(self, pod: PendingPod, nursery: trio.Nursery) -> None:
        profile, uid = self._profiles[pod.scheduler], pod.facts.uid
        answer = place(pod, self._cluster, profile)
        if isinstance(answer, Placed):
            self._cluster.forget_nomination(uid)
            self._cluster.assume(pod.facts, answer.node)
            self._cluster.surroundings.storage.assume(answer.volumes)
            self._binding[uid] = pod
            self._happened(PodHappening(None, replace(pod.facts, node=answer.node)))
            nursery.start_soon(self._bind, pod, answer)
            return
        message, preemption = self._make_room(pod, answer, profile)
        self._pending.park(pod, trio.current_time(), answer.plugins)
        nursery.start_soon(self._tell, pod, message, preemption)

    def _make_room(self, pod: PendingPod, unplaced: Unplaced, profile: Profile) -> tuple[str, Preemption | None]:
        """The message, and whom to evict."""
        if not unplaced.refusals:
            self._nominate(pod, "")
            return unplaced.message, None
        if not profile.preempts:
            self._nominate(pod, "")
            return unplaced.message, None
        answer = preempt(pod, unplaced, self._cluster, profile)
        if isinstance(answer, Preemption):
            self._nominate(pod, answer.node)
            return unplaced.message, answer
        if answer.forget_nomination:
            self._nominate(pod, "")
        return f"{unplaced.message} {answer.message}", None

    def _nominate(self, pod: PendingPod, node: str) -> None:
        self._cluster.nominate(pod.facts, node)
        pod.nominated = node

    # Writing.

    async def _bind(self, pod: PendingPod, placed: Placed) -> None:
        facts, node = pod.facts, placed.node
        if placed.volumes and not await self._bind_volumes(pod, placed):
            return
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
        self._binding.pop(facts.uid, None)
        message = f"Successfully assigned {facts.namespace}/{facts.name} to {node}"
        self._recorder.record(pod.scheduler, Record(pod.reference(), "Normal", "Scheduled", message))

    async def _bind_volumes(self, pod: PendingPod, placed: Placed) -> bool:
        """First the volumes, then the pod. The node is written down as expected meanwhile, as upstream's is."""
        facts, plan = pod.facts, placed.volumes
        try:
            patch: Object = {"metadata": {"uid": facts.uid}, "status": {"nominatedNodeName": placed.node}}
            try:
                await self._verbs.patch(POD, facts.namespace, facts.name, patch, subresource="status")
                pod.nominated_told = placed.node
            except StatusError as error:
                log.debug("pod=%s/%s expected node not written: %s", facts.namespace, facts.name, error.message)
            await self._volumes.bind(plan, lambda: facts.uid in self._binding)
        except VolumesNotBound as error:
            message = f'running PreBind plugin "VolumeBinding": {error}'
            log.info("pod=%s/%s node=%s not bound: %s", facts.namespace, facts.name, placed.node, message)
            wanted = facts.uid in self._binding
            self._give_back(pod, placed.node, wanted)
            if wanted:
                self._recorder.record(pod.scheduler, Record(pod.reference(), "Warning", "FailedScheduling", message))
            return False
        finally:
            self._cluster.surroundings.storage.forget(plan)
        return True

    async def _not_bound(self, pod: PendingPod, node: str, error: StatusError) -> None:
        """Give the room back, and try again unless the pod is gone or bound by somebody else."""
        facts = pod.facts
        log.info("pod=%s/%s node=%s not bound: %s", facts.namespace, facts.name, node, error.message)
        wanted = error.reason != "NotFound"
        if error.reason == "Conflict":
            try:
                found = await self._verbs.get(POD, facts.namespace, facts.name)
                wanted = uid_of(found) == facts.uid and wants_node(found, self._profiles)
            except StatusError as second:
                wanted = second.reason != "NotFound"
        self._give_back(pod, node, wanted)

    def _give_back(self, pod: PendingPod, node: str, wanted: bool) -> None:
        """It was not bound: its room is free again."""
        facts = pod.facts
        self._binding.pop(facts.uid, None)
        if self._cluster.is_assumed(facts.uid):
            self._cluster.remove_pod(facts.uid)
        if wanted:
            self._pending.park(pod, trio.current_time(), retry=True)
            self._wake.set()
        self._happened(PodHappening(replace(facts, node=node), None))

    async def _tell(self, pod: PendingPod, message: str, preemption: Preemption | None) -> None:
        """Say why the pod has no node, in its status once per message, in an event now and then too; then make room."""
        now_seconds = trio.current_time()
        news = pod.told != ("Unschedulable", message)
        if news or pod.told_at is None or now_seconds - pod.told_at >= limits.UNSCHEDULABLE_EVENT_SECONDS:
            pod.told_at = now_seconds
            self._recorder.record(pod.scheduler, Record(pod.reference(), "Warning", "FailedScheduling", message))
        if news or pod.nominated != pod.nominated_told:
            await self._write_status(pod, message)
        if preemption is None:
            return
        await forget_room(self._verbs, self._cluster, pod, preemption.node)
        if not await evict_all(self._verbs, self._recorder, pod, preemption, self._clock):
            self._pending.wake_pod(pod.facts.uid)
            self._wake.set()

    async def _write_status(self, pod: PendingPod, message: str) -> None:
        condition: Object = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
        if not pod.told[0]:
            condition["lastTransitionTime"] = times.rfc3339(self._clock())
        if pod.generation:
            condition["observedGeneration"] = pod.generation
        status: Object = {"conditions": [condition]}
        nominated = pod.nominated
        if nominated != pod.nominated_told:
            status["nominatedNodeName"] = nominated or None
        patch: Object = {"metadata": {"uid": pod.facts.uid}, "status": status}
        try:
            await self._verbs.patch(
                POD, pod.facts.namespace, pod.facts.name, patch, patch_type=STRATEGIC_MERGE_PATCH, subresource="status"
            )
        except StatusError as error:
            log.debug("pod=%s/%s status not written: %s", pod.facts.namespace, pod.facts.name, error.message)
        else:
            pod.told, pod.nominated_told = ("Unschedulable", message), nominated


async def run_scheduler(
    verbs: Verbs,
    recorder: Recorder,
    profiles: Sequence[Profile] = (),
    *,
    clock: Callable[[], float] = time.time,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Never returns; started once pods and nodes have been listed."""
    await Scheduler(verbs, recorder, profiles, clock=clock).run(task_status=task_status)
