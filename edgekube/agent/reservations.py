"""What a machine has, and what of it pods may use.

Enters: Facts, the node's rules, its eviction thresholds.
Leaves: capacity and allocatable of the Node; what the cgroup of all pods may use.
Holds: pure; nothing is below zero. Huge pages are taken from memory, for nobody else can have them.
Source: Kubernetes documentation, "Reserve Compute Resources for System Daemons".
Next: agent.node_object, agent.cgroup_tree, agent.eviction.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from edgekube.agent.eviction.thresholds import MEMORY, NODEFS, Threshold, hard_amount
from edgekube.agent.facts import Facts
from edgekube.api import quantities
from edgekube.node_rules import NodeRules


class PodsShare(Struct, frozen=True):
    """Of all pods together; eviction begins earlier. 0: no bound."""

    cpu_milli: int
    memory_bytes: int
    pids: int


def _reserved(rules: NodeRules, name: str) -> int:
    """Millicores for cpu, else whole units."""
    to_number = quantities.to_milli if name == "cpu" else quantities.to_bytes
    return sum(to_number(text) for part in (rules.kube_reserved, rules.system_reserved) for key, text in part if key == name)


def _hugepages(facts: Facts) -> dict[str, int]:
    return dict(facts.hugepages)


def _cpu_text(milli: int) -> str:
    return quantities.canonical(f"{milli}m")


def _ki_text(amount: int) -> str:
    """As the kubelet writes memory: in Ki where it can be."""
    return f"{amount // 1024}Ki" if amount % 1024 == 0 and amount else str(amount)


def capacity(facts: Facts, rules: NodeRules) -> dict[str, str]:
    return {
        "cpu": str(facts.cpus),
        "memory": _ki_text(facts.memory_bytes),
        "ephemeral-storage": _ki_text(facts.disk_bytes),
        **{name: quantities.text_of(amount, "binary") for name, amount in _hugepages(facts).items()},
        "pods": str(rules.pods_max),
    }


def allocatable(facts: Facts, rules: NodeRules, thresholds: Sequence[Threshold]) -> dict[str, str]:
    memory = facts.memory_bytes - _reserved(rules, "memory") - hard_amount(thresholds, MEMORY, facts.memory_bytes)
    memory -= sum(_hugepages(facts).values())
    disk = facts.disk_bytes - _reserved(rules, "ephemeral-storage") - hard_amount(thresholds, NODEFS, facts.disk_bytes)
    return {
        **capacity(facts, rules),
        "cpu": _cpu_text(max(0, facts.cpus * 1000 - _reserved(rules, "cpu"))),
        "memory": _ki_text(max(0, memory)),
        "ephemeral-storage": str(max(0, disk)),
    }


def check_reservations(facts: Facts, rules: NodeRules, thresholds: Sequence[Threshold]) -> None:
    """ValueError when more is reserved than there is."""
    wrong = []
    memory = _reserved(rules, "memory") + hard_amount(thresholds, MEMORY, facts.memory_bytes)
    disk = _reserved(rules, "ephemeral-storage") + hard_amount(thresholds, NODEFS, facts.disk_bytes)
    for name, reserved, has in (
        ("cpu", _reserved(rules, "cpu"), facts.cpus * 1000),
        ("memory", memory, facts.memory_bytes),
        ("ephemeral-storage", disk, facts.disk_bytes),
    ):
        if reserved > has > 0:
            unit = _cpu_text if name == "cpu" else _ki_text
            wrong.append(
                f'Resource "{name}" has a reservation of {unit(reserved)} but capacity of {unit(has)}. '
                "Expected capacity >= reservation."
            )
    if wrong:
        raise ValueError(f"invalid Node Allocatable configuration. {' '.join(wrong)}")


def pods_share(facts: Facts, rules: NodeRules) -> PodsShare:
    """What the cgroup of all pods is held to: reservations count, what eviction keeps free does not."""
    if "pods" not in rules.enforce_allocatable:
        return PodsShare(facts.cpus * 1000, facts.memory_bytes, 0)
    pids = max(1, facts.pids - _reserved(rules, "pid")) if facts.pids and _reserved(rules, "pid") else 0
    return PodsShare(
        max(2, facts.cpus * 1000 - _reserved(rules, "cpu")), max(0, facts.memory_bytes - _reserved(rules, "memory")), pids
    )


def reserved_share(pairs: Sequence[tuple[str, str]]) -> PodsShare:
    """Of one reservation, for its own cgroup."""
    amounts = dict(pairs)
    return PodsShare(
        quantities.to_milli(amounts.get("cpu", "0")),
        quantities.to_bytes(amounts.get("memory", "0")),
        quantities.to_bytes(amounts.get("pid", "0")),
    )
