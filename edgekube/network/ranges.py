"""The address ranges that the service proxy has to know, for each address family of the cluster.

Enters: ranges as settings and the node's spec write them: "v4" or "v4,v6".
Leaves: one Ranges a family, IPv4 first.
Holds: pure; a family is served only when pods here, pods elsewhere and Services all have addresses of it.
Next: network.ruleset, network.service_rules.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from msgspec import Struct

from edgekube import limits

FAMILIES: Final = ("IPv4", "IPv6")


class Ranges(Struct, frozen=True):
    family: str  # IPv4 or IPv6, as ipFamilies and addressType spell it
    pods_here: str
    pods: str
    services: str

    def is_here(self, address: str) -> bool:
        """A pod's address of this node."""
        return _holds(self.pods_here, address)

    def is_pod(self, address: str) -> bool:
        return _holds(self.pods, address)

    def is_service(self, address: str) -> bool:
        return _holds(self.services, address)


def _holds(cidr: str, address: str) -> bool:
    parsed = parse(address)
    return parsed is not None and parsed in _network(cidr)


@lru_cache(maxsize=16)
def _network(cidr: str) -> IPv4Network | IPv6Network:
    return ip_network(cidr)


def ranges_of(pod_cidrs: Iterable[str], cluster_cidr: str, service_cidr: str) -> list[Ranges]:
    """``pod_cidrs`` are this node's."""
    here, pods, services = _by_family(pod_cidrs), _by_family(cluster_cidr.split(",")), _by_family(service_cidr.split(","))
    return [
        Ranges(family, here[family], pods[family], services[family])
        for family in FAMILIES
        if family in here and family in pods and family in services
    ]


def _by_family(cidrs: Iterable[str]) -> dict[str, str]:
    networks = [ip_network(cidr.strip()) for cidr in cidrs]
    return {f"IPv{network.version}": str(network) for network in networks}


@lru_cache(maxsize=limits.ADDRESSES_PARSED_MAX)
def parse(address: str) -> IPv4Address | IPv6Address | None:
    """None for what is no address that nft would take. Remembered: the same pods stand behind many Services and ports."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return None
    if isinstance(parsed, IPv6Address) and (parsed.scope_id is not None or parsed.ipv4_mapped is not None):
        return None
    return parsed


def canonical(family: str, address: str) -> str:
    """The one way to write an address of that family: nft knows two ways as one key. "" for what is none of it."""
    parsed = parse(address)
    return "" if parsed is None or f"IPv{parsed.version}" != family else str(parsed)


def all_of(family: str, addresses: Iterable[str]) -> tuple[str, ...]:
    """Those of that family, each once."""
    return tuple(dict.fromkeys(found for address in addresses if (found := canonical(family, address))))
