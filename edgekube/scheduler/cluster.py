"""The scheduler's picture of the cluster: nodes, and what the pods on them take.

Enters: facts of nodes and pods as they come and go, and assumptions about pods that are being bound.
Leaves: NodeState values, always up to date, and pods by their labels and by their terms.
Holds: a pod counts once, on one node; an assumed pod counts like a bound one until the API says where it is, or it is forgotten.
Whatever changes a node gets a new serial, so that answers about it can be remembered (scheduler.memory).
Bound: what is in the cluster; pods with the same labels, terms or amounts share them.
Next: scheduler.place.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final, TypeVar

from msgspec import Struct, field
from msgspec.structs import replace

from edgekube import limits
from edgekube.api.pod_requests import Amounts
from edgekube.scheduler.facts import NodeFacts, PodFacts
from edgekube.scheduler.storage import ClaimKey
from edgekube.scheduler.surroundings import Surroundings
from edgekube.scheduler.terms import PodTerms

K = TypeVar("K")
_NO_LABELS: Final[Mapping[str, str]] = {}


class NodeState(Struct):
    facts: NodeFacts
    used: Amounts = field(default_factory=dict)
    used_nonzero: Amounts = field(default_factory=dict)
    pods: dict[str, PodFacts] = field(default_factory=dict)  # by uid

    def add(self, pod: PodFacts) -> None:
        self.pods[pod.uid] = pod
        _change(self.used, pod.requests, 1)
        _change(self.used_nonzero, pod.nonzero, 1)

    def remove(self, uid: str) -> None:
        pod = self.pods.pop(uid)
        _change(self.used, pod.requests, -1)
        _change(self.used_nonzero, pod.nonzero, -1)


def _change(total: Amounts, amounts: Amounts, sign: int) -> None:
    for name, amount in amounts.items():
        total[name] = total.get(name, 0) + sign * amount


class Kin(Struct, eq=False):
    """Pods of one namespace with the same labels: a selector is asked once for all of them."""

    namespace: str
    labels: dict[str, str]
    on: dict[str, int] = field(default_factory=dict)  # node -> pods
    staying: dict[str, int] = field(default_factory=dict)  # node -> pods that are not on their way out


class Party(Struct, eq=False):
    """Pods of one namespace with the same affinity terms."""

    namespace: str
    terms: PodTerms
    on: dict[str, int] = field(default_factory=dict)


class Cluster:
    def __init__(self) -> None:
        self.nodes: dict[str, NodeState] = {}
        self.surroundings = Surroundings()
        #: Pods by labels: namespace -> labels -> Kin.
        self.kin: dict[str, dict[frozenset[tuple[str, str]], Kin]] = {}
        self.parties: dict[tuple[str, PodTerms], Party] = {}
        #: Claims in use -> by how many pods.
        self.claim_users: dict[ClaimKey, int] = {}
        #: Pods for which room was made on a node, by node and uid.
        self.nominated: dict[str, dict[str, PodFacts]] = {}
        #: Which nodes have an image: name -> count.
        self.image_holders: dict[str, int] = {}
        #: Raised when nodes come or go, or their images change.
        self.images_serial = 0
        #: node -> the serial of its last change, in that order.
        self.changes: OrderedDict[str, int] = OrderedDict()
        self.serial = 0
        #: Changes up to this serial are not told one by one any more.
        self.forgotten_serial = 0
        #: Every pod that takes room, by uid; also on nodes that are unknown yet.
        self._pods: dict[str, PodFacts] = {}
        self._assumed: set[str] = set()

    # Nodes.

    def set_node(self, facts: NodeFacts) -> None:
        self.touched(facts.name)
        state = self.nodes.get(facts.name)
        if state is not None:
            self._count_images(state.facts, facts)
            state.facts = facts
            return
        self._count_images(None, facts)
        state = self.nodes[facts.name] = NodeState(facts)
        for pod in self._pods.values():
            if pod.node == facts.name:
                state.add(pod)

    def remove_node(self, name: str) -> None:
        state = self.nodes.pop(name, None)
        if state is not None:
            self._count_images(state.facts, None)
            self.touched(name)

    def _count_images(self, old: NodeFacts | None, new: NodeFacts | None) -> None:
        if old is not None and new is not None and old.images.keys() == new.images.keys():
            return
        for facts, sign in ((old, -1), (new, 1)):
            for image in facts.images if facts is not None else ():
                count = self.image_holders.get(image, 0) + sign
                if count:
                    self.image_holders[image] = count
                else:
                    del self.image_holders[image]
        self.images_serial += 1

    def touched(self, node: str) -> None:
        self.serial += 1
        self.changes[node] = self.serial
        self.changes.move_to_end(node)
        while len(self.changes) > len(self.nodes) + limits.NODE_CHANGES_KEPT_MAX:
            self.forgotten_serial = self.changes.popitem(last=False)[1]

    def changed_since(self, serial: int) -> list[str] | None:
        """Names of nodes, also of such that are gone. None: too long ago to tell."""
        if serial < self.forgotten_serial:
            return None
        names = []
        for name in reversed(self.changes):
            if self.changes[name] <= serial:
                break
            names.append(name)
        return names

    # Pods.

    def set_pod(self, pod: PodFacts) -> None:
        """The pod takes room on ``pod.node``, wherever it did before."""
        self.remove_pod(pod.uid)
        self._pods[pod.uid] = pod
        self._count(pod, 1)
        if pod.node in self.nodes:
            self.nodes[pod.node].add(pod)
        self.touched(pod.node)

    def remove_pod(self, uid: str) -> PodFacts | None:
        """What it was, if it took room."""
        self._assumed.discard(uid)
        pod = self._pods.pop(uid, None)
        if pod is None:
            return None
        self._count(pod, -1)
        if pod.node in self.nodes:
            self.nodes[pod.node].remove(uid)
        self.touched(pod.node)
        return pod

    def _count(self, pod: PodFacts, sign: int) -> None:
        families = self.kin.setdefault(pod.namespace, {})
        key = frozenset(pod.labels.items())
        kin = families.get(key)
        if kin is None:
            kin = families[key] = Kin(pod.namespace, pod.labels)
        pod.labels = kin.labels
        _tally(kin.on, pod.node, sign)
        if not pod.leaving:
            _tally(kin.staying, pod.node, sign)
        if not kin.on:
            del families[key]
            if not families:
                del self.kin[pod.namespace]
        for claim in pod.claims:
            _tally(self.claim_users, ClaimKey(pod.namespace, claim), sign)
        if pod.terms is not None:
            party = self.parties.setdefault((pod.namespace, pod.terms), Party(pod.namespace, pod.terms))
            _tally(party.on, pod.node, sign)
            if not party.on:
                del self.parties[pod.namespace, pod.terms]

    def assume(self, pod: PodFacts, node: str) -> None:
        self.set_pod(replace(pod, node=node))
        self._assumed.add(pod.uid)

    def confirm(self, uid: str) -> None:
        """The API says what was assumed."""
        self._assumed.discard(uid)

    def is_assumed(self, uid: str) -> bool:
        """The API has not said yet where the pod is."""
        return uid in self._assumed

    def pod(self, uid: str) -> PodFacts | None:
        return self._pods.get(uid)

    def pods(self) -> Iterator[PodFacts]:
        return iter(self._pods.values())

    @contextmanager
    def if_present(self, pods: list[PodFacts], node: str) -> Iterator[None]:
        """As if these pods were on the node."""
        with self.what_if() as trial:
            for pod in pods:
                trial.add(replace(pod, node=node))
            yield

    @contextmanager
    def what_if(self) -> Iterator[Trial]:
        """Pods may be moved in thought; afterwards everything is as it was."""
        trial = Trial(self)
        try:
            yield trial
        finally:
            trial.undo()

    # Nominations.

    def nominate(self, pod: PodFacts, node: str) -> None:
        """Room for the pod is made on the node: others of lower or equal priority stay out of it."""
        self.forget_nomination(pod.uid)
        if node:
            self.nominated.setdefault(node, {})[pod.uid] = pod

    def forget_nomination(self, uid: str) -> str:
        """Where it was nominated to, or nothing."""
        for node, pods in list(self.nominated.items()):
            if uid in pods:
                del pods[uid]
                if not pods:
                    del self.nominated[node]
                return node
        return ""

    def namespace_labels(self, namespace: str) -> Mapping[str, str]:
        return self.surroundings.namespaces.get(namespace, _NO_LABELS)


class Trial:
    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._before: dict[str, tuple[PodFacts | None, bool]] = {}

    def add(self, pod: PodFacts) -> None:
        self._remember(pod.uid)
        self._cluster.set_pod(pod)

    def remove(self, uid: str) -> None:
        self._remember(uid)
        self._cluster.remove_pod(uid)

    def _remember(self, uid: str) -> None:
        if uid not in self._before:
            self._before[uid] = (self._cluster.pod(uid), self._cluster.is_assumed(uid))

    def undo(self) -> None:
        for uid, (pod, assumed) in self._before.items():
            self._cluster.remove_pod(uid)
            if pod is None:
                continue
            if assumed:
                self._cluster.assume(pod, pod.node)
            else:
                self._cluster.set_pod(pod)


def _tally(counts: dict[K, int], key: K, sign: int) -> None:
    count = counts.get(key, 0) + sign
    if count:
        counts[key] = count
    else:
        counts.pop(key, None)
