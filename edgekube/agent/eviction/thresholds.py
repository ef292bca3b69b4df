"""From which amount on the node is short of something.

Enters: pairs such as ("memory.available", "100Mi"), as the kubelet's configuration has them.
Leaves: Thresholds. ValueError with the words that upstream has for it.
Holds: pure; amounts are bytes or counts; a share is of the capacity that is observed with it.
Source: Kubernetes documentation, "Node-pressure Eviction"; pkg/kubelet/eviction/helpers.go.
Next: agent.eviction.judging.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from msgspec import Struct

from edgekube.api import quantities
from edgekube.api.durations import seconds_of
from edgekube.node_rules import NodeRules, Pairs

MEMORY: Final = "memory.available"
ALLOCATABLE_MEMORY: Final = "allocatableMemory.available"
NODEFS: Final = "nodefs.available"
NODEFS_INODES: Final = "nodefs.inodesFree"
IMAGEFS: Final = "imagefs.available"
IMAGEFS_INODES: Final = "imagefs.inodesFree"
CONTAINERFS: Final = "containerfs.available"
CONTAINERFS_INODES: Final = "containerfs.inodesFree"
PIDS: Final = "pid.available"

CONDITION_OF: Final[Mapping[str, str]] = {
    MEMORY: "MemoryPressure",
    ALLOCATABLE_MEMORY: "MemoryPressure",
    NODEFS: "DiskPressure",
    NODEFS_INODES: "DiskPressure",
    IMAGEFS: "DiskPressure",
    IMAGEFS_INODES: "DiskPressure",
    CONTAINERFS: "DiskPressure",
    CONTAINERFS_INODES: "DiskPressure",
    PIDS: "PIDPressure",
}
RESOURCE_OF: Final[Mapping[str, str]] = {
    MEMORY: "memory",
    ALLOCATABLE_MEMORY: "memory",
    NODEFS: "ephemeral-storage",
    NODEFS_INODES: "inodes",
    IMAGEFS: "ephemeral-storage",
    IMAGEFS_INODES: "inodes",
    CONTAINERFS: "ephemeral-storage",
    CONTAINERFS_INODES: "inodes",
    PIDS: "pids",
}


class Amount(Struct, frozen=True):
    """A quantity, or a share of what there is; one of the two."""

    quantity: int = 0
    share: float = 0.0

    def of(self, capacity: int) -> int:
        return self.quantity or int(capacity * self.share)


class Threshold(Struct, frozen=True):
    signal: str
    amount: Amount
    grace_seconds: float = 0.0
    minimum_reclaim: Amount = Amount()

    @property
    def hard(self) -> bool:
        return self.grace_seconds == 0


def thresholds_of(rules: NodeRules) -> tuple[Threshold, ...]:
    """All that hold by these rules. Raises ValueError."""
    graces = dict(_graces(rules.eviction_soft_grace))
    reclaims = dict(_reclaims(rules.eviction_minimum_reclaim))
    found = [Threshold(signal, amount) for signal, amount in _statements(rules.eviction_hard)]
    for signal, amount in _statements(rules.eviction_soft):
        if signal not in graces:
            raise ValueError(f"grace period must be specified for the soft eviction threshold {signal}")
        found.append(Threshold(signal, amount, graces[signal]))
    found = [Threshold(t.signal, t.amount, t.grace_seconds, reclaims.get(t.signal, Amount())) for t in found]
    if "pods" in rules.enforce_allocatable:
        found += [Threshold(ALLOCATABLE_MEMORY, t.amount, 0.0, t.minimum_reclaim) for t in found if t.signal == MEMORY and t.hard]
    return tuple(found)


def check_signal(signal: str) -> str:
    if signal not in CONDITION_OF:
        raise ValueError(f"unsupported eviction signal {signal}")
    return signal


def hard_amount(thresholds: Iterable[Threshold], signal: str, capacity: int) -> int:
    """What the hard threshold of this signal keeps back of the capacity."""
    return next((t.amount.of(capacity) for t in thresholds if t.signal == signal and t.hard), 0)


def _statements(pairs: Pairs) -> list[tuple[str, Amount]]:
    found = []
    for signal, text in pairs:
        check_signal(signal)
        if text in ("0%", "100%"):
            continue  # switched off
        if text.endswith("%"):
            share = _share(text)
            if not 0 <= share <= 1:
                bound = ">= 0%" if share < 0 else "<= 100%"
                raise ValueError(f"eviction percentage threshold {signal} must be {bound}: {text}")
            found.append((signal, Amount(share=share)))
            continue
        if quantities.is_negative(text) or quantities.is_zero(text):
            raise ValueError(f"eviction threshold {signal} must be positive: {text}")
        found.append((signal, Amount(quantities.to_bytes(text))))
    return found


def _share(text: str) -> float:
    try:
        return float(text.rstrip("%")) / 100
    except ValueError:
        raise ValueError(f"{text} is not a percentage") from None


def _graces(pairs: Pairs) -> list[tuple[str, float]]:
    return [(check_signal(signal), seconds_of(text)) for signal, text in pairs]


def _reclaims(pairs: Pairs) -> list[tuple[str, Amount]]:
    found = []
    for signal, text in pairs:
        check_signal(signal)
        if text.endswith("%"):
            share = _share(text)
            if share <= 0:
                raise ValueError(f"eviction percentage minimum reclaim {signal} must be positive: {text}")
            found.append((signal, Amount(share=share)))
        elif quantities.is_negative(text):
            raise ValueError(f"negative eviction minimum reclaim specified for {signal}")
        else:
            found.append((signal, Amount(quantities.to_bytes(text))))
    return found
