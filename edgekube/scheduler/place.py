"""Place one pod: the best node that can take it, or why none can.

Enters: a pending pod, the cluster, and the profile of its scheduler.
Leaves: Placed with a node's name, or Unplaced with the message of kubectl describe and who refused which node.
Holds: the same input gives the same answer: of equal nodes the one with fewer pods, then the first by name. A node on which room
was made for a more important pod (or an equal one) is taken only by who fits beside that pod too.
Next: reconcile.scheduling binds it; scheduler.preemption where nothing fits.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct, field

from edgekube.scheduler.cluster import Cluster, NodeState
from edgekube.scheduler.memory import Answers, LocalRules
from edgekube.scheduler.plugin import Check, Refusal, scaled
from edgekube.scheduler.plugins import nodes, volumes
from edgekube.scheduler.pods import PendingPod
from edgekube.scheduler.profiles import Profile
from edgekube.scheduler.storage import VolumePlan

NO_NODES = "no nodes available to schedule pods"


NOTHING_TO_BIND = VolumePlan("")


class Placed(Struct, frozen=True):
    node: str
    #: What its claims need there before the pod can be bound.
    volumes: VolumePlan = NOTHING_TO_BIND


class Unplaced(Struct, frozen=True):
    message: str
    #: node -> why not; nodes that no rule was asked about are not there.
    refusals: Mapping[str, Refusal] = field(default_factory=dict)
    #: The rules that refused: what must change before another attempt is worth it.
    plugins: frozenset[str] = frozenset()


def place(pod: PendingPod, cluster: Cluster, profile: Profile) -> Placed | Unplaced:
    if not cluster.nodes:
        return Unplaced(NO_NODES)
    rules = LocalRules(profile.local_filters, profile.local_scores, pod, cluster)
    wide, refusal = wide_checks(pod, cluster, profile)
    only = nodes.only_nodes(pod)
    for no in (only if isinstance(only, Refusal) else None, rules.refusal, refusal):
        if no is not None:
            return _refused_everywhere(no, cluster)
    answers = profile.memory.answers(pod, cluster, rules)
    if pod.nominated in answers.fits and _fits(pod, cluster.nodes[pod.nominated], cluster, profile, wide) is None:
        return _placed(pod, pod.nominated, cluster)
    assert not isinstance(only, Refusal)
    if only is None and not wide and not cluster.nominated:
        fitting = [cluster.nodes[name] for name in answers.fits]
        refused: dict[str, Refusal] = {}
    else:
        fitting, refused = _filtered(pod, only, answers, wide, cluster, profile)
    if fitting:
        return _placed(pod, _best(pod, cluster, profile, answers, fitting), cluster)
    refused |= answers.refused
    if only is not None:
        other = Refusal(nodes.AFFINITY, (f"node(s) didn't satisfy plugin(s) [{nodes.AFFINITY}]",), hopeless=True)
        refused = {name: refused[name] if name in only else other for name in refused | answers.fits}
    return Unplaced(fit_error(len(cluster.nodes), refused.values()), refused, frozenset(no.plugin for no in refused.values()))


def _filtered(
    pod: PendingPod,
    only: frozenset[str] | None,
    answers: Answers,
    wide: Sequence[Check],
    cluster: Cluster,
    profile: Profile,
) -> tuple[list[NodeState], dict[str, Refusal]]:
    """The nodes that fit by the other rules, too, and beside whom room was made for."""
    fitting, refused = [], {}
    nominated = cluster.nominated
    for name in answers.fits if only is None else only & answers.fits.keys():
        node = cluster.nodes[name]
        no = None
        for check in wide:
            no = check(node)
            if no is not None:
                break
        if no is None and name in nominated:
            no = _beside_nominated(pod, node, cluster, profile)
        if no is None:
            fitting.append(node)
        else:
            refused[name] = no
    return fitting, refused


def _placed(pod: PendingPod, node: str, cluster: Cluster) -> Placed:
    plan = volumes.plan_for(pod, cluster.nodes[node], cluster)
    return Placed(node, plan) if plan else Placed(node)


def _refused_everywhere(no: Refusal, cluster: Cluster) -> Unplaced:
    text = "; ".join(no.reasons)
    message = f"0/{len(cluster.nodes)} nodes are available: {text}."
    return Unplaced(message, dict.fromkeys(cluster.nodes, no), frozenset((no.plugin,)))


def wide_checks(pod: PendingPod, cluster: Cluster, profile: Profile) -> tuple[list[Check], Refusal | None]:
    checks: list[Check] = []
    for each in profile.wide_filters:
        prepared = each.prepare(pod, cluster)
        if isinstance(prepared, Refusal):
            return [], prepared
        if prepared is not None:
            checks.append(prepared)
    return checks, None


def refusal_of(pod: PendingPod, node: NodeState, cluster: Cluster, profile: Profile) -> Refusal | None:
    """What the rules say of the node as it is now, each prepared anew."""
    for each in profile.filters:
        prepared = each.prepare(pod, cluster)
        if isinstance(prepared, Refusal):
            return prepared
        no = prepared(node) if prepared is not None else None
        if no is not None:
            return no
    return None


def fits_now(pod: PendingPod, node: NodeState, cluster: Cluster, profile: Profile) -> Refusal | None:
    """As refusal_of(), beside the pods nominated to the node as well."""
    no = refusal_of(pod, node, cluster, profile)
    return no if no is not None else _beside_nominated(pod, node, cluster, profile)


def _fits(pod: PendingPod, node: NodeState, cluster: Cluster, profile: Profile, wide: Iterable[Check]) -> Refusal | None:
    for check in wide:
        no = check(node)
        if no is not None:
            return no
    return _beside_nominated(pod, node, cluster, profile)


def _beside_nominated(pod: PendingPod, node: NodeState, cluster: Cluster, profile: Profile) -> Refusal | None:
    """Others for whom room was made here come first, unless this pod is more important."""
    nominated = cluster.nominated.get(node.facts.name, {}).values()
    ahead = [
        each
        for each in nominated
        if each.priority >= pod.priority and each.uid != pod.facts.uid and cluster.pod(each.uid) is None
    ]
    if not ahead:
        return None
    with cluster.if_present(ahead, node.facts.name):
        return refusal_of(pod, node, cluster, profile)


def _best(pod: PendingPod, cluster: Cluster, profile: Profile, answers: Answers, fitting: list[NodeState]) -> str:
    if len(fitting) == 1:
        return fitting[0].facts.name
    ranks = [(each.weight, each.rank(pod, cluster, fitting)) for each in profile.wide_scores]
    if len(fitting) == len(answers.fits) and all(values is None for _, values in ranks):
        best = answers.best()
        if best is not None:
            return best
    names = [node.facts.name for node in fitting]
    totals = [answers.fits[name] for name in names]
    for score, raw in zip(profile.scaled_scores, answers.raw, strict=False):
        if raw:
            ranks.append((score.weight, scaled([raw.get(name, 0) for name in names], score.scale)))
    for weight, values in ranks:
        if values is not None:
            totals = [total + weight * value for total, value in zip(totals, values, strict=True)]
    most = max(totals)
    equal = [node for node, total in zip(fitting, totals, strict=True) if total == most]
    return min(equal, key=lambda node: (len(node.pods), node.facts.name)).facts.name


def fit_error(nodes_count: int, refusals: Iterable[Refusal]) -> str:
    """As kube-scheduler's FitError writes it: a count before each reason, sorted."""
    against: Counter[str] = Counter()
    for refusal in refusals:
        against.update(refusal.reasons)
    reasons = ", ".join(sorted(f"{count} {reason}" for reason, count in against.items()))
    return f"0/{nodes_count} nodes are available: {reasons}."
