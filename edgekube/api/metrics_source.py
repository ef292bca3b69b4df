"""Metrics, as an autoscaler asks for them: a Protocol over the API groups that serve them.

Enters: paths below /apis of metrics.k8s.io, custom.metrics.k8s.io and external.metrics.k8s.io.
Leaves: the decoded answer; a StatusError otherwise.
Holds: whoever serves a group, this server or another one behind it, is asked in the same way.
Next: server.metrics_api fulfils it; reconcile.autoscaling asks.
"""

from __future__ import annotations

from typing import Protocol

from edgekube.api.objects import Object


class MetricsSource(Protocol):
    async def read(self, path: str) -> Object:
        """GET, query included."""
        ...

    def versions_of(self, group: str) -> list[str]:
        """The versions of the group that somebody serves, the preferred one first."""
        ...
