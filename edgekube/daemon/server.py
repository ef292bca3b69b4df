"""A server: the whole control plane, and a node unless it is told otherwise.

Enters: Settings.
Leaves: nothing but a cluster; returns after SIGTERM or SIGINT, once requests are answered and everything acknowledged is on disk.
Holds: the API answers before controllers start, controllers before the node; on the way down it is the other way round.
Containers outlive it.
Next: daemon.node.
"""

from __future__ import annotations

import logging
import signal
import uuid
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

import trio

from edgekube import limits
from edgekube.admission.attributes import Attributes
from edgekube.admission.chain import Chain
from edgekube.admission.default_roles import default_objects
from edgekube.admission.escalation import Grants
from edgekube.admission.node_authorizer import NodeAuthorizer
from edgekube.admission.node_graph import NodeGraph
from edgekube.admission.rbac import RoleIndex
from edgekube.api.cluster_facts import ClusterFacts
from edgekube.api.kinds import BUILT_IN, EVENT, SERVICE
from edgekube.api.node_identity import NodeIdentity
from edgekube.api.verbs import UserInfo
from edgekube.controllers.certificates.rules import EXTENDED_USAGES, KEY_USAGES
from edgekube.daemon.announcing import announce_server
from edgekube.daemon.auditing import open_auditing
from edgekube.daemon.authentication import read_authentication
from edgekube.daemon.certificates import KeptCertificates
from edgekube.daemon.identity import Identity, own_public_key, prepare_identity
from edgekube.daemon.local_storage import ensure_local_storage
from edgekube.daemon.memory import bound_heap, keep_small
from edgekube.daemon.scheduling import read_profiles
from edgekube.loading import loading
from edgekube.network.node_addresses import NodeAddresses
from edgekube.notify import notify
from edgekube.pki.certificates import FRONT_PROXY_NAME, agent_server_name
from edgekube.pki.clock import Clock
from edgekube.pki.legacy_tokens import LegacyTokens
from edgekube.pki.signer import RequestSigner
from edgekube.pki.tokens import TokenIssuer, TokenVerifier
from edgekube.registry.bootstrap import bootstrap, keep_kubernetes_service
from edgekube.registry.local import LocalVerbs
from edgekube.registry.policies.type_checking import checker
from edgekube.registry.quota_counting import keep_counting
from edgekube.registry.state import Registry
from edgekube.server.access import follow_roles
from edgekube.server.agents import NodeAgents
from edgekube.server.aggregation.aggregator import Aggregator
from edgekube.server.aggregation.trust import publish_trust, trust_data
from edgekube.server.allowed_serials import AllowedSerials
from edgekube.server.app import Application
from edgekube.server.certificates import CertificateDesk
from edgekube.server.cluster_facts import KeptFacts
from edgekube.server.doors import Door, Doors
from edgekube.server.fairness.fairness import Fairness
from edgekube.server.identity import Identities
from edgekube.server.issuer_discovery import IssuerDiscovery
from edgekube.server.issuing import Issuer
from edgekube.server.joining import Joining, sweep_tokens
from edgekube.server.metrics_api.api import MetricsApi
from edgekube.server.metrics_api.objects import GROUP as METRICS_GROUP
from edgekube.server.metrics_api.objects import VERSION as METRICS_VERSION
from edgekube.server.metrics_api.scraping import Scraper
from edgekube.server.metrics_api.source import InternalMetrics
from edgekube.server.node_graph import follow_node_graph
from edgekube.server.node_identities import NodeIdentities
from edgekube.server.other_tokens import OtherTokens
from edgekube.server.pairing_desk import PairingDesk
from edgekube.server.pairing_door import METHODS, PairingDoor
from edgekube.server.pairing_door import NAME as PAIRINGS
from edgekube.server.parked import DOOR as TUNNEL_DOOR
from edgekube.server.parked import ParkedConnections
from edgekube.server.renewing import Renewing
from edgekube.server.respond import error_body
from edgekube.settings import Settings
from edgekube.store.sqlite import SqliteStore, open_store
from edgekube.wire.server import Server, open_listeners
from edgekube.wire.tls import ClientTls, ServerTls

if TYPE_CHECKING:
    from edgekube.controllers import loadbalancer
    from edgekube.daemon.authentication_reload import AuthenticationReload
    from edgekube.reconcile.recorder import Recorder

log = logging.getLogger("edgekube")

