"""How many containers of this node came to an end, by how.

Enters: a pod's status as it was told last, and as it is told now.
Leaves: the counter kubelet_terminated_containers_total.
Holds: each end is counted once, when it is told; what the API knew before this process began is not counted again.
Bound: limits.METRICS_SERIES_MAX.
Source: kubernetes.io, "Kubernetes Metrics Reference" (kubelet).
Next: agent.statistics.kubelet.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from edgekube.api.objects import Object
from edgekube.metrics import Counter

_PARTS: Final = (
    ("initContainerStatuses", "init_container"),
    ("containerStatuses", "container"),
    ("ephemeralContainerStatuses", "ephemeral_container"),
)


def newly_ended(before: Object, after: Object) -> Iterator[tuple[str, str, str]]:
    """(type, exit code, reason) of each container that has come to its end in between."""
    for part, kind in _PARTS:
        ended = {item.get("name") for item in before.get(part) or () if _end(item)}
        for item in after.get(part) or ():
            if (end := _end(item)) and item.get("name") not in ended:
                yield kind, str(end.get("exitCode", 0)), str(end.get("reason") or "")


def _end(status: Object) -> Object | None:
    return (status.get("state") or {}).get("terminated")


class Terminations:
    def __init__(self) -> None:
        labels = ("container_type", "exit_code", "reason")
        self.counter = Counter("kubelet_terminated_containers_total", "Cumulative number of container terminations.", labels)

    def tell(self, before: Object, after: Object) -> None:
        for labels in newly_ended(before, after):
            self.counter.add(labels)
