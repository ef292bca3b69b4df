"""The cluster's DNS on this node: its sockets, the servers it asks, its figures.

Enters: Settings, Verbs, the Zone.
Leaves: a resolver on the cluster's DNS addresses, until cancelled; it is asked by pods and by this host.
Holds: another program on the port is waited out, and pods that need no names run meanwhile; a setting that cannot be used is
refused in the log and the one before stays.
Next: network.dns.server, network.dns.upstreams.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import orjson
import trio

from edgekube import limits
from edgekube.api.kinds import CONFIGMAP
from edgekube.api.verbs import Verbs
from edgekube.network.dns.forwarder import Forwarder
from edgekube.network.dns.metrics import DnsMetrics
from edgekube.network.dns.metrics_server import METRICS_PORT, serve_metrics
from edgekube.network.dns.server import Resolver, serve
from edgekube.network.dns.upstreams import Choice, HostResolvers, MalformedUpstreams, Upstreams, parse_upstreams
from edgekube.network.dns.zone import Zone
from edgekube.reconcile.one_object import OneObject, follow_one

log = logging.getLogger("edgekube.network")

#: Where people customize the cluster's DNS (kubernetes.io, "Customizing DNS Service").
CONFIG_NAMESPACE: Final = "kube-system"
CONFIG_NAME: Final = "kube-dns"
_RESOLV_CONF: Final = Path("/etc/resolv.conf")
_SYSTEMD_RESOLVED: Final = Path("/run/systemd/resolve/resolv.conf")


async def run_node_dns(
    verbs: Verbs, zone: Zone, addresses: Sequence[str], *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """``addresses``: the cluster's DNS addresses, one a family. Started once they answer, or it is known that they cannot now."""
    metrics = DnsMetrics()
    # systemd-resolved's stub would be asked through itself; its own list of servers is beside it.
    path = _SYSTEMD_RESOLVED if _SYSTEMD_RESOLVED.exists() else _RESOLV_CONF
    forwarder = Forwarder(Choice(HostResolvers(path, avoid=addresses).servers), metrics)
    resolver = Resolver(zone, forwarder, metrics)
    customized = OneObject(lambda: _use(forwarder, customized.raw, addresses), first=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(follow_one, verbs, CONFIGMAP, CONFIG_NAMESPACE, CONFIG_NAME, customized)
        for address in addresses:
            await nursery.start(keep_dns, resolver, address)
            nursery.start_soon(_keep_metrics, metrics, address)
        task_status.started()


def _use(forwarder: Forwarder, raw: bytes | None, avoid: Sequence[str]) -> None:
    try:
        data = (orjson.loads(raw).get("data") or {}) if raw is not None else {}
        upstreams: Upstreams = parse_upstreams(data, avoid)
    except MalformedUpstreams as error:
        log.error("configmap %s/%s cannot be used, DNS goes on as before: %s", CONFIG_NAMESPACE, CONFIG_NAME, error)
        return
    forwarder.use(upstreams)
    if raw is not None:
        log.info("dns stub_domains=%d upstream_nameservers=%d", len(upstreams.stub_domains), len(upstreams.nameservers))


async def keep_dns(
    resolver: Resolver, address: str, port: int = 53, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """The node's resolver for as long as the network runs; when another program holds the port, it is tried again.

    Started once it answers, or it is known that it cannot now: pods that need no names shall run all the same.
    """
    await _keep(
        partial(serve, resolver, address, port),
        f"cluster DNS cannot answer on {address}:{port} (a DNS server that listens on all addresses must be bound to its own; "
        "ss -lntup shows it)",
        task_status.started,
    )


async def _keep_metrics(metrics: DnsMetrics, address: str) -> None:
    await _keep(
        partial(serve_metrics, metrics, address), f"DNS metrics cannot be served on {address}:{METRICS_PORT}", lambda: None
    )


async def _keep(start: Callable[..., Awaitable[object]], complaint: str, tell: Callable[[], None]) -> None:
    """Run what listens, again and again; ``tell`` once, when it listens or is known not to."""
    told = False
    while True:
        try:
            async with trio.open_nursery() as nursery:
                await nursery.start(start)
                if not told:
                    told = True
                    tell()
        except* OSError as group:
            log.error("%s, trying again in %d s: %s", complaint, limits.DNS_RETRY_SECONDS, group.exceptions[0])
        if not told:
            told = True
            tell()
        await trio.sleep(limits.DNS_RETRY_SECONDS)
