"""Services of type LoadBalancer get addresses on the LAN: out of a pool, or those of the nodes themselves.

Enters: Services, Nodes, EndpointSlices; the pool and the nodes' own ports given at construction.
Leaves: status.loadBalancer.ingress; Events that say why a Service has none.
Holds: an address of the pool belongs to one Service and stays with it; a port of the nodes' addresses belongs to the Service
that had it first, and never is one of the node's own. Services of another loadBalancerClass are left alone. All Services are
one key, so that two are never planned side by side.
Source: kubernetes.io, Service, "type: LoadBalancer", "Specifying class of load balancer implementation".
Next: network.proxy serves the addresses; network.lan_addresses says which node answers for them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from ipaddress import ip_address
from typing import Final

from msgspec import Struct

from edgekube.api.address_pools import AddressPool
from edgekube.api.balancing import balanced_addresses, is_balanced, is_balancing, nodes_with_endpoints
from edgekube.api.calls import Call, Patch, Record
from edgekube.api.controller import Change, Controller, Key, Moment, sides
from edgekube.api.kinds import ENDPOINTSLICE, NODE, SERVICE
from edgekube.api.lan_names import MDNS_NAME, lan_names
from edgekube.api.objects import Object, annotations_of, labels_of, name_of, namespace_of
from edgekube.api.view import View

#: Addresses that a Service asks for, separated by commas; spec.loadBalancerIP says the same in the old way.
WANTED_ADDRESSES: Final = "edgekube.io/load-balancer-ips"
_SERVICE_NAME: Final = "kubernetes.io/service-name"
_VERSIONS: Final = {"IPv4": 4, "IPv6": 6}
_ALL_SERVICES: Final = Key("", "")


class Rules(Struct, frozen=True):
    pool: AddressPool
    #: Ports on the nodes' own addresses that no Service takes: the API's, the agent's, SSH.
    reserved_ports: frozenset[int]


class _Unassigned(Exception):
    """Why a Service has no address now."""


def plan(rules: Rules, view: View, key: Key, now: Moment) -> list[Call]:
    services = sorted(
        (service for service in view.list(SERVICE) if is_balanced(service)),
        key=lambda s: (s["metadata"].get("creationTimestamp") or "", namespace_of(s), name_of(s)),
    )
    assign = _FromPool(rules.pool, services) if rules.pool else _FromNodes(rules.reserved_ports, view)
    calls: list[Call] = []
    for service in services:
        try:
            addresses = assign.addresses(service)
        except _Unassigned as why:
            addresses = []
            calls.append(Record(service, "Warning", "AllocationFailed", str(why)))
        ingress = [{"ip": address, "ipMode": "VIP"} for address in addresses]
        if _ingress(service) == ingress:
            continue
        if addresses:
            calls.append(Record(service, "Normal", "IPAllocated", f"Assigned IP {', '.join(addresses)}"))
        patch: Object = {
            "metadata": {"uid": service["metadata"]["uid"]},
            "status": {"loadBalancer": {"ingress": ingress or None}},
        }
        calls.append(Patch(SERVICE, namespace_of(service), name_of(service), patch, subresource="status"))
    return calls + [Record(service, "Warning", "NameRefused", why) for service, why in lan_names(view.list(SERVICE))[1]]


def _ingress(service: Object) -> list[Object]:
    return ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or []


def wanted_addresses(service: Object) -> list[str]:
    text = annotations_of(service).get(WANTED_ADDRESSES) or (service.get("spec") or {}).get("loadBalancerIP") or ""
    return [part.strip() for part in text.split(",") if part.strip()]


def _families(service: Object) -> list[int]:
    return [_VERSIONS[family] for family in (service.get("spec") or {}).get("ipFamilies") or ["IPv4"] if family in _VERSIONS]


class _FromPool:
    def __init__(self, pool: AddressPool, services: Sequence[Object]) -> None:
        self._pool = pool
        #: Address -> uid of its Service. Whoever holds one keeps it; the older Service wins should two hold it.
        self._taken: dict[str, str] = {}
        for service in services:
            for address in balanced_addresses(service):
                if address in pool:
                    self._taken.setdefault(address, service["metadata"]["uid"])

    def addresses(self, service: Object) -> list[str]:
        """Raises _Unassigned."""
        uid = service["metadata"]["uid"]
        wanted = wanted_addresses(service)
        mine = [address for address in balanced_addresses(service) if self._taken.get(address) == uid]
        chosen = [address for address in self._choose(service, uid, wanted, mine) if address]
        for address in set(mine) - set(chosen):
            del self._taken[address]
        if not chosen:
            raise _Unassigned("the pool of load balancer addresses is used up, or has none of the Service's IP families")
        self._taken.update(dict.fromkeys(chosen, uid))
        return chosen

    def _choose(self, service: Object, uid: str, wanted: list[str], mine: list[str]) -> Iterator[str]:
        for address in wanted:
            if address not in self._pool:
                raise _Unassigned(f"{address} is not in the pool of load balancer addresses")
            if self._taken.get(address, uid) != uid:
                raise _Unassigned(f"{address} belongs to another Service")
        if wanted:
            yield from wanted
            return
        for version in _families(service):
            kept = next((address for address in mine if ip_address(address).version == version), "")
            yield kept or next((a for a in self._pool.addresses(version) if a not in self._taken), "")


class _FromNodes:
    def __init__(self, reserved_ports: frozenset[int], view: View) -> None:
        self._reserved = reserved_ports
        self._view = view
        self._taken: dict[tuple[str, int], str] = {}  # (protocol, port) -> namespace/name

    def addresses(self, service: Object) -> list[str]:
        """Raises _Unassigned."""
        if wanted_addresses(service):
            raise _Unassigned("addresses can be asked for only where the server has a pool of them (--load-balancer-pool)")
        ports = [(str(p.get("protocol") or "TCP"), int(p["port"])) for p in service["spec"].get("ports") or ()]
        for protocol, port in ports:
            if port in self._reserved:
                raise _Unassigned(
                    f"port {port} of the nodes' addresses is the node's own: choose another port, or give the server a pool "
                    "of addresses (--load-balancer-pool)"
                )
            if (protocol, port) in self._taken:
                raise _Unassigned(f"port {port}/{protocol} of the nodes' addresses belongs to {self._taken[protocol, port]}")
        self._taken.update(dict.fromkeys(ports, f"{namespace_of(service)}/{name_of(service)}"))
        local = service["spec"].get("externalTrafficPolicy") == "Local"
        serving = nodes_with_endpoints(_slices_of(self._view, service)) if local else None
        nodes = [node for node in self._view.list(NODE) if is_balancing(node) and (serving is None or name_of(node) in serving)]
        found = [
            address
            for version in _families(service)
            for node in sorted(nodes, key=name_of)
            if (address := _node_address(node, version))
        ]
        if not found:
            raise _Unassigned("no Ready node has an address for it" + (" and an endpoint" if local else ""))
        return found


def _node_address(node: Object, version: int) -> str:
    """The node's address from outside: ExternalIP where it has one."""
    listed = (node.get("status") or {}).get("addresses") or ()
    for kind in ("ExternalIP", "InternalIP"):
        for entry in listed:
            if entry.get("type") == kind and (":" in str(entry.get("address"))) == (version == 6):
                return str(entry["address"])
    return ""


