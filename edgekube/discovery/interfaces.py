"""Which of this machine's interfaces mDNS speaks on, and which addresses it tells.

Enters: what ``ip -j address show`` prints; the cluster's own ranges.
Leaves: Reachable.
Holds: choosing is pure; links of pods, tunnels and the loopback are left out, so are addresses of pods and services.
Next: discovery.mdns, discovery.announce.
"""

from __future__ import annotations

import json
import logging
import subprocess
from collections.abc import Sequence
from ipaddress import ip_address, ip_network
from typing import Any, Final

from msgspec import Struct

from edgekube import limits

log = logging.getLogger("edgekube.discovery")

#: Links that lead to pods or containers of this machine, or into a tunnel.
_NOT_THE_LAN: Final = ("lo", "veth", "docker", "br-", "cni", "flannel", "virbr", "vxlan", "edgekube", "ek-", "wg", "tun")


class Reachable(Struct, frozen=True):
    #: What zeroconf takes: an IPv4 address, or the index of an interface with IPv6.
    interfaces: tuple[str | int, ...] = ()
    #: What others are told, global ones first.
    addresses: tuple[str, ...] = ()


def choose(links: Sequence[dict[str, Any]], *, avoid: Sequence[str] = ()) -> Reachable:
    ranges = [ip_network(cidr) for cidr in avoid]
    interfaces: list[str | int] = []
    told: list[tuple[bool, int, str]] = []
    for link in links:
        if str(link.get("ifname", "")).startswith(_NOT_THE_LAN) or "UP" not in link.get("flags", ()):
            continue
        for held in link.get("addr_info", ()):
            address = ip_address(held["local"])
            if held.get("scope") not in ("global", "link") or any(address in cidr for cidr in ranges):
                continue
            if held.get("tentative") or held.get("dadfailed"):
                continue
            interface: str | int = str(address) if address.version == 4 else int(link["ifindex"])
            if interface not in interfaces:
                interfaces.append(interface)
            # Privacy addresses of IPv6 change each day: told only where there is nothing else.
            passing = held.get("scope") == "link" or bool(held.get("temporary")) or bool(held.get("deprecated"))
            told.append((passing, address.version, str(address)))
    told.sort(key=lambda each: each[:2])
    return Reachable(tuple(interfaces), tuple(address for _, _, address in told)[: limits.ANNOUNCED_ADDRESSES_MAX])


def reachable(*, avoid: Sequence[str] = ()) -> Reachable:
    """choose() over what the kernel has now; nothing when it cannot be asked: announcing is never a reason to fail."""
    try:
        done = subprocess.run(["ip", "-j", "address", "show"], capture_output=True, text=True, check=True)
        return choose(json.loads(done.stdout or "[]"), avoid=avoid)
    except (OSError, subprocess.CalledProcessError, ValueError) as error:
        log.warning("this machine's addresses cannot be read: %s", error)
        return Reachable()
