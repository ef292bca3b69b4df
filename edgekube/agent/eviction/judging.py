"""Is this node short of something, since when, and which shortage is to be ended first?

Enters: thresholds, what is observed now, what was remembered of earlier looks, the time.
Leaves: the next memory, the node's pressures, the thresholds to act on (memory first).
Holds: pure. A soft threshold acts only after its grace; one that was met holds until its minimum reclaim is free as well; a
pressure is told for the transition period after it was last seen, so that a node does not flap between two states.
Source: Kubernetes documentation, "Node-pressure Eviction".
Next: agent.eviction.loop.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from msgspec import Struct, field

from edgekube.agent.eviction.thresholds import ALLOCATABLE_MEMORY, CONDITION_OF, MEMORY, Threshold


class Observation(Struct, frozen=True):
    """Bytes, inodes or processes."""

    available: int
    capacity: int


class Memory(Struct, frozen=True):
    first_seen: Mapping[Threshold, float] = field(default_factory=lambda: MappingProxyType({}))
    met: tuple[Threshold, ...] = ()
    conditions_seen: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))


class Verdict(Struct, frozen=True):
    memory: Memory
    pressures: frozenset[str]
    act_on: tuple[Threshold, ...]


def short(
    thresholds: Iterable[Threshold], observed: Mapping[str, Observation], *, with_reclaim: bool = False
) -> tuple[Threshold, ...]:
    """Those whose signal is below their amount (and below what is to be freed beyond it)."""
    found = []
    for threshold in thresholds:
        seen = observed.get(threshold.signal)
        if seen is None:
            continue
        wanted = threshold.amount.of(seen.capacity)
        if with_reclaim:
            wanted += threshold.minimum_reclaim.of(seen.capacity)
        if seen.available < wanted:
            found.append(threshold)
    return tuple(found)


def judge(
    thresholds: tuple[Threshold, ...],
    observed: Mapping[str, Observation],
    memory: Memory,
    now: float,
    transition_seconds: float,
) -> Verdict:
    met = tuple(dict.fromkeys((*short(thresholds, observed), *short(memory.met, observed, with_reclaim=True))))
    first_seen = {threshold: memory.first_seen.get(threshold, now) for threshold in met}
    conditions_seen = {**memory.conditions_seen, **{CONDITION_OF[threshold.signal]: now for threshold in met}}
    pressures = {name for name, at in conditions_seen.items() if now - at < transition_seconds}
    pressures |= {CONDITION_OF[threshold.signal] for threshold in met}
    conditions_seen = {name: at for name, at in conditions_seen.items() if name in pressures}
    due = tuple(threshold for threshold in met if now - first_seen[threshold] >= threshold.grace_seconds)
    ordered = tuple(sorted(due, key=lambda threshold: threshold.signal not in (MEMORY, ALLOCATABLE_MEMORY)))
    return Verdict(Memory(first_seen, due, conditions_seen), frozenset(pressures), ordered)
