"""What one Service, or one pod's host ports, adds to the packet filter: elements of maps, and chains for sticky ports.

Enters: ServicePort values; pods of this node; the family's ranges, and further ones of Services.
Leaves: a Contribution; the table's fixed part is network.ruleset.
Holds: pure; equal input gives an equal Contribution, so that an unchanged Service costs nothing.
Next: network.ruleset turns a difference of contributions into one nft transaction.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_network
from typing import Final, NamedTuple, TypeAlias

from msgspec import Struct, field

from edgekube.api.objects import Object
from edgekube.network.endpoints import ServicePort, Target
from edgekube.network.ranges import Ranges, all_of, canonical


class Element(NamedTuple):
    """One element of a map or set of our table; ``value`` is "" for a set."""

    container: str
    key: str
    value: str = ""


class Spot(NamedTuple):
    """An address and port, or a port of the node, that one owner can have. ``kind``: service, node, host, host_at."""

    kind: str
    key: str


#: (service address or "" for a port of the node, port): where UDP flows of a Service begin.
Door: TypeAlias = tuple[str, int]


class Contribution(Struct, frozen=True):
    #: What only one owner can have: all elements of a spot are taken in, or none.
    spots: dict[Spot, frozenset[Element]] = field(default_factory=dict)
    #: What several owners may name: the element goes with the last of them.
    shared: frozenset[Element] = frozenset()
    #: The largest number of targets that one port chooses among: the table must have a chain for it.
    targets_max: int = 0
    #: Chains and client sets of sticky ports: name -> rules, name -> timeout in seconds.
    chains: dict[str, tuple[str, ...]] = field(default_factory=dict)
    client_sets: dict[str, int] = field(default_factory=dict)
    #: Where UDP comes in, and all targets that may answer it: a tracked flow to any other is a leftover.
    udp_doors: dict[Door, frozenset[Target]] = field(default_factory=dict)


NOTHING = Contribution()


def of_ranges(cidrs: Iterable[str], ranges: Ranges) -> Contribution:
    """Further ranges of Services, by ServiceCIDRs: what no Service has there is refused, as in the cluster's own. Each address
    once; what holds pods as well says nothing of who is who."""
    networks = [network for cidr in cidrs if (network := _network_of(cidr, ranges.family)) is not None]
    own, pods = ip_network(ranges.services), ip_network(ranges.pods)
    apart = [each for each in networks if not each.overlaps(own) and not each.overlaps(pods)]
    return Contribution(shared=frozenset(Element("further_services", str(each)) for each in _joined(apart)))


def _network_of(cidr: str, family: str) -> IPv4Network | IPv6Network | None:
    try:
        network = ip_network(cidr)
    except ValueError:
        return None
    return network if f"IPv{network.version}" == family else None


def _joined(networks: Iterable[IPv4Network | IPv6Network]) -> list[IPv4Network | IPv6Network]:
    """nft takes no address twice."""
    four = [each for each in networks if isinstance(each, IPv4Network)]
    six = [each for each in networks if isinstance(each, IPv6Network)]
    return [*collapse_addresses(four), *collapse_addresses(six)]


class _Builder:
    def __init__(self, ranges: Ranges) -> None:
        self.ip = "ip" if ranges.family == "IPv4" else "ip6"
        self._ranges = ranges
        self.spots: dict[Spot, set[Element]] = {}
        self.shared: set[Element] = set()
        self.targets_max = 0
        self.chains: dict[str, tuple[str, ...]] = {}
        self.client_sets: dict[str, int] = {}
        self.udp_doors: dict[Door, set[Target]] = {}

    def done(self) -> Contribution:
        return Contribution(
            {spot: frozenset(elements) for spot, elements in self.spots.items()},
            frozenset(self.shared),
            self.targets_max,
            self.chains,
            self.client_sets,
            {door: frozenset(targets) for door, targets in self.udp_doors.items()},
        )

    def add(self, spot: Spot, container: str, value: str = "", more: str = "") -> None:
        self.spots.setdefault(spot, set()).add(Element(container, spot.key + more, value))

    def choose(self, spot: Spot, containers: _Containers, targets: Sequence[Target], port: ServicePort) -> None:
        """The spot's verdict: one of the targets."""
        verdicts, choices, pick = containers
        if port.affinity_seconds:
            self.add(spot, verdicts, f"goto {self._sticky(port, targets)}")
        else:
            self.targets_max = max(self.targets_max, len(targets))
            self.add(spot, verdicts, f"goto {pick}_{len(targets)}")
            for number, target in enumerate(targets):
                self.add(spot, choices, f"{target.address} . {target.port}", f" . {number}")

    def _sticky(self, port: ServicePort, targets: Sequence[Target]) -> str:
        """A chain that first asks each target's set of clients, then chooses at random; the chosen one learns the client.

        The set's name depends on the Service's port and the target only, so that clients stay known while other targets come
        and go, and by whichever address they come.
        """
        entry = f"sticky_{_digest(port.name + port.protocol + ''.join(f' {t.address}:{t.port}' for t in targets))}"
        asks, choices = [], []
        for number, target in enumerate(targets):
            name = _digest(f"{port.name}{port.protocol} {target.address}:{target.port}")
            clients, chain = f"clients_{name}", f"to_{name}"
            self.client_sets[clients] = port.affinity_seconds
            self.chains[chain] = (
                f"update @{clients} {{ {self.ip} saddr timeout {port.affinity_seconds}s }}",
                f"meta l4proto {port.protocol} dnat to {_with_port(target)}",
            )
            asks.append(f"{self.ip} saddr @{clients} goto {chain}")
            choices.append(f"{number} : goto {chain}")
        self.chains[entry] = (*asks, f"numgen random mod {len(targets)} vmap {{ {', '.join(choices)} }}")
        return entry

    def is_inside(self, address: str) -> bool:
        return self._ranges.is_pod(address) or self._ranges.is_service(address)

    def reached(self, targets: Iterable[Target], protocol: str) -> None:
        for target in targets:
            if self._ranges.is_here(target.address):
                self.shared.add(Element("hairpin", f"{target.address} . {target.address}"))
            if not self._ranges.is_pod(target.address):
                self.shared.add(Element("abroad", f"{target.address} . {protocol} . {target.port}"))

    def udp(self, address: str, number: int, protocol: str, targets: Iterable[Target]) -> None:
        if protocol == "udp":
            self.udp_doors.setdefault((address, number), set()).update(targets)


