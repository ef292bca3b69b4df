"""One step of a rolling update: which old pods go, and which nodes get a second pod.

Enters: a DaemonSet, its nodes and the pods by node.
Leaves: Step: pods to delete, nodes to create a pod on.
Holds: without surge at most maxUnavailable nodes are without an available pod by our doing. With surge at most maxSurge nodes run
a new pod beside an old one that is available, and an old one goes when its new one is available. A node whose old pod serves
nobody costs nothing.
Source: k8s.io/kubernetes pkg/controller/daemon/update.go rollingUpdate.
Next: controller.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct, field

from edgekube.api import intstr
from edgekube.api.node_facts import NodeFacts
from edgekube.api.objects import Object
from edgekube.api.pod_facts import PodFacts
from edgekube.controllers.daemonset.making import is_updated
from edgekube.controllers.daemonset.placing import Placing


class Step(Struct):
    create: list[str] = field(default_factory=list)
    delete: list[PodFacts] = field(default_factory=list)


def is_rolling(daemon: Object) -> bool:
    return bool(_strategy(daemon).get("type", "RollingUpdate") == "RollingUpdate")


def _strategy(daemon: Object) -> Object:
    return (daemon.get("spec") or {}).get("updateStrategy") or {}


def allows_surge(daemon: Object) -> bool:
    return is_rolling(daemon) and _surge(daemon, 1) > 0


def _surge(daemon: Object, nodes: int) -> int:
    return intstr.resolve((_strategy(daemon).get("rollingUpdate") or {}).get("maxSurge") or 0, nodes, round_up=True)


def _unavailable(daemon: Object, nodes: int) -> int:
    value = (_strategy(daemon).get("rollingUpdate") or {}).get("maxUnavailable")
    return intstr.resolve(1 if value is None else value, nodes, round_up=True)


class Rolling:
    """A rolling update at this moment."""

    def __init__(
        self,
        daemon: Object,
        nodes: Sequence[NodeFacts],
        by_node: Mapping[str, Sequence[PodFacts]],
        placing: Placing,
        digest: str,
        min_ready_seconds: int,
        wall_seconds: float,
    ) -> None:
        self._daemon = daemon
        self._digest = digest
        self._min_ready_seconds = min_ready_seconds
        self._wall_seconds = wall_seconds
        self._wanted = {node.name for node in nodes if placing.on(node).run}
        #: Nodes that should have a pod and have none count, too.
        self._pods: dict[str, Sequence[PodFacts]] = {**dict.fromkeys(sorted(self._wanted), ()), **by_node}

    def step(self) -> Step:
        surge = _surge(self._daemon, len(self._wanted))
        unavailable = _unavailable(self._daemon, len(self._wanted))
        if surge == 0:
            # Both zero would never move.
            return self._replacing(unavailable if unavailable or not self._wanted else 1)
        return self._surging(surge)

    def _available(self, pod: PodFacts) -> bool:
        return pod.available_in(self._min_ready_seconds, self._wall_seconds) == 0.0

    def _pair(self, pods: Iterable[PodFacts]) -> tuple[PodFacts | None, PodFacts | None] | None:
        """(new, old) of a node; None while it has several of one kind, which managing.py prunes first."""
        new: PodFacts | None = None
        old: PodFacts | None = None
        for pod in pods:
            if pod.deleting:
                continue
            if is_updated(self._daemon, pod, self._digest):
                if new is not None:
                    return None
                new = pod
            else:
                if old is not None:
                    return None
                old = pod
        return new, old

    def _replacing(self, unavailable_max: int) -> Step:
        """Without surge: delete, and the node gets a new one afterwards."""
        unavailable = 0
        broken: list[PodFacts] = []
        candidates: list[PodFacts] = []
        for pods in self._pods.values():
            pair = self._pair(pods)
            if pair is None or (pair[0] is None) == (pair[1] is None):
                unavailable += 1
                continue
            new, old = pair
            if new is not None:
                unavailable += not self._available(new)
            elif old is not None and not self._available(old):
                broken.append(old)
                unavailable += 1
            elif old is not None:
                candidates.append(old)
        return Step(delete=broken + candidates[: max(0, unavailable_max - unavailable)])

    def _surging(self, surge_max: int) -> Step:
        step = Step()
        surging = available = 0
        leaving: list[PodFacts] = []
        candidates: list[str] = []
        for node_name, pods in self._pods.items():
            pair = self._pair(pods)
            if pair is None:
                surging += 1
                continue
            new, old = pair
            counted = old if old is not None else new
            available += counted is not None and self._available(counted)
            if old is None:
                continue
            if new is not None:
                if self._available(new):
                    step.delete.append(old)
                else:
                    surging += 1
            elif not self._available(old):
                if node_name in self._wanted:
                    step.create.append(node_name)
                else:
                    step.delete.append(old)
            elif node_name in self._wanted:
                candidates.append(node_name)
            else:
                leaving.append(old)
        # Where it should not run any more it goes when there are enough elsewhere.
        step.delete += leaving[: max(0, available - len(self._wanted))]
        step.create += candidates[: max(0, surge_max - surging)]
        return step
