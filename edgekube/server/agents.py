"""Connections to the nodes' agents.

Enters: a node's name.
Leaves: one HTTP connection over mutual TLS, for one request.
Holds: a connection that the agent left here is preferred, for there may be no route to it; else where it listens is read from the
Node, each time. It is known by its certificate, whoever of the two dialled (source: kubernetes.io, Node status: addresses,
daemonEndpoints).
Bound: limits.AGENT_CONNECT_SECONDS.
Next: server.tunnel, server.proxy; server.parked.
"""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

import trio

from edgekube import limits
from edgekube.api import errors
from edgekube.api.errors import StatusError
from edgekube.api.kinds import NODE
from edgekube.api.objects import Object
from edgekube.registry.state import Registry
from edgekube.server.parked import ParkedConnections
from edgekube.wire.client import HttpConnection
from edgekube.wire.transport import connect

#: As kube-apiserver's --kubelet-preferred-address-types, shortened to what our nodes report.
_ADDRESS_TYPES: Final = ("InternalIP", "Hostname", "ExternalIP")
_AGENT_PORT: Final = 10250


class AgentConnections(Protocol):
    async def open(self, node_name: str) -> HttpConnection:
        """A fresh connection; the caller closes it. StatusError ServiceUnavailable when the agent cannot be reached."""
        ...

    def is_here(self, node_name: str) -> bool:
        """Whether the node is this server's own machine, whose pods it reaches without an agent."""
        ...


class NodeAgents:
    """AgentConnections from what the agents left here and what the Nodes say of themselves."""

    def __init__(
        self,
        registry: Registry,
        context: Callable[[], ssl.SSLContext],
        server_name: Callable[[str], str] = lambda node: node,
        *,
        parked: ParkedConnections | None = None,
        own_node: str = "",
    ) -> None:
        """``context``: this server's client certificate and the cluster's CA, asked for each connection because certificates
        rotate. ``server_name``: the name in the certificate of a node's agent. ``own_node``: the one in this process."""
        self._registry = registry
        self._context = context
        self._server_name = server_name
        self._parked = parked
        self._own_node = own_node

    def is_here(self, node_name: str) -> bool:
        return node_name == self._own_node

    async def open(self, node_name: str) -> HttpConnection:
        node = await self._registry.find(NODE, "", node_name)
        if node is None:
            raise errors.not_found("", "nodes", node_name)
        if self._parked is None or self.is_here(node_name):
            return await self._dial(node, node_name)
        return await _Race(self._parked, node_name).run(lambda: self._dial(node, node_name))

    async def _dial(self, node: Object, node_name: str) -> HttpConnection:
        host, port = endpoint_of(node, node_name)
        try:
            with trio.fail_after(limits.AGENT_CONNECT_SECONDS):
                transport = await connect(host, port, context=self._context(), server_hostname=self._server_name(node_name))
        except (OSError, trio.TooSlowError) as error:  # ssl.SSLError is an OSError
            raise errors.unreachable(f"the agent of node {node_name} at {host}:{port} cannot be reached: {error}") from error
        return HttpConnection(transport, f"{host}:{port}")


class _Race:
    """A parked connection, or a dialled one: whichever comes first. Where there are tunnels they get a head start."""

    def __init__(self, parked: ParkedConnections, node_name: str) -> None:
        self._parked = parked
        self._node_name = node_name
        self._won: HttpConnection | None = None
        self._failure: StatusError | None = None

    async def run(self, dial: Callable[[], Awaitable[HttpConnection]]) -> HttpConnection:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._take, nursery.cancel_scope)
            nursery.start_soon(self._dial, dial, nursery.cancel_scope)
        if self._won is not None:
            return self._won
        assert self._failure is not None
        raise self._failure

    def _finish(self, connection: HttpConnection, others: trio.CancelScope) -> None:
        if self._won is None:
            self._won = connection
        else:
            connection.close()
        others.cancel()

    async def _take(self, others: trio.CancelScope) -> None:
        self._finish(await self._parked.take(self._node_name), others)

    async def _dial(self, dial: Callable[[], Awaitable[HttpConnection]], others: trio.CancelScope) -> None:
        begun = trio.current_time()
        if self._parked.has(self._node_name):
            await trio.sleep(limits.TUNNEL_WAIT_SECONDS)
        try:
            self._finish(await dial(), others)
            return
        except StatusError as error:
            self._failure = error
        # Agents of a server that has just started are on their way; one that is connected will leave another for everybody.
        await trio.sleep_until(begun + limits.TUNNEL_WAIT_SECONDS)
        if self._parked.has(self._node_name):
            await trio.sleep_until(begun + limits.AGENT_CONNECT_SECONDS)
        others.cancel()


def endpoint_of(node: Object, node_name: str) -> tuple[str, int]:
    """Where the agent listens. StatusError ServiceUnavailable before the node has said so."""
    status = node.get("status") or {}
    by_type = {address.get("type"): address.get("address") for address in reversed(status.get("addresses") or [])}
    host = next((by_type[kind] for kind in _ADDRESS_TYPES if by_type.get(kind)), None)
    if not host:
        raise errors.unreachable(f"node {node_name} has not reported an address yet")
    port = ((status.get("daemonEndpoints") or {}).get("kubeletEndpoint") or {}).get("Port") or _AGENT_PORT
    return str(host), int(port)
