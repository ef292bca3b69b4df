"""/metrics/resource: what the node, its pods and their containers use, as Prometheus reads it.

Enters: pods, what is observed of them, their cgroups.
Leaves: text in the Prometheus exposition format, with kubelet's names.
Holds: files only; what has no cgroup yet, or none any more, is left out.
Source: kubernetes.io, "Kubernetes Metrics Reference" (kubelet, /metrics/resource).
Next: agent.server.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from msgspec import Struct

from edgekube.agent.cgroups import Usage
from edgekube.agent.pods import Pods
from edgekube.agent.resources import qos_class

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_NS: Final = 1e9
_CPU: Final = "Cumulative cpu time consumed by the {} in core-seconds"
_MEMORY: Final = "Current working set of the {} in bytes"


class Sample(Struct, frozen=True):
    """``labels``: none for the node; namespace and pod; container, namespace and pod."""

    labels: tuple[tuple[str, str], ...]
    usage: Usage
    started_at_seconds: float = 0.0


def _line(name: str, labels: Iterable[tuple[str, str]], value: float) -> str:
    # Names of pods and containers are DNS labels: there is nothing to escape.
    inside = ",".join(f'{key}="{text}"' for key, text in labels)
    number = f"{value:.9f}".rstrip("0").rstrip(".")
    return f"{name}{{{inside}}} {number}" if inside else f"{name} {number}"


def exposition(node: Iterable[Sample], pods: Iterable[Sample], containers: Iterable[Sample]) -> str:
    lines: list[str] = []
    for what, samples in (("container", list(containers)), ("node", list(node)), ("pod", list(pods))):
        cpu, memory = f"{what}_cpu_usage_seconds_total", f"{what}_memory_working_set_bytes"
        lines += [f"# HELP {cpu} {_CPU.format(what)}", f"# TYPE {cpu} counter"]
        lines += [_line(cpu, sample.labels, sample.usage.cpu_usage_ns / _NS) for sample in samples]
        lines += [f"# HELP {memory} {_MEMORY.format(what)}", f"# TYPE {memory} gauge"]
        lines += [_line(memory, sample.labels, sample.usage.memory_working_set_bytes) for sample in samples]
        if what == "container":
            started = "container_start_time_seconds"
            lines += [f"# HELP {started} Start time of the container since unix epoch in seconds", f"# TYPE {started} gauge"]
            lines += [_line(started, sample.labels, sample.started_at_seconds) for sample in samples]
    failed = "resource_scrape_error"
    lines += [f"# HELP {failed} 1 if there was an error while getting container metrics, 0 otherwise", f"# TYPE {failed} gauge"]
    return "\n".join([*lines, f"{failed} 0", ""])


def resource_metrics(pods: Pods) -> str:
    """To be called in a thread: it reads some files for each container."""
    node = pods.node
    of_pods: list[Sample] = []
    of_containers: list[Sample] = []
    for worker in pods.workers():
        labels = (("namespace", worker.namespace), ("pod", worker.name))
        cgroup = node.cgroups.path_of(qos_class(worker.pod()), worker.uid)
        usage = node.cgroups.usage(cgroup)
        if usage is None:
            continue
        of_pods.append(Sample(labels, usage))
        for found in node.observer.of(worker.uid).containers:
            if found.status.state == "RUNNING" and (used := node.cgroups.usage(f"{cgroup}/{found.status.id}")) is not None:
                named = (("container", found.status.name), *labels)
                of_containers.append(Sample(named, used, found.status.started_at_ns / _NS))
    whole = node.cgroups.usage("/")
    return exposition([Sample((), whole)] if whole is not None else [], of_pods, of_containers)
