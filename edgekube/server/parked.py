"""Connections that agents have opened and left here, for this server to ask them things.

Enters: GET /edgekube/v1/tunnel with ``Upgrade: edgekube-tunnel``, from a node with its certificate.
Leaves: an HTTP connection to a node's agent, one for each request of ours, without a route to the node: it may sit behind NAT.
Holds: roles are swapped after the upgrade: this server speaks HTTP as a client, the agent answers. The node is who its
certificate says; a connection serves that node alone and is used once. Before it is handed out it has answered, so nobody waits
on a dead one. A node whose key is refused loses what it has here, at once.
Bound: limits.TUNNELS_PARKED_PER_NODE_MAX, TUNNELS_PER_NODE_MAX; the door's TUNNELS_MAX.
Next: server.agents takes them; agent.tunnels leaves them.
"""

from __future__ import annotations

import logging
from collections import deque
from typing import Final

import trio

from edgekube import limits
from edgekube.admission.node_authorizer import node_name_of
from edgekube.api import errors
from edgekube.server.authenticator import Authenticator
from edgekube.wire.client import HttpConnection, ProtocolError
from edgekube.wire.lent import LentTransport
from edgekube.wire.protocol import BodyTooLarge, Disconnected, Request, Responder
from edgekube.wire.raw import RawConnection

log = logging.getLogger("edgekube.server")

DOOR: Final = "tunnel"
PROTOCOL: Final = "edgekube-tunnel"
_SWITCHING: Final = f"HTTP/1.1 101 Switching Protocols\r\nupgrade: {PROTOCOL}\r\nconnection: Upgrade\r\n\r\n".encode("ascii")
_ANSWER_BYTES_MAX: Final = 1024


class _Parked:
    """One connection while nobody uses it: its end is noticed, and whatever the agent says unasked is its end, too."""

    def __init__(self, transport: LentTransport) -> None:
        self.transport = transport
        self._idle = trio.CancelScope()
        self._left = trio.Event()

    async def wait_idle(self) -> bool:
        """False: it ended. True: it was taken."""
        try:
            with self._idle:
                await self.transport.receive_some()
        except Disconnected:
            pass
        finally:
            self._left.set()
        return self._idle.cancelled_caught

    async def take(self) -> LentTransport:
        self._idle.cancel()
        with trio.CancelScope(shield=True):
            await self._left.wait()
        return self.transport


class _Node:
    def __init__(self) -> None:
        self.parked: deque[_Parked] = deque()
        self.open: set[LentTransport] = set()
        self.news = trio.lowlevel.ParkingLot()


class ParkedConnections:
    def __init__(self, authenticator: Authenticator) -> None:
        self._authenticator = authenticator
        self._nodes: dict[str, _Node] = {}
        self._draining = False

    # --- the agents' side

    async def serve(self, request: Request, responder: Responder) -> None:
        """A door's handler: runs as long as the connection does."""
        name = await self._node_of(request)
        if request.headers.get("upgrade", "").lower() != PROTOCOL or request.http_version != "1.1":
            raise errors.bad_request(f"Upgrade: {PROTOCOL} is what this path is for")
        node = self._nodes.setdefault(name, _Node())
        if self._draining:
            raise errors.unavailable("the server is shutting down")
        if len(node.parked) >= limits.TUNNELS_PARKED_PER_NODE_MAX or len(node.open) >= limits.TUNNELS_PER_NODE_MAX:
            raise errors.too_many_requests(f"node {name} has enough connections here")
        stream = await responder.upgrade()
        assert isinstance(stream, RawConnection)
        raw, early = stream.release()
        transport = LentTransport(raw)
        node.open.add(transport)
        try:
            await self._node_of(request)  # once more: it may have been revoked before close() could find this
            raw.watch_closely()
            await transport.send_all(_SWITCHING)
            if not early:
                await self._keep(name, node, _Parked(transport))
        finally:
            transport.close()
            node.open.discard(transport)
            self._forget(name, node)

    async def _node_of(self, request: Request) -> str:
        """The node that the certificate speaks for: a token is no node. StatusError Unauthorized, Forbidden."""
        user = await self._authenticator.authenticate(request.peer_certificate, "") if request.peer_certificate else None
        if user is None:
            raise errors.unauthorized()
        name = node_name_of(user)
        if not name:
            log.warning("a tunnel was asked for by somebody who is no node user=%s peer=%s", user.name, request.peer)
            raise errors.forbidden("", "", "", f'User "{user.name}" is no node')
        return name

    async def _keep(self, name: str, node: _Node, parked: _Parked) -> None:
        node.parked.append(parked)
        node.news.unpark_all()
        log.debug("tunnel parked node=%s parked=%d open=%d", name, len(node.parked), len(node.open))
        try:
            taken = await parked.wait_idle()
        finally:
            if parked in node.parked:
                node.parked.remove(parked)
        if taken:
            await parked.transport.closed.wait()

    def _forget(self, name: str, node: _Node) -> None:
        if not node.open and not len(node.news) and self._nodes.get(name) is node:
            del self._nodes[name]

    # --- this server's side

    def has(self, name: str) -> bool:
        """Whether the node has connections here, parked or in use: then a new one will come."""
        node = self._nodes.get(name)
        return node is not None and bool(node.open)

    async def take(self, name: str) -> HttpConnection:
        """A connection that has just answered; waits until there is one. The caller bounds the time, and closes it."""
        node = self._nodes.setdefault(name, _Node())
        try:
            while True:
                while node.parked:
                    # The newest: the oldest may have died while nobody looked.
                    transport = await node.parked.pop().take()
                    connection = HttpConnection(transport, name)
                    try:
                        if await _answers(connection):
                            return connection
                    except BaseException:
                        connection.close()
                        raise
                    log.info("a parked tunnel did not answer node=%s", name)
                    connection.close()
                await node.news.park()
        finally:
            self._forget(name, node)

    def drain(self) -> None:
        """End what lies idle, and take no more: what is in use may finish."""
        self._draining = True
        for node in self._nodes.values():
            for parked in node.parked:
                parked.transport.close()

    def close(self, name: str) -> None:
        """End everything that the node has open here."""
        node = self._nodes.get(name)
        for transport in list(node.open) if node is not None else ():
            transport.close()


async def _answers(connection: HttpConnection) -> bool:
    with trio.move_on_after(limits.TUNNEL_ALIVE_SECONDS):
        try:
            response = await connection.request("GET", "/healthz", {})
            async with response:
                await response.read(_ANSWER_BYTES_MAX)
                return response.status == 200
        except (Disconnected, ProtocolError, BodyTooLarge, OSError):
            return False
    return False
