"""Taints and tolerations: which pod bears which taint.

Enters: taints of nodes, tolerations of pods (core/v1).
Leaves: whether a toleration covers a taint, and for how long.
Holds: the rules of kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration; no clock.
Next: scheduler.plugins.nodes, controllers.nodelifecycle.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from edgekube.api.objects import Object

NO_SCHEDULE: Final = "NoSchedule"
PREFER_NO_SCHEDULE: Final = "PreferNoSchedule"
NO_EXECUTE: Final = "NoExecute"

NOT_READY: Final = "node.kubernetes.io/not-ready"
UNREACHABLE: Final = "node.kubernetes.io/unreachable"
UNSCHEDULABLE: Final = "node.kubernetes.io/unschedulable"
MEMORY_PRESSURE: Final = "node.kubernetes.io/memory-pressure"
DISK_PRESSURE: Final = "node.kubernetes.io/disk-pressure"
PID_PRESSURE: Final = "node.kubernetes.io/pid-pressure"
NETWORK_UNAVAILABLE: Final = "node.kubernetes.io/network-unavailable"
OUT_OF_SERVICE: Final = "node.kubernetes.io/out-of-service"


def tolerates(toleration: Object, taint: Object) -> bool:
    """An empty effect bears every effect; an empty key with Exists bears every taint."""
    if toleration.get("effect") and toleration["effect"] != taint.get("effect"):
        return False
    if toleration.get("key") and toleration["key"] != taint.get("key"):
        return False
    operator = toleration.get("operator") or "Equal"
    if operator == "Exists":
        return True
    if not toleration.get("key"):
        return False
    mine, its = str(toleration.get("value") or ""), str(taint.get("value") or "")
    if operator == "Equal":
        return mine == its
    if operator in ("Gt", "Lt"):
        try:
            return int(its) > int(mine) if operator == "Gt" else int(its) < int(mine)
        except ValueError:
            return False
    return False


def untolerated(taints: Iterable[Object], tolerations: Iterable[Object], effects: tuple[str, ...]) -> Object | None:
    """The first taint with one of these effects that nothing bears."""
    tolerations = tuple(tolerations)
    for taint in taints:
        if taint.get("effect") in effects and not any(tolerates(each, taint) for each in tolerations):
            return taint
    return None


def toleration_seconds(taints: Iterable[Object], tolerations: Iterable[Object]) -> float | None:
    """How long a pod may stay under these NoExecute taints, all of which it tolerates: the shortest tolerationSeconds of the
    tolerations in use; negative counts as zero. None: for ever."""
    taints = tuple(taints)
    shortest: float | None = None
    for toleration in tolerations:
        seconds = toleration.get("tolerationSeconds")
        if seconds is None or not any(tolerates(toleration, taint) for taint in taints):
            continue
        shortest = max(0.0, float(seconds)) if shortest is None else min(shortest, max(0.0, float(seconds)))
    return shortest
