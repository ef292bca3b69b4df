"""The aggregation layer, put together: what server.app asks of it.

Enters: the registry, verbs, this server's front-proxy certificate.
Leaves: for a request, whether another API server answers it, and its answer; for discovery, what those servers serve.
Holds: while no APIService names a Service, nothing runs but the watch on APIServices.
Next: server.aggregation.index, .forwarding, .checking, .published, .own, .content, .documents.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import trio

from edgekube.api import api_services
from edgekube.api.api_services import Remote
from edgekube.api.kinds import APISERVICE
from edgekube.api.reachable import is_reachable
from edgekube.api.verbs import UserInfo, Verbs
from edgekube.reconcile.follow import follow
from edgekube.registry.state import Registry
from edgekube.server.aggregation.checking import Availability
from edgekube.server.aggregation.connections import RemoteConnections
from edgekube.server.aggregation.content import RemoteContents
from edgekube.server.aggregation.documents import RemoteDocuments
from edgekube.server.aggregation.forwarding import Forwarding
from edgekube.server.aggregation.index import ApiServices
from edgekube.server.aggregation.own import OwnApiServices
from edgekube.server.aggregation.published import Published
from edgekube.wire.protocol import Request, Responder
from edgekube.wire.validity import PeerClock


class Aggregator:
    def __init__(
        self,
        registry: Registry,
        verbs: Verbs,
        pair: Callable[[], tuple[str, str]],
        clock: PeerClock,
        *,
        reachable: Callable[[str], bool] = is_reachable,
        besides: Iterable[tuple[str, str]] = (),
    ) -> None:
        """``pair``: paths of certificate and key that this server shows to others. ``reachable``: where it goes at all.
        ``besides``: group versions that this server serves without storing anything of them."""
        self._verbs = verbs
        self._index = ApiServices()
        self._connections = RemoteConnections(registry, pair, clock, reachable)
        self.published = Published(self._index)
        self.documents = RemoteDocuments(self._index, self._connections)
        self.contents = RemoteContents(self._index, self.published, self._connections)
        self._availability = Availability(registry, verbs, self._index, self._connections, self.published, clock)
        self._forwarding = Forwarding(self._connections, self._availability.poke)

        def served() -> list[tuple[str, str]]:
            return [*((row.group, row.version) for row in registry.kinds.rows), *besides]

        self._own = OwnApiServices(verbs, self._index, served, clock)
        registry.kinds.changed.append(self._own.poke)

    async def run(self) -> None:
        """Until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(follow, self._verbs, APISERVICE, self._index.held)
            await self._index.held.listed.wait()
            nursery.start_soon(self._own.run)
            nursery.start_soon(self._availability.run)

    def start_afresh(self) -> None:
        """This server's certificate has been replaced."""
        self._connections.start_afresh()

    def of_path(self, path: str) -> tuple[Remote, bool] | None:
        return self._index.of_path(path)

    def available_versions(self, group: str) -> list[str]:
        """Of a group that another server answers, the preferred one first."""
        found = [(g, version) for g, version, _, available in self._index.remotes() if g == group and available]
        return [version for _, versions in api_services.sorted_versions(found, self._index.by_name) for version in versions]

    async def fetch(self, remote: Remote, path: str, user: UserInfo, max_bytes: int) -> tuple[int, bytes]:
        """GET in the user's name: code and body. StatusError ServiceUnavailable when the server cannot be reached."""
        return await self._forwarding.fetch(remote, path, user, max_bytes)

    async def serve(self, request: Request, responder: Responder, user: UserInfo, target: tuple[Remote, bool]) -> None:
        remote, available = target
        if available:
            await self._forwarding.serve(request, responder, user, remote)
        else:
            await self._forwarding.unavailable(request, responder)