_SYSTEM: Final = UserInfo("system:apiserver", groups=("system:masters",))
_CONTROLLERS: Final = UserInfo("system:kube-controller-manager", groups=("system:authenticated",))
_SCHEDULER: Final = UserInfo("system:kube-scheduler", groups=("system:authenticated",))

#: A Service on the nodes' own addresses must not take the way by which people mend them.
_SSH_PORT: Final = 22

VOLATILE: Final = frozenset(kind.resource for kind in BUILT_IN if not kind.durable)


async def run_server(settings: Settings, *, clock: Clock, started: Callable[[], None] = lambda: None) -> None:
    """``started`` is called once everything runs (and the service manager has been told)."""
    bound_heap()
    addresses = NodeAddresses.of(settings)
    await trio.to_thread.run_sync(addresses.look)
    for directory in (settings.data_dir, settings.run_dir):
        directory.mkdir(parents=True, exist_ok=True)
    identity = await trio.to_thread.run_sync(prepare_identity, settings, ",".join(addresses.current), clock.utc())
    # The ports are taken first: a second server must not get as far as the database.
    listeners = open_listeners(settings.https_port)
    ttl_seconds: Mapping[str, float] = {EVENT.resource: limits.EVENT_TTL_SECONDS}
    async with open_store(settings.database, volatile_resources=VOLATILE, ttl_seconds=ttl_seconds) as store:
        control_plane = ControlPlane(settings, identity, store, clock, addresses)
        await control_plane.prepare()
        tls = ServerTls(*_paths(identity), clock=clock)
        control_plane.certificates.changed.append(tls.reload)
        server = Server(control_plane.application.handle, tls=tls, error_body=error_body)
        async with trio.open_nursery() as serving:
            serving.start_soon(clock.keep)
            for sink in control_plane.audit_sinks.values():
                serving.start_soon(sink.run)
            await serving.start(control_plane.follow_roles)
            await serving.start(control_plane.follow_node_graph)
            await serving.start(control_plane.nodes.run)
            await control_plane.register_own_node()
            await serving.start(server.serve, listeners)
            log.info("api ready address=%s port=%d revision=%d", addresses.current[0], settings.https_port, store.revision())
            # The API answers while the rest is still being read from disk, which takes as long again on a board.
            await trio.to_thread.run_sync(_load_the_rest, settings.agent)
            async with trio.open_nursery() as working:
                working.start_soon(_stop_on_signal, working.cancel_scope)
                working.start_soon(control_plane.keep_kubernetes_service)
                working.start_soon(addresses.run)
                working.start_soon(control_plane.follow_addresses)
                working.start_soon(control_plane.facts.run)
                working.start_soon(control_plane.sweep_tokens)
                working.start_soon(control_plane.count_quotas)
                working.start_soon(control_plane.keep_cluster_info)
                if "mdns" not in settings.disable:
                    working.start_soon(control_plane.announce)
                working.start_soon(control_plane.keep_certificates)
                working.start_soon(control_plane.aggregator.run)
                working.start_soon(control_plane.follow_flows)
                if control_plane.authentication_reload is not None:
                    working.start_soon(control_plane.authentication_reload.run)
                await control_plane.start_loops(working)
                if settings.agent:
                    working.start_soon(control_plane.keep_machine_role)
                    from edgekube.daemon.node import NodeCredentials, keep_node

                    own = NodeCredentials(
                        identity.node.certificate,
                        identity.node.key,
                        identity.authority_path,
                        review=control_plane.application.review,
                    )
                    await working.start(keep_node, settings, control_plane.node_verbs(), own, clock, addresses)
                notify("READY=1")
                started()
                working.start_soon(keep_small)
                log.info("ready node=%s", settings.node_name if settings.agent else "-")
            notify("STOPPING=1")
            control_plane.application.drain()
            control_plane.parked.drain()
            await server.drain(limits.DRAIN_SECONDS)
            serving.cancel_scope.cancel()
    log.info("stopped")


