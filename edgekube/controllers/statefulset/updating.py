"""Which pods of a StatefulSet go next so that they come back at the update revision.

Enters: a StatefulSet and its replicas in order, all made and none of them to wait for by the rules of scaling.
Leaves: pods to delete.
Holds: the highest ordinal first, never below the partition; no more are unavailable by our doing than maxUnavailable, one unless
it is set.
Source: k8s.io/kubernetes pkg/controller/statefulset updateStatefulSet, updateStatefulSetAfterInvariantEstablished.
Next: stepping.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from edgekube.api import intstr
from edgekube.api.objects import Object, is_deleting, spec_of
from edgekube.controllers.statefulset.identity import replicas_of, revision_of_pod


def _rolling_update(stateful: Object) -> Object | None:
    rolling: Object | None = (spec_of(stateful).get("updateStrategy") or {}).get("rollingUpdate")
    return rolling


def is_rolling(stateful: Object) -> bool:
    return bool((spec_of(stateful).get("updateStrategy") or {}).get("type", "RollingUpdate") == "RollingUpdate")


def partition_of(stateful: Object) -> int | None:
    """None: the strategy names no rollingUpdate."""
    rolling = _rolling_update(stateful)
    return None if rolling is None else int(rolling.get("partition") or 0)


def replaced(
    stateful: Object, replicas: Sequence[Object | None], update_name: str, unavailable: Callable[[Object], bool]
) -> list[Object]:
    """``replicas``: None where a pod was only just asked for; it may end before the last place, and what is beyond is missing."""
    if not is_rolling(stateful):
        return []
    lowest = partition_of(stateful) or 0
    at_once = (_rolling_update(stateful) or {}).get("maxUnavailable")
    if at_once is not None:
        return _several(stateful, replicas, update_name, unavailable, at_once, lowest)
    if len(replicas) < replicas_of(stateful):
        return []
    for pod in reversed(replicas[lowest:]):
        if pod is None:
            return []
        if revision_of_pod(pod) != update_name and not is_deleting(pod):
            return [pod]
        if unavailable(pod):
            return []
    return []


def _several(
    stateful: Object,
    replicas: Sequence[Object | None],
    update_name: str,
    unavailable: Callable[[Object], bool],
    at_once: int | str,
    lowest: int,
) -> list[Object]:
    room = max(1, intstr.resolve(at_once, replicas_of(stateful), round_up=False))
    room -= sum(pod is None or unavailable(pod) for pod in replicas) + replicas_of(stateful) - len(replicas)
    old = [
        pod
        for pod in reversed(replicas[lowest:])
        if pod is not None and revision_of_pod(pod) != update_name and not is_deleting(pod)
    ]
    return old[: max(0, room)]
