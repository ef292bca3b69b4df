"""A server: the whole control plane, and a node unless it is told otherwise.

Enters: Settings.
Leaves: nothing but a cluster; returns after SIGTERM or SIGINT, once requests are answered and everything acknowledged is on disk.
Holds: the API answers before controllers start, controllers before the node; on the way down it is the other way round.
Containers outlive it.
Next: daemon.node.
"""

from __future__ import annotations

import dataclasses
import logging
import signal
import ssl
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

import trio

from edgekube import limits
from edgekube.admission.default_roles import default_objects
from edgekube.admission.rbac import RoleIndex
from edgekube.api.kinds import BUILT_IN, EVENT, SERVICE
from edgekube.api.verbs import UserInfo
from edgekube.daemon.identity import Identity, prepare_identity
from edgekube.daemon.memory import bound_heap, keep_small
from edgekube.network.addresses import NoAddress, node_address
from edgekube.notify import notify
from edgekube.pki.certificates import agent_server_name
from edgekube.pki.tokens import TokenIssuer, TokenVerifier
from edgekube.registry.bootstrap import bootstrap, keep_kubernetes_service
from edgekube.registry.local import LocalVerbs
from edgekube.registry.state import Registry
from edgekube.server.access import follow_roles
from edgekube.server.agents import NodeAgents
from edgekube.server.app import Application
from edgekube.server.identity import Identities
from edgekube.server.respond import error_body
from edgekube.settings import Settings
from edgekube.store.sqlite import SqliteStore, open_store
from edgekube.wire.server import Server, open_listeners
from edgekube.wire.tls import ServerTls, client_context

if TYPE_CHECKING:
    from edgekube.reconcile.recorder import Recorder

log = logging.getLogger("edgekube")

_SYSTEM: Final = UserInfo("system:apiserver", groups=("system:masters",))
_CONTROLLERS: Final = UserInfo("system:kube-controller-manager", groups=("system:authenticated",))
_SCHEDULER: Final = UserInfo("system:kube-scheduler", groups=("system:authenticated",))

VOLATILE: Final = frozenset(kind.resource for kind in BUILT_IN if not kind.durable)


async def run_server(settings: Settings, *, clock: Callable[[], float], started: Callable[[], None] = lambda: None) -> None:
    """``started`` is called once everything runs (and the service manager has been told)."""
    bound_heap()
    node_ip = await trio.to_thread.run_sync(_own_address, settings)
    settings = dataclasses.replace(settings, node_ip=node_ip)
    for directory in (settings.data_dir, settings.run_dir):
        directory.mkdir(parents=True, exist_ok=True)
    identity = await trio.to_thread.run_sync(prepare_identity, settings, node_ip)
    # The ports are taken first: a second server must not get as far as the database.
    listeners = open_listeners(settings.https_port)
    ttl_seconds: Mapping[str, float] = {EVENT.resource: limits.EVENT_TTL_SECONDS}
    async with open_store(settings.database, volatile_resources=VOLATILE, ttl_seconds=ttl_seconds) as store:
        control_plane = ControlPlane(settings, identity, store, clock)
        await control_plane.prepare()
        server = Server(control_plane.application.handle, tls=ServerTls(*_paths(identity)), error_body=error_body)
        async with trio.open_nursery() as serving:
            await serving.start(control_plane.follow_roles)
            await serving.start(server.serve, listeners)
            log.info("api ready address=%s port=%d revision=%d", node_ip, settings.https_port, store.revision())
            # The API answers while the rest is still being read from disk, which takes as long again on a board.
            await trio.to_thread.run_sync(_load_the_rest, settings.agent)
            async with trio.open_nursery() as working:
                working.start_soon(_stop_on_signal, working.cancel_scope)
                working.start_soon(control_plane.keep_kubernetes_service)
                await control_plane.start_loops(working)
                if settings.agent:
                    from edgekube.daemon.node import keep_node

                    await working.start(keep_node, settings, control_plane.node_verbs(), identity, clock)
                notify("READY=1")
                started()
                working.start_soon(keep_small)
                log.info("ready node=%s", settings.node_name if settings.agent else "-")
            notify("STOPPING=1")
            control_plane.application.drain()
            await server.drain(limits.DRAIN_SECONDS)
            serving.cancel_scope.cancel()
    log.info("stopped")


