"""Which addresses are told: those of the LAN, not those of pods."""

from __future__ import annotations

from typing import Any

from edgekube.discovery.interfaces import Reachable, choose


def link(name: str, index: int, *addresses: dict[str, Any], up: bool = True) -> dict[str, Any]:
    return {
        "ifname": name,
        "ifindex": index,
        "flags": ["BROADCAST", "MULTICAST", *(["UP"] if up else [])],
        "addr_info": addresses,
    }


def held(local: str, scope: str = "global", **more: Any) -> dict[str, Any]:
    return {"family": "inet6" if ":" in local else "inet", "local": local, "scope": scope, **more}


def test_addresses_of_the_lan_are_told_global_ones_first() -> None:
    links = [
        link("lo", 1, held("127.0.0.1", "host"), held("10.43.0.10")),
        link("eth0", 2, held("192.0.2.7"), held("fe80::7", "link"), held("2001:db8::7")),
        link("wlan0", 3, held("169.254.3.4", "link")),
        link("vethpod", 9, held("10.42.0.1"), held("fe80::9", "link")),
        link("eth1", 4, held("198.51.100.1"), up=False),
    ]
    assert choose(links) == Reachable(("192.0.2.7", 2, "169.254.3.4"), ("192.0.2.7", "2001:db8::7", "169.254.3.4", "fe80::7"))


def test_addresses_of_the_cluster_itself_are_not() -> None:
    links = [link("eth0", 2, held("10.42.3.1"), held("192.0.2.7"), held("fd00:42::1"))]
    assert choose(links, avoid=["10.42.0.0/16", "fd00:42::/56"]) == Reachable(("192.0.2.7",), ("192.0.2.7",))


def test_privacy_addresses_come_last_and_unfinished_ones_not_at_all() -> None:
    links = [
        link("eth0", 2, held("2001:db8::aaaa", temporary=True), held("2001:db8::7"), held("2001:db8::8", tentative=True)),
    ]
    assert choose(links).addresses == ("2001:db8::7", "2001:db8::aaaa")


def test_without_a_cable_there_is_nothing_to_tell() -> None:
    assert choose([link("lo", 1, held("127.0.0.1", "host"))]) == Reachable()
