"""Starts the server as the daemon wires it: TLS, certificates of a real authority, roles and the Node authorizer."""

from __future__ import annotations

import datetime
import ssl
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import orjson
import trio

from edgekube import limits
from edgekube.admission.authentication.configuration import Anonymous
from edgekube.admission.chain import Chain
from edgekube.admission.default_roles import default_objects
from edgekube.admission.escalation import Grants
from edgekube.admission.node_authorizer import NodeAuthorizer
from edgekube.admission.node_graph import NodeGraph
from edgekube.admission.rbac import RoleIndex
from edgekube.api.cluster_info import PATH as CLUSTER_INFO
from edgekube.api.node_identity import NodeIdentity
from edgekube.api.objects import Object
from edgekube.daemon.identity import own_public_key
from edgekube.pki.authority import Authority, Subject, load_or_create_authority
from edgekube.pki.certificates import (
    SERVER_NAME,
    KeyPair,
    admin_subject,
    agent_client_subject,
    agent_server_name,
    ensure,
    node_subject,
    server_subject,
)
from edgekube.pki.legacy_tokens import LegacyTokens
from edgekube.pki.token_keys import TokenKeys
from edgekube.pki.tokens import TokenIssuer, TokenVerifier
from edgekube.registry.local import LocalVerbs
from edgekube.registry.state import Registry
from edgekube.server.agents import AgentConnections, NodeAgents
from edgekube.server.app import Application
from edgekube.server.doors import Door, Doors
from edgekube.server.identity import Identities
from edgekube.server.node_graph import follow_node_graph
from edgekube.server.node_identities import NodeIdentities
from edgekube.server.oidc import Provider
from edgekube.server.other_tokens import OtherTokens
from edgekube.server.parked import DOOR as TUNNEL_DOOR
from edgekube.server.parked import ParkedConnections
from edgekube.server.respond import error_body
from edgekube.wire.client import Dial, HttpClient, http_client
from edgekube.wire.protocol import Handler
from edgekube.wire.server import Server, open_listeners
from edgekube.wire.tls import ServerTls, client_context
from edgekube.wire.transport import Transport, connect
from tests.registry.cluster import ADMIN, default_account, open_registry
from tests.server.running import Answer

ISSUER = "https://kubernetes.default.svc.cluster.local"


class Secured:
    """The server, and whoever wants to speak with it."""

    def __init__(
        self,
        directory: Path,
        registry: Registry,
        authority: Authority,
        app: Application,
        nodes: NodeIdentities,
        roles: RoleIndex,
        parked: ParkedConnections,
        legacy: LegacyTokens,
    ) -> None:
        self.directory = directory
        self.registry = registry
        self.authority = authority
        self.app = app
        self.nodes = nodes
        self.roles = roles
        self.parked = parked
        self.legacy = legacy
        self.port = 0
        self.verbs = LocalVerbs(registry, ADMIN)

    def pair(self, subject: Subject, authority: Authority | None = None) -> KeyPair:
        """A certificate of this cluster's authority, or of another one."""
        stem = f"{subject.common_name.replace(':', '-')}-{id(authority)}"
        return ensure(authority or self.authority, self.directory, stem, subject, now=datetime.datetime.now(datetime.UTC))

    def client(self, subject: Subject | None, authority: Authority | None = None) -> HttpClient:
        """Somebody with that certificate, or without one."""
        pair = self.pair(subject, authority) if subject is not None else None
        context = client_context(
            ca_path=self.directory / "ca.crt",
            cert_path=pair.certificate if pair else None,
            key_path=pair.key if pair else None,
        )
        return http_client("127.0.0.1", self.port, context=context, server_hostname=SERVER_NAME)

    def dial(self, subject: Subject, authority: Authority | None = None) -> Dial:
        """How that somebody opens a connection to this server."""
        pair = self.pair(subject, authority)

        async def dial() -> Transport:
            context = client_context(ca_path=self.directory / "ca.crt", cert_path=pair.certificate, key_path=pair.key)
            return await connect("127.0.0.1", self.port, context=context, server_hostname=SERVER_NAME)

        return dial

    async def register(self, subject: Subject) -> None:
        """The node is a member: its key is known."""
        name = subject.common_name.removeprefix("system:node:")
        key = own_public_key(self.pair(subject))
        await self.nodes.change(name, lambda before: before or NodeIdentity(name, key, "test"))

    async def ask(
        self, who: Subject | None, method: str, path: str, body: Object | None = None, *, token: str = "", **headers: str
    ) -> Answer:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        data = None if body is None else orjson.dumps(body)
        if data is not None:
            sent.setdefault("content-type", "application/json")
        if token:
            sent["authorization"] = f"Bearer {token}"
        with trio.fail_after(60):
            if who is not None and who.common_name.startswith("system:node:"):
                await self.register(who)
            async with self.client(who) as client, client.request(method, path, sent, data) as response:
                return Answer(response.status, response.headers, await response.read(1 << 20))


