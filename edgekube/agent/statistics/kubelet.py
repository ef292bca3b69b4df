"""/metrics: the agent's own figures, under the kubelet's names.

Enters: a Snapshot, how many containers are in which state, versions.
Leaves: text for Prometheus.
Holds: nothing is looked at while nobody asks.
Source: kubernetes.io, "Kubernetes Metrics Reference" (kubelet).
Next: agent.server.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from edgekube.agent.statistics.collecting import FileSystem, Snapshot
from edgekube.metrics import Family, Metrics
from edgekube.process_figures import tell_of_process

_VOLUMES: Final[tuple[tuple[str, str, Callable[[FileSystem], int]], ...]] = (
    ("kubelet_volume_stats_capacity_bytes", "Capacity in bytes of the volume", lambda f: f.capacity_bytes),
    ("kubelet_volume_stats_available_bytes", "Number of available bytes in the volume", lambda f: f.available_bytes),
    ("kubelet_volume_stats_used_bytes", "Number of used bytes in the volume", lambda f: f.used_bytes),
    ("kubelet_volume_stats_inodes", "Maximum number of inodes in the volume", lambda f: f.inodes),
    ("kubelet_volume_stats_inodes_free", "Number of free inodes in the volume", lambda f: f.inodes_free),
    ("kubelet_volume_stats_inodes_used", "Number of used inodes in the volume", lambda f: f.inodes - f.inodes_free),
)


def kubelet_metrics(snapshot: Snapshot, containers: Mapping[str, int], *counted: Family) -> str:
    """``containers``: state (running, exited, created, unknown) -> how many. ``counted``: what was counted all the while."""
    metrics = Metrics()
    metrics.gauge("kubelet_node_name", "The node's name. The count is always 1.", "node").set((snapshot.node_name,), 1)
    metrics.gauge("kubelet_running_pods", "Number of pods that have a running pod sandbox").set((), len(snapshot.pods))
    states = metrics.gauge("kubelet_running_containers", "Number of containers currently running", "container_state")
    for state, number in sorted(containers.items()):
        states.set((state,), number)
    for name, told, value in _VOLUMES:
        family = metrics.gauge(name, told, "namespace", "persistentvolumeclaim")
        for pod in snapshot.pods:
            for volume in pod.volumes:
                if volume.claim:
                    family.set((pod.namespace, volume.claim), value(volume.files))
    tell_of_process(metrics, {})
    return metrics.text(line for family in counted for line in (*family.head(), *family.lines()))
