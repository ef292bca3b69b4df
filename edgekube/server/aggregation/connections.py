"""Connections to API servers behind this one.

Enters: a Remote; this server's front-proxy certificate.
Leaves: a pool of connections to whatever endpoint of its Service is ready.
Holds: the other side is known by its Service's name under the APIService's caBundle (or the machine's authorities, or not at all
where the APIService says so); an endpoint is drawn for each connection; no endpoint is this machine's loopback.
Bound: one pool for each Remote that an APIService names; wire.client bounds the pool.
Next: wire.client.
"""

from __future__ import annotations

import base64
import binascii
import ssl
from collections.abc import Callable, Collection
from typing import Final

import trio

from edgekube import limits
from edgekube.api import errors
from edgekube.api.api_services import Remote
from edgekube.api.reachable import is_reachable
from edgekube.registry.service_places import Place, places_of
from edgekube.registry.state import Registry
from edgekube.wire.client import HttpClient, ProtocolError
from edgekube.wire.protocol import BodyTooLarge, Disconnected
from edgekube.wire.tls import foreign_client_context, unverified_client_context
from edgekube.wire.transport import Transport, connect
from edgekube.wire.validity import PeerClock

#: How asking another server for a whole answer, within a time, may fail (SSLError is an OSError).
FAILURES: Final = (OSError, ProtocolError, Disconnected, BodyTooLarge, ValueError, trio.TooSlowError)


class RemoteConnections:
    def __init__(
        self,
        registry: Registry,
        pair: Callable[[], tuple[str, str]],
        clock: PeerClock,
        reachable: Callable[[str], bool] = is_reachable,
    ) -> None:
        """``pair``: paths of the certificate and key that this server shows."""
        self._registry = registry
        self._pair = pair
        self._clock = clock
        self._reachable = reachable
        self._clients: dict[Remote, HttpClient] = {}

    def client(self, remote: Remote) -> HttpClient:
        if remote not in self._clients:

            async def dial() -> Transport:
                return await self._dial(remote)

            self._clients[remote] = HttpClient(dial, f"{remote.server_name}:{remote.port}")
        return self._clients[remote]

    async def keep_only(self, remotes: Collection[Remote]) -> None:
        for remote in self._clients.keys() - set(remotes):
            await self._clients.pop(remote).aclose()

    def start_afresh(self) -> None:
        """This server's certificate has been replaced."""
        for client in self._clients.values():
            client.start_afresh()

    async def _dial(self, remote: Remote) -> Transport:
        places = await places_of(self._registry, remote.namespace, remote.service, remote.port)
        place = self._registry.draw.choice(places)
        context = self._context(remote)
        with trio.fail_after(limits.AGENT_CONNECT_SECONDS):
            address = await self._address(place)
            return await connect(address, place.port, context=context, server_hostname=remote.server_name)

    async def _address(self, place: Place) -> str:
        """Of an ExternalName, what it stands for now. StatusError: none to go to; OSError: it stands for nothing."""
        found = await trio.socket.getaddrinfo(place.host, place.port, type=trio.socket.SOCK_STREAM)
        address = next((str(info[4][0]) for info in found if self._reachable(str(info[4][0]))), None)
        if address is None:
            raise errors.unreachable("address not allowed")
        return address

    def _context(self, remote: Remote) -> ssl.SSLContext:
        certificate, key = self._pair()
        if remote.insecure:
            context = unverified_client_context()
        else:
            try:
                bundle = base64.b64decode(remote.authorities, validate=True) if remote.authorities else None
                context = foreign_client_context(bundle, clock=self._clock)
            except (binascii.Error, ValueError, ssl.SSLError) as error:
                raise errors.unreachable(f"the APIService's caBundle cannot be used: {error}") from error
        context.load_cert_chain(certificate, key)
        return context
