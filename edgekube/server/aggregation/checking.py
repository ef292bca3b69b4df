"""Look after the API servers behind this one: available or not, written into their APIServices.

Enters: the index of APIServices, Services, EndpointSlices.
Leaves: the condition Available; whoever forwards goes by it.
Holds: a server that answered is looked at every AGGREGATED_CHECK_SECONDS, one that did not every AGGREGATED_RETRY_SECONDS, and
at once when its APIService changes. Nothing runs while no APIService names a Service.
Bound: one task a remote group version (limits.AGGREGATED_GROUP_VERSIONS_MAX).
Next: server.aggregation.judging decides.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import trio

from edgekube import limits
from edgekube.api import api_services, times
from edgekube.api.api_services import Remote
from edgekube.api.errors import StatusError
from edgekube.api.kinds import APISERVICE, ENDPOINTSLICE, SERVICE
from edgekube.api.objects import Object, labels_of, name_of
from edgekube.api.verbs import UserInfo, Verbs
from edgekube.registry.state import Registry
from edgekube.server.aggregation import judging
from edgekube.server.aggregation.connections import RemoteConnections
from edgekube.server.aggregation.forwarding import identity_headers
from edgekube.server.aggregation.index import ApiServices
from edgekube.server.aggregation.published import DOCUMENTS, Published
from edgekube.wire.client import ProtocolError
from edgekube.wire.protocol import BodyTooLarge, Disconnected

log = logging.getLogger("edgekube.server")

#: As upstream: whoever serves a group answers this user.
AGGREGATOR = UserInfo("system:kube-aggregator", groups=("system:masters",))

_FAILURES: Final = (StatusError, OSError, ssl.SSLError, ProtocolError, Disconnected, BodyTooLarge, ValueError)


class Availability:
    def __init__(
        self,
        registry: Registry,
        verbs: Verbs,
        index: ApiServices,
        connections: RemoteConnections,
        published: Published,
        clock: Callable[[], float],
    ) -> None:
        self._registry = registry
        self._verbs = verbs
        self._index = index
        self._connections = connections
        self._clock = clock
        self._published = published
        self._poked = trio.Event()

    def poke(self) -> None:
        self._poked.set()

    async def run(self) -> None:
        """Until cancelled."""
        self._index.changed.append(self.poke)
        next_looks: dict[tuple[str, Remote], float] = {}
        while True:
            self._poked = trio.Event()
            remotes = {
                (name, remote): api_service
                for name, api_service in list(self._index.by_name.items())
                if (remote := api_services.remote_of(api_service)) is not None
            }
            await self._connections.keep_only({remote for _, remote in remotes})
            self._published.keep_only(api_services.group_version_of(each) for each in remotes.values())
            now = trio.current_time()
            due = [key for key in list(remotes)[: limits.AGGREGATED_GROUP_VERSIONS_MAX] if next_looks.get(key, 0.0) <= now]
            results: dict[tuple[str, Remote], bool] = {}
            async with trio.open_nursery() as nursery:
                for key in due:
                    nursery.start_soon(self._look, key, remotes[key], results)
            after = trio.current_time()
            next_looks = {key: at for key, at in next_looks.items() if key in remotes}
            for key, good in results.items():
                pause = limits.AGGREGATED_CHECK_SECONDS if good else limits.AGGREGATED_RETRY_SECONDS
                next_looks[key] = after + pause
            with trio.move_on_at(min(next_looks.values(), default=float("inf"))):
                await self._poked.wait()

    async def _look(self, key: tuple[str, Remote], api_service: Object, results: dict[tuple[str, Remote], bool]) -> None:
        _, remote = key
        condition = await self._judge(remote, *api_services.group_version_of(api_service))
        good = results[key] = condition["status"] == "True"
        status = judging.changed_status(api_service, condition, times.rfc3339(self._clock()))
        if status is not None:
            log.log(
                logging.INFO if good else logging.WARNING,
                "api service=%s available=%s reason=%s why=%r",
                name_of(api_service), condition["status"], condition["reason"], condition["message"],
            )  # fmt: skip
            try:
                await self._verbs.patch(APISERVICE, "", name_of(api_service), {"status": status}, subresource="status")
            except StatusError as error:
                if error.reason not in ("NotFound", "Conflict"):
                    log.warning("api service=%s cannot be marked why=%r", name_of(api_service), error.message)

    async def _judge(self, remote: Remote, group: str, version: str) -> Object:
        service = await self._registry.find(SERVICE, remote.namespace, remote.service)
        slices = [
            each
            for each in await self._registry.everything(ENDPOINTSLICE, remote.namespace)
            if labels_of(each).get("kubernetes.io/service-name") == remote.service
        ]
        obstacle = judging.before_looking(remote, service, slices)
        if obstacle is not None:
            return obstacle
        why = await self._discovery_failure(remote, group, version)
        return judging.failed_look(why) if why else judging.PASSED

    async def _discovery_failure(self, remote: Remote, group: str, version: str) -> str:
        """What is wrong with the server, "" when it tells what it serves: then that is published."""
        path = f"/apis/{group}/{version}"
        url = f"https://{remote.server_name}:{remote.port}{path}"
        try:
            with trio.fail_after(limits.AGGREGATED_CHECK_TIMEOUT_SECONDS):
                status, body = await self._fetch(remote, path)
        except trio.TooSlowError:
            return f"timed out waiting for {url}"
        except StatusError as error:
            return f"failing or missing response from {url}: {error.message}"
        except _FAILURES as error:
            return f"failing or missing response from {url}: {error}"
        if not 200 <= status < 300:
            return f"failing or missing response from {url}: bad status from {url}: {status}"
        self._published.heard(group, version, body)
        await self._find_document(remote, group, version)
        return ""

    async def _find_document(self, remote: Remote, group: str, version: str) -> None:
        """Not every server describes itself: that is no failure."""
        index = b""
        with suppress(*_FAILURES, trio.TooSlowError), trio.fail_after(limits.AGGREGATED_CHECK_TIMEOUT_SECONDS):
            status, body = await self._fetch(remote, DOCUMENTS)
            index = body if status == 200 else b""
        self._published.heard_documents(group, version, index)

    async def _fetch(self, remote: Remote, path: str) -> tuple[int, bytes]:
        headers = {"accept": "application/json", **identity_headers(AGGREGATOR)}
        client = self._connections.client(remote)
        status, _, body = await client.fetch("GET", path, headers, max_bytes=limits.AGGREGATED_DISCOVERY_BYTES_MAX)
        return status, body
