"""A router between two segments, with or without address translation.

Enters: two Lans of one lab. Leaves: members that reach each other through their gateways, for the length of a ``with``.
Holds: nothing but routed IP gets across: no ARP, no multicast. A gateway is a switch and a router in one box, as people own them.
Next: tests.lab.lan.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from tests.lab.lan import Lan, without_detection

#: The line between the gateways; nobody else has addresses there.
_NEAR: Final = ("203.0.113.1/30", "2001:db8:ffff::1/126")
_FAR: Final = ("203.0.113.2/30", "2001:db8:ffff::2/126")
_LINE: Final = "uplink"

_MASQUERADE: Final = f"""
table ip nat {{
    chain postrouting {{
        type nat hook postrouting priority srcnat; policy accept;
        oifname "{_LINE}" masquerade
    }}
}}
"""


@contextmanager
def routed(near: Lan, far: Lan, *, nat: bool = False) -> Iterator[None]:
    """Join the segments. ``nat``: ``far`` is a home behind one address, which nobody outside can dial into."""
    near.ip("link", "add", _LINE, "type", "veth", "peer", "name", _LINE, "netns", far.namespace)
    try:
        _connect(near, _NEAR)
        _connect(far, _FAR)
        _show_way(far, near, _NEAR)
        if nat:
            far.inside(["nft", "-f", "-"], stdin=_MASQUERADE)
        else:
            _show_way(near, far, _FAR)
        yield
    finally:
        near.ip("link", "delete", _LINE)
        if nat:
            far.inside(["nft", "delete", "table", "ip", "nat"])


def _connect(lan: Lan, addresses: tuple[str, ...]) -> None:
    for address in addresses:
        lan.ip("address", "add", address, "dev", _LINE, *without_detection(address))
    # A wire carries no packet that is larger than its MTU. veth does, for all but tunnels: their figures would not compare.
    lan.ip("link", "set", _LINE, "gso_max_segs", "1", "up")
    lan.write_sysctl("net/ipv4/ip_forward", "1")
    lan.write_sysctl("net/ipv6/conf/all/forwarding", "1")


def _show_way(lan: Lan, other: Lan, hops: tuple[str, ...]) -> None:
    """``lan``'s gateway knows the way to the other network."""
    for network, hop in zip((other.subnet.ipv4, other.subnet.ipv6), hops, strict=True):
        if network is not None:
            lan.ip("route", "replace", str(network), "via", hop.partition("/")[0])
