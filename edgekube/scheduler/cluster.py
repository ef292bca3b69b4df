"""The scheduler's picture of the cluster: nodes, and what the pods on them take.

Enters: facts of nodes and pods as they come and go, and assumptions about pods that are being bound.
Leaves: NodeState values, always up to date.
Holds: a pod counts once, on one node; an assumed pod counts like a bound one until the API says where it is, or it is forgotten.
Next: scheduler.place.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace

from edgekube.scheduler.facts import NodeFacts, PodFacts
from edgekube.scheduler.resources import Amounts


@dataclass(slots=True)
class NodeState:
    facts: NodeFacts
    used: Amounts = field(default_factory=dict)
    used_nonzero: Amounts = field(default_factory=dict)
    pods: dict[str, PodFacts] = field(default_factory=dict)  # by uid
    families: Counter[str] = field(default_factory=Counter)

    def add(self, pod: PodFacts) -> None:
        self.pods[pod.uid] = pod
        self.families[pod.family] += 1
        _change(self.used, pod.requests, 1)
        _change(self.used_nonzero, pod.nonzero, 1)

    def remove(self, uid: str) -> None:
        pod = self.pods.pop(uid)
        self.families[pod.family] -= 1
        if not self.families[pod.family]:
            del self.families[pod.family]
        _change(self.used, pod.requests, -1)
        _change(self.used_nonzero, pod.nonzero, -1)


def _change(total: Amounts, amounts: Amounts, sign: int) -> None:
    for name, amount in amounts.items():
        total[name] = total.get(name, 0) + sign * amount


class Cluster:
    def __init__(self) -> None:
        self.nodes: dict[str, NodeState] = {}
        #: Every pod that takes room, by uid; also on nodes that are unknown yet.
        self._pods: dict[str, PodFacts] = {}
        self._assumed: set[str] = set()

    def set_node(self, facts: NodeFacts) -> None:
        state = self.nodes.get(facts.name)
        if state is not None:
            state.facts = facts
            return
        state = self.nodes[facts.name] = NodeState(facts)
        for pod in self._pods.values():
            if pod.node == facts.name:
                state.add(pod)

    def remove_node(self, name: str) -> None:
        self.nodes.pop(name, None)

    def set_pod(self, pod: PodFacts) -> None:
        """The pod takes room on ``pod.node``, wherever it did before."""
        self.remove_pod(pod.uid)
        self._pods[pod.uid] = pod
        if pod.node in self.nodes:
            self.nodes[pod.node].add(pod)

    def remove_pod(self, uid: str) -> bool:
        """True when that made room."""
        self._assumed.discard(uid)
        pod = self._pods.pop(uid, None)
        if pod is None:
            return False
        if pod.node in self.nodes:
            self.nodes[pod.node].remove(uid)
        return True

    def assume(self, pod: PodFacts, node: str) -> None:
        self.set_pod(replace(pod, node=node))
        self._assumed.add(pod.uid)

    def is_assumed(self, uid: str) -> bool:
        """The API has not said yet where the pod is."""
        return uid in self._assumed

    def holds(self, uid: str) -> bool:
        return uid in self._pods
