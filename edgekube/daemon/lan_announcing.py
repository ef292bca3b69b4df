"""This node's part in addresses of Services on the LAN: which it holds, and what it tells of its segments.

Enters: the view of Services, EndpointSlices and Nodes; the cluster's pool; the kernel's news of links.
Leaves: answers on the LAN for the addresses that this node holds; the annotation edgekube.io/segments of its Node.
Holds: without a pool nothing is opened, asked or written. While the API is away everybody goes on as it was.
Next: network.lan_addresses decides, network.lan_announcer acts.
"""

from __future__ import annotations

import json
import logging
import subprocess

import orjson
import trio

from edgekube import limits
from edgekube.api import cluster_facts
from edgekube.api.address_pools import AddressPool, parse_pool
from edgekube.api.balancing import SEGMENTS
from edgekube.api.errors import StatusError
from edgekube.api.kinds import CONFIGMAP, ENDPOINTSLICE, NODE, SERVICE
from edgekube.api.objects import annotations_of, name_of, namespace_of
from edgekube.api.verbs import Verbs
from edgekube.network.address_changes import address_changes
from edgekube.network.forwarding import Printed
from edgekube.network.lan_addresses import holders
from edgekube.network.lan_announcer import LanAnnouncer, Wiring, wiring
from edgekube.network.slices import SliceIndex
from edgekube.reconcile.one_object import OneObject, follow_one
from edgekube.reconcile.table import ViewChange
from edgekube.reconcile.view import ClusterView

log = logging.getLogger("edgekube.network")


class LanAnnouncing:
    """Make it before the view runs, for it listens; run it when the view is filled."""

    def __init__(self, view: ClusterView, verbs: Verbs, node_name: str) -> None:
        self._view = view
        self._verbs = verbs
        self._node_name = node_name
        self._pool = AddressPool()
        self._slices = SliceIndex()
        self._changed = trio.Event()
        self._rewired = True
        self._facts = OneObject(self._pool_changed, first=True)
        self._announcer = LanAnnouncer(self._still_mine)
        for kind in (SERVICE, NODE, ENDPOINTSLICE):
            view.want(kind)
            view.subscribe(kind, self._take)

    def _take(self, change: ViewChange) -> None:
        if change.kind is ENDPOINTSLICE:
            self._slices.touch(change.old, change.new)
        if self._pool:
            self._changed.set()

    def _pool_changed(self) -> None:
        data = (orjson.loads(self._facts.raw).get("data") or {}) if self._facts.raw is not None else {}
        try:
            self._pool = parse_pool(str(data.get("load-balancer-pool") or ""))
        except ValueError as error:
            log.error("the cluster's pool of load balancer addresses cannot be read, the one before stays: %s", error)
        self._changed.set()

    async def run(self) -> None:
        """Until cancelled: then others have to answer."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self._announcer.run)
            nursery.start_soon(follow_one, self._verbs, CONFIGMAP, cluster_facts.NAMESPACE, cluster_facts.NAME, self._facts)
            nursery.start_soon(self._watch_links)
            await self._keep()

    async def _watch_links(self) -> None:
        async with address_changes() as changes:
            async for _ in changes:
                self._rewired = True
                self._changed.set()

    async def _keep(self) -> None:
        wired = Wiring((), {})
        while True:
            await self._changed.wait()
            self._changed = trio.Event()
            if self._rewired and self._pool:
                self._rewired = False
                wired = wiring(await trio.to_thread.run_sync(_links))
                await self._tell_segments(wired.told())
            self._announcer.take_back()
            self._announcer.hold(self._mine(), wired)
            await trio.sleep(limits.LAN_SETTLE_SECONDS)

    def _mine(self) -> set[str]:
        if not self._pool:
            return set()
        view = self._view
        found = holders(
            self._pool,
            view.list(SERVICE),
            view.list(NODE),
            lambda service: self._slices.slices(view, namespace_of(service), name_of(service)),
        )
        return {address for address, node in found.items() if node == self._node_name}

    async def _still_mine(self, address: str) -> bool:
        """The view may be old; a Node that the API gives now shows at least that it can be asked."""
        try:
            await self._verbs.get(NODE, "", self._node_name)
        except StatusError:
            return False
        return address in self._mine()

    async def _tell_segments(self, told: str) -> None:
        try:
            node = await self._verbs.get(NODE, "", self._node_name)
            if annotations_of(node).get(SEGMENTS) != told:
                await self._verbs.patch(NODE, "", self._node_name, {"metadata": {"annotations": {SEGMENTS: told}}})
        except StatusError as error:
            log.warning("the node's segments were not told, trying again with the next change: %s", error.message)
            self._rewired = True


def _links() -> list[Printed]:
    done = subprocess.run(["ip", "-j", "address"], capture_output=True, text=True, check=True)
    printed: list[Printed] = json.loads(done.stdout or "[]")
    return printed
