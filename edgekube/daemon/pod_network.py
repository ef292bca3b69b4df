"""The network of one node: addresses and routes, the runtime's configuration, the service proxy, DNS.

Enters: Settings, the node's addresses as they change, Verbs.
Leaves: a node whose pods reach each other, Services and names, until cancelled; rules and addresses stay behind then,
because containers go on when edgekube does not.
Holds: nothing is configured before the API has given this node its pod CIDR.
Next: daemon.host_network, daemon.peer_routes, network.proxy, daemon.node_dns.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial

import orjson
import trio

from edgekube.api.kinds import ENDPOINTSLICE, NAMESPACE, NODE, POD, SERVICE, SERVICECIDR
from edgekube.api.pod_ranges import ranges_of_node
from edgekube.api.verbs import ListOptions, Verbs
from edgekube.containerd.protocol import Runtime
from edgekube.daemon.host_network import HostNetwork
from edgekube.daemon.lan_announcing import LanAnnouncing
from edgekube.daemon.node_dns import run_node_dns
from edgekube.daemon.peer_routes import NodeRoutes
from edgekube.daemon.pod_ranges import end_strangers
from edgekube.network.dns.zone import Zone
from edgekube.network.node_addresses import NodeAddresses
from edgekube.network.proxy import ServiceProxy
from edgekube.network.ranges import ranges_of
from edgekube.reconcile.follow import follow
from edgekube.reconcile.one_object import OneObject
from edgekube.reconcile.table import ViewChange
from edgekube.reconcile.view import ClusterView
from edgekube.settings import Settings

log = logging.getLogger("edgekube.network")


async def run_pod_network(
    settings: Settings,
    verbs: Verbs,
    runtime: Runtime,
    node: NodeAddresses,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Started once pods can be given addresses, Services work and names resolve."""
    pod_cidrs = await wait_for_pod_cidrs(verbs, settings.node_name)
    host = HostNetwork(settings, node, pod_cidrs)
    former = await trio.to_thread.run_sync(host.give_up_former_ranges)
    await trio.to_thread.run_sync(host.prepare)

    view = ClusterView(verbs)
    view.want(SERVICE)
    view.want(ENDPOINTSLICE)
    view.want(NAMESPACE)
    view.want(SERVICECIDR)
    view.want(POD, ListOptions(field_selector=f"spec.nodeName={settings.node_name}"))
    view.want(NODE, ListOptions(field_selector=f"metadata.name={settings.node_name}"))
    networks = (*settings.cluster_networks, *settings.service_networks)
    zone = Zone(view, settings.cluster_domain, [str(network) for network in networks])
    proxy = ServiceProxy(
        view,
        node_name=settings.node_name,
        ranges=ranges_of(pod_cidrs, settings.cluster_cidr, settings.service_cidr),
    )
    _connect(view, zone, proxy)
    routes = NodeRoutes(view, settings, pod_cidrs, node)
    announcing = LanAnnouncing(view, verbs, settings.node_name)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(host.run)
        await nursery.start(view.run)
        await nursery.start(routes.run)
        if "proxy" not in settings.disable:
            await nursery.start(proxy.run)
            await trio.to_thread.run_sync(host.remember_half_closed)
            nursery.start_soon(announcing.run)
        if "dns" not in settings.disable:
            await nursery.start(run_node_dns, verbs, zone, _dns_addresses(settings, pod_cidrs))
        # Last, because the runtime takes pods then.
        await trio.to_thread.run_sync(host.write_cni)
        if former:
            await end_strangers(runtime, pod_cidrs)
        log.info("pod network ready pod_cidrs=%s node_ips=%s", ",".join(pod_cidrs), ",".join(node.current))
        task_status.started()


async def wait_for_pod_cidrs(verbs: Verbs, node_name: str) -> tuple[str, ...]:
    """spec.podCIDRs of the node, as soon as the controller has given it some, and the API can be asked."""
    given = trio.Event()
    node = OneObject(lambda: given.set(), first=True)
    async with trio.open_nursery() as nursery:
        selection = ListOptions(field_selector=f"metadata.name={node_name}")
        nursery.start_soon(partial(follow, verbs, NODE, node, selection))
        while True:
            await given.wait()
            if found := ranges_of_node(orjson.loads(node.raw) if node.raw is not None else {}):
                nursery.cancel_scope.cancel()
                return found
            given = trio.Event()
    raise AssertionError("a follower returned")


def _dns_addresses(settings: Settings, pod_cidrs: Sequence[str]) -> tuple[str, ...]:
    """A node from before the cluster's second stack has no IPv6 address to answer on."""
    return settings.cluster_dns_addresses[: len(pod_cidrs)]


def _connect(view: ClusterView, zone: Zone, proxy: ServiceProxy) -> None:
    """Zone and proxy hear of every change in the order in which the view takes it in."""

    def service(change: ViewChange) -> None:
        zone.touch_service(change.old, change.new)
        proxy.touch_service(change.key.namespace, change.key.name)

    def piece(change: ViewChange) -> None:
        zone.touch_slice(change.old, change.new)
        proxy.touch_slice(change.old, change.new)

    def pod(change: ViewChange) -> None:
        proxy.touch_pod(change.old, change.new)

    def namespace(change: ViewChange) -> None:
        zone.generation += 1

    def node(change: ViewChange) -> None:
        proxy.touch_node(change.new)

    def ranges(change: ViewChange) -> None:
        proxy.touch_ranges()

    view.subscribe(SERVICE, service)
    view.subscribe(ENDPOINTSLICE, piece)
    view.subscribe(POD, pod)
    view.subscribe(NAMESPACE, namespace)
    view.subscribe(NODE, node)
    view.subscribe(SERVICECIDR, ranges)
