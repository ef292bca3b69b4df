"""Answers about nodes, remembered for pods that are alike.

Enters: pending pods and the changes of the cluster.
Leaves: which nodes pass the local rules, with their local scores, and why the others do not.
Holds: what is remembered is what the rules would say now: a node is asked about again once anything about it has changed. A
thousand replicas ask each rule about each node once, and after that only about where the last one went.
Bound: limits.LIKENESSES_KEPT_MAX kinds of pods, each with an entry a node.
Next: scheduler.place.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Sequence

from msgspec import Struct, field

from edgekube import limits
from edgekube.scheduler.cluster import Cluster, NodeState
from edgekube.scheduler.plugin import Check, Filter, LocalScore, Measure, Refusal
from edgekube.scheduler.pods import PendingPod


class Answers(Struct):
    """About one kind of pod."""

    #: -1: nothing is known yet.
    serial: int = -1
    images_serial: int = -1
    #: node -> the sum of the local scores that need no scaling, by weight.
    fits: dict[str, int] = field(default_factory=dict)
    #: For each local score that is scaled by the largest: node -> what it measured, where that is not 0.
    raw: list[dict[str, int]] = field(default_factory=list)
    refused: dict[str, Refusal] = field(default_factory=dict)
    #: A heap of (-sum, pods, node): the best is on top. Entries of nodes that were asked again since are old.
    order: list[tuple[int, int, str]] = field(default_factory=list)
    current: dict[str, tuple[int, int, str]] = field(default_factory=dict)

    def forget(self) -> None:
        self.fits.clear()
        self.refused.clear()
        self.current.clear()
        self.raw.clear()
        self.order.clear()
        self.serial = -1

    def best(self) -> str | None:
        """The node that is best by the sums alone; None where something is scaled, and they do not tell."""
        if any(self.raw):
            return None
        while self.order and self.current.get(self.order[0][2]) != self.order[0]:
            heapq.heappop(self.order)
        return self.order[0][2] if self.order else None


class LocalRules:
    """The local rules of one profile, prepared for one pod."""

    def __init__(self, filters: Sequence[Filter], scores: Sequence[LocalScore], pod: PendingPod, cluster: Cluster) -> None:
        self.refusal: Refusal | None = None
        self._checks: list[Check] = []
        self._plain: list[tuple[int, Measure]] = []
        #: In the order of the profile's scaled scores.
        self._scaled: list[Measure | None] = []
        for score in scores:
            measure = score.prepare(pod, cluster)
            if score.scale:
                self._scaled.append(measure)
            elif measure is not None:
                self._plain.append((score.weight, measure))
        for each in filters:
            prepared = each.prepare(pod, cluster)
            if isinstance(prepared, Refusal):
                self.refusal = self.refusal or prepared
            elif prepared is not None:
                self._checks.append(prepared)

    def against(self, node: NodeState) -> Refusal | None:
        for check in self._checks:
            refusal = check(node)
            if refusal is not None:
                return refusal
        return None

    def measured(self, node: NodeState) -> int:
        total = 0
        for weight, measure in self._plain:
            total += weight * measure(node)
        return total

    def raw(self, node: NodeState) -> list[int]:
        return [0 if measure is None else measure(node) for measure in self._scaled]


class Memory:
    """Of one profile."""

    def __init__(self) -> None:
        self._kinds: OrderedDict[bytes, Answers] = OrderedDict()

    def answers(self, pod: PendingPod, cluster: Cluster, rules: LocalRules) -> Answers:
        known = self._kinds.get(pod.likeness)
        if known is None:
            known = self._kinds[pod.likeness] = Answers()
            if len(self._kinds) > limits.LIKENESSES_KEPT_MAX:
                self._kinds.popitem(last=False)
        self._kinds.move_to_end(pod.likeness)
        changed = None
        if known.serial >= 0 and known.images_serial == cluster.images_serial:
            changed = cluster.changed_since(known.serial)
        if changed is None:
            known.forget()
            changed = list(cluster.nodes)
        for name in changed:
            _ask(name, cluster.nodes.get(name), rules, known)
        known.serial, known.images_serial = cluster.serial, cluster.images_serial
        return known


def _ask(name: str, node: NodeState | None, rules: LocalRules, answers: Answers) -> None:
    for each in (answers.fits, answers.refused, answers.current, *answers.raw):
        each.pop(name, None)  # type: ignore[attr-defined]
    if node is None:
        return
    refusal = rules.against(node)
    if refusal is not None:
        answers.refused[name] = refusal
        return
    total = answers.fits[name] = rules.measured(node)
    for index, value in enumerate(rules.raw(node)):
        if index == len(answers.raw):
            answers.raw.append({})
        if value:
            answers.raw[index][name] = value
    entry = answers.current[name] = (-total, len(node.pods), name)
    heapq.heappush(answers.order, entry)
    if len(answers.order) > 2 * len(answers.current) + 64:
        answers.order = sorted(answers.current.values())
