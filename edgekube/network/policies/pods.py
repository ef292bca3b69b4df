"""Every pod of the cluster, as little of it as policies need: labels, addresses, named ports.

Enters: PodAddress values, and what the agent of this node knows ahead of the API.
Leaves: Pod records, in Groups of pods that every selector sees alike.
Holds: pure; a pod on the host's network, or one that has ended, has no address here.
Bound: 0.5 to 1 kB a pod; pods of one workload share their labels (tests/network/policies/test_size.py).
Next: network.policies.planner.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import lru_cache
from sys import intern
from typing import Any, NamedTuple

from edgekube import limits
from edgekube.api.pod_address import PodAddress
from edgekube.network.policies.model import INGRESS


class NamedPort(NamedTuple):
    name: str
    protocol: str  # tcp, udp, sctp
    number: int


class Pod:
    __slots__ = ("addresses", "group", "local", "name", "ports", "revision", "uid")

    def __init__(self, name: str, uid: str, revision: int, group: Group, local: bool) -> None:
        self.name = name
        self.uid = uid
        self.revision = revision
        self.group = group
        self.local = local
        self.addresses: tuple[str, ...] = ()
        self.ports: tuple[NamedPort, ...] = ()


class Group:
    """The pods of a namespace that have the same labels."""

    __slots__ = ("_peers", "egress", "ingress", "labels", "local", "namespace", "pods")

    def __init__(self, namespace: str, labels: Mapping[str, str]) -> None:
        self.namespace = namespace
        self.labels = labels
        self.pods: dict[str, Pod] = {}
        self.local = 0
        self._peers: set[Any] | None = None  # most groups are nobody's peers
        #: The names of the policies that isolate these pods; only kept while some of them are on this node.
        self.ingress: tuple[str, ...] = ()
        self.egress: tuple[str, ...] = ()

    @property
    def peers(self) -> Collection[Any]:
        """The peers of active policies that these pods are among."""
        return self._peers or ()

    def join(self, peer: object) -> None:
        if self._peers is None:
            self._peers = set()
        self._peers.add(peer)

    def leave(self, peer: object) -> None:
        if self._peers is not None:
            self._peers.discard(peer)

    def chosen(self, direction: str) -> tuple[str, ...]:
        return self.ingress if direction == INGRESS else self.egress

    def choose(self, direction: str, policies: tuple[str, ...]) -> None:
        if direction == INGRESS:
            self.ingress = policies
        else:
            self.egress = policies


class Groups:
    def __init__(self) -> None:
        self._by_namespace: dict[str, dict[str, Group]] = {}

    def of(self, namespace: str, labels: Mapping[str, str]) -> tuple[Group, bool]:
        """The group, and whether it is new."""
        key = _key(labels)
        groups = self._by_namespace.setdefault(intern(namespace), {})
        found = groups.get(key)
        if found is not None:
            return found, False
        kept = {intern(name): intern(value) for name, value in labels.items()}
        groups[key] = made = Group(intern(namespace), kept)
        return made, True

    def discard(self, group: Group) -> None:
        groups = self._by_namespace[group.namespace]
        del groups[_key(group.labels)]
        if not groups:
            del self._by_namespace[group.namespace]

    def within(self, namespace: str) -> Iterable[Group]:
        return self._by_namespace.get(namespace, {}).values()

    def __iter__(self) -> Iterator[Group]:
        return (group for groups in self._by_namespace.values() for group in groups.values())


def _key(labels: Mapping[str, str]) -> str:
    """Neither a label's name nor its value has a line break."""
    return "\n".join(f"{name}={value}" for name, value in sorted(labels.items()))


@lru_cache(maxsize=limits.POLICY_PORT_LISTS_MAX)
def _shared(ports: tuple[NamedPort, ...]) -> tuple[NamedPort, ...]:
    """One list of ports for the pods of a workload, and for workloads that name theirs alike."""
    return ports


def ports_of(told: PodAddress) -> tuple[NamedPort, ...]:
    if not told.ports:
        return ()
    return _shared(tuple(NamedPort(port.name, port.protocol.lower(), port.containerPort) for port in told.ports))


def addresses_of(told: PodAddress) -> tuple[str, ...]:
    if told.hostNetwork or told.phase in ("Succeeded", "Failed"):
        return ()
    return tuple(told.podIPs)
