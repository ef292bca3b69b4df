"""An agent: this machine as a node of a cluster whose server is elsewhere.

Enters: Settings.
Leaves: a Ready node; returns after SIGTERM or SIGINT. Containers outlive it.
Holds: once it is a member it starts without asking anybody: a server that is away is waited for while pods run on; who the node
and its server are is read from files for each new connection, so that all of it may change meanwhile. Nothing of the control
plane is loaded.
Next: daemon.membership, daemon.node.
"""

from __future__ import annotations

import dataclasses
import logging
import signal
import socket
from collections.abc import Callable

import orjson
import trio

from edgekube import limits
from edgekube.api.cluster_facts import NAME, NAMESPACE, facts_from
from edgekube.api.kinds import CONFIGMAP
from edgekube.api.verbs import ListOptions, Verbs
from edgekube.client.addresses import Address, ServerAddresses
from edgekube.client.doors import address_of, url_of
from edgekube.client.remote import RemoteVerbs
from edgekube.client.target import Target
from edgekube.daemon.finding import ServerFinder
from edgekube.daemon.membership import become_member
from edgekube.daemon.memory import bound_heap, keep_small
from edgekube.daemon.node import NodeCredentials, keep_node
from edgekube.daemon.node_files import Membership, NodeFiles
from edgekube.daemon.rejoining import Rejoining
from edgekube.daemon.renewal import Renewal
from edgekube.network.node_addresses import NodeAddresses
from edgekube.notify import notify
from edgekube.pki.certificates import SERVER_NAME
from edgekube.pki.clock import Clock
from edgekube.reconcile.follow import follow
from edgekube.reconcile.one_object import OneObject
from edgekube.settings import Settings
from edgekube.wire.tls import ClientTls

log = logging.getLogger("edgekube")


async def run_agent_process(settings: Settings, *, clock: Clock, started: Callable[[], None] = lambda: None) -> bool:
    """``started`` is called once the node runs (and the service manager has been told). Raises JoinRefused.

    True: the machine has joined just now. Start the program anew: what joining needed (a library for certificates, mDNS) stays
    loaded otherwise, a quarter of the agent's memory, for as long as it runs."""
    bound_heap()
    for directory in (settings.data_dir, settings.run_dir):
        directory.mkdir(parents=True, exist_ok=True)
    files = NodeFiles(settings.agent_dir)
    async with trio.open_nursery() as working:
        working.start_soon(_stop_on_signal, working.cancel_scope)
        working.start_soon(clock.keep)
        working.start_soon(_wait_no_longer)
        files.prepare()
        held = files.load()
        member = await become_member(settings, files)
        if held is None and files.load() is not None:
            working.cancel_scope.cancel()
            return True
        servers = ServerAddresses(address_of(url) for url in (*settings.server, *files.last_servers(), *member.facts.servers))
        settings = _settings_of_member(settings, member)
        await _run_member(settings, files, member, servers, clock, started)
    log.info("stopped")
    return False


async def _wait_no_longer() -> None:
    """What else the boot consists of shall not wait for a server that is away, or for a person."""
    await trio.sleep(limits.AGENT_START_SECONDS)
    notify("READY=1")


async def _run_member(
    settings: Settings,
    files: NodeFiles,
    member: Membership,
    servers: ServerAddresses,
    clock: Clock,
    started: Callable[[], None],
) -> None:
    tls = ClientTls(files.authorities, files.client_certificate, files.key, clock=clock)
    finder = ServerFinder(servers, member.facts.cluster_id, files.authorities.read_text)
    rejoining = Rejoining(settings, files, member, servers, tls)
    target = target_of(servers, tls, finder, rejoining)
    async with RemoteVerbs(target) as verbs, trio.open_nursery() as working:
        working.start_soon(finder.run)
        renewal = Renewal(files, member.node_name, servers, tls, clock, verbs, verbs.start_afresh)
        working.start_soon(renewal.run)
        working.start_soon(rejoining.run, verbs, renewal)
        working.start_soon(_follow_facts, verbs, files, member, servers, renewal.poke)
        addresses = await trio.to_thread.run_sync(own_addresses, settings, servers.current())
        working.start_soon(addresses.run)
        working.start_soon(_leave_lost_addresses, verbs, addresses)
        await working.start(keep_node, settings, verbs, credentials_of(files, target, verbs), clock, addresses)
        notify("READY=1")
        started()
        working.start_soon(keep_small)
        log.info("ready node=%s cluster=%s", member.node_name, member.facts.name)


