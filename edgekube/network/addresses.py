"""This node's own address, and what the kernel has to know before pods can talk.

Enters: ``ip -j`` output; the cluster's ranges.
Leaves: the node's address; commands for ``ip -batch`` and sysctl settings.
Holds: choosing is pure; preparing is idempotent. Next: network.node.
"""

from __future__ import annotations

import json
import logging
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

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
#: In a cluster of two stacks, besides. Whoever forwards takes no router's advice (accept_ra=1), so that is written first.
SYSCTLS_IPV6: Final = {"net/ipv6/conf/all/forwarding": "1"}
#: Known to the kernel once something tracks connections. A client that was translated may take its time to close its half: the
#: kernel would forget it after a minute, and its last packets would arrive untranslated (kube-proxy's conntrack defaults).
SYSCTLS_TRACKING: Final = {"net/netfilter/nf_conntrack_tcp_timeout_close_wait": "3600"}
#: Interfaces whose addresses are not the node's: pods' own ends, and what other runtimes make.
NOT_OURS: Final = ("veth", "docker", "br-", "cni", "flannel", "virbr", "lo")


#: The mark (rtm_protocol) of the IPv6 route for Services; those to other nodes have forwarding.PROTOCOL.
SERVICES_PROTOCOL: Final = 143


class NoAddress(Exception):
    """The node has no address yet: no cable, or no lease."""


class _Held(Struct, frozen=True):
    """An address of this machine that could be the node's."""

    address: str
    device: str
    carrier: bool
    link_local: bool


def choose(routes: Sequence[dict[str, Any]], links: Sequence[dict[str, Any]], *, avoid: Sequence[str] = (), now: str = "") -> str:
    """The IPv4 address of the default route's interface, else the first global one, else a link-local one (169.254.0.0/16:
    machines on a switch without DHCP). ``avoid``: the cluster's own ranges. ``now``: the choice of before, kept while it can be.

    ``routes`` and ``links`` are what ``ip -j route show default`` and ``ip -j address`` print. Raises NoAddress.
    """
    held = _held(links, 4, avoid)
    defaults = sorted((route for route in routes if route.get("dst") == "default"), key=lambda r: int(r.get("metric") or 0))
    # Addresses come and go while leases change hands: who has a good one stays with it.
    ways_out = {route.get("dev", "") for route in defaults}
    for one in held:
        if one.address == now and one.carrier and not one.link_local and (one.device in ways_out or not ways_out):
            return now
    for route in defaults:
        here = [one.address for one in held if one.device == route.get("dev", "") and not one.link_local]
        preferred = route.get("prefsrc")
        if preferred in here:
            return str(preferred)
        if here:
            return here[0]
    usable = [one for one in held if not one.device.startswith(NOT_OURS)]
    if usable:
        return min(usable, key=lambda one: (one.link_local, not one.carrier, one.link_local and one.address != now)).address
    raise NoAddress("this machine has no IPv4 address besides loopback: plug in a cable, or give --node-ip")


def choose_ipv6(links: Sequence[dict[str, Any]], *, beside: str, avoid: Sequence[str] = (), now: str = "") -> str:
    """A global IPv6 address that lasts, of the interface that holds the address ``beside``, else of another one; "" for none."""
    held = [one for one in _held(links, 6, avoid) if not one.device.startswith(NOT_OURS)]
    device = next((one.device for one in _held(links, 4, avoid) if one.address == beside), "")
    if not held:
        return ""
    return min(held, key=lambda one: (not one.carrier, one.address != now, one.device != device)).address


def _held(links: Sequence[dict[str, Any]], version: int, avoid: Sequence[str]) -> list[_Held]:
    ranges = [ip_network(cidr) for cidr in avoid]
    found = []
    for link in links:
        carrier = "NO-CARRIER" not in link.get("flags", ())
        for told in link.get("addr_info", ()):
            address = ip_address(told.get("local", "0.0.0.0"))
            lasting = not (told.get("temporary") or told.get("deprecated") or told.get("tentative") or told.get("dadfailed"))
            scope = ("global", "link") if version == 4 else ("global",)
            if address.version != version or told.get("scope") not in scope or not lasting:
                continue
            if address.is_loopback or any(address in cidr for cidr in ranges):
                continue
            found.append(_Held(str(address), str(link.get("ifname", "")), carrier, address.is_link_local))
    return found


