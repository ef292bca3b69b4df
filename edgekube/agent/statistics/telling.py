"""Answers to whoever asks this node for figures.

Enters: a path below /stats or /metrics.
Leaves: content type and body; None: there is nothing at the path.
Holds: nothing is collected while nobody asks; who asks within STATISTICS_KEPT_SECONDS of another is told the same.
Bound: one Snapshot, one DiskUse.
Next: agent.server.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import orjson
import trio

from edgekube.agent.metrics import resource_metrics
from edgekube.agent.pods import Pods
from edgekube.agent.statistics.cadvisor import cadvisor_metrics
from edgekube.agent.statistics.collecting import FileSystem, Snapshot, collect
from edgekube.agent.statistics.disks import Disks
from edgekube.agent.statistics.far import FarDisks
from edgekube.agent.statistics.kubelet import kubelet_metrics
from edgekube.agent.statistics.rates import Rates
from edgekube.agent.statistics.summary import counters_of, summary
from edgekube.limits import STATISTICS_KEPT_SECONDS
from edgekube.metrics import CONTENT_TYPE

JSON = "application/json"


class Statistics:
    def __init__(self, pods: Pods) -> None:
        self._pods = pods
        self._rates = Rates()
        self._last: tuple[float, Snapshot] | None = None
        self._looking = trio.Lock()
        self._far = FarDisks()
        self._disks = Disks(pods)

    async def told(self, parts: Sequence[str]) -> tuple[str, bytes] | None:
        match parts:
            case ["stats", "summary"] | ["stats", "summary", ""]:
                snapshot = await self._snapshot()
                disk = await self._disks.look()
                nanocores = self._rates.take(snapshot.at, counters_of(snapshot))
                return JSON, orjson.dumps(summary(snapshot, nanocores, disk))
            case ["metrics", "resource"]:
                return CONTENT_TYPE, (await trio.to_thread.run_sync(resource_metrics, self._pods)).encode()
            case ["metrics", "cadvisor"]:
                return CONTENT_TYPE, cadvisor_metrics(await self._snapshot()).encode()
            case ["metrics"]:
                return CONTENT_TYPE, self._own(await self._snapshot()).encode()
        return None

    async def _snapshot(self) -> Snapshot:
        async with self._looking:
            now = trio.current_time()
            if self._last is None or now - self._last[0] > STATISTICS_KEPT_SECONDS:
                told = {key: FileSystem(*figures) for key, figures in (await self._pods.node.volumes.told_by_drivers()).items()}
                self._last = (now, await trio.to_thread.run_sync(collect, self._pods, told, self._far))
            return self._last[1]

    def _own(self, snapshot: Snapshot) -> str:
        node = self._pods.node
        return kubelet_metrics(snapshot, self._containers(), node.terminations.counter, *node.figures)

    def _containers(self) -> Counter[str]:
        observer = self._pods.node.observer
        observed = (observer.of(worker.uid) for worker in self._pods.workers())
        return Counter(container.status.state.lower() for each in observed for container in each.containers)
