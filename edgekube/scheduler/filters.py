"""Which nodes can take a pod: a table of filters, asked in order.

Enters: a pending pod and a node's state.
Leaves: reasons against the node, in upstream's words; none when it fits.
Holds: a node is refused by the first filter that has a reason, as FitError's counts expect. A new rule is a new row.
Source: kube-scheduler plugins of the same names.
Next: scheduler.place.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

from edgekube.api import taints
from edgekube.scheduler import affinity
from edgekube.scheduler.cluster import NodeState
from edgekube.scheduler.facts import PendingPod
from edgekube.scheduler.resources import PODS, lacking

Filter: TypeAlias = Callable[[PendingPod, NodeState], list[str]]

_CORDONED: Final = {"key": taints.UNSCHEDULABLE, "effect": taints.NO_SCHEDULE}


def node_unschedulable(pod: PendingPod, node: NodeState) -> list[str]:
    if not node.facts.unschedulable or any(taints.tolerates(each, _CORDONED) for each in pod.tolerations):
        return []
    return ["node(s) were unschedulable"]


def node_name(pod: PendingPod, node: NodeState) -> list[str]:
    if pod.facts.node in ("", node.facts.name):
        return []
    return ["node(s) didn't match the requested node name"]


def taint_toleration(pod: PendingPod, node: NodeState) -> list[str]:
    effects = (taints.NO_SCHEDULE, taints.NO_EXECUTE)
    if taints.untolerated(node.facts.taints, pod.tolerations, effects) is None:
        return []
    return ["node(s) had untolerated taint(s)"]


def node_affinity(pod: PendingPod, node: NodeState) -> list[str]:
    if affinity.required(pod.node_selector, pod.node_affinity, node.facts.name, node.facts.labels):
        return []
    return ["node(s) didn't match Pod's node affinity/selector"]


def node_ports(pod: PendingPod, node: NodeState) -> list[str]:
    if not pod.facts.ports:
        return []
    taken = [port for other in node.pods.values() for port in other.ports]
    if any(mine.clashes(port) for mine in pod.facts.ports for port in taken):
        return ["node(s) didn't have free ports for the requested pod ports"]
    return []


def node_resources_fit(pod: PendingPod, node: NodeState) -> list[str]:
    allocatable = node.facts.allocatable
    reasons = ["Too many pods"] if len(node.pods) + 1 > allocatable.get(PODS, 0) else []
    return reasons + [f"Insufficient {name}" for name in lacking(pod.facts.requests, allocatable, node.used)]


FILTERS: Final[tuple[tuple[str, Filter], ...]] = (
    ("NodeUnschedulable", node_unschedulable),
    ("NodeName", node_name),
    ("TaintToleration", taint_toleration),
    ("NodeAffinity", node_affinity),
    ("NodePorts", node_ports),
    ("NodeResourcesFit", node_resources_fit),
)


def reasons_against(pod: PendingPod, node: NodeState) -> list[str]:
    for _, check in FILTERS:
        reasons = check(pod, node)
        if reasons:
            return reasons
    return []
