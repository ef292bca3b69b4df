"""NodeMetrics and PodMetrics.

Enters: usage; nodes and pods as the API has them.
Leaves: objects of metrics.k8s.io/v1beta1.
Holds: pure; labels are those of the node or pod, for that is what people select by.
Source: k8s.io/metrics pkg/apis/metrics/v1beta1.
Next: server.metrics_api.api.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from edgekube.api import quantities, times
from edgekube.api.kinds import Kind
from edgekube.api.objects import Object, labels_of, name_of, namespace_of
from edgekube.server.metrics_api.exposition import Amount, Usage

GROUP, VERSION = "metrics.k8s.io", "v1beta1"
NODEMETRICS: Final = Kind(GROUP, VERSION, "NodeMetrics", "nodes", False, verbs=("get", "list"))
PODMETRICS: Final = Kind(GROUP, VERSION, "PodMetrics", "pods", True, verbs=("get", "list"))
ROWS: Final = (NODEMETRICS, PODMETRICS)


def node_metrics(node: Object, usage: Usage) -> Object | None:
    return None if usage.node is None else {**_head(NODEMETRICS, node, usage), "usage": _amount(usage.node)}


def pod_metrics(pod: Object, usage: Usage) -> Object | None:
    containers = usage.pods.get((namespace_of(pod), name_of(pod)))
    if not containers:
        return None
    shown = [{"name": name, "usage": _amount(amount)} for name, amount in sorted(containers.items())]
    return {**_head(PODMETRICS, pod, usage), "containers": shown}


def _head(kind: Kind, of: Object, usage: Usage) -> Object:
    when = times.rfc3339(usage.wall_seconds)
    metadata: Object = {"name": name_of(of)}
    if kind.namespaced:
        metadata["namespace"] = namespace_of(of)
    metadata["creationTimestamp"] = when
    if labels_of(of):
        metadata["labels"] = labels_of(of)
    window = f"{max(usage.window_seconds, 0.001):.3f}".rstrip("0").rstrip(".") + "s"
    return {"kind": kind.kind, "apiVersion": kind.api_version, "metadata": metadata, "timestamp": when, "window": window}


def _amount(amount: Amount) -> Object:
    cpu = f"{amount.cpu_nanocores}n" if amount.cpu_nanocores else "0"
    memory = quantities.text_of(Decimal(amount.memory_bytes // 1024 * 1024), "binary")
    return {"cpu": cpu, "memory": memory}
