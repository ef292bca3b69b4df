"""Which way the pods of each other node are reached.

Enters: this node, the Nodes, this machine's links as ``ip -j address`` prints them.
Leaves: the wanted forwarding.State.
Holds: pure, and the same whatever was before. A node on one of our segments is the gateway to its pods; to any other one their
packets go through the tunnel. A Node that claims addresses which are not its to claim gets no route.
Source: RFC 7348 (VXLAN).
Next: network.forwarding, network.routes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
    ip_address,
    ip_interface,
    ip_network,
)
from typing import Final, TypeAlias

from msgspec import Struct

from edgekube.api.objects import Object, name_of
from edgekube.api.pod_ranges import ranges_of_node
from edgekube.network.addresses import NOT_OURS
from edgekube.network.forwarding import DEVICE, Forward, Neighbour, Printed, Route, State, Tunnel

Network: TypeAlias = IPv4Network | IPv6Network
Address: TypeAlias = IPv4Address | IPv6Address

#: Outer Ethernet excepted: IPv4 20, UDP 8, VXLAN 8, inner Ethernet 14.
TUNNEL_OVERHEAD_BYTES: Final = 50


class Member(Struct, frozen=True):
    """A node as far as routes are concerned."""

    name: str
    addresses: tuple[Address, ...]
    pod_cidrs: tuple[Network, ...]
    #: Whoever was first keeps a range that two claim.
    created: str = ""


class Segment(Struct, frozen=True):
    """A network that one of our links is on."""

    interface: IPv4Interface | IPv6Interface
    device: str
    mtu: int
    carrier: bool


def member(node: Object) -> Member:
    """From a Node; what is no address or network is left out."""
    status = node.get("status") or {}
    told = [a.get("address", "") for a in status.get("addresses") or () if a.get("type") == "InternalIP"]
    created = str((node.get("metadata") or {}).get("creationTimestamp") or "")
    return Member(name_of(node), tuple(_addresses(told)), tuple(map(ip_network, ranges_of_node(node))), created)


def _addresses(texts: Iterable[str]) -> Iterator[Address]:
    for text in texts:
        try:
            yield ip_address(text)
        except ValueError:
            continue


def segments(links: Iterable[Printed]) -> list[Segment]:
    """The networks at the other end of our cables; pods' links, bridges of other runtimes and our own tunnel are none."""
    found = []
    for link in links:
        name = str(link.get("ifname", ""))
        if name.startswith(NOT_OURS) or name == DEVICE or "UP" not in link.get("flags", ()):
            continue
        for address in link.get("addr_info", ()):
            # With "address" the other end has an address of its own: no segment, a cable with one peer.
            if address.get("scope") in ("global", "link") and "address" not in address:
                interface = ip_interface(f"{address['local']}/{address['prefixlen']}")
                if isinstance(interface, IPv6Interface) and interface.ip.is_link_local:
                    continue
                carrier = "LOWER_UP" in link.get("flags", ())
                found.append(Segment(interface, name, int(link.get("mtu") or 1500), carrier))
    return found


def tunnel_mac(node_name: str) -> str:
    """The node's end of the tunnel: everybody can work it out, so nobody has to announce it. Locally administered, unicast."""
    octets = bytearray(sha256(f"edgekube tunnel {node_name}".encode()).digest()[:6])
    octets[0] = octets[0] & 0xFC | 0x02
    return octets.hex(":")


def plan(
    own: Member, nodes: Iterable[Member], links: Sequence[Printed], cluster: Sequence[Network], services: Sequence[Network] = ()
) -> State:
    """``cluster``: the ranges of all pods. ``nodes`` may contain our own."""
    on = segments(links)
    peers = list(admitted(own, nodes, cluster, services))
    tunnel = _tunnel(own, on) if peers else None
    # What no node has goes nowhere: without this, packets for a pod that is gone would leave by the default route.
    routes = {Route(str(network)) for network in cluster}
    forwards: set[Forward] = set()
    neighbours: set[Neighbour] = set()
    for peer in peers:
        far_end = _version(peer.addresses, 4)
        reach = tunnel is not None and far_end is not None
        if reach:
            # Also for a peer that needs no tunnel now: to change the way is then to change one route.
            mac = tunnel_mac(peer.name)
            forwards.add(Forward(mac, str(far_end)))
            neighbours |= {Neighbour(str(cidr.network_address), mac) for cidr in peer.pod_cidrs}
        for cidr in peer.pod_cidrs:
            direct = _gateway(own, peer, cidr.version, on)
            if direct is not None:
                routes.add(Route(str(cidr), *direct))
            elif reach:
                routes.add(Route(str(cidr), str(cidr.network_address), DEVICE, onlink=True))
    return State(frozenset(routes), tunnel, frozenset(forwards), frozenset(neighbours))


def admitted(
    own: Member, nodes: Iterable[Member], cluster: Sequence[Network], services: Sequence[Network] = ()
) -> Iterator[Member]:
    """The other nodes, each with the ranges and addresses that it may have."""
    taken: list[Network] = list(own.pod_cidrs)
    for node in sorted(nodes, key=lambda node: (node.created, node.name)):
        if node.name == own.name:
            continue
        cidrs = tuple(cidr for cidr in node.pod_cidrs if _within(cidr, cluster) and not any(_overlap(cidr, t) for t in taken))
        # Two nodes may name one address: a lease went from a board that is switched off to another one.
        ranges = (*cluster, *services)
        addresses = tuple(a for a in node.addresses if a not in own.addresses and _is_unicast(a, ranges))
        taken += cidrs
        if cidrs and addresses:
            yield Member(node.name, addresses, cidrs, node.created)


def _within(cidr: Network, cluster: Sequence[Network]) -> bool:
    # A whole cluster range would be no node's: it stands for "nowhere".
    return any(
        cidr.version == network.version and cidr != network and cidr.subnet_of(network)  # type: ignore[arg-type]
        for network in cluster
    )


def _overlap(one: Network, other: Network) -> bool:
    return one.version == other.version and one.overlaps(other)


def _is_unicast(address: Address, ranges: Sequence[Network]) -> bool:
    odd = (
        address.is_loopback or address.is_multicast or address.is_unspecified or (address.version == 6 and address.is_link_local)
    )
    return not odd and not any(address in network for network in ranges)


def _version(addresses: Iterable[Address], version: int) -> Address | None:
    return next((address for address in addresses if address.version == version), None)


def _tunnel(own: Member, on: Sequence[Segment]) -> Tunnel | None:
    local = _version(own.addresses, 4)
    if local is None:
        return None
    mtu = min((segment.mtu for segment in on if segment.interface.ip == local), default=1500)
    ends = frozenset(f"{cidr.network_address}/{cidr.max_prefixlen}" for cidr in own.pod_cidrs)
    return Tunnel(tunnel_mac(own.name), str(local), mtu - TUNNEL_OVERHEAD_BYTES, ends)


def _gateway(own: Member, peer: Member, version: int, on: Sequence[Segment]) -> tuple[str, str] | None:
    """The peer's address on a segment that we share with it, and our device there."""
    found = [
        (not segment.carrier, segment.interface.ip not in own.addresses, segment.device, str(address))
        for segment in on
        for address in peer.addresses
        if address.version == version and address in segment.interface.network and address != segment.interface.ip
    ]
    if not found:
        return None
    *_, device, address = min(found)
    return address, device
