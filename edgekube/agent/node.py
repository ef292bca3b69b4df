"""This node in the API: registered once, its status when it changes, its Lease as a heartbeat.

Enters: Facts, the runtime's conditions, the node's addresses as they change.
Leaves: Node, Node status, Lease kube-node-lease/NAME.
Holds: what others wrote of the Node is looked at every 10 s, and at once when this node had not been heard for longer. A status
without news is written every 5 minutes only; the Lease every 10 s, and it is a volatile kind, so no card wears out. Errors of the
API are waited out.
Next: api.verbs.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping

import trio

from edgekube.agent import node_object
from edgekube.agent.eviction.thresholds import thresholds_of
from edgekube.agent.facts import Facts
from edgekube.agent.local_volumes import node_annotations
from edgekube.agent.node_state import NodeState
from edgekube.agent.observe import Observer
from edgekube.agent.volumes.in_use import VolumesInUse
from edgekube.api import times
from edgekube.api.errors import StatusError
from edgekube.api.kinds import LEASE, NODE
from edgekube.api.objects import Object, annotations_of, labels_of, revision_of, uid_of
from edgekube.api.verbs import Verbs
from edgekube.containerd.model import RuntimeFailure, RuntimeFeatures
from edgekube.containerd.protocol import Runtime
from edgekube.limits import LEASE_DURATION_SECONDS, LEASE_RENEW_SECONDS, NODE_STATUS_CHECK_SECONDS, NODE_STATUS_REPORT_SECONDS
from edgekube.network.cni import configured
from edgekube.network.node_addresses import NodeAddresses
from edgekube.settings import Settings

log = logging.getLogger("edgekube.agent")

LEASE_NAMESPACE = "kube-node-lease"
#: Until it is Ready for the first time the node looks this often.
STARTING_CHECK_SECONDS = 0.1
RETRY_SECONDS = 1.0
SHUTTING_DOWN = "node is shutting down"
#: A node that was removed or revoked is not to be heard every second, nor to fill its log.
REFUSED_RETRY_SECONDS = 5.0


class NodeReporter:
    def __init__(
        self,
        settings: Settings,
        verbs: Verbs,
        runtime: Runtime,
        observer: Observer,
        facts: Facts,
        addresses: NodeAddresses,
        *,
        state: NodeState,
        tell: Callable[[str, str, str], None],
        extended: Callable[[Object], tuple[Mapping[str, str | None], Mapping[str, str | None]]] = lambda before: ({}, {}),
        clock: Callable[[], float] = time.time,
    ) -> None:
        """``tell``: (type, reason, message) about the node. ``extended``: extended resources to show, by what was shown before
        (agent.devices)."""
        self._extended = extended
        self._state = state
        self._tell = tell
        self._thresholds = thresholds_of(settings.node)
        self._features = RuntimeFeatures()
        self._runtime_version = ""
        self._settings = settings
        self._verbs = verbs
        self._runtime = runtime
        self._observer = observer
        self._facts = facts
        self._addresses = addresses
        self._clock = clock
        self._reported_at = -NODE_STATUS_REPORT_SECONDS
        #: Something may have been said of this node while it was not heard: look at once.
        self._doubt = trio.Event()
        self._node: Object = {}
        self._unschedulable = False
        self._registered = trio.Event()
        self._tell_registered: list[Callable[[], None]] = []
        self._volumes = VolumesInUse()
        #: Set once the API has been told that the node is Ready.
        self.ready = trio.Event()

    def follow_volumes(self, volumes: VolumesInUse) -> None:
        """The status names these."""
        self._volumes = volumes
        volumes.changed = lambda: self._doubt.set()

    def on_registered(self, tell: Callable[[], None]) -> None:
        """Called each time that the Node was made, or found, by this node."""
        self._tell_registered.append(tell)

    def look_again(self) -> None:
        """There is news of the node."""
        self._doubt.set()

    async def run(self) -> None:
        """For ever."""
        self._state.listen(lambda: self._doubt.set())
        self._tell("Normal", "Starting", "Starting kubelet.")
        await self._register()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep_lease)
            nursery.start_soon(self._keep_status)

    async def _register(self) -> None:
        wanted = node_object.new_node(self._settings, self._facts, configured(self._settings.cni_conf_dir))
        offers = await trio.to_thread.run_sync(node_annotations, self._settings)
        wanted["metadata"]["annotations"] |= offers
        while True:
            try:
                try:
                    self._node = await self._verbs.get(NODE, "", self._settings.node_name)
                except StatusError as error:
                    if error.reason != "NotFound":
                        raise
                    self._node = await self._verbs.create(NODE, "", wanted)
                else:
                    missing = wanted["metadata"]["labels"].items() - labels_of(self._node).items()
                    news = offers.items() - annotations_of(self._node).items()
                    if missing or news:
                        patch: Object = {"metadata": {"labels": dict(missing), "annotations": dict(news)}}
                        self._node = await self._verbs.patch(NODE, "", self._settings.node_name, patch)
                self._registered.set()
                for tell in self._tell_registered:
                    tell()
                return
            except StatusError as error:
                if error.reason != "AlreadyExists":
                    log.log(_level(error), "node is not registered yet error=%s", error.message)
            await trio.sleep(RETRY_SECONDS)

    async def _not_ready(self) -> tuple[str, str]:
        """What keeps the node from being Ready ("" when nothing does), and the runtime's version."""
        try:
            found = await self._runtime.conditions()
            version = await self._runtime.version()
        except RuntimeFailure as failure:
            return f"container runtime is down: {failure.message}", ""
        wrong = [f"{name}: {reason or 'not ready'}" for name, (good, reason) in sorted(found.items()) if not good]
        return (f"container runtime status check may not have completed yet: {', '.join(wrong)}" if wrong else ""), version

    async def _keep_status(self) -> None:
        while True:
            addresses = self._addresses.current
            self._doubt = trio.Event()
            try:
                await self._look()
                await self._report()
                pause_seconds = NODE_STATUS_CHECK_SECONDS if self.ready.is_set() else STARTING_CHECK_SECONDS
            except StatusError as error:
                pause_seconds = _pause_seconds(error)
                if error.reason == "NotFound":
                    log.info("node was deleted, registering again name=%s", self._settings.node_name)
                    await self._register()
                elif error.reason == "Conflict":
                    pause_seconds = 0.0  # the next look
                else:
                    log.log(_level(error), "node status not written error=%s", error.message)
            await self._pause(pause_seconds, addresses)

    async def _pause(self, seconds: float, addresses: tuple[str, ...]) -> None:
        """Shorter when the addresses become others, or in doubt."""
        with trio.move_on_after(seconds):
            async with trio.open_nursery() as nursery:

                async def doubt() -> None:
                    await self._doubt.wait()
                    nursery.cancel_scope.cancel()

                nursery.start_soon(doubt)
                await self._addresses.wait_for_other_than(addresses)
                nursery.cancel_scope.cancel()

    async def _look(self) -> None:
        """The Node as the API has it: somebody may have said that it is lost. Raises NotFound; an absent API is waited out."""
        try:
            self._node = await self._verbs.get(NODE, "", self._settings.node_name)
        except StatusError as error:
            if error.reason == "NotFound":
                raise

    async def node_object(self, *, fresh: bool) -> Object:
        """The Node as last heard, once it has been; ``fresh``: asked for now, as far as the API answers."""
        await self._registered.wait()
        if fresh:
            try:
                await self._look()
            except StatusError:
                pass  # it is being registered again
        return self._node

    async def _report(self) -> None:
        not_ready, version = await self._not_ready()
        try:
            images = await self._runtime.list_images() if version else []
            if version != self._runtime_version:
                self._features = await self._runtime.features()
                self._runtime_version = version
        except RuntimeFailure:
            images = []
        if self._state.shutting_down:
            not_ready = f"[{not_ready}, {SHUTTING_DOWN}]" if not_ready else SHUTTING_DOWN
        before: Object = self._node.get("status") or {}
        now = self._clock()
        status = node_object.node_status(
            self._settings,
            self._facts,
            addresses=self._addresses.current,
            thresholds=self._thresholds,
            pressures=self._state.pressures,
            not_ready=not_ready,
            runtime_version=version or (before.get("nodeInfo") or {}).get("containerRuntimeVersion") or "containerd://",
            images=images,
            features=self._features,
            before=before,
            now=now,
        )
        in_use = self._volumes.names()
        status["volumesInUse"] = in_use
        extended = self._extended(before)
        others = node_object.resources_of_others(before, extended[0].keys() | extended[1].keys())
        for part, amounts in zip(("capacity", "allocatable"), ({**others, **each} for each in extended), strict=True):
            # None takes a resource off; of what it does not show there is nothing to take.
            here = before.get(part) or {}
            status[part] |= {name: amount for name, amount in amounts.items() if amount is not None or name in here}
        told = {key: before.get(key) for key in status}
        news = node_object.without_heartbeats(status) != node_object.without_heartbeats(told)
        due = trio.current_time() - self._reported_at >= NODE_STATUS_REPORT_SECONDS
        if news or due:
            patch: Object = {"metadata": {"resourceVersion": revision_of(self._node)}, "status": status}
            self._node = await self._verbs.patch(NODE, "", self._settings.node_name, patch, subresource="status")
            self._reported_at = trio.current_time()
            self._tell_of(before, status)
        self._tell_of_cordon()
        self._volumes.told(in_use)
        if not not_ready:
            self.ready.set()

    def _tell_of_cordon(self) -> None:
        unschedulable = bool((self._node.get("spec") or {}).get("unschedulable"))
        if unschedulable != self._unschedulable:
            self._unschedulable = unschedulable
            reason = "NodeNotSchedulable" if unschedulable else "NodeSchedulable"
            self._tell("Normal", reason, f"Node {self._settings.node_name} status is now: {reason}")

    def _tell_of(self, before: Object, after: Object) -> None:
        name = self._settings.node_name
        for reason in node_object.turned(before.get("conditions") or [], after["conditions"]):
            self._tell("Normal", reason, f"Node {name} status is now: {reason}")
        booted = (before.get("nodeInfo") or {}).get("bootID")
        if booted and booted != self._facts.boot_id:
            self._tell("Warning", "Rebooted", f"Node {name} has been rebooted, boot id: {self._facts.boot_id}")

    async def _keep_lease(self) -> None:
        renewed_at = trio.current_time()
        while True:
            try:
                await self._renew()
                pause_seconds = LEASE_RENEW_SECONDS
                if trio.current_time() - renewed_at > 1.5 * LEASE_RENEW_SECONDS:
                    self._doubt.set()
                renewed_at = trio.current_time()
            except StatusError as error:
                log.log(_level(error), "node lease not renewed error=%s", error.message)
                pause_seconds = _pause_seconds(error)
            await trio.sleep(pause_seconds)

    async def _renew(self) -> None:
        name = self._settings.node_name
        renewed = times.rfc3339_micro(self._clock())
        try:
            await self._verbs.patch(LEASE, LEASE_NAMESPACE, name, {"spec": {"renewTime": renewed, "holderIdentity": name}})
        except StatusError as error:
            if error.reason != "NotFound":
                raise
            await self._register()  # a Lease goes with its Node, and the Node's status may have no news for minutes
            lease: Object = {
                "apiVersion": "coordination.k8s.io/v1",
                "kind": "Lease",
                "metadata": {
                    "name": name,
                    "namespace": LEASE_NAMESPACE,
                    "ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": name, "uid": uid_of(self._node)}],
                },
                "spec": {"holderIdentity": name, "leaseDurationSeconds": LEASE_DURATION_SECONDS, "renewTime": renewed},
            }
            await self._verbs.create(LEASE, LEASE_NAMESPACE, lease)


def _level(error: StatusError) -> int:
    """A server that is away is told of once, by whoever asks it (client.outage)."""
    return logging.DEBUG if error.reason == "ServiceUnavailable" else logging.WARNING


def _pause_seconds(error: StatusError) -> float:
    return REFUSED_RETRY_SECONDS if error.reason == "Unauthorized" else RETRY_SECONDS
