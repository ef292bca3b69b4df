"""The APIServices of what this server serves itself: what `kubectl get apiservices` shows as Local.

Enters: the group versions that are served, the APIServices that are there.
Leaves: objects made, ended and marked as available.
Holds: one that people wrote is theirs, whatever it says. Those of built-in groups are made when the server starts; those of
custom resources come and go with their definitions.
Source: k8s.io/kube-aggregator, autoregister and crdregistration controllers.
Next: server.aggregation.index sees them.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

import trio

from edgekube import limits
from edgekube.api import api_services, times
from edgekube.api.errors import StatusError
from edgekube.api.kinds import APISERVICE
from edgekube.api.objects import Object, labels_of, name_of
from edgekube.api.verbs import Verbs
from edgekube.server.aggregation.index import ApiServices

log = logging.getLogger("edgekube.server")

_LOCAL: Final = {"type": "Available", "status": "True", "reason": "Local", "message": "Local APIServices are always available"}


def missing(served: Iterable[tuple[str, str]], by_name: dict[str, Object], *, starting: bool) -> list[Object]:
    """What is to be made. Pure."""
    named = dict.fromkeys((group, version) for group, version in served if group != api_services.REGISTRATION)
    wanted = (api_services.own_api_service(group, version) for group, version in named)
    return [
        obj
        for obj in wanted
        if name_of(obj) not in by_name and (starting or labels_of(obj)[api_services.AUTO_MANAGED] == api_services.WITH_DEFINITION)
    ]


def outlived(served: Iterable[tuple[str, str]], by_name: dict[str, Object]) -> list[str]:
    """Names of those whose group version is served no longer. One that now names another server is people's. Pure."""
    there = {f"{version}.{group}" for group, version in served}
    return [
        name
        for name, obj in by_name.items()
        if api_services.is_automanaged(obj) and name not in there and api_services.remote_of(obj) is None
    ]


def unmarked(by_name: dict[str, Object]) -> list[Object]:
    """Local ones that do not say that they are available. Pure."""
    return [obj for obj in by_name.values() if api_services.remote_of(obj) is None and not api_services.is_available(obj)]


class OwnApiServices:
    def __init__(
        self,
        verbs: Verbs,
        index: ApiServices,
        served: Callable[[], Iterable[tuple[str, str]]],
        clock: Callable[[], float],
    ) -> None:
        """``served``: (group, version) of every row that discovery names."""
        self._verbs = verbs
        self._index = index
        self._served = served
        self._clock = clock
        self._poked = trio.Event()
        self._starting = True

    def poke(self) -> None:
        self._poked.set()

    async def run(self) -> None:
        """Until cancelled; once the index has been filled."""
        self._index.changed.append(self.poke)
        while True:
            self._poked = trio.Event()
            try:
                await self._settle()
            except StatusError as error:
                log.warning("APIServices cannot be brought up to date, trying again why=%r", error.message)
                await trio.sleep(limits.ACCESS_RETRY_SECONDS)
                continue
            self._starting = False
            await self._poked.wait()

    async def _settle(self) -> None:
        served = list(self._served())
        by_name = self._index.by_name
        for obj in missing(served, by_name, starting=self._starting):
            await self._tolerant(self._verbs.create(APISERVICE, "", obj))
        for name in outlived(served, by_name):
            await self._tolerant(self._verbs.delete(APISERVICE, "", name))
        for obj in unmarked(by_name):
            condition = {**_LOCAL, "lastTransitionTime": times.rfc3339(self._clock())}
            status = {"status": {"conditions": [condition]}}
            await self._tolerant(self._verbs.patch(APISERVICE, "", name_of(obj), status, subresource="status"))

    async def _tolerant(self, call: Awaitable[object]) -> None:
        """What somebody else has just made or ended is as it should be."""
        try:
            await call
        except StatusError as error:
            if error.reason not in ("AlreadyExists", "NotFound", "Conflict"):
                raise
