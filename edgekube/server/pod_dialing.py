"""Connections to pods of other nodes: the pod's agent dials, for this machine may have no route there.

Enters: a Place whose pod runs on another node.
Leaves: a Transport, or a socket that leads to it for whoever speaks TLS with the pod itself.
Holds: the agent passes bytes on and nothing else. StatusError ServiceUnavailable when it cannot.
Next: server.agents; server.proxy and registry.webhook_client ask.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final
from urllib.parse import quote

import orjson
import trio

from edgekube import limits
from edgekube.api import errors
from edgekube.registry.service_places import Place
from edgekube.server.agents import AgentConnections
from edgekube.wire.client import ProtocolError
from edgekube.wire.protocol import BodyTooLarge, Disconnected
from edgekube.wire.raw import RawConnection
from edgekube.wire.splice import splice
from edgekube.wire.transport import PlainTransport, Transport

#: As agent.streams calls it.
DIAL_PROTOCOL: Final = "edgekube-dial"


async def through_agent(agents: AgentConnections, place: Place, *, tls: bool = False) -> Transport:
    """``tls``: the agent speaks TLS with the pod, without a look at its certificate."""
    agent = await agents.open(place.node)
    target = f"/dial/{quote(place.namespace, safe='')}/{quote(place.pod, safe='')}/{place.port}" + ("?tls=1" if tls else "")
    try:
        response, stream = await agent.upgrade("GET", target, {"connection": "Upgrade", "upgrade": DIAL_PROTOCOL})
        if stream is None:
            body = await response.read(limits.PROXY_PAGE_BYTES_MAX)
            raise errors.unreachable(f"error trying to reach service: {_message(body) or response.status}")
    except (ProtocolError, Disconnected, BodyTooLarge, OSError) as error:
        agent.close()
        raise errors.unreachable(f"error trying to reach service: {place.host}:{place.port}: {error}") from error
    except BaseException:
        agent.close()
        raise
    assert isinstance(stream, RawConnection)
    transport, early = stream.release()
    if early:
        transport.close()
        raise errors.unreachable(f"error trying to reach service: {place.host}:{place.port}: this is not HTTP")
    return transport


def _message(body: bytes) -> str:
    """What a Status says."""
    try:
        status = orjson.loads(body)
    except orjson.JSONDecodeError:
        return ""
    return str(status.get("message") or "") if isinstance(status, dict) else ""


class PodSockets:
    """registry.webhook_client.Elsewhere: sockets to pods that this machine may have no route to."""

    def __init__(self, agents: AgentConnections) -> None:
        self._agents = agents

    def is_elsewhere(self, place: Place) -> bool:
        return bool(place.pod) and not self._agents.is_here(place.node)

    @asynccontextmanager
    async def socket_to(self, place: Place) -> AsyncIterator[socket.socket]:
        """A socket whose other end is joined to the pod until the block is left. Who takes it closes it."""
        transport = await through_agent(self._agents, place)
        ours, theirs = socket.socketpair()
        failure: Exception | None = None
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(splice, PlainTransport(theirs), transport)
                try:
                    yield ours
                except Exception as error:  # as it is, not in a group of the nursery's
                    failure = error
                nursery.cancel_scope.cancel()
        finally:
            ours.close()
        if failure is not None:
            raise failure
