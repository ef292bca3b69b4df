"""The address plans that lab networks come in, all from the ranges kept for documentation (RFC 5737, RFC 3849).

Enters: networks. Leaves: a member's addresses and the gateway, as text for ip(8). Next: tests.lab.lan.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Network
from typing import Final


@dataclass(frozen=True)
class Subnet:
    """``default_route`` False: members know their own network and nothing else, as without a DHCP server."""

    ipv4: IPv4Network
    ipv6: IPv6Network | None = None
    default_route: bool = True

    def members(self, address: str) -> list[str]:
        """The member's addresses: the IPv4 one, and on two stacks the IPv6 one with the same number, with prefix lengths."""
        number = int(IPv4Address(address)) - int(self.ipv4.network_address)
        if IPv4Address(address) not in self.ipv4:
            raise ValueError(f"{address} is not in {self.ipv4}")
        plan: list[IPv4Network | IPv6Network] = [self.ipv4, *([self.ipv6] if self.ipv6 else [])]
        return [f"{network[number]}/{network.prefixlen}" for network in plan]

    @property
    def gateways(self) -> list[str]:
        """Of the switch that is also the router: the last IPv4 address, and the IPv6 one with the same number."""
        return self.members(str(self.ipv4[-2]))


HOME: Final = Subnet(IPv4Network("192.0.2.0/24"))
TWO_STACKS: Final = Subnet(IPv4Network("192.0.2.0/24"), IPv6Network("2001:db8::/64"))
FAR: Final = Subnet(IPv4Network("198.51.100.0/24"))
FAR_TWO_STACKS: Final = Subnet(IPv4Network("198.51.100.0/24"), IPv6Network("2001:db8:0:1::/64"))
LINK_LOCAL: Final = Subnet(IPv4Network("169.254.0.0/16"), default_route=False)
