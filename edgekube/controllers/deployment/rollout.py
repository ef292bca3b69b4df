"""How many pods each ReplicaSet of a Deployment should have next.

Enters: a Deployment, its new ReplicaSet and the old ones.
Leaves: wanted sizes by ReplicaSet name.
Holds: during a rolling update the sizes never add up to more than replicas + maxSurge by our doing, and no available pod goes
while fewer than replicas - maxUnavailable would be left.
Source: k8s.io/kubernetes pkg/controller/deployment rolling.go, recreate.go, sync.go; util/deployment_util.go.
Next: plan.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from edgekube.api.objects import Object, name_of, status_of
from edgekube.controllers.deployment.facts import (
    DESIRED,
    MAXIMUM,
    annotated_count,
    available_of,
    created,
    is_rolling,
    max_surge,
    max_unavailable,
    replicas_of,
    total_replicas,
)

#: ReplicaSet name -> wanted replicas. Absent: as it is.
Sizes: TypeAlias = dict[str, int]


def is_scaling(deployment: Object, replicasets: Sequence[Object]) -> bool:
    """The Deployment's replicas changed since its ReplicaSets were sized."""
    wanted = replicas_of(deployment)
    return any(annotated_count(each, DESIRED) not in (None, wanted) for each in replicasets if replicas_of(each))


def new_size(deployment: Object, new_replicas: int, replicasets: Sequence[Object]) -> int:
    """What the new ReplicaSet may grow to now (NewRSNewReplicas)."""
    wanted = replicas_of(deployment)
    if not is_rolling(deployment):
        return wanted
    room = wanted + max_surge(deployment) - total_replicas(replicasets)
    if room <= 0:
        return new_replicas
    return new_replicas + min(room, max(0, wanted - new_replicas))


def rolling(deployment: Object, new: Object, old: Sequence[Object]) -> Sizes:
    """One step of a rolling update: grow the new one, or else shrink old ones."""
    everything = [*old, new]
    wanted = replicas_of(deployment)
    grown = wanted if replicas_of(new) > wanted else new_size(deployment, replicas_of(new), everything)
    if grown != replicas_of(new):
        return {name_of(new): grown}
    if not total_replicas(old):
        return {}
    available_min = wanted - max_unavailable(deployment)
    new_unavailable = replicas_of(new) - available_of(new)
    surplus = total_replicas(everything) - available_min - new_unavailable
    if surplus <= 0:
        return {}
    sizes = _without_unhealthy(old, surplus)
    return sizes | _without_surplus(old, sizes, sum(map(_lasting, everything)) - available_min)


def _lasting(replicaset: Object) -> int:
    """Available pods that are not on their way out: a ReplicaSet may have yet to delete what its spec no longer has."""
    return min(available_of(replicaset), replicas_of(replicaset))


def _without_unhealthy(old: Sequence[Object], surplus: int) -> Sizes:
    """Old pods that serve nobody go first: they cost no availability."""
    sizes: Sizes = {}
    for each in sorted(old, key=created):
        unhealthy = min(surplus, replicas_of(each) - available_of(each))
        if unhealthy > 0:
            sizes[name_of(each)] = replicas_of(each) - unhealthy
            surplus -= unhealthy
    return sizes


def _without_surplus(old: Sequence[Object], sizes: Sizes, surplus: int) -> Sizes:
    """Then as many available old pods as can be spared."""
    result: Sizes = {}
    for each in sorted(old, key=created):
        size = sizes.get(name_of(each), replicas_of(each))
        spared = min(surplus, size)
        if spared > 0:
            result[name_of(each)] = size - spared
            surplus -= spared
    return result


def scaled(deployment: Object, new: Object | None, old: Sequence[Object]) -> Sizes:
    """The sizes after a change of spec.replicas, or while paused: shared out in proportion during a rollout."""
    wanted = replicas_of(deployment)
    everything = [*old, *([new] if new is not None else [])]
    active = [each for each in everything if replicas_of(each)]
    if len(active) <= 1:
        only = active[0] if active else (new if new is not None else max(old, key=created, default=None))
        return {} if only is None else {name_of(only): wanted}
    if new is not None and _is_saturated(deployment, new):
        return {name_of(each): 0 for each in old if replicas_of(each)}
    if not is_rolling(deployment):
        return {}
    allowed = wanted + max_surge(deployment) if wanted else 0
    to_add = allowed - total_replicas(active)
    # The larger first; of equals the newer when growing, the older when shrinking.
    active.sort(key=created, reverse=to_add > 0)
    active.sort(key=replicas_of, reverse=True)
    sizes: Sizes = {}
    added = 0
    for each in active:
        share = _share(deployment, each, to_add, added)
        sizes[name_of(each)] = replicas_of(each) + share
        added += share
    largest = name_of(active[0])
    sizes[largest] = max(0, sizes[largest] + to_add - added)
    return sizes


def _is_saturated(deployment: Object, new: Object) -> bool:
    wanted = replicas_of(deployment)
    return replicas_of(new) == wanted and annotated_count(new, DESIRED) == wanted and available_of(new) == wanted


def _share(deployment: Object, replicaset: Object, to_add: int, added: int) -> int:
    """This ReplicaSet's part of what is to be added (or, negative, taken away)."""
    size = replicas_of(replicaset)
    if not size or to_add == added:
        return 0
    left = to_add - added
    share = _fraction(deployment, replicaset, size)
    return min(share, left) if to_add > 0 else max(share, left)


def _fraction(deployment: Object, replicaset: Object, size: int) -> int:
    if not replicas_of(deployment):
        return -size
    before = annotated_count(replicaset, MAXIMUM) or int(status_of(deployment).get("replicas") or 0)
    if not before:
        return 0
    after = replicas_of(deployment) + max_surge(deployment)
    return int(size * after / before + 0.5) - size
