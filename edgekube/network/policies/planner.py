"""Who is isolated by which policies, and who may reach them: every change of the cluster as a change of the table.

Enters: policies, namespaces' labels and pods as they come, change and go; the agent's word on its own pods' addresses.
Leaves: the wanted state, in a network.policies.table.Table.
Holds: pure; the same cluster makes the same table, whatever way led there. Only policies that isolate a pod of this node are
in the table, and only the peers that those name. Pods on the host's network are nobody: policies see their node.
The cluster's DNS address is a pod labelled k8s-app=kube-dns in kube-system: rules for it are written so everywhere.
Next: network.policies.enforcer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple, TypeAlias

from edgekube.api.pod_address import PodAddress
from edgekube.network.policies.model import EGRESS, INGRESS, PodPeer, Policy, Rule
from edgekube.network.policies.pods import Group, Groups, NamedPort, Pod, addresses_of, ports_of
from edgekube.network.policies.rules import TYPES, PortName, digest, family_of, lines, peers_set, port_names, ports_set
from edgekube.network.policies.table import Chain, Script, Table, frame, itself_set, pods_map

DIRECTIONS: Final = (EGRESS, INGRESS)

_DNS_NAMESPACE: Final = "kube-system"
_DNS_LABELS: Final = {"k8s-app": "kube-dns"}
#: As CoreDNS' pods name them.
_DNS_PORTS: Final = (NamedPort("dns", "udp", 53), NamedPort("dns-tcp", "tcp", 53), NamedPort("metrics", "tcp", 9153))
#: No pod can have this name.
_DNS_NAME: Final = ""

#: (namespace, name)
Key: TypeAlias = tuple[str, str]
#: Table.add or Table.discard.
_Change: TypeAlias = Callable[[str, str], None]


class _Claim(NamedTuple):
    """What the agent says of a pod of its own, for as long as the API says something older."""

    uid: str
    addresses: tuple[str, ...]
    revision: int  # of the pod that the agent knew


class _Peer:
    """The addresses of a PodPeer, for as long as an active policy names it."""

    __slots__ = ("groups", "namespaces", "peer", "users")

    def __init__(self, peer: PodPeer) -> None:
        self.peer = peer
        self.users = 0
        self.groups: set[Group] = set()
        #: Those that the peer's selector of namespaces means; of the others no pod is looked at.
        self.namespaces: set[str] = set()


class _Active:
    """One direction of a policy that isolates a group with pods on this node."""

    __slots__ = ("rules", "users")

    def __init__(self) -> None:
        self.users = 0
        self.rules: tuple[Rule, ...] = ()


class Planner:
    def __init__(self, node_name: str, *, families: Sequence[int] = (4,), resolvers: Iterable[str] = ()) -> None:
        """``resolvers``: the addresses at which the cluster's DNS is asked."""
        self.table = Table()
        self.node_name = node_name
        self._families = tuple(families)
        self._resolvers: dict[int, str] = {family_of(address): address for address in resolvers}
        self._namespaces: dict[str, dict[str, str]] = {}
        self._policies: dict[str, dict[str, Policy]] = {}
        self._groups = Groups()
        self._pods: dict[str, dict[str, Pod]] = {}
        self._claims: dict[Key, _Claim] = {}
        self._holders: dict[str, dict[Key, Pod]] = {}  # address -> pods of this node that have it
        self._peers_within: dict[str, dict[PodPeer, _Peer]] = {}
        self._peers_across: dict[PodPeer, _Peer] = {}
        self._reaching: dict[str, set[_Peer]] = {}  # namespace -> the peers across namespaces that mean it
        self._port_names: dict[PortName, int] = {}
        self._active: dict[tuple[str, str, str], _Active] = {}  # direction, namespace, name
        self._chains: dict[str, int] = {}  # chain of several policies -> groups that go there
        #: Groups whose policies have to be looked up again: once, however many changes there were.
        self._stale: set[Group] = set()
        self._put(_DNS_NAMESPACE, _DNS_NAME, "", 0, _DNS_LABELS, False, tuple(self._resolvers.values()), _DNS_PORTS)

    def everything(self) -> Script:
        """The whole table, made anew."""
        self._choose_stale()
        script = self.table.everything()
        return Script(frame(self._families, self._resolvers) + script.text, script.addresses)

    def script(self) -> Script:
        """What has changed since the last script."""
        self._choose_stale()
        return self.table.script()

    def unsettled(self) -> frozenset[str]:
        """Addresses of this node's pods whose isolation has changed since the last script."""
        self._choose_stale()
        return self.table.unsettled()

    # --- pods ---------------------------------------------------------------------------------------------------------

    def pod_keys(self) -> list[Key]:
        return [(namespace, name) for namespace, pods in self._pods.items() for name in pods if name != _DNS_NAME]

    def put_pod(self, told: PodAddress) -> None:
        metadata = told.metadata
        key = metadata.namespace, metadata.name
        addresses, revision = addresses_of(told), int(metadata.resourceVersion)
        ended = told.phase in ("Succeeded", "Failed")
        claim = self._claims.get(key)
        if claim is not None:
            if claim.uid != metadata.uid and revision < claim.revision:
                return  # old news of a namesake
            if claim.uid != metadata.uid or claim.addresses == addresses or ended:
                del self._claims[key]
            else:
                addresses = claim.addresses
        local = told.nodeName == self.node_name and not told.hostNetwork and not ended
        self._put(*key, metadata.uid, revision, metadata.labels or {}, local, addresses, ports_of(told))

    def claim_pod(self, told: PodAddress, addresses: tuple[str, ...]) -> None:
        """The agent of this node is about to start the pod at these addresses, which the API may not know yet."""
        metadata = told.metadata
        if told.hostNetwork:
            return
        key, revision = (metadata.namespace, metadata.name), int(metadata.resourceVersion)
        self._claims[key] = _Claim(metadata.uid, addresses, revision)
        known = self._pods.get(key[0], {}).get(key[1])
        if known is not None and known.uid == metadata.uid and known.revision > revision:
            self._put(*key, known.uid, known.revision, known.group.labels, True, addresses, known.ports)
        else:
            self._put(*key, metadata.uid, revision, metadata.labels or {}, True, addresses, ports_of(told))

    def remove_pod(self, namespace: str, name: str, revision: int) -> None:
        claim = self._claims.get((namespace, name))
        if claim is not None:
            if revision < claim.revision:
                return  # it was a namesake's end
            del self._claims[namespace, name]
        pod = self._pods.get(namespace, {}).pop(name, None)
        if pod is None:
            return
        if not self._pods[namespace]:
            del self._pods[namespace]
        self._leave(pod)

    def _put(
        self,
        namespace: str,
        name: str,
        uid: str,
        revision: int,
        labels: Mapping[str, str],
        local: bool,
        addresses: tuple[str, ...],
        ports: tuple[NamedPort, ...],
    ) -> None:
        addresses = tuple(address for address in addresses if family_of(address) in self._families)
        old = self._pods.get(namespace, {}).get(name)
        if old is not None:
            old.uid = uid if local else ""
            if (old.group.labels, old.local, old.addresses, old.ports) == (labels, local, addresses, ports):
                old.revision = revision
                if local:
                    self._judge(address for address in addresses if len(self._holders[address]) > 1)
                return
        group, is_new = self._groups.of(namespace, labels)
        if is_new:
            self._look_for_peers(group)
        pod = Pod(name, uid if local else "", revision, group, local)
        pod.addresses, pod.ports = addresses, ports
        # The new one first: what both have is then never let go.
        self._pods.setdefault(namespace, {})[name] = pod
        self._join(pod)
        if old is not None:
            self._leave(old)

    def _join(self, pod: Pod) -> None:
        group = pod.group
        group.pods[pod.name] = pod
        for peer in group.peers:
            self._change_members(peer, pod, self.table.add)
        for port in pod.ports:
            self._change_port(port, pod, self.table.add)
        if pod.local:
            group.local += 1
            if group.local == 1:
                self._stale.add(group)
            for address in pod.addresses:
                self._holders.setdefault(address, {})[group.namespace, pod.name] = pod
            self._judge(pod.addresses)

    def _leave(self, pod: Pod) -> None:
        group = pod.group
        key = group.namespace, pod.name
        if group.pods.get(pod.name) is pod:
            del group.pods[pod.name]
        for peer in group.peers:
            self._change_members(peer, pod, self.table.discard)
        for port in pod.ports:
            self._change_port(port, pod, self.table.discard)
        if pod.local:
            for address in pod.addresses:
                holders = self._holders.get(address, {})
                if holders.get(key) is pod:
                    del holders[key]
                    if not holders:
                        del self._holders[address]
            self._judge(pod.addresses)
            group.local -= 1
            if group.local == 0:
                self._choose(group)
                self._stale.discard(group)
        if not group.pods:
            for peer in group.peers:
                peer.groups.discard(group)
            self._groups.discard(group)

    def _change_members(self, peer: _Peer, pod: Pod, change: _Change) -> None:
        for address in pod.addresses:
            change(peers_set(peer.peer, family_of(address)), address)

    def _change_port(self, port: NamedPort, pod: Pod, change: _Change) -> None:
        for name in self._names_of(port, pod):
            self._change_port_of(name, port, pod, change)

    def _change_port_of(self, name: PortName, port: NamedPort, pod: Pod, change: _Change) -> None:
        for address in pod.addresses:
            change(ports_set(name, family_of(address)), f"{address} . {port.protocol} . {port.number}")

    def _names_of(self, port: NamedPort, pod: Pod) -> Iterator[PortName]:
        for inward in (False, True):
            name = PortName(port.protocol, port.name, inward)
            if name in self._port_names and (pod.local or not inward):
                yield name

    def concerned_pods(self) -> Iterator[Pod]:
        """Those of this node, and those that active policies let in or out."""
        for group in self._groups:
            for pod in group.pods.values():
                named = any(True for port in pod.ports for _ in self._names_of(port, pod))
                if pod.name != _DNS_NAME and (group.peers or pod.local or named):
                    yield pod

    # --- namespaces ---------------------------------------------------------------------------------------------------

    def namespace_names(self) -> list[str]:
        return list(self._namespaces)

    def namespace_labels(self) -> dict[str, dict[str, str]]:
        return self._namespaces

    def put_namespace(self, name: str, labels: Mapping[str, str]) -> None:
        self._relabel(name, dict(labels))

    def remove_namespace(self, name: str) -> None:
        self._relabel(name, None)

    def _relabel(self, name: str, labels: dict[str, str] | None) -> None:
        if self._namespaces.get(name) == labels:
            return
        if labels is None:
            del self._namespaces[name]
        else:
            self._namespaces[name] = labels
        for peer in self._peers_across.values():
            self._look_into(peer, name)

    # --- policies -----------------------------------------------------------------------------------------------------

    def policy_keys(self) -> list[Key]:
        return [(namespace, name) for namespace, policies in self._policies.items() for name in policies]

    def active_policies(self) -> list[Policy]:
        """Those that isolate a pod of this node."""
        self._choose_stale()
        keys = sorted({(namespace, name) for _, namespace, name in self._active})
        return [self._policies[namespace][name] for namespace, name in keys]

    def put_policy(self, policy: Policy) -> None:
        policies = self._policies.setdefault(policy.namespace, {})
        old = policies.get(policy.name)
        if old == policy:
            return
        policies[policy.name] = policy
        for direction in DIRECTIONS:
            active = self._active.get((direction, policy.namespace, policy.name))
            if active is not None and direction in policy.directions:
                self._activate(direction, policy.namespace, policy.name, active, policy.rules(direction))
        self._make_stale(policy)
        if old is not None:
            self._make_stale(old)

    def remove_policy(self, namespace: str, name: str) -> None:
        policies = self._policies.get(namespace, {})
        old = policies.pop(name, None)
        if old is not None:
            if not policies:
                del self._policies[namespace]
            self._make_stale(old)

    def _make_stale(self, policy: Policy) -> None:
        for group in self._groups.within(policy.namespace):
            if group.local and group not in self._stale and policy.selector.matches(group.labels):
                self._stale.add(group)

    def _choose_stale(self) -> None:
        while self._stale:
            self._choose(self._stale.pop())

    def _choose(self, group: Group) -> None:
        """Which policies isolate the group's pods, now."""
        changed = False
        for direction in DIRECTIONS:
            old = group.chosen(direction)
            new: tuple[str, ...] = ()
            if group.local:
                new = tuple(
                    sorted(
                        policy.name
                        for policy in self._policies.get(group.namespace, {}).values()
                        if direction in policy.directions and policy.selector.matches(group.labels)
                    )
                )
            if new == old:
                continue
            changed = True
            group.choose(direction, new)
            for name in new:
                self._use(direction, group.namespace, name)
            if new:
                self._go(direction, group.namespace, new)
            for name in old:
                self._let_go(direction, group.namespace, name)
            if old:
                self._stop_going(direction, group.namespace, old)
        if changed:
            for pod in group.pods.values():
                if pod.local:
                    self._judge(pod.addresses)

    def _judge(self, addresses: Iterable[str]) -> None:
        """Send each address to the chain of the pod that has it; of two, to that of the younger."""
        for address in addresses:
            family = family_of(address)
            holders = self._holders.get(address)
            pod = max(holders.values(), key=self._age) if holders else None
            isolated = False
            for direction in DIRECTIONS:
                names = pod.group.chosen(direction) if pod is not None else ()
                chain = _chain_name(direction, pod.group.namespace, names) if pod is not None and names else None
                isolated = isolated or chain is not None
                self.table.send(pods_map(direction, family), address, chain)
            itself = f"{address} . {address}"
            if isolated != (itself in self.table.elements.get(itself_set(family), ())):
                (self.table.add if isolated else self.table.discard)(itself_set(family), itself)

    def _age(self, pod: Pod) -> tuple[bool, int, str]:
        claim = self._claims.get((pod.group.namespace, pod.name))
        return claim is not None and claim.uid == pod.uid, pod.revision, pod.uid

    # --- what is in the table -----------------------------------------------------------------------------------------

    def _go(self, direction: str, namespace: str, names: tuple[str, ...]) -> None:
        chain = _chain_name(direction, namespace, names)
        self._chains[chain] = self._chains.get(chain, 0) + 1
        if self._chains[chain] == 1:
            jumps = tuple(f"jump {_policy_chain(direction, namespace, name)}" for name in names)
            self.table.set_chain(chain, Chain(f"{direction} of {namespace}: {' '.join(names)}", (*jumps, "drop")))

    def _stop_going(self, direction: str, namespace: str, names: tuple[str, ...]) -> None:
        chain = _chain_name(direction, namespace, names)
        self._chains[chain] -= 1
        if not self._chains[chain]:
            del self._chains[chain]
            self.table.set_chain(chain, None)

    def _use(self, direction: str, namespace: str, name: str) -> None:
        active = self._active.setdefault((direction, namespace, name), _Active())
        active.users += 1
        if active.users == 1:
            self._activate(direction, namespace, name, active, self._policies[namespace][name].rules(direction))

    def _let_go(self, direction: str, namespace: str, name: str) -> None:
        active = self._active[direction, namespace, name]
        active.users -= 1
        if not active.users:
            del self._active[direction, namespace, name]
            self.table.set_chain(_policy_chain(direction, namespace, name), None)
            self._forget_references(active.rules, direction)

    def _activate(self, direction: str, namespace: str, name: str, active: _Active, rules: tuple[Rule, ...]) -> None:
        old, active.rules = active.rules, rules
        for peer in {peer for rule in rules for peer in rule.pods}:
            self._use_peer(peer)
        for port in port_names(rules, direction):
            self._use_port(port)
        chain = Chain(f"{direction} {namespace}/{name}", lines(rules, direction, self._families))
        self.table.set_chain(_policy_chain(direction, namespace, name), chain)
        self._forget_references(old, direction)

    def _forget_references(self, rules: tuple[Rule, ...], direction: str) -> None:
        for peer in {peer for rule in rules for peer in rule.pods}:
            self._let_go_peer(peer)
        for port in port_names(rules, direction):
            self._let_go_port(port)

    def _use_peer(self, wanted: PodPeer) -> None:
        index = self._index(wanted)
        peer = index.get(wanted)
        if peer is None:
            peer = index[wanted] = _Peer(wanted)
            for family in self._families:
                self.table.add_set(peers_set(wanted, family), TYPES[family], str(wanted))
            if wanted.namespaces is None:
                for group in self._groups.within(wanted.namespace):
                    self._look_at(peer, group)
            for namespace in self._namespaces if wanted.namespaces is not None else ():
                self._look_into(peer, namespace)
        peer.users += 1

    def _let_go_peer(self, wanted: PodPeer) -> None:
        index = self._index(wanted)
        peer = index[wanted]
        peer.users -= 1
        if not peer.users:
            del index[wanted]
            if wanted.namespaces is None and not index:
                del self._peers_within[wanted.namespace]
            for group in peer.groups:
                group.leave(peer)
            for namespace in peer.namespaces:
                self._reaching[namespace].discard(peer)
            for family in self._families:
                self.table.drop_set(peers_set(wanted, family))

    def _index(self, peer: PodPeer) -> dict[PodPeer, _Peer]:
        return self._peers_across if peer.namespaces is not None else self._peers_within.setdefault(peer.namespace, {})

    def _look_for_peers(self, group: Group) -> None:
        within = self._peers_within.get(group.namespace, {}).values()
        for peer in (*within, *self._reaching.get(group.namespace, ())):
            self._look_at(peer, group)

    def _look_into(self, peer: _Peer, namespace: str) -> None:
        """A peer across namespaces, and a namespace whose labels may have changed; without any it is not known (any more)."""
        labels = self._namespaces.get(namespace)
        selector = peer.peer.namespaces
        reaches = selector is not None and labels is not None and selector.matches(labels)
        if reaches == (namespace in peer.namespaces):
            return
        change = set.add if reaches else set.discard
        change(peer.namespaces, namespace)
        change(self._reaching.setdefault(namespace, set()), peer)
        for group in self._groups.within(namespace):
            self._look_at(peer, group, reaches=reaches)

    def _look_at(self, peer: _Peer, group: Group, *, reaches: bool = True) -> None:
        """Take the group in among the peer's, or out. ``reaches``: the peer means the group's namespace."""
        matches = reaches and peer.peer.pods.matches(group.labels)
        if matches == (group in peer.groups):
            return
        if matches:
            peer.groups.add(group)
            group.join(peer)
        else:
            peer.groups.discard(group)
            group.leave(peer)
        for pod in group.pods.values():
            self._change_members(peer, pod, self.table.add if matches else self.table.discard)

    def _use_port(self, name: PortName) -> None:
        self._port_names[name] = self._port_names.get(name, 0) + 1
        if self._port_names[name] > 1:
            return
        for family in self._families:
            whose = "this node's" if name.inward else "all"
            type_ = f"{TYPES[family]} . inet_proto . inet_service"
            self.table.add_set(ports_set(name, family), type_, f"{name.protocol} port {name.name} of {whose} pods")
        for group in self._groups:
            if name.inward and not group.local:
                continue
            for pod in group.pods.values():
                for port in pod.ports:
                    if name in self._names_of(port, pod):
                        self._change_port_of(name, port, pod, self.table.add)

    def _let_go_port(self, name: PortName) -> None:
        self._port_names[name] -= 1
        if not self._port_names[name]:
            del self._port_names[name]
            for family in self._families:
                self.table.drop_set(ports_set(name, family))


def _policy_chain(direction: str, namespace: str, name: str) -> str:
    return f"policy_{digest(f'{direction} {namespace}/{name}')}"


def _chain_name(direction: str, namespace: str, names: tuple[str, ...]) -> str:
    return f"{direction}_{digest(' '.join((namespace, *names)))}"
