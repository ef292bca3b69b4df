"""What one Service, or one pod's host ports, adds to the packet filter: elements of maps, and chains for sticky ports.

Enters: ServicePort values; pods of this node.
Leaves: a Contribution; the table's fixed part is network.ruleset.
Holds: pure; equal input gives an equal Contribution, so that an unchanged Service costs nothing.
Next: network.ruleset turns a difference of contributions into one nft transaction.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from typing import NamedTuple

from edgekube.api.objects import Object
from edgekube.network.endpoints import ServicePort, Target


class Element(NamedTuple):
    """One element of a map or set of our table; ``value`` is "" for a set."""

    container: str
    key: str
    value: str = ""


@dataclass(frozen=True, slots=True)
class Contribution:
    elements: frozenset[Element] = frozenset()
    #: The largest number of targets that one port chooses among: the table must have a chain for it.
    targets_max: int = 0
    #: Chains and client sets of sticky ports: name -> rules, name -> timeout in seconds.
    chains: dict[str, tuple[str, ...]] = field(default_factory=dict)
    client_sets: dict[str, int] = field(default_factory=dict)
    #: (service address or "", protocol, port, target): whose tracked UDP flows die with a target.
    udp_flows: frozenset[tuple[str, int, Target]] = frozenset()


NOTHING = Contribution()


class _Builder:
    def __init__(self) -> None:
        self.elements: set[Element] = set()
        self.targets_max = 0
        self.chains: dict[str, tuple[str, ...]] = {}
        self.client_sets: dict[str, int] = {}
        self.udp_flows: set[tuple[str, int, Target]] = set()

    def done(self) -> Contribution:
        return Contribution(
            frozenset(self.elements),
            self.targets_max,
            self.chains,
            self.client_sets,
            frozenset(self.udp_flows),
        )


def of_service(ports: Sequence[ServicePort], pod_network: str) -> Contribution:
    """``pod_network`` is this node's pod CIDR: its own pods may be reached by themselves through a Service (hairpin)."""
    built = _Builder()
    for port in ports:
        for addresses, targets in (
            (port.internal_addresses, port.internal_targets),
            (port.external_addresses, port.external_targets),
        ):
            for address in addresses:
                _address(built, port, address, targets)
        if port.node_port and port.external_targets:
            _node_port(built, port)
        _hairpins(built, (*port.internal_targets, *port.external_targets), pod_network)
    return built.done()


def _address(built: _Builder, port: ServicePort, address: str, targets: Sequence[Target]) -> None:
    if not targets:
        return
    place = f"{address} . {port.protocol} . {port.port}"
    if port.affinity_seconds:
        entry = _sticky(built, place, targets, port.affinity_seconds)
        built.elements.add(Element("services", place, f"goto {entry}"))
    else:
        built.targets_max = max(built.targets_max, len(targets))
        built.elements.add(Element("services", place, f"goto pick_{len(targets)}"))
        for number, target in enumerate(targets):
            built.elements.add(Element("endpoints", f"{place} . {number}", f"{target.address} . {target.port}"))
    if port.protocol == "udp":
        built.udp_flows.update((address, port.port, target) for target in targets)


def _node_port(built: _Builder, port: ServicePort) -> None:
    targets = port.external_targets
    place = f"{port.protocol} . {port.node_port}"
    if port.affinity_seconds:
        entry = _sticky(built, place, targets, port.affinity_seconds)
        built.elements.add(Element("node_ports", place, f"goto {entry}"))
    else:
        built.targets_max = max(built.targets_max, len(targets))
        built.elements.add(Element("node_ports", place, f"goto node_pick_{len(targets)}"))
        for number, target in enumerate(targets):
            built.elements.add(Element("node_endpoints", f"{place} . {number}", f"{target.address} . {target.port}"))
    if port.protocol == "udp":
        built.udp_flows.update(("", port.node_port, target) for target in targets)


def _sticky(built: _Builder, place: str, targets: Sequence[Target], timeout_seconds: int) -> str:
    """A chain that first asks each target's set of clients, then chooses at random; the chosen one learns the client.

    The set's name depends on the place and the target only, so that clients stay known while other targets come and go.
    """
    entry = f"sticky_{_digest(place)}"
    asks, choices = [], []
    for number, target in enumerate(targets):
        name = _digest(f"{place} {target.address}:{target.port}")
        clients, chain = f"clients_{name}", f"to_{name}"
        built.client_sets[clients] = timeout_seconds
        built.chains[chain] = (
            f"update @{clients} {{ ip saddr timeout {timeout_seconds}s }}",
            f"meta l4proto {_protocol_of(place)} dnat to {target.address}:{target.port}",
        )
        asks.append(f"ip saddr @{clients} goto {chain}")
        choices.append(f"{number} : goto {chain}")
    built.chains[entry] = (*asks, f"numgen random mod {len(targets)} vmap {{ {', '.join(choices)} }}")
    return entry


def _protocol_of(place: str) -> str:
    return next(word for word in place.split(" . ") if word in ("tcp", "udp", "sctp"))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _hairpins(built: _Builder, targets: Iterable[Target], pod_network: str) -> None:
    network = IPv4Network(pod_network)
    for target in targets:
        if IPv4Address(target.address) in network:
            built.elements.add(Element("hairpin", f"{target.address} . {target.address}"))


def of_pod(pod: Object, pod_network: str) -> Contribution:
    """The host ports of one pod of this node. A pod on the host's network has its ports anyway."""
    spec, status = pod.get("spec") or {}, pod.get("status") or {}
    address = status.get("podIP")
    if spec.get("hostNetwork") or not address or ":" in address or status.get("phase") in ("Succeeded", "Failed"):
        return NOTHING
    built = _Builder()
    for container in [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]:
        for port in container.get("ports") or ():
            if not port.get("hostPort"):
                continue
            protocol = str(port.get("protocol") or "TCP").lower()
            target = Target(address, int(port["containerPort"]))
            place = f"{protocol} . {port['hostPort']}"
            host_ip = port.get("hostIP") or ""
            if host_ip and host_ip != "0.0.0.0" and ":" not in host_ip:
                built.elements.add(Element("host_ports_at", f"{host_ip} . {place}", f"{target.address} . {target.port}"))
            else:
                built.elements.add(Element("host_ports", place, f"{target.address} . {target.port}"))
            if protocol == "udp":
                built.udp_flows.add(("", int(port["hostPort"]), target))
            _hairpins(built, (target,), pod_network)
    return built.done()
