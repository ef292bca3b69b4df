"""Metrics for an autoscaler, from whoever serves their group.

Enters: paths of metrics.k8s.io, custom.metrics.k8s.io, external.metrics.k8s.io.
Leaves: decoded answers; StatusError with the code of the answer.
Holds: api.metrics_source.MetricsSource; another server is asked in the name of the controllers, as kube-controller-manager would.
Bound: limits.METRICS_BYTES_MAX an answer.
Next: server.aggregation.aggregator, server.metrics_api.api.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import parse_qs, urlsplit

import orjson

from edgekube import limits
from edgekube.api.errors import CODES, StatusError
from edgekube.api.objects import Object
from edgekube.api.verbs import ListOptions, UserInfo
from edgekube.server.aggregation.aggregator import Aggregator
from edgekube.server.metrics_api.api import MetricsApi
from edgekube.server.metrics_api.objects import GROUP, PODMETRICS, VERSION

_USER: Final = UserInfo(
    "system:serviceaccount:kube-system:horizontal-pod-autoscaler",
    groups=("system:serviceaccounts", "system:serviceaccounts:kube-system", "system:authenticated"),
)
_OWN: Final = f"/apis/{GROUP}/{VERSION}/namespaces/"
_REASONS: Final = {code: reason for reason, code in reversed(CODES.items())}


class InternalMetrics:
    def __init__(self, aggregator: Aggregator, own: MetricsApi | None) -> None:
        self._aggregator = aggregator
        self._own = own

    def versions_of(self, group: str) -> list[str]:
        return self._aggregator.available_versions(group)

    async def read(self, path: str) -> Object:
        target = self._aggregator.of_path(path.partition("?")[0])
        if target is None:
            return await self._read_own(path)
        remote, available = target
        if not available:
            raise StatusError("ServiceUnavailable", "")
        status, body = await self._aggregator.fetch(remote, path, _USER, limits.METRICS_BYTES_MAX)
        try:
            answer = orjson.loads(body)
        except orjson.JSONDecodeError:
            answer = {}
        if not isinstance(answer, dict) or not 200 <= status < 300:
            message = answer.get("message") if isinstance(answer, dict) else ""
            raise StatusError(_REASONS.get(status, "InternalError"), str(message or ""), code=status)
        return answer

    async def _read_own(self, path: str) -> Object:
        parts = urlsplit(path)
        namespace, _, below = parts.path.removeprefix(_OWN).partition("/")
        if self._own is None or not parts.path.startswith(_OWN) or below != PODMETRICS.plural:
            raise StatusError("NotFound", "")
        selector = parse_qs(parts.query).get("labelSelector", [""])[0]
        return {"items": await self._own.many(PODMETRICS, namespace, ListOptions(label_selector=selector))}
