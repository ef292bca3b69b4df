"""A NetworkPolicy as values: which pods it isolates, and who may talk to them all the same.

Enters: a networking.k8s.io/v1 NetworkPolicy, as decoded.
Leaves: a Policy, which reads its rules when somebody asks for them: most policies of a cluster concern no pod of this node.
Holds: pure; equal policies compare equal, so that a change that changes nothing costs nothing. What cannot be read selects
nobody: an error never allows.
Bound: the policy's spec as JSON, and its selector.
Source: kubernetes.io, "Network Policies"; networking/v1 NetworkPolicySpec.
Next: network.policies.rules (text), network.policies.planner (who matches).
"""

from __future__ import annotations

from ipaddress import ip_network
from sys import intern
from typing import Final

import orjson
from msgspec import Struct

from edgekube.api.objects import Object, name_of, namespace_of
from edgekube.api.selectors.labels import NOTHING, LabelSelector, label_selector_of

INGRESS = "ingress"
EGRESS = "egress"
#: Where a rule of the direction names its peers.
_PEERS: Final = {INGRESS: "from", EGRESS: "to"}


class PodPeer(Struct, frozen=True):
    """Pods by their labels: in ``namespace``, or in every namespace that ``namespaces`` selects."""

    namespace: str
    namespaces: LabelSelector | None
    pods: LabelSelector

    def __str__(self) -> str:
        where = self.namespace if self.namespaces is None else f"[{self.namespaces}]"
        return f"{where}: {self.pods}"


class Block(Struct, frozen=True):
    """Addresses, without some of them; all of one family, in their shortest form."""

    cidr: str
    excepts: tuple[str, ...] = ()


class Port(Struct, frozen=True):
    """``name``: whatever number the destination gives that name. Else numbers, both ends included."""

    protocol: str  # tcp, udp, sctp
    first: int = 0
    last: int = 65535
    name: str = ""


class Rule(Struct, frozen=True):
    """One way in, or out: any of the peers at any of the ports."""

    everybody: bool = False
    pods: tuple[PodPeer, ...] = ()
    blocks: tuple[Block, ...] = ()
    ports: tuple[Port, ...] | None = None  # None: all of them, of every protocol


class Policy(Struct, frozen=True):
    namespace: str
    name: str
    selector: LabelSelector
    #: INGRESS, EGRESS or both: where the pods that it selects are closed but for what its rules allow.
    directions: tuple[str, ...]
    spec: bytes

    def rules(self, direction: str) -> tuple[Rule, ...]:
        """(): nothing is allowed in this direction."""
        rules = orjson.loads(self.spec).get(direction) or ()
        return tuple(_rule(self.namespace, rule or {}, _PEERS[direction]) for rule in rules)


def policy_of(obj: Object) -> Policy:
    return policy_from(namespace_of(obj), name_of(obj), obj.get("spec") or {})


def policy_from(namespace: str, name: str, spec: Object) -> Policy:
    types = spec.get("policyTypes") or (["Ingress", "Egress"] if spec.get("egress") else ["Ingress"])
    directions = tuple(sorted({direction for direction in (INGRESS, EGRESS) if direction.capitalize() in types}))
    selector = _selector(spec.get("podSelector") or {})
    # A copy: what orjson gives keeps the room that it was made in, 4 kB.
    kept = bytes(memoryview(orjson.dumps(spec, option=orjson.OPT_SORT_KEYS)))
    return Policy(intern(namespace), name, selector, directions, kept)


def _rule(namespace: str, rule: Object, field: str) -> Rule:
    peers = rule.get(field) or []
    ports = rule.get("ports") or []
    return Rule(
        everybody=not peers,
        pods=tuple(_pod_peer(namespace, peer) for peer in peers if not peer.get("ipBlock")),
        blocks=tuple(block for peer in peers if peer.get("ipBlock") and (block := _block(peer["ipBlock"])) is not None),
        ports=tuple(port for item in ports if (port := _port(item)) is not None) if ports else None,
    )


def _pod_peer(namespace: str, peer: Object) -> PodPeer:
    pods, namespaces = peer.get("podSelector"), peer.get("namespaceSelector")
    if pods is None and namespaces is None:
        return PodPeer(namespace, None, NOTHING)
    return PodPeer(
        "" if namespaces is not None else namespace,
        _selector(namespaces) if namespaces is not None else None,
        _selector(pods or {}),
    )


def _selector(selector: Object) -> LabelSelector:
    try:
        return label_selector_of(selector)
    except ValueError:
        return NOTHING


def _block(block: Object) -> Block | None:
    try:
        cidr = ip_network(str(block.get("cidr") or ""), strict=False)
    except ValueError:
        return None
    excepts = []
    for text in block.get("except") or ():
        try:
            excepts.append(str(ip_network(str(text), strict=False)))
        except ValueError:
            return None
    return Block(str(cidr), tuple(sorted(excepts)))


def _port(port: Object) -> Port | None:
    protocol = str(port.get("protocol") or "TCP").lower()
    if protocol not in ("tcp", "udp", "sctp"):
        return None
    number = port.get("port")
    if number is None:
        return Port(protocol)
    if isinstance(number, str):
        return Port(protocol, name=number)
    return Port(protocol, int(number), int(port.get("endPort") or number))