class ControlPlane:
    """The parts behind the API, wired to one store."""

    def __init__(
        self, settings: Settings, identity: Identity, store: SqliteStore, clock: Clock, addresses: NodeAddresses
    ) -> None:
        self._settings = settings
        self._addresses = addresses
        self._identity = identity
        self._clock = clock
        issuer = f"https://kubernetes.default.svc.{settings.cluster_domain}"
        tokens = TokenIssuer(identity.token_keys, issuer, clock)
        self._registry = Registry(store, service_cidr=settings.service_cidr, token_issuer=tokens, clock=clock)
        self._roles = RoleIndex()
        self._registry.grants = Grants(self._roles)
        self._graph = NodeGraph()
        authorizer = self._registry.authorizer = Chain(NodeAuthorizer(self._graph), self._roles)
        #: The server's own records: no webhook is asked about them, or a server might not start again.
        self._system = LocalVerbs(self._registry, _SYSTEM, foundation=True)
        self.facts = KeptFacts(self._system, self._own_facts, clock)
        self.nodes = NodeIdentities(self._system)
        self._issuer = Issuer(self._system, lambda user: LocalVerbs(self._registry, user), self.nodes, self.facts.current, clock)
        self._pairing = PairingDoor(self._issuer, AllowedSerials(self._system), self.facts.current)
        self.certificates = KeptCertificates(settings, identity, clock, addresses.current)
        self._desk = CertificateDesk(self._system, self.certificates)
        client = identity.agent_client
        to_agents = ClientTls(identity.authority_path, client.certificate, client.key, clock=clock)
        self._legacy_tokens = LegacyTokens(identity.token_keys)
        found = read_authentication(settings, issuer, clock)
        others = OtherTokens(self._system, self._legacy_tokens, issuer, clock, found.providers)
        self.authentication_reload: AuthenticationReload | None = None
        if found.file is not None:
            from edgekube.daemon.authentication_reload import AuthenticationReload

            self.authentication_reload = AuthenticationReload(
                found.file,
                found.providers,
                issuer,
                others.let_in_by,
                self._registry.metrics,
                f"apiserver-{settings.node_name}",
                clock,
            )
        identities = Identities(TokenVerifier(identity.token_keys, issuer, clock), self._system, self.nodes, others)
        self.parked = ParkedConnections(identities)
        agents = NodeAgents(
            self._registry,
            to_agents,
            agent_server_name,
            parked=self.parked,
            own_node=settings.node_name if settings.agent else "",
        )
        self.fairness = Fairness(clock=clock)
        self._profiles = read_profiles(settings)
        served = () if "metrics" in settings.disable else ((METRICS_GROUP, METRICS_VERSION),)
        self.aggregator = Aggregator(self._registry, self._system, self._front_proxy_pair, clock, besides=served)
        metrics_api = MetricsApi(self._system, Scraper(agents, clock))
        self._metrics = InternalMetrics(self.aggregator, metrics_api if served else None)
        audit = open_auditing(settings, self._registry.metrics)
        self.audit_sinks = audit[1] if audit else {}
        discovery = IssuerDiscovery(issuer, self._own_address, identity.token_keys.publics)
        self.application = Application(
            self._registry,
            identities,
            authorizer,
            agents,
            rules=self._roles,
            server_address=self._own_address,
            doors=self._doors(),
            log_requests=settings.log_requests,
            aggregator=self.aggregator,
            fairness=self.fairness,
            auditing=audit[0] if audit else None,
            metrics_api=metrics_api if served else None,
            anonymous=found.anonymous,
            desks={"certificates": self._desk.serve, **PairingDesk(self._pairing).rows(), **discovery.rows()},
        )
        self.certificates.changed.append(self.facts.changed)
        self.certificates.changed.append(self.aggregator.start_afresh)
        self.nodes.refused.append(self.parked.close)
        self.nodes.refused.append(self.application.end_streams_of_node)

    def _front_proxy_pair(self) -> tuple[str, str]:
        pair = self._identity.front_proxy
        return str(pair.certificate), str(pair.key)

    async def _publish_trust(self) -> None:
        """What API servers behind this one may believe."""
        front_proxy = self._identity.front_proxy_authority.certificate_pem.decode()
        await publish_trust(self._system, trust_data(self._identity.authority_pem.decode(), front_proxy, FRONT_PROXY_NAME))

    def _own_address(self) -> str:
        return server_url(self._addresses.current[0], self._settings.https_port).removeprefix("https://")

    def _doors(self) -> Doors:
        """One row for each thing that a machine without an identity may ask for."""
        return Doors([
            Door("cluster", frozenset({"GET"}), self.facts.serve),
            Door(TUNNEL_DOOR, frozenset({"GET"}), self.parked.serve, limits.TUNNELS_MAX),
            Door("join", frozenset({"POST"}), Joining(self._system, self._issuer, self._clock).serve),
            Door(PAIRINGS, METHODS, self._pairing.serve, requests_max=limits.PAIRING_REQUESTS_MAX),
            Door("renew", frozenset({"POST"}), Renewing(self._issuer, self.nodes).serve),
        ])  # fmt: skip

    def _own_facts(self) -> ClusterFacts:
        settings = self._settings
        return ClusterFacts(
            cluster_id="",
            name="",
            cluster_cidr=settings.cluster_cidr,
            service_cidr=settings.service_cidr,
            cluster_dns=settings.cluster_dns,
            cluster_domain=settings.cluster_domain,
            authorities=self._identity.authority_pem.decode(),
            servers=tuple(server_url(address, settings.https_port) for address in self._addresses.current),
            load_balancer_pool="" if "loadbalancer" in settings.disable else settings.load_balancer_pool,
            signing_authority=self.certificates.signing,
        )

    async def prepare(self) -> None:
        """Objects that a new cluster has before anybody asks."""
        await self._registry.load()
        settings = self._settings
        await bootstrap(
            self._registry,
            addresses=self._addresses.current,
            port=settings.https_port,
            service_cidr=settings.service_cidr,
            rbac=default_objects(),
        )
        await self.facts.prepare()
        await self._publish_trust()
        if "dns" not in settings.disable:
            await self._ensure_dns_service()
        if "local-path" not in settings.disable:
            await ensure_local_storage(self._system)

    async def _ensure_dns_service(self) -> None:
        """The name under which people look for the cluster's DNS; its address is answered by each node itself."""
        addresses = list(self._settings.cluster_dns_addresses)
        families: dict[str, object] = {"clusterIPs": addresses, "ipFamilyPolicy": "PreferDualStack"} if len(addresses) > 1 else {}
        there = await self._registry.find(SERVICE, "kube-system", "kube-dns")
        if there is not None:
            if families and len(there["spec"].get("clusterIPs") or ()) == 1:  # the cluster got its second family
                await self._system.patch(SERVICE, "kube-system", "kube-dns", {"spec": families})
            return
        labels = {"k8s-app": "kube-dns", "kubernetes.io/name": "CoreDNS", "kubernetes.io/cluster-service": "true"}
        ports = [
            {"name": "dns", "port": 53, "protocol": "UDP"},
            {"name": "dns-tcp", "port": 53, "protocol": "TCP"},
            {"name": "metrics", "port": 9153, "protocol": "TCP"},
        ]
        spec = {"clusterIP": self._settings.cluster_dns, "ports": ports, **families}
        metadata = {"name": "kube-dns", "namespace": "kube-system", "labels": labels}
        await self._system.create(SERVICE, "kube-system", {"metadata": metadata, "spec": spec})

    async def keep_kubernetes_service(self) -> None:
        """Whoever deletes the Service that pods find the API by gets it back."""
        await keep_kubernetes_service(
            self._registry,
            addresses=lambda: self._addresses.current,
            moved=self._addresses.wait_for_other_than,
            port=self._settings.https_port,
            service_cidr=self._settings.service_cidr,
        )

    async def keep_certificates(self) -> None:
        """Renew them, follow a change of the authority, and tell whoever has copies."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.certificates.run)
            nursery.start_soon(self._desk.follow, self.certificates.next_look)
            nursery.start_soon(self._tell_of_certificates)

    async def _tell_of_certificates(self) -> None:
        from edgekube.reconcile.root_ca import publish

        news = trio.Event()
        self.certificates.changed.append(lambda: news.set())
        while True:
            await news.wait()
            news = trio.Event()
            await self.register_own_node()
            await publish(self._system, self._identity.authority_pem.decode())
            await self._publish_trust()

    async def count_quotas(self) -> None:
        await keep_counting(self._registry)

    async def keep_cluster_info(self) -> None:
        from edgekube.reconcile.cluster_info import keep_cluster_info

        await keep_cluster_info(self._system, self._clock)

    async def sweep_tokens(self) -> None:
        await sweep_tokens(self._system, self._clock)

    async def follow_addresses(self) -> None:
        """Nodes learn from the cluster's facts where this server is reached now."""
        known = self._addresses.current
        while True:
            known = await self._addresses.wait_for_other_than(known)
            self.facts.changed()
            self.certificates.addresses_changed(known)

    async def follow_roles(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        await follow_roles(self._system, self._roles, task_status)

    async def follow_node_graph(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        await follow_node_graph(self._system, self._graph, task_status=task_status)

    async def follow_flows(self) -> None:
        await self.fairness.run(self._system)

    async def keep_machine_role(self) -> None:
        from edgekube.reconcile.machine_role import keep_machine_role

        await keep_machine_role(self._system, self._settings.node_name)

    async def announce(self) -> None:
        await announce_server(self._settings, self.facts.current, self._system)

    async def start_loops(self, nursery: trio.Nursery) -> None:
        """Controllers and the scheduler, each with a recorder and a Lease of its own."""
        from edgekube.reconcile.leadership import hold
        from edgekube.reconcile.recorder import Recorder

        for name, user, run in (
            ("controllers", _CONTROLLERS, self._run_controllers),
            ("scheduler", _SCHEDULER, self._run_scheduler),
        ):
            if name in self._settings.disable:
                continue
            verbs = LocalVerbs(self._registry, user)
            recorder = Recorder(verbs, host=self._settings.node_name)
            nursery.start_soon(recorder.run)
            await nursery.start(run, verbs, recorder)
            holder = f"{self._settings.node_name}_{uuid.uuid4()}"
            nursery.start_soon(hold, verbs, recorder, user.name.removeprefix("system:"), holder)
        if "manifests" not in self._settings.disable:
            from edgekube.reconcile.manifests import Manifests

            verbs = LocalVerbs(self._registry, _SYSTEM)
            nursery.start_soon(Manifests(self._settings.manifests_dir, verbs, self._registry.kinds.by_kind).run)

    async def _run_controllers(
        self, verbs: LocalVerbs, recorder: Recorder, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        from edgekube.reconcile.loops import run_controllers

        await run_controllers(
            verbs,
            recorder,
            cluster_cidr=self._settings.cluster_cidr,
            root_ca=lambda: self._identity.authority_pem.decode(),
            node_grace_seconds=self._settings.node_monitor_grace_seconds,
            load_balancer=_balancing(self._settings),
            sign=RequestSigner(lambda: self._identity.authority, KEY_USAGES, EXTENDED_USAGES),
            may_create=self._may_create,
            account_tokens=self._legacy_tokens,
            check_policy=checker(self._registry),
            local_path="local-path" not in self._settings.disable,
            metrics=self._metrics,
            remote_content=self.aggregator.contents,
            kinds=self._registry.kinds.stored_rows,
            kind_of=self._registry.kinds.by_kind,
            on_kinds_changed=self._registry.kinds.changed.append,
            clock=self._clock,
            figures=self._registry.metrics,
            task_status=task_status,
        )

    async def _run_scheduler(
        self, verbs: LocalVerbs, recorder: Recorder, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        from edgekube.reconcile.scheduling import run_scheduler

        await run_scheduler(verbs, recorder, self._profiles, clock=self._clock, task_status=task_status)

    def _may_create(self, user: UserInfo, subresource: str) -> bool:
        wanted = Attributes(user, "create", "certificates.k8s.io", "v1", "certificatesigningrequests", subresource=subresource)
        return self._roles.authorize(wanted).allowed

    async def register_own_node(self) -> None:
        """This machine's node, so that its name is taken and its key known."""
        if not self._settings.agent:
            return
        public_key = await trio.to_thread.run_sync(own_public_key, self._identity.node)
        name = self._settings.node_name

        def own(before: NodeIdentity | None) -> NodeIdentity:
            return NodeIdentity(name, public_key, "server", before.serial if before else "")

        await self.nodes.change(name, own)

    def node_verbs(self) -> LocalVerbs:
        """The API as this machine's own agent uses it."""
        name = f"system:node:{self._settings.node_name}"
        return LocalVerbs(self._registry, UserInfo(name, groups=("system:nodes", "system:authenticated")))


def _balancing(settings: Settings) -> loadbalancer.Rules | None:
    from edgekube.api.address_pools import parse_pool
    from edgekube.controllers import loadbalancer

    if "loadbalancer" in settings.disable:
        return None
    reserved = frozenset({_SSH_PORT, settings.https_port, settings.agent_port})
    return loadbalancer.Rules(parse_pool(settings.load_balancer_pool), reserved)


def _load_the_rest(agent: bool) -> None:
    with loading():
        import edgekube.reconcile.loops
        import edgekube.reconcile.manifests
        import edgekube.reconcile.scheduling

        if agent:
            import edgekube.daemon.node  # noqa: F401


def server_url(address: str, port: int) -> str:
    return f"https://[{address}]:{port}" if ":" in address else f"https://{address}:{port}"


def _paths(identity: Identity) -> tuple[str, str, str]:
    return str(identity.server.certificate), str(identity.server.key), str(identity.authority_path)


async def _stop_on_signal(scope: trio.CancelScope) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for number in signals:
            log.info("stopping signal=%s", signal.Signals(number).name)
            scope.cancel()
            return
