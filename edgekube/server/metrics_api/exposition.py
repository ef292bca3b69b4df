"""What an agent tells at /metrics/resource, as numbers; and two of these as usage over the time between them.

Enters: text in the Prometheus exposition format, with kubelet's names.
Leaves: a Sample; a Usage of the node and of each container.
Holds: pure; lines that are not understood are passed over; a counter that fell (a container was started again) gives no figure.
Source: kubernetes.io, "Kubernetes Metrics Reference" (kubelet, /metrics/resource).
Next: server.metrics_api.scraping.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from msgspec import Struct, field

_LINE: Final = re.compile(r"([a-z_]+)(?:\{([^}]*)\})? ([0-9.eE+-]+)(?: \d+)?", re.ASCII)
_LABEL: Final = re.compile(r'([a-z_]+)="([^"]*)"', re.ASCII)
_CPU, _MEMORY = "cpu_usage_seconds_total", "memory_working_set_bytes"


class Container(NamedTuple):
    namespace: str
    pod: str
    name: str


class Sample(Struct):
    """Of one node at one moment."""

    at_seconds: float  # monotonic
    wall_seconds: float
    node_cpu_seconds: float | None = None
    node_memory_bytes: float | None = None
    cpu_seconds: dict[Container, float] = field(default_factory=dict)
    memory_bytes: dict[Container, float] = field(default_factory=dict)


class Amount(NamedTuple):
    cpu_nanocores: int
    memory_bytes: int


class Usage(Struct, frozen=True):
    wall_seconds: float
    window_seconds: float
    node: Amount | None
    #: (namespace, pod) -> container -> amount.
    pods: Mapping[tuple[str, str], Mapping[str, Amount]]


def parse(text: str, at_seconds: float, wall_seconds: float) -> Sample:
    sample = Sample(at_seconds, wall_seconds)
    for line in text.splitlines():
        match = _LINE.fullmatch(line)
        if match is None:
            continue
        name, labels, number = match.groups()
        try:
            value = float(number)
        except ValueError:
            continue
        if not math.isfinite(value):
            continue  # 1e999
        if name == f"node_{_CPU}":
            sample.node_cpu_seconds = value
        elif name == f"node_{_MEMORY}":
            sample.node_memory_bytes = value
        elif name in (f"container_{_CPU}", f"container_{_MEMORY}"):
            found = dict(_LABEL.findall(labels or ""))
            container = Container(found.get("namespace", ""), found.get("pod", ""), found.get("container", ""))
            (sample.cpu_seconds if name.endswith(_CPU) else sample.memory_bytes)[container] = value
    return sample


def usage_between(before: Sample, after: Sample) -> Usage:
    window = max(after.at_seconds - before.at_seconds, 1e-3)

    def amount(was: float | None, is_now: float | None, memory: float | None) -> Amount | None:
        if was is None or is_now is None or memory is None or is_now < was:
            return None
        return Amount(round((is_now - was) / window * 1e9), int(memory))

    pods: dict[tuple[str, str], dict[str, Amount]] = {}
    lost: set[tuple[str, str]] = set()
    for container, seconds in after.cpu_seconds.items():
        found = amount(before.cpu_seconds.get(container), seconds, after.memory_bytes.get(container))
        pod = (container.namespace, container.pod)
        if found is None:
            lost.add(pod)
        else:
            pods.setdefault(pod, {})[container.name] = found
    node = amount(before.node_cpu_seconds, after.node_cpu_seconds, after.node_memory_bytes)
    # A pod of which one container is unknown would look as if it used little.
    return Usage(after.wall_seconds, window, node, {pod: each for pod, each in pods.items() if pod not in lost})
