"""In which order pods end when the machine does, and how long each may take.

Enters: pods, the node's rules.
Leaves: groups, the least important first, each with its time.
Holds: pure. A pod belongs to the highest priority of the rules that is not above its own, else to the lowest.
Source: Kubernetes documentation, "Node Shutdowns".
Next: agent.shutdown.logind.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from msgspec import Struct, field

from edgekube.agent.podspec import grace_period_seconds
from edgekube.api.objects import Object, spec_of
from edgekube.node_rules import NodeRules

CRITICAL_PRIORITY: Final = 2_000_000_000
REASON: Final = "Terminated"
#: Below /run: gone with the next boot, and with edgekube (cli.removing).
DROP_IN: Final = Path("/run/systemd/logind.conf.d/99-edgekube.conf")
MESSAGE: Final = "Pod was terminated in response to imminent node shutdown."


class Group(Struct):
    priority: int
    grace_seconds: float
    pods: list[Object] = field(default_factory=list)


def rules_of(rules: NodeRules) -> list[tuple[int, float]]:
    """(priority, seconds), ascending; () when nothing is waited for."""
    if rules.shutdown_grace_by_priority:
        return sorted(rules.shutdown_grace_by_priority)
    if rules.shutdown_grace_seconds <= 0:
        return []
    critical = rules.shutdown_grace_critical_seconds
    return [(0, rules.shutdown_grace_seconds - critical), (CRITICAL_PRIORITY, critical)]


def total_seconds(rules: NodeRules) -> float:
    return sum(seconds for _, seconds in rules_of(rules))


def groups_of(pods: Iterable[Object], rules: NodeRules) -> list[Group]:
    """Those that have pods."""
    groups = [Group(priority, seconds) for priority, seconds in rules_of(rules)]
    if not groups:
        return []
    for pod in pods:
        priority = spec_of(pod).get("priority") or 0
        fitting = [group for group in groups if group.priority <= priority]
        (fitting[-1] if fitting else groups[0]).pods.append(pod)
    return [group for group in groups if group.pods]


def grace_of(pod: Object, group: Group) -> int:
    return min(int(group.grace_seconds), grace_period_seconds(pod))
