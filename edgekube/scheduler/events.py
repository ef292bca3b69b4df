"""What happened in the cluster, as far as it can help a pod that fitted nowhere.

Enters: facts before and after, from reconcile.scheduling.
Leaves: Happening values, and for a waiting pod: whether one may help.
Holds: a pod is woken by what may change the answer of a rule that refused it, and by nothing else (upstream's queueing hints);
where that is not certain, it is woken.
Next: scheduler.pending.
"""

from __future__ import annotations

from typing import TypeAlias

from msgspec import Struct

from edgekube.scheduler.cluster import Cluster
from edgekube.scheduler.facts import NodeFacts, PodFacts
from edgekube.scheduler.memory import LocalRules
from edgekube.scheduler.plugins import pod_affinity, spread, volumes
from edgekube.scheduler.pods import PendingPod
from edgekube.scheduler.profiles import Profile


class NodeHappening(Struct, frozen=True):
    """A node came (no old), went (no new) or changed."""

    old: NodeFacts | None
    new: NodeFacts | None


class PodHappening(Struct, frozen=True):
    """A pod on a node came, went or changed."""

    old: PodFacts | None
    new: PodFacts | None


class StorageHappening(Struct, frozen=True):
    """A claim of this namespace and name, or (empty) something that any claim may have waited for."""

    namespace: str = ""
    name: str = ""


Happening: TypeAlias = NodeHappening | PodHappening | StorageHappening


def node_may_help(happening: NodeHappening) -> bool:
    """A heartbeat, a fetched image, a used-up resource: nothing that a pod could have waited for."""
    old, new = happening.old, happening.new
    if old is None or new is None:
        return True
    return (
        old.labels != new.labels
        or old.taints != new.taints
        or (old.unschedulable and not new.unschedulable)
        or old.features != new.features
        or any(amount > old.allocatable.get(name, 0) for name, amount in new.allocatable.items())
    )


def helps(happening: Happening, pod: PendingPod, plugins: frozenset[str], cluster: Cluster, profile: Profile) -> bool:
    """``plugins``: the rules that refused the pod; empty: nobody knows, there was no node at all or something failed."""
    if not plugins:
        return True
    if isinstance(happening, StorageHappening):
        if happening.name and (happening.namespace, happening.name) not in {(pod.facts.namespace, c) for c in pod.facts.claims}:
            return False
        return bool(pod.facts.claims) and bool(plugins & volumes.NAMES)
    if spread.SPREAD in plugins and _changes_spread(happening, pod, cluster, profile):
        return True
    if pod_affinity.POD_AFFINITY in plugins and _changes_affinity(happening, pod, cluster):
        return True
    if isinstance(happening, NodeHappening):
        return happening.new is not None and _node_opens(happening.new.name, pod, cluster, profile)
    if happening.old is None:
        return False
    left = happening.new is None or happening.new.node != happening.old.node or _shrank(happening.old, happening.new)
    return left and _node_opens(happening.old.node, pod, cluster, profile)


def _node_opens(name: str, pod: PendingPod, cluster: Cluster, profile: Profile) -> bool:
    """The rules about the node alone have nothing against it now, or nothing that could not be preempted."""
    node = cluster.nodes.get(name)
    if node is None:
        return False
    rules = LocalRules(profile.local_filters, (), pod, cluster)
    refusal = rules.refusal or rules.against(node)
    return refusal is None or not refusal.hopeless


def _shrank(old: PodFacts, new: PodFacts) -> bool:
    return any(new.requests.get(name, 0) < amount for name, amount in old.requests.items())


def _changes_spread(happening: NodeHappening | PodHappening, pod: PendingPod, cluster: Cluster, profile: Profile) -> bool:
    if isinstance(happening, NodeHappening):
        old, new = happening.old, happening.new
        return old is None or new is None or old.labels != new.labels or old.taints != new.taints
    sides = [each for each in (happening.old, happening.new) if each is not None]
    if sides[0].namespace != pod.facts.namespace:
        return False
    if len(sides) == 2 and sides[0].labels == sides[1].labels and sides[0].leaving == sides[1].leaving:
        return False
    wanted = spread.constraints(pod, cluster, "DoNotSchedule", profile.spread_defaults)
    return any(each.selector.matches(side.labels) for each in wanted for side in sides)


def _changes_affinity(happening: NodeHappening | PodHappening, pod: PendingPod, cluster: Cluster) -> bool:
    if isinstance(happening, NodeHappening):
        old, new = happening.old, happening.new
        return old is None or new is None or old.labels != new.labels
    old_pod, new_pod = happening.old, happening.new
    if old_pod is not None and new_pod is not None and old_pod.labels == new_pod.labels:
        return False
    terms, facts = pod.facts.terms, pod.facts
    for each in (old_pod, new_pod):
        if each is None:
            continue
        namespace_labels = cluster.namespace_labels(each.namespace)
        wanted = (*terms.affinity, *terms.anti_affinity) if terms is not None else ()
        if any(term.matches(each.namespace, each.labels, namespace_labels) for term in wanted):
            return True
        theirs = each.terms.anti_affinity if each.terms is not None else ()
        own_labels = cluster.namespace_labels(facts.namespace)
        if any(term.matches(facts.namespace, facts.labels, own_labels) for term in theirs):
            return True
    return False
