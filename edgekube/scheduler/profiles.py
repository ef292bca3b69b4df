"""Profiles: which rules apply to a pod, by its schedulerName.

Enters: nothing; or parts of a KubeSchedulerConfiguration (scheduler.configuration).
Leaves: Profile values.
Holds: the default table is upstream's, in its order and with its weights; a new rule is a new row.
Source: kubernetes.io/docs/reference/scheduling/config; pkg/scheduler/apis/config/v1 default plugins.
Next: scheduler.place.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

from edgekube.scheduler.memory import Memory
from edgekube.scheduler.plugin import Filter, LocalScore, WideScore
from edgekube.scheduler.plugins import features, images, nodes, pod_affinity, room, spread, volumes
from edgekube.scheduler.pods import SCHEDULER_NAME


def default_filters() -> tuple[Filter, ...]:
    return (
        nodes.UNSCHEDULABLE_FILTER,
        nodes.NODE_NAME_FILTER,
        nodes.TAINTS_FILTER,
        Filter(nodes.AFFINITY, nodes.node_affinity(), local=True),
        nodes.PORTS_FILTER,
        Filter(room.FIT, room.fit(), local=True),
        *volumes.VOLUME_FILTERS,
        spread.spread_filter(),
        pod_affinity.POD_AFFINITY_FILTER,
        features.DEVICES_FILTER,
        features.FEATURES_FILTER,
    )


def default_scores() -> tuple[LocalScore | WideScore, ...]:
    return (
        nodes.fewest_taints(3),
        nodes.preferred_nodes(2),
        room.by_allocation(1, room.CPU_AND_MEMORY, room.least_allocated),
        spread.spread_score(2),
        pod_affinity.near_preferred(2),
        room.balanced(1),
        images.image_locality(1),
    )


@dataclass(frozen=True)
class Profile:
    name: str = SCHEDULER_NAME
    filters: tuple[Filter, ...] = field(default_factory=default_filters)
    scores: tuple[LocalScore | WideScore, ...] = field(default_factory=default_scores)
    preempts: bool = True
    #: What the spread rules among the above take for pods without constraints.
    spread_defaults: spread.Defaults = spread.SYSTEM_DEFAULTS
    memory: Memory = field(default_factory=Memory, compare=False, repr=False)

    @cached_property
    def local_filters(self) -> tuple[Filter, ...]:
        return tuple(each for each in self.filters if each.local)

    @cached_property
    def wide_filters(self) -> tuple[Filter, ...]:
        return tuple(each for each in self.filters if not each.local)

    @cached_property
    def local_scores(self) -> tuple[LocalScore, ...]:
        return tuple(each for each in self.scores if isinstance(each, LocalScore))

    @cached_property
    def scaled_scores(self) -> tuple[LocalScore, ...]:
        return tuple(each for each in self.local_scores if each.scale)

    @cached_property
    def wide_scores(self) -> tuple[WideScore, ...]:
        return tuple(each for each in self.scores if isinstance(each, WideScore))
