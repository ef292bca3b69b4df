"""This node's own address, and what the kernel has to know before pods can talk.

Enters: ``ip -j`` output; the cluster's ranges.
Leaves: the node's address; commands for ``ip -batch`` and sysctl settings.
Holds: choosing is pure; preparing is idempotent. Next: network.node.
"""

from __future__ import annotations

import json
import logging
import subprocess
from collections.abc import Sequence
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any, Final

log = logging.getLogger("edgekube.network")

#: Kernel settings that forwarding needs, relative to /proc/sys. A pod that reaches itself through a Service makes the kernel
#: send redirects, which nobody heeds and which use up the allowance of ICMP errors that refuse UDP. Links of pods, made later
#: than this, may carry what the node sent to a host port on 127.0.0.1; the ruleset's guard keeps strangers from using that.
SYSCTLS: Final = {
    "net/ipv4/ip_forward": "1",
    "net/ipv4/conf/all/send_redirects": "0",
    "net/ipv4/conf/default/send_redirects": "0",
    "net/ipv4/conf/default/route_localnet": "1",
}
#: Interfaces whose addresses are not the node's: pods' own ends, and what other runtimes make.
_NOT_OURS: Final = ("veth", "docker", "br-", "cni", "flannel", "virbr", "lo")


class NoAddress(Exception):
    """The node has no address yet: no cable, or no lease."""


def choose(routes: Sequence[dict[str, Any]], links: Sequence[dict[str, Any]], *, avoid: Sequence[str] = ()) -> str:
    """The IPv4 address of the default route's interface, else the first global one. ``avoid``: the cluster's own ranges.

    ``routes`` and ``links`` are what ``ip -j -4 route`` and ``ip -j -4 address`` print. Raises NoAddress.
    """
    ranges = [IPv4Network(cidr) for cidr in avoid]

    def usable(address: dict[str, Any]) -> bool:
        if address.get("scope") != "global":
            return False
        return not any(IPv4Network(address["local"]).subnet_of(cidr) for cidr in ranges)

    by_interface = {
        link["ifname"]: [a["local"] for a in link.get("addr_info", ()) if a.get("family", "inet") == "inet" and usable(a)]
        for link in links
    }
    defaults = sorted((route for route in routes if route.get("dst") == "default"), key=lambda r: int(r.get("metric") or 0))
    for route in defaults:
        held = by_interface.get(route.get("dev", ""), [])
        preferred = route.get("prefsrc")
        if preferred in held:
            return str(preferred)
        if held:
            return str(held[0])
    for interface, held in by_interface.items():
        if held and not interface.startswith(_NOT_OURS):
            return str(held[0])
    raise NoAddress("this machine has no IPv4 address besides loopback: plug in a cable, or give --node-ip")


def node_address(*, avoid: Sequence[str] = ()) -> str:
    """choose() over what the kernel has now. Raises NoAddress."""
    return choose(_ip("-4", "route", "show", "default"), _ip("-4", "address", "show"), avoid=avoid)


def interface_mtu(address: str) -> int:
    """The MTU of the interface that holds the address; 1500 when none does."""
    for link in _ip("-4", "address", "show"):
        if any(info.get("local") == address for info in link.get("addr_info", ())):
            return int(link.get("mtu") or 1500)
    return 1500


def _ip(*arguments: str) -> list[dict[str, Any]]:
    done = subprocess.run(["ip", "-j", *arguments], capture_output=True, text=True, check=True)
    parsed: list[dict[str, Any]] = json.loads(done.stdout or "[]")
    return parsed


def host_commands(*, node_ip: str, pod_cidr: str, service_cidr: str, cluster_dns: str) -> list[str]:
    """``ip -batch`` lines: the gateway of pods and the DNS address on lo, and a route for services.

    Services need a route although nothing answers there: without one, a machine with no default route could not even
    send the packet that the packet filter would redirect. ``src`` is what pods see of this host.
    """
    gateway = IPv4Network(pod_cidr)[1]
    return [
        f"address replace {gateway}/32 dev lo scope global",
        f"address replace {cluster_dns}/32 dev lo scope global",
        f"route replace {service_cidr} dev lo src {node_ip}",
    ]


def removal_commands(*, pod_cidr: str, service_cidr: str, cluster_dns: str) -> list[str]:
    gateway = IPv4Network(pod_cidr)[1]
    return [
        f"route delete {service_cidr} dev lo",
        f"address delete {cluster_dns}/32 dev lo",
        f"address delete {gateway}/32 dev lo",
    ]


def batch(commands: Sequence[str]) -> None:
    """Run ``ip`` commands; each on its own, so that one that is done already does not stop the rest."""
    subprocess.run(["ip", "-force", "-batch", "-"], input="\n".join(commands) + "\n", capture_output=True, text=True, check=False)


def forget_loopback_routing(root: Path = Path("/proc/sys")) -> None:
    """For uninstall: without the guard of our table no link made later may carry packets for the loopback."""
    try:
        (root / "net/ipv4/conf/default/route_localnet").write_text("0")
    except OSError as error:
        log.warning("net.ipv4.conf.default.route_localnet could not be set to 0: %s", error)


def write_sysctls(root: Path = Path("/proc/sys")) -> list[str]:
    """Set what forwarding needs; the names that the kernel refused."""
    refused = []
    for name, value in SYSCTLS.items():
        try:
            if (root / name).read_text().strip() != value:
                (root / name).write_text(value)
        except OSError:
            refused.append(name)
    return refused
