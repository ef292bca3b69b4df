"""Routes to the other nodes' pods, for as long as the network runs.

Enters: the view of the Nodes, this node's addresses, the kernel's news.
Leaves: nothing; network.routes keeps the kernel true to them.
Holds: a Node whose addresses and ranges are as before wakes nobody, so heartbeats cost nothing here; a Node that is not Ready
keeps its routes, one that is deleted loses them.
Next: network.routes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from ipaddress import ip_address, ip_network

import trio

from edgekube import limits
from edgekube.api.kinds import NODE
from edgekube.daemon.pod_ranges import RangesChanged
from edgekube.network.address_changes import address_changes
from edgekube.network.forwarding import PROTOCOL
from edgekube.network.node_addresses import NodeAddresses
from edgekube.network.node_rules import TABLE
from edgekube.network.peers import Member, member
from edgekube.network.routes import PeerRoutes, Wishes
from edgekube.network.table_losses import open_news, wait_for_loss
from edgekube.reconcile.table import ViewChange
from edgekube.reconcile.view import ClusterView
from edgekube.settings import Settings


class Members:
    """The Nodes of a view, as far as routes are concerned. Subscribe before the view runs."""

    def __init__(self, view: ClusterView, changed: Callable[[], None]) -> None:
        self.by_name: dict[str, Member] = {}
        self._changed = changed
        view.want(NODE)
        view.subscribe(NODE, self._take)

    def _take(self, change: ViewChange) -> None:
        name = change.key.name
        new = None if change.new is None else member(change.new)
        if new == self.by_name.get(name):
            return
        if new is None:
            del self.by_name[name]
        else:
            self.by_name[name] = new
        self._changed()


class NodeRoutes:
    """Made before the view runs; ``node`` is what somebody keeps current."""

    def __init__(self, view: ClusterView, settings: Settings, pod_cidrs: Sequence[str], node: NodeAddresses) -> None:
        self._settings = settings
        self._pod_cidrs = tuple(ip_network(cidr) for cidr in pod_cidrs)
        self._node = node
        self.routes = PeerRoutes(self._wishes)
        self._members = Members(view, self._changed)
        self._other_ranges = trio.Event()

    def _wishes(self) -> Wishes:
        services = self._settings.service_networks
        addresses = [ip_address(text) for text in self._node.current]
        # The last resort of a machine without a cable is an address of the service range: no other node reaches that.
        real = tuple(address for address in addresses if not any(address in network for network in services))
        own = Member(self._settings.node_name, real, self._pod_cidrs)
        return Wishes(own, tuple(self._members.by_name.values()), self._settings.cluster_networks, services)

    def _changed(self) -> None:
        own = self._members.by_name.get(self._settings.node_name)
        if own is not None and own.pod_cidrs and own.pod_cidrs != self._pod_cidrs:
            self._other_ranges.set()
        self.routes.touch()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Until cancelled; RangesChanged. The view must be filled."""
        async with address_changes(route_protocol=PROTOCOL) as changes, trio.open_nursery() as nursery:
            await nursery.start(self.routes.run)
            nursery.start_soon(self._hear_of_addresses)
            nursery.start_soon(self._hear_of_tables)
            nursery.start_soon(self._hear_of_ranges)
            task_status.started()
            async for _ in changes:
                self.routes.touch()

    async def _hear_of_addresses(self) -> None:
        known = self._node.current
        while True:
            known = await self._node.wait_for_other_than(known)
            self.routes.touch()

    async def _hear_of_ranges(self) -> None:
        await self._other_ranges.wait()
        raise RangesChanged

    async def _hear_of_tables(self) -> None:
        with open_news() as news:
            while True:
                await wait_for_loss(news, {TABLE})
                self.routes.touch()
                await trio.sleep(limits.NFT_RETRY_SECONDS)