def node(name: str) -> Subject:
    return node_subject(name, ["127.0.0.1"])


def admin() -> Subject:
    return admin_subject()


@asynccontextmanager
async def secured_api(
    directory: Path,
    agents: AgentConnections | None = None,
    doors: Callable[[LocalVerbs, NodeIdentities], Doors] | None = None,
    desks: Callable[[], Mapping[str, Handler]] = dict,
    providers: Sequence[Provider] = (),
) -> AsyncIterator[Secured]:
    authority = load_or_create_authority(directory, now=datetime.datetime.now(datetime.UTC))
    key = TokenKeys.load_or_create(directory)
    issuer = TokenIssuer(key, ISSUER, time.time)
    async with open_registry(directory / "state.db", token_issuer=issuer) as registry:
        await default_account(registry)
        roles, graph = RoleIndex(), NodeGraph()
        registry.grants = Grants(roles)
        for obj in default_objects():
            roles.put(obj)

        def agent_context() -> ssl.SSLContext:
            pair = secured.pair(agent_client_subject())
            return client_context(ca_path=directory / "ca.crt", cert_path=pair.certificate, key_path=pair.key)

        verbs = LocalVerbs(registry, ADMIN)
        nodes = NodeIdentities(verbs)
        legacy = LegacyTokens(key)
        others = OtherTokens(verbs, legacy, ISSUER, time.time, providers)
        identities = Identities(TokenVerifier(key, ISSUER, time.time), verbs, nodes, others)
        parked = ParkedConnections(identities)
        nodes.refused.append(parked.close)
        tunnel = Door(TUNNEL_DOOR, frozenset({"GET"}), parked.serve, limits.TUNNELS_MAX)
        app = Application(
            registry,
            identities,
            Chain(NodeAuthorizer(graph), roles),
            agents or NodeAgents(registry, agent_context, agent_server_name, parked=parked),
            rules=roles,
            doors=doors(verbs, nodes) if doors else Doors([tunnel]),
            desks=desks(),
            anonymous=Anonymous(frozenset({CLUSTER_INFO})),
        )
        nodes.refused.append(app.end_streams_of_node)
        secured = Secured(directory, registry, authority, app, nodes, roles, parked, legacy)
        pair = secured.pair(server_subject(["127.0.0.1"], "cluster.local"))
        server = Server(app.handle, tls=ServerTls(pair.certificate, pair.key, directory / "ca.crt"), error_body=error_body)
        async with trio.open_nursery() as nursery:
            await nursery.start(nodes.run)
            await nursery.start(lambda task_status: follow_node_graph(verbs, graph, task_status=task_status))
            secured.port = (await nursery.start(server.serve, open_listeners(0, "127.0.0.1")))[0]
            yield secured
            app.drain()
            parked.drain()
            await server.drain(1)
            nursery.cancel_scope.cancel()
