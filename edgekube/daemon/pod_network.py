"""The network of one node: addresses and routes, the runtime's configuration, the service proxy, DNS.

Enters: Settings, the node's name and address, Verbs.
Leaves: a node whose pods reach each other, Services and names, until cancelled; rules and addresses stay behind then,
because containers go on when edgekube does not.
Holds: nothing is configured before the API has given this node its pod CIDR.
Next: network.proxy, network.dns.server, network.addresses, network.cni.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final

import trio

from edgekube import limits
from edgekube.api.kinds import ENDPOINTSLICE, NAMESPACE, NODE, POD, SERVICE
from edgekube.api.verbs import DELETED, ListOptions, Verbs
from edgekube.network import addresses, cni
from edgekube.network.dns.forwarder import Forwarder, Resolvers
from edgekube.network.dns.server import Resolver, serve
from edgekube.network.dns.zone import Zone
from edgekube.network.proxy import ServiceProxy
from edgekube.reconcile.table import ViewChange
from edgekube.reconcile.view import ClusterView
from edgekube.settings import Settings

log = logging.getLogger("edgekube.network")

_RESOLV_CONF: Final = Path("/etc/resolv.conf")
_SYSTEMD_RESOLVED: Final = Path("/run/systemd/resolve/resolv.conf")


async def run_pod_network(
    settings: Settings, verbs: Verbs, node_ip: str, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Started once pods can be given addresses, Services work and names resolve."""
    pod_cidr = await wait_for_pod_cidr(verbs, settings.node_name)
    await trio.to_thread.run_sync(_configure_host, settings, node_ip, pod_cidr)

    view = ClusterView(verbs)
    view.want(SERVICE)
    view.want(ENDPOINTSLICE)
    view.want(NAMESPACE)
    view.want(POD, ListOptions(field_selector=f"spec.nodeName={settings.node_name}"))
    zone = Zone(view, settings.cluster_domain, [settings.cluster_cidr, settings.service_cidr])
    proxy = ServiceProxy(
        view,
        node_name=settings.node_name,
        pod_cidr=pod_cidr,
        cluster_cidr=settings.cluster_cidr,
        service_cidr=settings.service_cidr,
    )
    _connect(view, zone, proxy)
    async with trio.open_nursery() as nursery:
        await nursery.start(view.run)
        if "proxy" not in settings.disable:
            await nursery.start(proxy.run)
        if "dns" not in settings.disable:
            await nursery.start(keep_dns, _resolver(settings, zone), settings.cluster_dns)
        # Last, because the runtime takes pods as soon as it sees this file.
        text = cni.conflist(
            pod_cidr=pod_cidr, mtu=addresses.interface_mtu(node_ip), leases_dir=settings.data_dir / "cni" / "addresses"
        )
        cni.write(settings.cni_conf_dir, text)
        log.info("pod network ready pod_cidr=%s node_ip=%s", pod_cidr, node_ip)
        task_status.started()


async def wait_for_pod_cidr(verbs: Verbs, node_name: str) -> str:
    """spec.podCIDR of the node, as soon as the controller has given it one."""
    name_only = f"metadata.name={node_name}"
    while True:
        listed = await verbs.list(NODE, "", ListOptions(field_selector=name_only))
        for node in listed.objects():
            if found := (node.get("spec") or {}).get("podCIDR"):
                return str(found)
        async with verbs.watch(NODE, "", ListOptions(field_selector=name_only, revision=listed.revision)) as events:
            async for event in events:
                found = (event.object().get("spec") or {}).get("podCIDR")
                if found and event.type != DELETED:
                    return str(found)


def _configure_host(settings: Settings, node_ip: str, pod_cidr: str) -> None:
    refused = addresses.write_sysctls()
    if refused:
        log.warning("the kernel refused settings, pods may not reach each other: %s", ", ".join(refused))
    commands = addresses.host_commands(
        node_ip=node_ip, pod_cidr=pod_cidr, service_cidr=settings.service_cidr, cluster_dns=settings.cluster_dns
    )
    addresses.batch(commands)


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

    view.subscribe(SERVICE, service)
    view.subscribe(ENDPOINTSLICE, piece)
    view.subscribe(POD, pod)
    view.subscribe(NAMESPACE, namespace)


async def keep_dns(
    resolver: Resolver, address: str, port: int = 53, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """The node's resolver for as long as the network runs; when another program holds the port, it is tried again.

    Started once it answers, or it is known that it cannot now: pods that need no names shall run all the same.
    """
    told = False
    while True:
        try:
            async with trio.open_nursery() as nursery:
                await nursery.start(serve, resolver, address, port)
                if not told:
                    told = True
                    task_status.started()
        except* OSError as group:
            reason = group.exceptions[0]
            log.error(
                "cluster DNS cannot answer on %s:%d, trying again in %d s: %s (a DNS server that listens on all addresses "
                "must be bound to its own; ss -lntup shows it)",
                address, port, limits.DNS_RETRY_SECONDS, reason,
            )  # fmt: skip
        if not told:
            told = True
            task_status.started()
        await trio.sleep(limits.DNS_RETRY_SECONDS)


def _resolver(settings: Settings, zone: Zone) -> Resolver:
    # systemd-resolved's stub would be asked through itself; its own list of servers is beside it.
    path = _SYSTEMD_RESOLVED if _SYSTEMD_RESOLVED.exists() else _RESOLV_CONF
    resolvers = Resolvers(path, avoid=(settings.cluster_dns,))
    return Resolver(zone, Forwarder(resolvers.addresses))
