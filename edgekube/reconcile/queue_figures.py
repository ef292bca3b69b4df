"""How control loops keep up, in the names that dashboards ask client-go's work queues for.

Enters: keys that begin to wait, are taken, are done, or are to come again.
Leaves: families workqueue_*, by upstream's names of the queues.
Holds: a key that is added while it is worked on waits from then on, as upstream counts it. Depths and ages are reckoned when
somebody reads.
Bound: one entry for each key that waits or is worked on.
Source: k8s.io/component-base metrics/prometheus/workqueue; names of queues in k8s.io/kubernetes pkg/controller.
Next: metrics.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from edgekube.api.controller import Key
from edgekube.metrics import Metrics

#: Lanes whose queue upstream calls otherwise; the others lose "-controller".
_NAMES: Final = {
    "replication-controller": "replicationmanager",
    "job-controller-orphan-pods": "job_orphan_pod",
    "ttl-after-finished-controller": "ttl_jobs_to_delete",
    "endpoints-controller": "endpoint",
    "endpointslice-controller": "endpoint_slice",
    "endpointslice-mirroring-controller": "endpoint_slice_mirroring",
    "service-lb-controller": "service",
    "serviceaccount-token-controller": "serviceaccount_tokens_service",
    "root-ca-certificate-publisher-controller": "root_ca_cert_publisher",
    "node-lifecycle-controller": "node_lifecycle_controller",
    "taint-eviction-controller": "noexec_taint_node",
    "pod-garbage-collector-controller": "orphaned_pods_nodes",
    "horizontal-pod-autoscaler-controller": "horizontalpodautoscaler",
    "stale-disruption-controller": "stale_pod_disruption",
    "clusterrole-aggregation-controller": "ClusterRoleAggregator",
    "certificatesigningrequest-approving-controller": "certificate",
    "certificatesigningrequest-signing-controller": "certificate",
    "certificatesigningrequest-cleaner-controller": "certificate",
    "servicecidr-controller": "ipaddresses",
    "persistentvolume-controller": "claims",
    "persistentvolumeclaim-protection-controller": "pvcprotection",
    "persistentvolume-protection-controller": "pvprotection",
    "volumeattributesclass-protection-controller": "vacprotection",
    "attachdetach-controller": "pvcs",
    "garbage-collector-controller": "garbage_collector_attempt_to_delete",
    "customresourcedefinition-cleanup-controller": "crd_finalizer",
    "validatingadmissionpolicy-status-controller": "validatingadmissionpolicy-status",
}
#: From ten nanoseconds to ten seconds.
_BUCKETS: Final = tuple(10.0**power for power in range(-8, 2))


def queue_name(lane: str) -> str:
    return _NAMES.get(lane) or lane.removesuffix("-controller").replace("-", "_")


class _Queue:
    """What is kept of one name."""

    __slots__ = ("adds", "labels", "retries", "waiting", "working")

    def __init__(self, name: str) -> None:
        self.labels = (name,)
        self.adds = 0
        self.retries = 0
        #: Since when.
        self.waiting: dict[Key, float] = {}
        self.working: dict[Key, float] = {}


class QueueFigures:
    """Shared by all queues of a process."""

    def __init__(self, metrics: Metrics, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._of_lane: dict[str, _Queue] = {}
        self._depth = metrics.gauge("workqueue_depth", "Keys that wait for a control loop.", "name")
        self._adds = metrics.counter("workqueue_adds_total", "Keys that were given to a control loop.", "name")
        self._retries = metrics.counter("workqueue_retries_total", "Keys that are to be looked at again later.", "name")
        self._waited = metrics.histogram(
            "workqueue_queue_duration_seconds", "Seconds that a key waited.", "name", buckets=_BUCKETS
        )
        self._worked = metrics.histogram(
            "workqueue_work_duration_seconds", "Seconds that a key was worked on.", "name", buckets=_BUCKETS
        )
        self._unfinished = metrics.gauge(
            "workqueue_unfinished_work_seconds", "Seconds of work in progress that no duration shows yet.", "name"
        )
        self._longest = metrics.gauge(
            "workqueue_longest_running_processor_seconds", "Seconds that the longest work in progress has taken.", "name"
        )
        metrics.before_reading(self._read)

    def _queue(self, lane: str) -> _Queue:
        queue = self._of_lane.get(lane)
        if queue is None:
            name = queue_name(lane)
            same = (each for each in self._of_lane.values() if each.labels == (name,))
            queue = self._of_lane[lane] = next(same, None) or _Queue(name)
        return queue

    def added(self, lane: str, key: Key) -> None:
        queue = self._queue(lane)
        queue.adds += 1
        queue.waiting[key] = self._clock()

    def taken(self, lane: str, key: Key) -> None:
        queue, now = self._queue(lane), self._clock()
        self._waited.observe(queue.labels, now - queue.waiting.pop(key, now))
        queue.working[key] = now

    def done(self, lane: str, key: Key) -> None:
        queue, now = self._queue(lane), self._clock()
        self._worked.observe(queue.labels, now - queue.working.pop(key, now))

    def retried(self, lane: str) -> None:
        self._queue(lane).retries += 1

    def _read(self) -> None:
        now = self._clock()
        for queue in self._of_lane.values():
            self._depth.set(queue.labels, len(queue.waiting))
            self._adds.set(queue.labels, queue.adds)
            self._retries.set(queue.labels, queue.retries)
            ages = [now - since for since in queue.working.values()]
            self._unfinished.set(queue.labels, sum(ages))
            self._longest.set(queue.labels, max(ages, default=0.0))
