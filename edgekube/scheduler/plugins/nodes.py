"""Rules about a node alone: cordoned, by name, tainted, by labels, host ports.

Enters: a pending pod, and one node.
Leaves: refusals in upstream's words; how well the pod's preferences are met.
Source: kube-scheduler plugins NodeUnschedulable, NodeName, TaintToleration, NodeAffinity and NodePorts.
Next: scheduler.profiles.
"""

from __future__ import annotations

from typing import Final

from edgekube.api import node_affinity as affinity
from edgekube.api import taints
from edgekube.api.objects import Object
from edgekube.scheduler.cluster import Cluster, NodeState
from edgekube.scheduler.plugin import Check, Filter, LocalScore, Measure, Prepare, Refusal
from edgekube.scheduler.pods import PendingPod

UNSCHEDULABLE: Final = "NodeUnschedulable"
NODE_NAME: Final = "NodeName"
TAINTS: Final = "TaintToleration"
AFFINITY: Final = "NodeAffinity"
PORTS: Final = "NodePorts"

_CORDONED: Final = {"key": taints.UNSCHEDULABLE, "effect": taints.NO_SCHEDULE}
BARRING: Final = (taints.NO_SCHEDULE, taints.NO_EXECUTE)

_cordoned: Final = Refusal(UNSCHEDULABLE, ("node(s) were unschedulable",), hopeless=True)
_other_name: Final = Refusal(NODE_NAME, ("node(s) didn't match the requested node name",), hopeless=True)
_tainted: Final = Refusal(TAINTS, ("node(s) had untolerated taint(s)",), hopeless=True)
_unlike: Final = Refusal(AFFINITY, ("node(s) didn't match Pod's node affinity/selector",), hopeless=True)
_enforced: Final = Refusal(AFFINITY, ("node(s) didn't match scheduler-enforced node affinity",), hopeless=True)
_taken: Final = Refusal(PORTS, ("node(s) didn't have free ports for the requested pod ports",))


def bears_cordon(pod: PendingPod) -> bool:
    return any(taints.tolerates(each, _CORDONED) for each in pod.tolerations)


def _unschedulable(pod: PendingPod, cluster: Cluster) -> Check | None:
    if bears_cordon(pod):
        return None
    return lambda node: _cordoned if node.facts.unschedulable else None


def _node_name(pod: PendingPod, cluster: Cluster) -> Check | None:
    wanted = pod.facts.node
    return (lambda node: None if node.facts.name == wanted else _other_name) if wanted else None


def _taints(pod: PendingPod, cluster: Cluster) -> Check:
    def check(node: NodeState) -> Refusal | None:
        found = node.facts.taints
        return _tainted if found and taints.untolerated(found, pod.tolerations, BARRING) is not None else None

    return check


def node_affinity(added: Object | None = None) -> Prepare:
    """``added``: what the profile asks of each node besides (addedAffinity)."""
    enforced = added or {}

    def prepare(pod: PendingPod, cluster: Cluster) -> Check | None:
        selector, wanted = pod.node_selector, pod.node_affinity
        if not selector and affinity.REQUIRED not in wanted and affinity.REQUIRED not in enforced:
            return None

        def check(node: NodeState) -> Refusal | None:
            facts = node.facts
            if not affinity.required({}, enforced, facts.name, facts.labels):
                return _enforced
            return None if affinity.required(selector, wanted, facts.name, facts.labels) else _unlike

        return check

    return prepare


def only_nodes(pod: PendingPod) -> frozenset[str] | Refusal | None:
    """The names that each alternative of the pod's affinity asks for by matchFields; None: any node may do."""
    required = pod.node_affinity.get(affinity.REQUIRED)
    terms = (required or {}).get("nodeSelectorTerms") or ()
    names: set[str] = set()
    for term in terms:
        mine: set[str] | None = None
        for field in term.get("matchFields") or ():
            if field.get("key") == "metadata.name" and field.get("operator") == "In":
                values = set(field.get("values") or ())
                mine = values if mine is None else mine & values
        if mine is None:
            return None
        names |= mine
    if terms and not names:
        return Refusal(AFFINITY, ("pod affinity terms conflict",), hopeless=True)
    return frozenset(names) if terms else None


def _ports(pod: PendingPod, cluster: Cluster) -> Check | None:
    wanted = pod.facts.ports
    if not wanted:
        return None

    def check(node: NodeState) -> Refusal | None:
        used = [port for other in node.pods.values() if other.ports for port in other.ports]
        return _taken if any(mine.clashes(port) for mine in wanted for port in used) else None

    return check


def _intolerable(pod: PendingPod, cluster: Cluster) -> Measure:
    bearing = [each for each in pod.tolerations if each.get("effect") in (None, "", taints.PREFER_NO_SCHEDULE)]

    def measure(node: NodeState) -> int:
        if not node.facts.taints:
            return 0
        return sum(
            taint.get("effect") == taints.PREFER_NO_SCHEDULE and not any(taints.tolerates(each, taint) for each in bearing)
            for taint in node.facts.taints
        )

    return measure


def preferred_nodes(weight: int, added: Object | None = None) -> LocalScore:
    enforced = added or {}

    def prepare(pod: PendingPod, cluster: Cluster) -> Measure | None:
        wanted = pod.node_affinity
        if not wanted.get(affinity.PREFERRED) and not enforced.get(affinity.PREFERRED):
            return None

        def measure(node: NodeState) -> int:
            facts = node.facts
            return affinity.preferred(wanted, facts.name, facts.labels) + affinity.preferred(enforced, facts.name, facts.labels)

        return measure

    return LocalScore(AFFINITY, weight, prepare, "most")


UNSCHEDULABLE_FILTER: Final = Filter(UNSCHEDULABLE, _unschedulable, local=True)
NODE_NAME_FILTER: Final = Filter(NODE_NAME, _node_name, local=True)
TAINTS_FILTER: Final = Filter(TAINTS, _taints, local=True)
PORTS_FILTER: Final = Filter(PORTS, _ports, local=True)


def fewest_taints(weight: int) -> LocalScore:
    """Fewest PreferNoSchedule taints that the pod does not tolerate."""
    return LocalScore(TAINTS, weight, _intolerable, "fewest")
