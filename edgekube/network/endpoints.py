"""Which addresses stand behind each port of a Service, as its EndpointSlices say.

Enters: a Service and its EndpointSlices, this node's name.
Leaves: ServicePort values with their targets, for the packet filter's plan.
Holds: pure. Ready endpoints serve; when none is ready, those that are terminating but still serve do; a Local policy leaves only
this node's. Source: kubernetes.io/docs/reference/networking/virtual-ips.
Next: network.service_rules.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from edgekube.api.objects import Object


class Target(NamedTuple):
    address: str
    port: int


@dataclass(frozen=True, slots=True)
class ServicePort:
    """One port of a Service: where it is reached, and what it is sent to."""

    protocol: str  # tcp, udp, sctp
    port: int
    node_port: int  # 0: none
    #: Addresses on which ``port`` is reached from inside: the cluster IP.
    internal_addresses: tuple[str, ...]
    #: Addresses on which it is reached from outside: external and load-balancer IPs.
    external_addresses: tuple[str, ...]
    internal_targets: tuple[Target, ...]
    external_targets: tuple[Target, ...]
    #: 0: no session affinity.
    affinity_seconds: int


def service_ports(service: Object, slices: Sequence[Object], node_name: str) -> list[ServicePort]:
    """The IPv4 ports that the packet filter has to serve. A headless Service or an ExternalName has none."""
    spec = service.get("spec") or {}
    if spec.get("type") == "ExternalName" or spec.get("clusterIP") in (None, "", "None"):
        return []
    internal = tuple(ip for ip in spec.get("clusterIPs") or [spec["clusterIP"]] if _is_ipv4(ip))
    external = tuple(dict.fromkeys([*(spec.get("externalIPs") or ()), *_balancer_addresses(service)]))
    affinity = 0
    if spec.get("sessionAffinity") == "ClientIP":
        configured = ((spec.get("sessionAffinityConfig") or {}).get("clientIP") or {}).get("timeoutSeconds")
        affinity = int(configured or 10800)
    result = []
    for port in spec.get("ports") or ():
        everywhere = _targets(slices, port, None)
        here = _targets(slices, port, node_name)
        result.append(
            ServicePort(
                protocol=str(port.get("protocol") or "TCP").lower(),
                port=int(port["port"]),
                node_port=int(port.get("nodePort") or 0),
                internal_addresses=internal,
                external_addresses=tuple(ip for ip in external if _is_ipv4(ip)),
                internal_targets=here if spec.get("internalTrafficPolicy") == "Local" else everywhere,
                external_targets=here if spec.get("externalTrafficPolicy") == "Local" else everywhere,
                affinity_seconds=affinity,
            )
        )
    return result


def _targets(slices: Iterable[Object], port: Object, node_name: str | None) -> tuple[Target, ...]:
    """Sorted and without repeats, so that an unchanged set of endpoints is an unchanged plan."""
    ready: set[Target] = set()
    leaving: set[Target] = set()
    for piece in slices:
        if piece.get("addressType") != "IPv4":
            continue
        number = _slice_port(piece, port)
        if number is None:
            continue
        for endpoint in piece.get("endpoints") or ():
            if node_name is not None and endpoint.get("nodeName") != node_name:
                continue
            conditions = endpoint.get("conditions") or {}
            addresses = endpoint.get("addresses") or ()
            if not addresses:
                continue
            # All addresses of an endpoint are the same endpoint: one is enough (EndpointSlice API).
            target = Target(addresses[0], number)
            if conditions.get("ready") is not False:
                ready.add(target)
            elif conditions.get("serving") and conditions.get("terminating"):
                leaving.add(target)
    return tuple(sorted(ready or leaving))


def _slice_port(piece: Object, port: Object) -> int | None:
    for candidate in piece.get("ports") or ():
        same_name = (candidate.get("name") or "") == (port.get("name") or "")
        same_protocol = (candidate.get("protocol") or "TCP") == (port.get("protocol") or "TCP")
        if same_name and same_protocol and candidate.get("port"):
            return int(candidate["port"])
    return None


def _balancer_addresses(service: Object) -> list[str]:
    ingress = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    return [entry["ip"] for entry in ingress if entry.get("ip") and entry.get("ipMode") != "Proxy"]


def _is_ipv4(address: str) -> bool:
    return "." in address and ":" not in address
