"""Which group versions other API servers answer: the APIServices as they are now.

Enters: a watch on APIServices (reconcile.follow).
Leaves: for a path, the server behind it and whether it is available; the order of groups in discovery.
Holds: without an APIService that names a Service, a request costs one look at an empty dictionary. What is written about
availability is believed as it was last seen.
Bound: limits.AGGREGATED_GROUP_VERSIONS_MAX; further ones are answered as not available.
Next: server.aggregation.forwarding, server.aggregation.checking, server.discovery.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from edgekube import limits
from edgekube.api import api_services
from edgekube.api.api_services import Remote
from edgekube.api.objects import Object
from edgekube.reconcile.by_name import ByName


class ApiServices:
    def __init__(self) -> None:
        #: To be filled by reconcile.follow.
        self.held = ByName(self._index)
        self._remotes: dict[tuple[str, str], tuple[Remote, bool]] = {}
        #: Raised with each change that discovery or routing could show.
        self.generation = 0
        #: Called after each change; must not block.
        self.changed: list[Callable[[], None]] = []

    @property
    def by_name(self) -> dict[str, Object]:
        return self.held.objects

    # --- what is asked with each request

    def of_path(self, path: str) -> tuple[Remote, bool] | None:
        """(who answers, whether it is available) for /apis/GROUP/VERSION and below, and for its OpenAPI document; None: this
        server does."""
        if not self._remotes:
            return None
        path = path.removeprefix("/openapi/v3")
        if not path.startswith("/apis/"):
            return None
        parts = path.split("/", 4)
        return self._remotes.get((parts[2], parts[3])) if len(parts) > 3 else None

    def remotes(self) -> Iterator[tuple[str, str, Remote, bool]]:
        """(group, version, who, available)."""
        for (group, version), (remote, available) in self._remotes.items():
            yield group, version, remote, available

    def is_remote(self, group: str, version: str) -> bool:
        return (group, version) in self._remotes

    def _index(self) -> None:
        remotes: dict[tuple[str, str], tuple[Remote, bool]] = {}
        for api_service in self.by_name.values():
            remote = api_services.remote_of(api_service)
            if remote is not None:
                known = len(remotes) < limits.AGGREGATED_GROUP_VERSIONS_MAX
                available = known and api_services.is_available(api_service)
                remotes[api_services.group_version_of(api_service)] = (remote, available)
        self._remotes = remotes
        self.generation += 1
        for tell in list(self.changed):
            tell()
