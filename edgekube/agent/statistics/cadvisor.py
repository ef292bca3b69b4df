"""/metrics/cadvisor: containers' figures under the names that dashboards know.

Enters: a Snapshot.
Leaves: text for Prometheus.
Holds: pure; a row for each container, one for each pod (its labels ``container`` and ``image`` empty), one for the machine
(``id="/"``). What cadvisor tells and cgroups do not (disk input and output by device, file systems of containers) is left out.
Source: github.com/google/cadvisor docs/storage/prometheus.md.
Next: agent.server.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from edgekube.agent.statistics.collecting import PodSnapshot, Snapshot
from edgekube.agent.statistics.readings import Reading
from edgekube.metrics import Labels, Metrics

_SECOND_NS: Final = 1e9
_LABELS: Final = ("container", "id", "image", "name", "namespace", "pod")
COUNTER: Final = "counter"
GAUGE: Final = "gauge"

#: Name, kind, help, value.
_OF_READINGS: Final[tuple[tuple[str, str, str, Callable[[Reading], float]], ...]] = (
    ("container_cpu_user_seconds_total", COUNTER, "Cumulative user cpu time consumed in seconds.",
     lambda r: r.user_ns / _SECOND_NS),
    ("container_cpu_system_seconds_total", COUNTER, "Cumulative system cpu time consumed in seconds.",
     lambda r: r.system_ns / _SECOND_NS),
    ("container_cpu_cfs_periods_total", COUNTER, "Number of elapsed enforcement period intervals.", lambda r: r.periods),
    ("container_cpu_cfs_throttled_periods_total", COUNTER, "Number of throttled period intervals.",
     lambda r: r.throttled_periods),
    ("container_cpu_cfs_throttled_seconds_total", COUNTER, "Total time duration the container has been throttled.",
     lambda r: r.throttled_ns / _SECOND_NS),
    ("container_memory_usage_bytes", GAUGE,
     "Current memory usage in bytes, including all memory regardless of when it was accessed",
     lambda r: r.memory_bytes),
    ("container_memory_working_set_bytes", GAUGE, "Current working set in bytes.", lambda r: r.working_set_bytes),
    ("container_memory_rss", GAUGE, "Size of RSS in bytes.", lambda r: r.rss_bytes),
    ("container_memory_cache", GAUGE, "Number of bytes of page cache memory.", lambda r: r.cache_bytes),
    ("container_memory_mapped_file", GAUGE, "Size of memory mapped files in bytes.", lambda r: r.mapped_bytes),
    ("container_memory_swap", GAUGE, "Container swap usage in bytes.", lambda r: r.swap_bytes),
    ("container_memory_max_usage_bytes", GAUGE, "Maximum memory usage recorded in bytes", lambda r: r.memory_peak_bytes),
    ("container_memory_failcnt", COUNTER, "Number of memory usage hits limits", lambda r: r.memory_failures),
    ("container_oom_events_total", COUNTER, "Count of out of memory events observed for the container", lambda r: r.oom_kills),
    ("container_processes", GAUGE, "Number of processes running inside the container.", lambda r: r.processes),
    ("container_spec_memory_limit_bytes", GAUGE, "Memory limit for the container.", lambda r: r.memory_limit_bytes),
)  # fmt: skip

#: Place among the counters of an interface.
_OF_NETWORKS: Final = (
    ("container_network_receive_bytes_total", "Cumulative count of bytes received", 0),
    ("container_network_receive_packets_total", "Cumulative count of packets received", 1),
    ("container_network_receive_errors_total", "Cumulative count of errors encountered while receiving", 2),
    ("container_network_receive_packets_dropped_total", "Cumulative count of packets dropped while receiving", 3),
    ("container_network_transmit_bytes_total", "Cumulative count of bytes transmitted", 4),
    ("container_network_transmit_packets_total", "Cumulative count of packets transmitted", 5),
    ("container_network_transmit_errors_total", "Cumulative count of errors encountered while transmitting", 6),
    ("container_network_transmit_packets_dropped_total", "Cumulative count of packets dropped while transmitting", 7),
)


def cadvisor_metrics(snapshot: Snapshot) -> str:
    metrics = Metrics()
    rows = list(_rows(snapshot))
    cpu = metrics.counter("container_cpu_usage_seconds_total", "Cumulative cpu time consumed in seconds.", *_LABELS, "cpu")
    seen = metrics.gauge("container_last_seen", "Last time a container was seen by the exporter", *_LABELS)
    for labels, reading in rows:
        cpu.set((*labels, "total"), reading.cpu_ns / _SECOND_NS)
        seen.set(labels, snapshot.at)
    for name, kind, told, value in _OF_READINGS:
        family = metrics.counter(name, told, *_LABELS) if kind == COUNTER else metrics.gauge(name, told, *_LABELS)
        for labels, reading in rows:
            family.set(labels, value(reading))
    started = metrics.gauge("container_start_time_seconds", "Start time of the container since unix epoch in seconds.", *_LABELS)
    for pod in snapshot.pods:
        for each in pod.containers:
            started.set((each.name, each.cgroup, each.image, each.id, pod.namespace, pod.name), each.started_at)
    for name, told, place in _OF_NETWORKS:
        counter = metrics.counter(name, told, *_LABELS, "interface")
        for pod in snapshot.pods:
            for interface, counters in pod.network.items():
                counter.set((*_of_pod(pod), interface), counters[place])
    metrics.gauge("machine_cpu_cores", "Number of logical CPU cores.").set((), snapshot.cpus)
    metrics.gauge("machine_memory_bytes", "Amount of memory installed on the machine.").set((), snapshot.memory_bytes)
    return metrics.text()


def _rows(snapshot: Snapshot) -> Iterator[tuple[Labels, Reading]]:
    if snapshot.machine is not None:
        yield ("", "/", "", "", "", ""), snapshot.machine
    for pod in snapshot.pods:
        yield _of_pod(pod), pod.reading
        for each in pod.containers:
            yield (each.name, each.cgroup, each.image, each.id, pod.namespace, pod.name), each.reading


def _of_pod(pod: PodSnapshot) -> Labels:
    return ("", pod.cgroup, "", "", pod.namespace, pod.name)
