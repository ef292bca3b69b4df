"""This node in the API: registered once, its status when it changes, its Lease as a heartbeat.

Enters: Facts, the runtime's conditions.
Leaves: Node, Node status, Lease kube-node-lease/NAME.
Holds: a status without news is written every 5 minutes only; the Lease every 10 s, and it is a volatile kind, so no card
wears out. Errors of the API are waited out.
Next: api.verbs.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

import trio

from edgekube.agent import node_object
from edgekube.agent.facts import Facts, pressure
from edgekube.agent.observe import Observer
from edgekube.api import times
from edgekube.api.errors import StatusError
from edgekube.api.kinds import LEASE, NODE
from edgekube.api.objects import Object, labels_of, revision_of, uid_of
from edgekube.api.verbs import Verbs
from edgekube.containerd.model import RuntimeFailure
from edgekube.containerd.protocol import Runtime
from edgekube.limits import LEASE_DURATION_SECONDS, LEASE_RENEW_SECONDS, NODE_STATUS_CHECK_SECONDS, NODE_STATUS_REPORT_SECONDS
from edgekube.settings import Settings

log = logging.getLogger("edgekube.agent")

LEASE_NAMESPACE = "kube-node-lease"
#: Until it is Ready for the first time the node looks this often.
STARTING_CHECK_SECONDS = 0.1
RETRY_SECONDS = 1.0


class NodeReporter:
    def __init__(
        self,
        settings: Settings,
        verbs: Verbs,
        runtime: Runtime,
        observer: Observer,
        facts: Facts,
        addresses: tuple[str, ...],
        *,
        server: bool,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._verbs = verbs
        self._runtime = runtime
        self._observer = observer
        self._facts = facts
        self._addresses = addresses
        self._server = server
        self._clock = clock
        self._reported_at = -NODE_STATUS_REPORT_SECONDS
        self._node: Object = {}
        #: Set once the API has been told that the node is Ready.
        self.ready = trio.Event()

    async def run(self) -> None:
        """For ever."""
        await self._register()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep_lease)
            nursery.start_soon(self._keep_status)

    async def _register(self) -> None:
        wanted = node_object.new_node(self._settings, self._facts, server=self._server)
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
                    if missing:
                        patch: Object = {"metadata": {"labels": dict(missing)}}
                        self._node = await self._verbs.patch(NODE, "", self._settings.node_name, patch)
                return
            except StatusError as error:
                if error.reason != "AlreadyExists":
                    log.warning("node is not registered yet error=%s", error.message)
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
            try:
                await self._report()
                pause_seconds = NODE_STATUS_CHECK_SECONDS if self.ready.is_set() else STARTING_CHECK_SECONDS
            except StatusError as error:
                pause_seconds = RETRY_SECONDS
                if error.reason == "NotFound":
                    log.info("node was deleted, registering again name=%s", self._settings.node_name)
                    await self._register()
                elif error.reason == "Conflict":
                    self._node = await self._latest()
                    pause_seconds = 0.0
                else:
                    log.warning("node status not written error=%s", error.message)
            await trio.sleep(pause_seconds)

    async def _latest(self) -> Object:
        try:
            return await self._verbs.get(NODE, "", self._settings.node_name)
        except StatusError:
            return self._node

    async def _report(self) -> None:
        not_ready, version = await self._not_ready()
        try:
            images = await self._runtime.list_images() if not not_ready else []
        except RuntimeFailure:
            images = []
        before: Object = self._node.get("status") or {}
        now = self._clock()
        status = node_object.node_status(
            self._settings,
            self._facts,
            addresses=self._addresses,
            pressure=pressure(self._settings.data_dir),
            not_ready=not_ready,
            runtime_version=version or (before.get("nodeInfo") or {}).get("containerRuntimeVersion") or "containerd://",
            images=images,
            before=before,
            now=now,
        )
        told = {key: before.get(key) for key in status}
        news = node_object.without_heartbeats(status) != node_object.without_heartbeats(told)
        due = trio.current_time() - self._reported_at >= NODE_STATUS_REPORT_SECONDS
        if news or due:
            patch: Object = {"metadata": {"resourceVersion": revision_of(self._node)}, "status": status}
            self._node = await self._verbs.patch(NODE, "", self._settings.node_name, patch, subresource="status")
            self._reported_at = trio.current_time()
        if not not_ready:
            self.ready.set()

    async def _keep_lease(self) -> None:
        while True:
            try:
                await self._renew()
                pause_seconds = LEASE_RENEW_SECONDS
            except StatusError as error:
                log.warning("node lease not renewed error=%s", error.message)
                pause_seconds = RETRY_SECONDS
            await trio.sleep(pause_seconds)

    async def _renew(self) -> None:
        name = self._settings.node_name
        renewed = times.rfc3339_micro(self._clock())
        try:
            await self._verbs.patch(LEASE, LEASE_NAMESPACE, name, {"spec": {"renewTime": renewed, "holderIdentity": name}})
        except StatusError as error:
            if error.reason != "NotFound":
                raise
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
