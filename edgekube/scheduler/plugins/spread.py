"""Pods spread over zones, nodes, or whatever label of nodes is named.

Enters: a pending pod's topologySpreadConstraints, or the profile's, and the pods of the cluster by labels.
Leaves: refusals in upstream's words, and a score from 0 to 100.
Holds: a pod on its way out is not counted; a node without one of the keys is no place of any constraint; for a pod without
constraints the default ones count what its services and its owner select.
Source: kube-scheduler plugin PodTopologySpread; kubernetes.io/docs/concepts/scheduling-eviction/topology-spread-constraints.
Next: scheduler.profiles.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

from msgspec import Struct, field

from edgekube.api import node_affinity as affinity
from edgekube.api import taints
from edgekube.api.objects import Object
from edgekube.api.selectors.labels import LabelSelector, Requirement, label_selector_of_set
from edgekube.scheduler.cluster import Cluster, NodeState
from edgekube.scheduler.plugin import SCORE_MAX, Check, Filter, Refusal, WideScore
from edgekube.scheduler.plugins.nodes import BARRING
from edgekube.scheduler.pods import PendingPod
from edgekube.scheduler.terms import selector_of

SPREAD: Final = "PodTopologySpread"
HOSTNAME: Final = "kubernetes.io/hostname"
ZONE: Final = "topology.kubernetes.io/zone"

_MISMATCH: Final = "node(s) didn't match pod topology spread constraints"
_uneven: Final = Refusal(SPREAD, (_MISMATCH,))
_unlabelled: Final = Refusal(SPREAD, (f"{_MISMATCH} (missing required label)",), hopeless=True)


class Defaults(Struct, frozen=True):
    """For pods without constraints. ``system``: a node may lack one of the keys and is scored all the same."""

    constraints: tuple[Object, ...] = field(default=())
    system: bool = False


SYSTEM_DEFAULTS: Final = Defaults(
    (
        {"topologyKey": HOSTNAME, "whenUnsatisfiable": "ScheduleAnyway", "maxSkew": 3},
        {"topologyKey": ZONE, "whenUnsatisfiable": "ScheduleAnyway", "maxSkew": 5},
    ),
    system=True,
)


class Constraint(Struct, frozen=True):
    max_skew: int
    key: str
    selector: LabelSelector
    min_domains: int
    honor_affinity: bool
    honor_taints: bool

    def counts(self, pod: PendingPod, node: NodeState) -> bool:
        """The node is one that the constraint is about."""
        facts = node.facts
        if self.honor_affinity and not affinity.required(pod.node_selector, pod.node_affinity, facts.name, facts.labels):
            return False
        return not (self.honor_taints and facts.taints and taints.untolerated(facts.taints, pod.tolerations, BARRING) is not None)


def constraints(pod: PendingPod, cluster: Cluster, action: str, defaults: Defaults) -> list[Constraint]:
    if pod.spread:
        return [_constraint(each, pod) for each in pod.spread if each.get("whenUnsatisfiable") == action]
    wanted = [each for each in defaults.constraints if each.get("whenUnsatisfiable") == action]
    selector = _family(pod, cluster) if wanted else None
    return [_constraint(each, pod, selector) for each in wanted] if selector is not None else []


def _constraint(constraint: Object, pod: PendingPod, selector: LabelSelector | None = None) -> Constraint:
    if selector is None:
        selector = selector_of(constraint.get("labelSelector"))
        labels = pod.facts.labels
        keys = [key for key in constraint.get("matchLabelKeys") or () if key in labels]
        if keys and not selector.nothing:
            more = tuple(Requirement(key, "in", (labels[key],)) for key in keys)
            selector = LabelSelector((*selector.requirements, *more))
    return Constraint(
        max_skew=int(constraint.get("maxSkew") or 1),
        key=str(constraint.get("topologyKey") or ""),
        selector=selector,
        min_domains=int(constraint.get("minDomains") or 1),
        honor_affinity=constraint.get("nodeAffinityPolicy") != "Ignore",
        honor_taints=constraint.get("nodeTaintsPolicy") == "Honor",
    )


def _family(pod: PendingPod, cluster: Cluster) -> LabelSelector | None:
    """What the services that select the pod and its controller select, together; None: nothing does."""
    labels, around = pod.facts.labels, cluster.surroundings
    together: dict[str, str] = {}
    for selector in around.services.get(pod.facts.namespace, {}).values():
        if all(labels.get(key) == value for key, value in selector.items()):
            together |= selector
    requirements = label_selector_of_set(together).requirements
    owner = next((each for each in pod.owners if each.get("controller")), None)
    owned = around.owners.get(str(owner.get("uid"))) if owner is not None else None
    if owned is not None:
        requirements = (*requirements, *owned.requirements)
    return LabelSelector(requirements) if requirements else None


def _counts(pod: PendingPod, cluster: Cluster, selector: LabelSelector) -> Mapping[str, int]:
    """How many of the pods that it is counted with are on which node."""
    if selector.everything or selector.nothing:
        return {}
    total: dict[str, int] = {}
    for kin in cluster.kin.get(pod.facts.namespace, {}).values():
        if selector.matches(kin.labels):
            for node, count in kin.staying.items():
                total[node] = total.get(node, 0) + count
    return total


def _with_labels(keys: Sequence[str], cluster: Cluster) -> list[NodeState]:
    """Nodes that are a place of every constraint."""
    nodes = list(cluster.nodes.values())
    for key in dict.fromkeys(keys):
        nodes = [node for node in nodes if key in node.facts.labels]
    return nodes


def spread_filter(defaults: Defaults = SYSTEM_DEFAULTS) -> Filter:
    def prepare(pod: PendingPod, cluster: Cluster) -> Check | None:
        wanted = constraints(pod, cluster, "DoNotSchedule", defaults)
        if not wanted:
            return None
        keys = [each.key for each in wanted]
        eligible = _with_labels(keys, cluster)
        limits: list[tuple[str, dict[str, int], int]] = []
        for each in wanted:
            counts = _counts(pod, cluster, each.selector)
            places: dict[str, int] = {}
            picky = each.honor_taints or (each.honor_affinity and bool(pod.node_selector or pod.node_affinity))
            for node in eligible:
                if not picky or each.counts(pod, node):
                    value = node.facts.labels[each.key]
                    places[value] = places.get(value, 0) + counts.get(node.facts.name, 0)
            least = min(places.values()) if places and len(places) >= each.min_domains else 0
            # What may be there before the pod comes.
            limits.append((each.key, places, each.max_skew + least - each.selector.matches(pod.facts.labels)))

        def check(node: NodeState) -> Refusal | None:
            labels = node.facts.labels
            for key, places, most in limits:
                value = labels.get(key)
                if value is None:
                    return _unlabelled
                if places.get(value, 0) > most:
                    return _uneven
            return None

        return check

    return Filter(SPREAD, prepare)


def spread_score(weight: int, defaults: Defaults = SYSTEM_DEFAULTS) -> WideScore:
    def rank(pod: PendingPod, cluster: Cluster, nodes: Sequence[NodeState]) -> list[int] | None:
        wanted = constraints(pod, cluster, "ScheduleAnyway", defaults)
        if not wanted:
            return None
        keys = [each.key for each in wanted] if pod.spread or not defaults.system else []
        if not keys or all(all(key in node.facts.labels for key in keys) for node in nodes):
            return _scores(wanted, keys, pod, cluster, nodes)
        # A node that lacks a key is no place of any constraint: the others are compared, it gets nothing.
        places = [node for node in nodes if all(key in node.facts.labels for key in keys)]
        found = dict(zip((node.facts.name for node in places), _scores(wanted, keys, pod, cluster, places), strict=True))
        return [found.get(node.facts.name, 0) for node in nodes]

    return WideScore(SPREAD, weight, rank)


def _scores(
    wanted: Sequence[Constraint], keys: Sequence[str], pod: PendingPod, cluster: Cluster, nodes: Sequence[NodeState]
) -> list[int]:
    """``keys``: those that a node must have to be counted."""
    facts = [node.facts for node in nodes]
    sums: list[float] = []
    # The default constraints share their selector.
    counted = {each.selector: _counts(pod, cluster, each.selector) for each in wanted}
    for each in wanted:
        counts = counted[each.selector]
        if each.key == HOSTNAME:
            share, base = math.log(len(nodes) + 2), float(each.max_skew - 1)
            get = {name: count * share + base for name, count in counts.items()}.get
            parts = [get(at.name, base) if HOSTNAME in at.labels else 0.0 for at in facts]
        else:
            key = each.key
            values = [at.labels.get(key) for at in facts]
            by_value = _by_value(each, keys, {value or "" for value in set(values)}, counts, pod, cluster)
            get_value = by_value.get
            parts = [get_value(value, 0.0) for value in values]
        sums = [one + other for one, other in zip(sums, parts, strict=True)] if sums else parts
    # There are few different sums: each is turned into a score once.
    rounded = {total: _half_away(total) for total in set(sums)}
    least, most = min(rounded.values(), default=0), max(rounded.values(), default=0)
    score = {total: SCORE_MAX * (most + least - value) // most if most else SCORE_MAX for total, value in rounded.items()}
    return [score[total] for total in sums]


def _by_value(
    constraint: Constraint,
    keys: Sequence[str],
    values: set[str],
    counts: Mapping[str, int],
    pod: PendingPod,
    cluster: Cluster,
) -> dict[str | None, float]:
    """What a node with this value of the key gets: the pods in its place, weighed by how many places there are."""
    pods = dict.fromkeys(values, 0)
    for name, count in counts.items():
        node = cluster.nodes.get(name)
        if node is None or any(key not in node.facts.labels for key in keys) or not constraint.counts(pod, node):
            continue
        value = node.facts.labels.get(constraint.key, "")
        if value in pods:
            pods[value] += count
    share = math.log(len(pods) + 2)
    # Where the key is not there at all nothing is added: None, not the empty value, is asked for.
    return {value: count * share + (constraint.max_skew - 1) for value, count in pods.items()}


def _half_away(value: float) -> int:
    """Go's math.Round; scores are not negative."""
    return math.floor(value + 0.5)