def node_address(*, avoid: Sequence[str] = (), now: str = "") -> str:
    """choose() over what the kernel has now. Raises NoAddress."""
    return choose(_ip("-4", "route", "show", "default"), _ip("address", "show"), avoid=avoid, now=now)


def node_ipv6_address(*, beside: str, avoid: Sequence[str] = (), now: str = "") -> str:
    """choose_ipv6() over what the kernel has now."""
    return choose_ipv6(_ip("address", "show"), beside=beside, avoid=avoid, now=now)


def interface_mtu(address: str) -> int:
    """The MTU of the interface that holds the address; 1500 when none does, or the loopback, as wide as no pod's link can be."""
    for link in _ip("-4", "address", "show"):
        if link.get("ifname") != "lo" and any(info.get("local") == address for info in link.get("addr_info", ())):
            return int(link.get("mtu") or 1500)
    return 1500


def has_way_to(service_cidr: str, source: str, device: str = "lo") -> bool:
    """Whether the route that host_commands() makes for Services is there."""
    family = "-6" if ":" in service_cidr else "-4"
    return any(r.get("prefsrc") == source and r.get("dev") == device for r in _ip(family, "route", "show", service_cidr))


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


def host_commands_ipv6(*, source: str, pod_cidr: str, service_cidr: str, cluster_dns: str, device: str) -> list[str]:
    """The IPv6 half. The loopback interface cannot be the way to Services here: the kernel makes an "unreachable" of such a
    route. So it is the ``device`` on which the node's own address is; nothing is sent there, for what no Service has is refused.

    ``source``: the node's IPv6 address, or without one the gateway of its pods, to which all nodes know the way.
    """
    gateway = IPv6Network(pod_cidr)[1]
    way = f"route replace {service_cidr} dev {device} src {source} proto {SERVICES_PROTOCOL}"
    return [
        f"address replace {gateway}/128 dev lo scope global nodad",
        f"address replace {cluster_dns}/128 dev lo scope global nodad",
        *([way] if device else []),
    ]


def removal_commands(*, pod_cidrs: Sequence[str], service_cidrs: Sequence[str], cluster_dns: Sequence[str]) -> list[str]:
    gateways = [ip_network(cidr)[1] for cidr in pod_cidrs]
    addresses = [ip_address(text) for text in cluster_dns]
    return [
        *(f"route delete {cidr} dev lo" for cidr in service_cidrs if ":" not in cidr),
        *(f"route delete {cidr} proto {SERVICES_PROTOCOL}" for cidr in service_cidrs if ":" in cidr),
        *(f"address delete {address}/{address.max_prefixlen} dev lo" for address in (*addresses, *gateways)),
    ]


def accept_router_advice(links: Iterable[str], root: Path = Path("/proc/sys")) -> None:
    """Of routers on these links, although this machine forwards: their IPv6 addresses and default routes are made of it."""
    for link in links:
        path = root / "net/ipv6/conf" / link / "accept_ra"
        try:
            if path.read_text().strip() == "1":
                path.write_text("2")
        except OSError:
            continue


def uplinks() -> list[str]:
    """Links that are neither pods' nor of other runtimes."""
    names = [str(link.get("ifname", "")) for link in _ip("link", "show")]
    return [name for name in names if not name.startswith(NOT_OURS)]


def device_of(address: str) -> str:
    """The link that holds the address; "" when none does."""
    for link in _ip("address", "show"):
        if any(info.get("local") == address for info in link.get("addr_info", ())):
            return str(link.get("ifname", ""))
    return ""


def batch(commands: Sequence[str]) -> None:
    """Run ``ip`` commands; each on its own, so that one that is done already does not stop the rest."""
    subprocess.run(["ip", "-force", "-batch", "-"], input="\n".join(commands) + "\n", capture_output=True, text=True, check=False)


def forget_loopback_routing(root: Path = Path("/proc/sys")) -> None:
    """For uninstall: without the guard of our table no link made later may carry packets for the loopback."""
    try:
        (root / "net/ipv4/conf/default/route_localnet").write_text("0")
    except OSError as error:
        log.warning("net.ipv4.conf.default.route_localnet could not be set to 0: %s", error)


def write_sysctls(root: Path = Path("/proc/sys"), *, settings: Mapping[str, str] = SYSCTLS) -> list[str]:
    """Set what forwarding needs; the names that the kernel refused."""
    refused = []
    for name, value in settings.items():
        try:
            if (root / name).read_text().strip() != value:
                (root / name).write_text(value)
        except OSError:
            refused.append(name)
    return refused
