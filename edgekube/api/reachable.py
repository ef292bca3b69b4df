"""Whether an address leads from one machine to another: what a node says of its pods, looked at before anybody goes there.

Enters: an address as text.
Leaves: yes or no.
Holds: pure. Loopback means whoever asks, multicast and "any" mean nobody; a name is no address. Link-local addresses are allowed:
on a switch without DHCP nodes have no others.
Next: controllers.endpoints, server.proxy, agent.server.
"""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv6Address, ip_address

from edgekube import limits


@lru_cache(maxsize=limits.ADDRESSES_PARSED_MAX)
def is_reachable(address: str) -> bool:
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    mapped = isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is not None
    return not (parsed.is_loopback or parsed.is_unspecified or parsed.is_multicast or mapped or "%" in address)
