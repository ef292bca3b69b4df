"""Addresses for Services of type LoadBalancer: a pool as an operator writes it.

Enters: text such as ``192.0.2.200-192.0.2.220, 2001:db8:0:1::100/120``.
Leaves: AddressPool values, or ValueError that says what is wrong.
Holds: pure. Of a network, its own address and (IPv4) the broadcast address are left out; a range is taken as it is written.
Bound: limits.LOAD_BALANCER_POOL_ADDRESSES_MAX addresses, which bounds a walk through the pool.
Next: controllers.loadbalancer.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import NamedTuple

from msgspec import Struct

from edgekube import limits


class _Range(NamedTuple):
    version: int
    first: int
    last: int


class AddressPool(Struct, frozen=True):
    ranges: tuple[_Range, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.ranges)

    def __contains__(self, address: str) -> bool:
        try:
            parsed = ip_address(address)
        except ValueError:
            return False
        return any(r.version == parsed.version and r.first <= int(parsed) <= r.last for r in self.ranges)

    def addresses(self, version: int) -> Iterator[str]:
        """In the order in which they were written."""
        for each in self.ranges:
            if each.version == version:
                for number in range(each.first, each.last + 1):
                    yield str(IPv4Address(number) if version == 4 else IPv6Address(number))


def parse_pool(text: str) -> AddressPool:
    """Networks and ranges, separated by commas. Raises ValueError."""
    ranges = tuple(_range(part.strip()) for part in text.split(",") if part.strip())
    if sum(each.last - each.first + 1 for each in ranges) > limits.LOAD_BALANCER_POOL_ADDRESSES_MAX:
        raise ValueError(f"the pool has more than {limits.LOAD_BALANCER_POOL_ADDRESSES_MAX} addresses")
    for number, each in enumerate(ranges):
        if any(each.version == o.version and each.first <= o.last and o.first <= each.last for o in ranges[:number]):
            raise ValueError("parts of the pool overlap")
    return AddressPool(ranges)


def _range(part: str) -> _Range:
    try:
        if "-" in part:
            first, last = (ip_address(side.strip()) for side in part.split("-", 1))
            if first.version != last.version or int(first) > int(last):
                raise ValueError
            return _Range(first.version, int(first), int(last))
        network = ip_network(part)
    except ValueError:
        raise ValueError(
            f"{part!r} is neither a range such as 192.0.2.200-192.0.2.220 nor a network such as 192.0.2.192/27"
        ) from None
    first_number, last_number = int(network.network_address), int(network.broadcast_address)
    if network.num_addresses > 2:
        first_number += 1
        last_number -= 1 if network.version == 4 else 0
    return _Range(network.version, first_number, last_number)
