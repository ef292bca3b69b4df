"""Pods that want to be near others, or away from them.

Enters: a pending pod's terms, and the pods of the cluster by labels and by terms.
Leaves: refusals in upstream's words, and a score from 0 to 100.
Holds: a selector is asked once for all pods with the same labels, a term once for all pods that have it; existing pods' required
anti-affinity binds the newcomer too, their preferences count beside its own.
Source: kube-scheduler plugin InterPodAffinity (hardPodAffinityWeight 1).
Next: scheduler.profiles.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from edgekube.scheduler.cluster import Cluster, Kin, NodeState
from edgekube.scheduler.plugin import SCORE_MAX, Check, Filter, Refusal, WideScore
from edgekube.scheduler.pods import PendingPod
from edgekube.scheduler.terms import PodTerms, Term

POD_AFFINITY: Final = "InterPodAffinity"

_Places = dict[tuple[str, str], int]  # (topology key, value) -> pods

_not_near: Final = Refusal(POD_AFFINITY, ("node(s) didn't match pod affinity rules",), hopeless=True)
_not_apart: Final = Refusal(POD_AFFINITY, ("node(s) didn't match pod anti-affinity rules",))
_unwelcome: Final = Refusal(POD_AFFINITY, ("node(s) didn't satisfy existing pods anti-affinity rules",))
_NO_TERMS: Final = PodTerms()


def _matching(cluster: Cluster, terms: Sequence[Term]) -> Iterator[Kin]:
    """The pods that match all of the terms."""
    if not terms:
        return
    for namespace, families in cluster.kin.items():
        namespace_labels = cluster.namespace_labels(namespace)
        for kin in families.values():
            if all(term.matches(namespace, kin.labels, namespace_labels) for term in terms):
                yield kin


def _place(places: _Places, cluster: Cluster, on: Mapping[str, int], key: str, weight: int = 1) -> None:
    for name, count in on.items():
        node = cluster.nodes.get(name)
        value = node.facts.labels.get(key) if node is not None else None
        if value is not None:
            places[key, value] = places.get((key, value), 0) + count * weight


def _check(pod: PendingPod, cluster: Cluster) -> Check | None:
    terms = pod.facts.terms or _NO_TERMS
    labels, namespace = pod.facts.labels, pod.facts.namespace
    namespace_labels = cluster.namespace_labels(namespace)
    unwelcome: _Places = {}
    for party in cluster.parties.values():
        for term in party.terms.anti_affinity:
            if term.matches(namespace, labels, namespace_labels):
                _place(unwelcome, cluster, party.on, term.topology_key)
    if not unwelcome and not terms.affinity and not terms.anti_affinity:
        return None
    near: _Places = {}
    for kin in _matching(cluster, terms.affinity):
        for term in terms.affinity:
            _place(near, cluster, kin.on, term.topology_key)
    apart: _Places = {}
    for term in terms.anti_affinity:
        for kin in _matching(cluster, (term,)):
            _place(apart, cluster, kin.on, term.topology_key)
    # The first of a series that wants to be together: nobody is there yet, and it would itself be one of them.
    first = not near and all(term.matches(namespace, labels, namespace_labels) for term in terms.affinity)

    def check(node: NodeState) -> Refusal | None:
        at = node.facts.labels
        for term in terms.affinity:
            value = at.get(term.topology_key)
            if value is None or (not first and not near.get((term.topology_key, value))):
                return _not_near
        for term in terms.anti_affinity:
            if (value := at.get(term.topology_key)) is not None and apart.get((term.topology_key, value)):
                return _not_apart
        if unwelcome and any(each in unwelcome for each in at.items()):
            return _unwelcome
        return None

    return check


def _rank(hard_weight: int, own_only: bool, pod: PendingPod, cluster: Cluster, nodes: Sequence[NodeState]) -> list[int] | None:
    terms = pod.facts.terms or _NO_TERMS
    if own_only and not terms.preferred and not terms.preferred_anti:
        return None
    labels, namespace = pod.facts.labels, pod.facts.namespace
    namespace_labels = cluster.namespace_labels(namespace)
    places: _Places = {}
    for sign, wanted in ((1, terms.preferred), (-1, terms.preferred_anti)):
        for each in wanted:
            for kin in _matching(cluster, (each.term,)):
                _place(places, cluster, kin.on, each.term.topology_key, sign * each.weight)
    for party in cluster.parties.values():
        theirs = [(hard_weight, term) for term in party.terms.affinity if hard_weight]
        theirs += [(each.weight, each.term) for each in party.terms.preferred]
        theirs += [(-each.weight, each.term) for each in party.terms.preferred_anti]
        for weight, term in theirs:
            if term.matches(namespace, labels, namespace_labels):
                _place(places, cluster, party.on, term.topology_key, weight)
    if not places:
        return None
    by_key: dict[str, dict[str | None, int]] = {}
    for (key, value), weight in places.items():
        by_key.setdefault(key, {})[value] = weight
    totals = [0] * len(nodes)
    for key, values in by_key.items():
        totals = [total + values.get(node.facts.labels.get(key), 0) for total, node in zip(totals, nodes, strict=True)]
    least, most = min(totals), max(totals)
    if most == least:
        return None
    return [int(SCORE_MAX * ((total - least) / (most - least))) for total in totals]


POD_AFFINITY_FILTER: Final = Filter(POD_AFFINITY, _check)


def near_preferred(weight: int, hard_weight: int = 1, own_only: bool = False) -> WideScore:
    """``own_only``: what existing pods prefer counts only for a pod with preferences of its own."""
    return WideScore(POD_AFFINITY, weight, lambda pod, cluster, nodes: _rank(hard_weight, own_only, pod, cluster, nodes))