class ControlPlane:
    """The parts behind the API, wired to one store."""

    def __init__(self, settings: Settings, identity: Identity, store: SqliteStore, clock: Callable[[], float]) -> None:
        self._settings = settings
        self._identity = identity
        self._clock = clock
        issuer = f"https://kubernetes.default.svc.{settings.cluster_domain}"
        tokens = TokenIssuer(identity.token_key, issuer, clock)
        self._registry = Registry(store, service_cidr=settings.service_cidr, token_issuer=tokens, clock=clock)
        self._roles = RoleIndex()
        self._system = LocalVerbs(self._registry, _SYSTEM)
        agents = NodeAgents(self._registry, self._agent_context, agent_server_name)
        self.application = Application(
            self._registry,
            Identities(TokenVerifier(identity.token_key, issuer, clock), self._system),
            self._roles,
            agents,
            rules=self._roles,
            server_address=f"{settings.node_ip}:{settings.https_port}",
        )

    def _agent_context(self) -> ssl.SSLContext:
        pair = self._identity.agent_client
        return client_context(ca_path=self._identity.authority_path, cert_path=pair.certificate, key_path=pair.key)

    async def prepare(self) -> None:
        """Objects that a new cluster has before anybody asks."""
        await self._registry.load()
        settings = self._settings
        await bootstrap(
            self._registry,
            addresses=[settings.node_ip],
            port=settings.https_port,
            service_cidr=settings.service_cidr,
            rbac=default_objects(),
        )
        if "dns" not in settings.disable:
            await self._ensure_dns_service()

    async def _ensure_dns_service(self) -> None:
        """The name under which people look for the cluster's DNS; its address is answered by each node itself."""
        if await self._registry.find(SERVICE, "kube-system", "kube-dns") is not None:
            return
        labels = {"k8s-app": "kube-dns", "kubernetes.io/name": "CoreDNS", "kubernetes.io/cluster-service": "true"}
        ports = [{"name": "dns", "port": 53, "protocol": "UDP"}, {"name": "dns-tcp", "port": 53, "protocol": "TCP"}]
        spec = {"clusterIP": self._settings.cluster_dns, "ports": ports}
        metadata = {"name": "kube-dns", "namespace": "kube-system", "labels": labels}
        await self._system.create(SERVICE, "kube-system", {"metadata": metadata, "spec": spec})

    async def keep_kubernetes_service(self) -> None:
        """Whoever deletes the Service that pods find the API by gets it back."""
        settings = self._settings
        await keep_kubernetes_service(
            self._registry, addresses=[settings.node_ip], port=settings.https_port, service_cidr=settings.service_cidr
        )

    async def follow_roles(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        await follow_roles(self._system, self._roles, task_status)

    async def start_loops(self, nursery: trio.Nursery) -> None:
        """Controllers and the scheduler, each with a recorder of its own."""
        from edgekube.reconcile.recorder import Recorder
        from edgekube.reconcile.scheduling import run_scheduler

        for name, user, run in (
            ("controllers", _CONTROLLERS, self._run_controllers),
            ("scheduler", _SCHEDULER, run_scheduler),
        ):
            if name in self._settings.disable:
                continue
            verbs = LocalVerbs(self._registry, user)
            recorder = Recorder(verbs, host=self._settings.node_name)
            nursery.start_soon(recorder.run)
            await nursery.start(run, verbs, recorder)
        if "manifests" not in self._settings.disable:
            from edgekube.reconcile.manifests import Manifests

            nursery.start_soon(Manifests(self._settings.manifests_dir, self._system).run)

    async def _run_controllers(
        self, verbs: LocalVerbs, recorder: Recorder, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        from edgekube.reconcile.loops import run_controllers

        await run_controllers(
            verbs,
            recorder,
            cluster_cidr=self._settings.cluster_cidr,
            root_ca_pem=self._identity.authority_pem.decode(),
            clock=self._clock,
            task_status=task_status,
        )

    def node_verbs(self) -> LocalVerbs:
        """The API as this machine's own agent uses it."""
        name = f"system:node:{self._settings.node_name}"
        return LocalVerbs(self._registry, UserInfo(name, groups=("system:nodes", "system:authenticated")))


def _load_the_rest(agent: bool) -> None:
    import edgekube.reconcile.loops
    import edgekube.reconcile.manifests
    import edgekube.reconcile.scheduling

    if agent:
        import edgekube.daemon.node  # noqa: F401


def _paths(identity: Identity) -> tuple[str, str, str]:
    return str(identity.server.certificate), str(identity.server.key), str(identity.authority_path)


def _own_address(settings: Settings) -> str:
    if settings.node_ip:
        return settings.node_ip
    try:
        return node_address(avoid=(settings.cluster_cidr, settings.service_cidr))
    except NoAddress as error:
        # A box on a shelf without a cable is still a cluster of one.
        log.warning("%s; using the address of the cluster's DNS until the next start", error)
        return settings.cluster_dns


async def _stop_on_signal(scope: trio.CancelScope) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for number in signals:
            log.info("stopping signal=%s", signal.Signals(number).name)
            scope.cancel()
            return