def _slices_of(view: View, service: Object) -> Iterator[Object]:
    pieces = view.list(ENDPOINTSLICE, namespace_of(service))
    return (piece for piece in pieces if labels_of(piece).get(_SERVICE_NAME) == name_of(service))


def _service_matters(change: Change, view: View) -> Iterable[Key]:
    def matters(service: Object) -> bool:
        return (service.get("spec") or {}).get("type") == "LoadBalancer" or MDNS_NAME in annotations_of(service)

    return (_ALL_SERVICES,) if any(map(matters, sides(change))) else ()


def _node_matters(change: Change, view: View) -> Iterable[Key]:
    """Heartbeats do not."""

    def facts(node: Object | None) -> object:
        return node and (is_balancing(node), _node_address(node, 4), _node_address(node, 6))

    return (_ALL_SERVICES,) if facts(change.old) != facts(change.new) else ()


def _slice_matters(change: Change, view: View) -> Iterable[Key]:
    for side in sides(change):
        service = view.get(SERVICE, namespace_of(side), labels_of(side).get(_SERVICE_NAME, ""))
        if service is not None and is_balanced(service) and service["spec"].get("externalTrafficPolicy") == "Local":
            return (_ALL_SERVICES,)
    return ()


def controller(rules: Rules) -> Controller:
    return Controller(
        name="service-lb-controller",
        watches=((SERVICE, _service_matters), (NODE, _node_matters), (ENDPOINTSLICE, _slice_matters)),
        plan=partial(plan, rules),
    )
