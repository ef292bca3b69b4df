"""Make room for a pod that fits nowhere, by evicting pods that matter less.

Enters: the pod, what refused it where, the cluster (put back as it was), and the profile.
Leaves: Preemption: a node and its victims; or NoPreemption with the message of kubectl describe.
Holds: a victim's priority is lower than the pod's; without any one of the victims the pod would not fit; the pod fits when they
are gone. Budgets are kept where there is a choice, not at any price. The same input gives the same answer.
Bound: limits.PREEMPTION_NODES_MAX candidates are compared (upstream: a hundred, or a tenth of the nodes).
Source: kubernetes.io/docs/concepts/scheduling-eviction/pod-priority-preemption; plugin DefaultPreemption.
Next: reconcile.scheduling evicts.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable, Sequence
from typing import Final

from msgspec import Struct

from edgekube import limits
from edgekube.scheduler.cluster import Cluster, NodeState
from edgekube.scheduler.facts import PodFacts
from edgekube.scheduler.place import Unplaced, fit_error, fits_now
from edgekube.scheduler.plugin import Refusal
from edgekube.scheduler.pods import PendingPod
from edgekube.scheduler.profiles import Profile
from edgekube.scheduler.surroundings import Budget

_NAME: Final = "DefaultPreemption"
_no_victims: Final = Refusal(_NAME, ("No preemption victims found for incoming pod",))
_no_help: Final = Refusal(_NAME, ("Preemption is not helpful for scheduling",))


class Preemption(Struct, frozen=True):
    node: str
    #: The most important first.
    victims: tuple[PodFacts, ...]
    #: How many of them the budgets would rather keep.
    violations: int


class NoPreemption(Struct, frozen=True):
    message: str
    #: The room that was made for the pod before is of no use to it any more.
    forget_nomination: bool


def preempt(pod: PendingPod, unplaced: Unplaced, cluster: Cluster, profile: Profile) -> Preemption | NoPreemption:
    if not pod.preempts:
        return NoPreemption("preemption: not eligible due to preemptionPolicy=Never.", forget_nomination=False)
    if _is_waiting_for_victims(pod, unplaced, cluster):
        message = "preemption: not eligible due to a terminating pod on the nominated node."
        return NoPreemption(message, forget_nomination=False)
    hopeful = sorted(name for name, no in unplaced.refusals.items() if not no.hopeless and name in cluster.nodes)
    found, refusals = _candidates(pod, hopeful, cluster, profile)
    if not found:
        rest = [_no_help] * (len(cluster.nodes) - len(refusals))
        return NoPreemption("preemption: " + fit_error(len(cluster.nodes), [*refusals, *rest]), forget_nomination=True)
    return min(found, key=_cost)


def _is_waiting_for_victims(pod: PendingPod, unplaced: Unplaced, cluster: Cluster) -> bool:
    """Room is being made for it already: patience, unless that node has become impossible."""
    node = cluster.nodes.get(pod.nominated)
    refusal = unplaced.refusals.get(pod.nominated)
    if node is None or (refusal is not None and refusal.hopeless):
        return False
    return any(each.preempted and each.leaving and each.priority < pod.priority for each in node.pods.values())


def _candidates(
    pod: PendingPod, names: Sequence[str], cluster: Cluster, profile: Profile
) -> tuple[list[Preemption], list[Refusal]]:
    wanted = min(len(names), max(limits.PREEMPTION_NODES_MAX, len(names) // 10))
    # Where to begin differs from pod to pod, so that not all look at the same nodes first.
    start = zlib.crc32(pod.facts.uid.encode()) % len(names) if wanted < len(names) else 0
    found: list[Preemption] = []
    refusals = []
    for name in (*names[start:], *names[:start]):
        answer = _victims_on(pod, cluster.nodes[name], cluster, profile)
        if isinstance(answer, Refusal):
            refusals.append(answer)
            continue
        found.append(answer)
        if len(found) >= wanted and any(not each.violations for each in found):
            break
    return found, refusals


def _victims_on(pod: PendingPod, node: NodeState, cluster: Cluster, profile: Profile) -> Preemption | Refusal:
    lesser = sorted((each for each in node.pods.values() if each.priority < pod.priority), key=importance)
    if not lesser:
        return _no_victims
    with cluster.what_if() as trial:
        for each in lesser:
            trial.remove(each.uid)
        refusal = fits_now(pod, node, cluster, profile)
        if refusal is not None:
            return refusal
        violating = violators(lesser, cluster.surroundings.budgets.values())
        victims, violations = [], 0
        for each in sorted(lesser, key=lambda each: each.uid not in violating):
            trial.add(each)
            if fits_now(pod, node, cluster, profile) is not None:
                trial.remove(each.uid)
                victims.append(each)
                violations += each.uid in violating
    return Preemption(node.facts.name, tuple(sorted(victims, key=importance)), violations)


def importance(pod: PodFacts) -> tuple[float, float, str]:
    """Sorts the most important first: by priority, then the one that has run longer."""
    return (-pod.priority, math.inf if pod.started_seconds is None else pod.started_seconds, pod.uid)


def violators(pods: Sequence[PodFacts], budgets: Iterable[Budget]) -> set[str]:
    """Uids of the pods whose end, in this order, would overdraw a PodDisruptionBudget."""
    found = set()
    left = [(budget, [budget.allowed]) for budget in budgets]
    for pod in pods:
        for budget, allowed in left:
            if not pod.labels or budget.namespace != pod.namespace or pod.name in budget.disrupted:
                continue
            if budget.selector.everything or not budget.selector.matches(pod.labels):
                continue
            allowed[0] -= 1
            if allowed[0] < 0:
                found.add(pod.uid)
    return found


def _cost(candidate: Preemption) -> tuple[float, ...]:
    """Budgets first, then the most important victim, their sum, their number, and who has run for the shortest time."""
    victims = candidate.victims
    highest = victims[0].priority
    started = min(
        math.inf if each.started_seconds is None else each.started_seconds for each in victims if each.priority == highest
    )
    total = sum(each.priority + 2**31 for each in victims)
    return (candidate.violations, highest, total, len(victims), -started)
