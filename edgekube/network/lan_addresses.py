"""Which node answers on the LAN for each address of a Service.

Enters: Services with addresses of the pool, Nodes, EndpointSlices.
Leaves: address -> name of the node that answers for it.
Holds: pure, and the same on every node that sees the same: an address goes to the node that draws the highest lot for it
(rendezvous hashing), so that a node that comes or goes moves no other node's addresses. Only nodes on the address's segment
draw; with externalTrafficPolicy Local only those with an endpoint, for nobody else would pass the traffic on.
Next: daemon.lan_announcing, network.lan_speaker.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from edgekube.api.address_pools import AddressPool
from edgekube.api.balancing import SEGMENTS, balanced_addresses, is_balanced, is_balancing, nodes_with_endpoints
from edgekube.api.objects import Object, annotations_of, name_of


def holders(
    pool: AddressPool, services: Iterable[Object], nodes: Iterable[Object], slices_of: Callable[[Object], Sequence[Object]]
) -> dict[str, str]:
    """``slices_of`` gives the EndpointSlices of a Service. Addresses that no node can answer for are left out."""
    drawing = [(name_of(node), segments_of(node)) for node in nodes if is_balancing(node)]
    found = {}
    for service in services:
        if not is_balanced(service):
            continue
        local = (service.get("spec") or {}).get("externalTrafficPolicy") == "Local"
        serving = nodes_with_endpoints(slices_of(service)) if local else None
        for address in balanced_addresses(service):
            if address not in pool:
                continue
            parsed = ip_address(address)
            candidates = [
                name
                for name, segments in drawing
                if (serving is None or name in serving) and any(parsed in segment for segment in segments)
            ]
            if candidates:
                found[address] = max(candidates, key=lambda name: _lot(address, name))
    return found


def segments_of(node: Object) -> list[IPv4Network | IPv6Network]:
    """What the node says it is plugged into; what cannot be read is passed over."""
    found = []
    for part in annotations_of(node).get(SEGMENTS, "").split(","):
        try:
            found.append(ip_network(part.strip()))
        except ValueError:
            continue
    return found


def _lot(address: str, node_name: str) -> bytes:
    return hashlib.sha256(f"{address} {node_name}".encode()).digest()