def credentials_of(files: NodeFiles, target: Target, verbs: RemoteVerbs) -> NodeCredentials:
    families = verbs.figures.families
    return NodeCredentials(files.serving_certificate, files.key, files.authorities, dial_server=target.dial, figures=families)


def target_of(servers: ServerAddresses, tls: ClientTls, finder: ServerFinder, rejoining: Rejoining) -> Target:
    """The cluster's servers, whatever their addresses are now."""
    return Target(servers.current, tls, SERVER_NAME, unreachable=finder.unreachable, refused=rejoining.refused)


def _settings_of_member(settings: Settings, member: Membership) -> Settings:
    """What the cluster says goes before what was typed: its ranges are the same on all nodes."""
    facts = member.facts
    return dataclasses.replace(
        settings,
        node_name=member.node_name,
        cluster_cidr=facts.cluster_cidr,
        service_cidr=facts.service_cidr,
        cluster_dns=facts.cluster_dns,
        cluster_domain=facts.cluster_domain,
    )


def own_addresses(settings: Settings, server: Address) -> NodeAddresses:
    """Of several addresses, the one that this machine has towards its server. Blocks for some milliseconds."""
    addresses = NodeAddresses.of(settings)
    if not settings.node_ip and (towards := _address_towards(server)):
        addresses.become((towards,))
    addresses.look()
    return addresses


def _address_towards(server: Address) -> str:
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect(server)  # a route is looked up; nothing is sent
            address = str(probe.getsockname()[0])
    except OSError:
        return ""
    return "" if address.startswith("127.") else address


async def _leave_lost_addresses(verbs: RemoteVerbs, addresses: NodeAddresses) -> None:
    """Until cancelled: what was said from an address that is gone is said again from another."""
    known = addresses.current
    while True:
        now = await addresses.wait_for_other_than(known)
        verbs.hang_up(set(known) - set(now))
        known = now


async def _follow_facts(
    verbs: Verbs, files: NodeFiles, member: Membership, servers: ServerAddresses, taken_up: Callable[[], None]
) -> None:
    """Until cancelled: new authorities and addresses of the cluster are taken up as they are told."""
    news = trio.Event()
    config_map = OneObject(lambda: news.set(), first=True)

    async def take_up() -> None:
        nonlocal news
        while True:
            await news.wait()
            news = trio.Event()
            if config_map.raw is not None:
                await trio.to_thread.run_sync(_take_up, config_map.raw, files, member, servers)
                taken_up()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(take_up)
        selection = ListOptions(field_selector=f"metadata.name={NAME}")
        await follow(verbs, CONFIGMAP, config_map, selection, namespace=NAMESPACE)


def _take_up(raw: bytes, files: NodeFiles, member: Membership, servers: ServerAddresses) -> None:
    try:
        facts = facts_from(orjson.loads(raw).get("data") or {})
        if facts.cluster_id != member.facts.cluster_id:
            raise ValueError(f"they are those of cluster {facts.cluster_id}, this node's is {member.facts.cluster_id}")
        files.save_facts(member.node_name, facts)
        servers.offer(address_of(url) for url in facts.servers)
        files.save_servers(tuple(url_of(address) for address in servers.all()))
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        log.warning("the cluster's facts cannot be used, keeping the old ones: %s", error)


async def _stop_on_signal(scope: trio.CancelScope) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for number in signals:
            log.info("stopping signal=%s", signal.Signals(number).name)
            notify("STOPPING=1")
            scope.cancel()
            return