#: The map of verdicts, the map of numbered targets, and the name of the chains that choose.
_Containers: TypeAlias = tuple[str, str, str]
_SERVICES: _Containers = ("services", "endpoints", "pick")
_OUTSIDE_SERVICES: _Containers = ("outside_services", "outside_endpoints", "outside_pick")
_NODE_PORTS: _Containers = ("node_ports", "node_endpoints", "node_pick")
_OUTSIDE_NODE_PORTS: _Containers = ("outside_node_ports", "outside_node_endpoints", "outside_node_pick")


def of_service(ports: Sequence[ServicePort], ranges: Ranges) -> Contribution:
    built = _Builder(ranges)
    for port in ports:
        for address in port.internal_addresses:
            _internal(built, port, address)
        for address in port.external_addresses:
            if built.is_inside(address):
                continue  # nobody may lead away what is meant for another Service, the cluster's DNS or a pod
            spot = Spot("service", f"{address} . {port.protocol} . {port.port}")
            _external(built, port, spot, _SERVICES, _OUTSIDE_SERVICES, "refused")
            built.udp(address, port.port, port.protocol, (*port.cluster_targets, *port.local_targets))
            built.shared.add(Element("external", address))
            if address in port.limited_addresses:
                built.add(spot, "limited")
                for cidr in port.source_ranges:
                    built.add(spot, "allowed", more=f" . {cidr}")
        if port.node_port:
            spot = Spot("node", f"{port.protocol} . {port.node_port}")
            _external(built, port, spot, _NODE_PORTS, _OUTSIDE_NODE_PORTS, "refused_ports")
            built.udp("", port.node_port, port.protocol, (*port.cluster_targets, *port.local_targets))
        built.reached((*port.cluster_targets, *port.local_targets), port.protocol)
    return built.done()


def _internal(built: _Builder, port: ServicePort, address: str) -> None:
    """Nothing serves: nothing is added, and the service range refuses by itself."""
    targets = port.local_targets if port.internal_local else port.cluster_targets
    spot = Spot("service", f"{address} . {port.protocol} . {port.port}")
    if targets:
        built.choose(spot, _SERVICES, targets, port)
    elif port.served:
        built.add(spot, "services", "drop")
    else:
        built.spots.setdefault(spot, set())
    built.udp(address, port.port, port.protocol, targets)


def _external(
    built: _Builder, port: ServicePort, spot: Spot, everybody: _Containers, outsiders: _Containers, refused: str
) -> None:
    """Under a Local policy only outsiders are sent to this node's endpoints alone: what is inside could reach all of them
    under another address as well."""
    if not port.served:
        built.add(spot, refused)
        return
    if port.cluster_targets:
        built.choose(spot, everybody, port.cluster_targets, port)
    if not port.external_local:
        return
    if port.local_targets:
        built.choose(spot, outsiders, port.local_targets, port)
    else:
        built.add(spot, outsiders[0], "drop")


def _with_port(target: Target) -> str:
    return f"[{target.address}]:{target.port}" if ":" in target.address else f"{target.address}:{target.port}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


_EVERYWHERE: Final = {"IPv4": "0.0.0.0", "IPv6": "::"}


def of_pod(pod: Object, ranges: Ranges) -> Contribution:
    """The host ports of one pod of this node. A pod on the host's network has its ports anyway."""
    spec, status = pod.get("spec") or {}, pod.get("status") or {}
    addresses = [str(each.get("ip") or "") for each in status.get("podIPs") or ()] or [str(status.get("podIP") or "")]
    address = next(iter(all_of(ranges.family, addresses)), "")
    if spec.get("hostNetwork") or not address or status.get("phase") in ("Succeeded", "Failed"):
        return NOTHING
    built = _Builder(ranges)
    for container in [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]:
        for port in container.get("ports") or ():
            host_ip = canonical(ranges.family, port.get("hostIP") or _EVERYWHERE[ranges.family])
            everywhere = host_ip in _EVERYWHERE.values()
            if not port.get("hostPort") or not host_ip:
                continue
            protocol = str(port.get("protocol") or "TCP").lower()
            target = Target(address, int(port["containerPort"]))
            value = f"{target.address} . {target.port}"
            if everywhere:
                built.add(Spot("host", f"{protocol} . {port['hostPort']}"), "host_ports", value)
            else:
                built.add(Spot("host_at", f"{host_ip} . {protocol} . {port['hostPort']}"), "host_ports_at", value)
            built.udp("" if everywhere else host_ip, int(port["hostPort"]), protocol, (target,))
            built.reached((target,), protocol)
    return built.done()
