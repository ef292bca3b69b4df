"""Connections to the nodes' agents.

Enters: a node's name.
Leaves: one HTTP connection over mutual TLS, for one request.
Holds: where the agent listens is read from the Node, each time; it is known by its certificate (source: kubernetes.io, Node
status: addresses, daemonEndpoints).
Bound: limits.AGENT_CONNECT_SECONDS.
Next: server.tunnel.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Final, Protocol

import trio

from edgekube import limits
from edgekube.api import errors
from edgekube.api.kinds import NODE
from edgekube.api.objects import Object
from edgekube.registry.state import Registry
from edgekube.wire.client import HttpConnection
from edgekube.wire.transport import connect

#: As kube-apiserver's --kubelet-preferred-address-types, shortened to what our nodes report.
_ADDRESS_TYPES: Final = ("InternalIP", "Hostname", "ExternalIP")
_AGENT_PORT: Final = 10250


class AgentConnections(Protocol):
    async def open(self, node_name: str) -> HttpConnection:
        """A fresh connection; the caller closes it. StatusError ServiceUnavailable when the agent cannot be reached."""
        ...


class NodeAgents:
    """AgentConnections from what the Nodes say of themselves."""

    def __init__(
        self, registry: Registry, context: Callable[[], ssl.SSLContext], server_name: Callable[[str], str] = lambda node: node
    ) -> None:
        """``context``: this server's client certificate and the cluster's CA, asked for each connection because certificates
        rotate. ``server_name``: the name in the certificate of a node's agent."""
        self._registry = registry
        self._context = context
        self._server_name = server_name

    async def open(self, node_name: str) -> HttpConnection:
        node = await self._registry.find(NODE, "", node_name)
        if node is None:
            raise errors.not_found("", "nodes", node_name)
        host, port = endpoint_of(node, node_name)
        try:
            with trio.fail_after(limits.AGENT_CONNECT_SECONDS):
                transport = await connect(host, port, context=self._context(), server_hostname=self._server_name(node_name))
        except (OSError, trio.TooSlowError) as error:  # ssl.SSLError is an OSError
            raise errors.unavailable(f"the agent of node {node_name} at {host}:{port} cannot be reached: {error}") from error
        return HttpConnection(transport, f"{host}:{port}")


def endpoint_of(node: Object, node_name: str) -> tuple[str, int]:
    """Where the agent listens. StatusError ServiceUnavailable before the node has said so."""
    status = node.get("status") or {}
    by_type = {address.get("type"): address.get("address") for address in reversed(status.get("addresses") or [])}
    host = next((by_type[kind] for kind in _ADDRESS_TYPES if by_type.get(kind)), None)
    if not host:
        raise errors.unavailable(f"node {node_name} has not reported an address yet")
    port = ((status.get("daemonEndpoints") or {}).get("kubeletEndpoint") or {}).get("Port") or _AGENT_PORT
    return str(host), int(port)
