"""One rule of a policy as lines of nft: who, then which ports, then accept.

Enters: a Rule and its direction.
Leaves: lines for a chain, and the names of the sets that they ask; the sets' members are the planner's.
Holds: pure; pods and named ports stand in sets, so that a pod that comes or goes changes an element and no rule.
Next: network.policies.planner.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_network
from typing import Final, NamedTuple, TypeAlias

from edgekube.network.policies.model import INGRESS, Block, PodPeer, Port, Rule

#: Family -> the word that nft has for it, and the type of an address.
WORDS: Final = {4: "ip", 6: "ip6"}
TYPES: Final = {4: "ipv4_addr", 6: "ipv6_addr"}

#: A condition, and the one family of addresses that it is about (0: either).
_Match: TypeAlias = tuple[int, str]


class PortName(NamedTuple):
    """A port by name. ``inward``: only as pods of this node name it, for it is asked about what comes in to them."""

    protocol: str
    name: str
    inward: bool


def family_of(address: str) -> int:
    return 6 if ":" in address else 4


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def peers_set(peer: PodPeer, family: int) -> str:
    return f"peers_{digest(repr(peer))}_{family}"


def ports_set(name: PortName, family: int) -> str:
    return f"ports_{digest(repr(tuple(name)))}_{family}"


def port_names(rules: Iterable[Rule], direction: str) -> set[PortName]:
    found = (port for rule in rules for port in rule.ports or () if port.name)
    return {PortName(port.protocol, port.name, direction == INGRESS) for port in found}


def lines(rules: Sequence[Rule], direction: str, families: Sequence[int]) -> tuple[str, ...]:
    made = (line for rule in rules for line in _lines(rule, direction, families))
    return tuple(dict.fromkeys(made))


def _lines(rule: Rule, direction: str, families: Sequence[int]) -> Iterator[str]:
    ports = list(_ports(rule, direction, families))
    for family, who in _who(rule, "saddr" if direction == INGRESS else "daddr", families):
        for port_family, what in ports:
            if family == port_family or not family or not port_family:
                yield " ".join(part for part in (who, what, "accept") if part)


def _who(rule: Rule, field: str, families: Sequence[int]) -> Iterator[_Match]:
    if rule.everybody:
        yield 0, ""
        return
    for peer in rule.pods:
        for family in families:
            yield family, f"{WORDS[family]} {field} @{peers_set(peer, family)}"
    for family in families:
        blocks = [block for block in rule.blocks if ip_network(block.cidr).version == family]
        whole = _collapsed(block.cidr for block in blocks if not block.excepts)
        if whole:
            yield family, _within(whole, field, family)
        for block in blocks:
            if block.excepts:
                yield family, _block(block, field, family)


def _block(block: Block, field: str, family: int) -> str:
    excepts = ", ".join(_collapsed(block.excepts))
    return f"{_within([block.cidr], field, family)} {WORDS[family]} {field} != {{ {excepts} }}"


def _within(cidrs: Sequence[str], field: str, family: int) -> str:
    if any(cidr.endswith("/0") for cidr in cidrs):
        return f"meta nfproto ipv{family}"
    return f"{WORDS[family]} {field} {{ {', '.join(cidrs)} }}"


def _collapsed(cidrs: Iterable[str]) -> list[str]:
    """Neither nested nor side by side: nft refuses intervals that overlap. All of one family."""
    networks = [ip_network(cidr) for cidr in cidrs]
    four = collapse_addresses([network for network in networks if isinstance(network, IPv4Network)])
    six = collapse_addresses([network for network in networks if isinstance(network, IPv6Network)])
    return [*map(str, four), *map(str, six)]


def _ports(rule: Rule, direction: str, families: Sequence[int]) -> Iterator[_Match]:
    if rule.ports is None:
        yield 0, ""
        return
    for protocol in ("tcp", "udp", "sctp"):
        numbers = [port for port in rule.ports if port.protocol == protocol and not port.name]
        if any((port.first, port.last) == (0, 65535) for port in numbers):
            yield 0, f"meta l4proto {protocol}"
        elif numbers:
            yield 0, f"{protocol} dport {{ {', '.join(_ranges(numbers))} }}"
    for name in sorted(port_names([rule], direction)):
        for family in families:
            yield family, f"{WORDS[family]} daddr . meta l4proto . th dport @{ports_set(name, family)}"


def _ranges(ports: Iterable[Port]) -> list[str]:
    merged: list[list[int]] = []
    for first, last in sorted((port.first, port.last) for port in ports):
        if merged and first <= merged[-1][1] + 1:
            merged[-1][1] = max(merged[-1][1], last)
        else:
            merged.append([first, last])
    return [str(first) if first == last else f"{first}-{last}" for first, last in merged]
