"""Which addresses stand behind each port of a Service, as its EndpointSlices say, seen from one node.

Enters: a Service and its EndpointSlices, this node's name and zone, an address family.
Leaves: ServicePort values with their targets, for the packet filter's plan; what a health check node port has to tell.
Holds: pure. Ready endpoints serve; when none is ready, those that are terminating but still serve do, for each policy by itself;
hints narrow the choice only if every ready endpoint has one and one is for this node or zone.
Source: kubernetes.io/docs/reference/networking/virtual-ips; k8s.io/kubernetes pkg/proxy (topology, endpointslicecache).
Next: network.service_rules, network.health.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import collapse_addresses, ip_network
from typing import Final, NamedTuple

from msgspec import Struct

from edgekube.api.objects import Object, labels_of, name_of, namespace_of
from edgekube.network.ranges import all_of

#: A Service or slice with one of these labels is somebody else's to serve.
_NOT_OURS: Final = ("service.kubernetes.io/service-proxy-name", "service.kubernetes.io/headless")
_ANNOTATED_RANGES: Final = "service.beta.kubernetes.io/load-balancer-source-ranges"


class Target(NamedTuple):
    address: str
    port: int


class Place(NamedTuple):
    """Where the node that looks stands."""

    node: str
    zone: str = ""


class ServicePort(Struct, frozen=True):
    """One port of a Service: where it is reached, and what it is sent to."""

    #: namespace/name:port, under which clients are remembered.
    name: str
    protocol: str  # tcp, udp, sctp
    port: int
    node_port: int  # 0: none
    #: Addresses on which ``port`` is reached from inside: the cluster IP.
    internal_addresses: tuple[str, ...]
    #: Addresses on which it is reached from outside: external and load-balancer IPs.
    external_addresses: tuple[str, ...]
    #: Those of them that only ``source_ranges`` may reach.
    limited_addresses: tuple[str, ...]
    source_ranges: tuple[str, ...]
    #: Of the whole cluster, as far as hints let this node use them.
    cluster_targets: tuple[Target, ...]
    #: Of this node.
    local_targets: tuple[Target, ...]
    #: Something serves somewhere: without it a connection is refused, with it and none here a Local policy drops.
    served: bool
    internal_local: bool
    external_local: bool
    #: 0: no session affinity.
    affinity_seconds: int


class HealthCheck(NamedTuple):
    """What one health check node port tells a load balancer."""

    port: int
    namespace: str
    name: str
    local_endpoints: int


def is_served(service: Object) -> bool:
    """Not an ExternalName, not headless, not left to another proxy."""
    spec = service.get("spec") or {}
    if spec.get("type") == "ExternalName" or spec.get("clusterIP") in (None, "", "None"):
        return False
    return not _is_left_to_others(service)


def service_ports(service: Object, slices: Sequence[Object], place: Place, family: str = "IPv4") -> list[ServicePort]:
    """The ports that the packet filter has to serve in one address family."""
    spec = service.get("spec") or {}
    if not is_served(service):
        return []
    internal = all_of(family, spec.get("clusterIPs") or [spec["clusterIP"]])
    if not internal:
        return []
    balancer = all_of(family, _balancer_addresses(service))
    external = all_of(family, spec.get("externalIPs") or ())
    limits = _source_ranges(service)
    affinity = 0
    if spec.get("sessionAffinity") == "ClientIP":
        configured = ((spec.get("sessionAffinityConfig") or {}).get("clientIP") or {}).get("timeoutSeconds")
        affinity = int(configured or 10800)
    ours = [
        each for each in slices if each.get("addressType") == family and not any(label in labels_of(each) for label in _NOT_OURS)
    ]
    result = []
    for port in spec.get("ports") or ():
        endpoints = list(_endpoints(ours, port, family))
        cluster, local = _cluster_targets(endpoints, place), _local_targets(endpoints, place)
        result.append(
            ServicePort(
                name=f"{namespace_of(service)}/{name_of(service)}:{port.get('name') or ''}",
                protocol=str(port.get("protocol") or "TCP").lower(),
                port=int(port["port"]),
                node_port=int(port.get("nodePort") or 0),
                internal_addresses=internal,
                external_addresses=tuple(dict.fromkeys([*external, *balancer])),
                limited_addresses=tuple(ip for ip in balancer if ip not in external) if limits is not None else (),
                source_ranges=tuple(_of_family(limits or (), family)),
                cluster_targets=cluster,
                local_targets=local,
                served=bool(cluster or local),
                internal_local=spec.get("internalTrafficPolicy") == "Local",
                external_local=spec.get("externalTrafficPolicy") == "Local",
                affinity_seconds=affinity,
            )
        )
    return result


def health_check(service: Object, slices: Sequence[Object], place: Place) -> HealthCheck | None:
    """What this node tells about a Service whose load balancer must only send to nodes with endpoints."""
    spec = service.get("spec") or {}
    port = int(spec.get("healthCheckNodePort") or 0)
    if not port or not is_served(service) or spec.get("externalTrafficPolicy") != "Local":
        return None
    here = {
        (endpoint["addresses"][0], (endpoint.get("targetRef") or {}).get("uid"))
        for each in slices
        if not _is_left_to_others(each)
        for endpoint in each.get("endpoints") or ()
        if endpoint.get("addresses") and endpoint.get("nodeName") == place.node and _ready(endpoint)
    }
    # A pod of two families is in two slices and still one endpoint.
    return HealthCheck(port, namespace_of(service), name_of(service), len({uid or address for address, uid in here}))


def _is_left_to_others(obj: Object) -> bool:
    return any(label in labels_of(obj) for label in _NOT_OURS)


def _endpoints(slices: Iterable[Object], port: Object, family: str) -> Iterable[tuple[Target, Object]]:
    for piece in slices:
        number = _slice_port(piece, port)
        if number is None:
            continue
        for endpoint in piece.get("endpoints") or ():
            # All addresses of an endpoint are the same endpoint: one is enough (EndpointSlice API).
            if address := next(iter(all_of(family, (endpoint.get("addresses") or ())[:1])), ""):
                yield Target(address, number), endpoint


def _cluster_targets(endpoints: Sequence[tuple[Target, Object]], place: Place) -> tuple[Target, ...]:
    """Sorted and without repeats, so that an unchanged set of endpoints is an unchanged plan."""
    ready = [(target, endpoint) for target, endpoint in endpoints if _ready(endpoint)]
    chosen = ready or [(target, endpoint) for target, endpoint in endpoints if _leaving(endpoint)]
    if ready:
        for hint, mine in (("forNodes", place.node), ("forZones", place.zone)):
            hinted = [(target, _hints(endpoint, hint)) for target, endpoint in ready]
            near = [(target, endpoint) for (target, endpoint), (_, names) in zip(ready, hinted, strict=True) if mine in names]
            if mine and near and all(names for _, names in hinted):
                chosen = near
                break
    return tuple(sorted({target for target, _ in chosen}))


def _local_targets(endpoints: Sequence[tuple[Target, Object]], place: Place) -> tuple[Target, ...]:
    here = [(target, endpoint) for target, endpoint in endpoints if endpoint.get("nodeName") == place.node]
    ready = {target for target, endpoint in here if _ready(endpoint)}
    return tuple(sorted(ready or {target for target, endpoint in here if _leaving(endpoint)}))


def _hints(endpoint: Object, kind: str) -> list[str]:
    return [each["name"] for each in (endpoint.get("hints") or {}).get(kind) or () if each.get("name")]


def _ready(endpoint: Object) -> bool:
    return (endpoint.get("conditions") or {}).get("ready") is not False


def _leaving(endpoint: Object) -> bool:
    conditions = endpoint.get("conditions") or {}
    return conditions.get("serving") is not False and bool(conditions.get("terminating"))


def _slice_port(piece: Object, port: Object) -> int | None:
    for candidate in piece.get("ports") or ():
        same_name = (candidate.get("name") or "") == (port.get("name") or "")
        same_protocol = (candidate.get("protocol") or "TCP") == (port.get("protocol") or "TCP")
        if same_name and same_protocol and candidate.get("port"):
            return int(candidate["port"])
    return None


def _balancer_addresses(service: Object) -> list[str]:
    """ipMode Proxy: the balancer must see the connection itself, so it is not cut short here."""
    if (service.get("spec") or {}).get("type") != "LoadBalancer":
        return []
    ingress = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    return [entry["ip"] for entry in ingress if entry.get("ip") and entry.get("ipMode") != "Proxy"]


def _source_ranges(service: Object) -> list[str] | None:
    """None: everybody may come."""
    listed = (service.get("spec") or {}).get("loadBalancerSourceRanges")
    if not listed:
        annotations = (service.get("metadata") or {}).get("annotations") or {}
        listed = [each for each in (annotations.get(_ANNOTATED_RANGES) or "").split(",") if each.strip()]
    return [str(each).strip() for each in listed] or None


def _of_family(cidrs: Iterable[str], family: str) -> list[str]:
    """Without overlaps, which nft refuses in one set; ranges that say everybody stay a range."""
    networks = []
    for cidr in cidrs:
        try:
            network = ip_network(cidr, strict=False)
        except ValueError:
            continue  # stored by an older version's validation; what nobody can parse allows nobody
        if f"IPv{network.version}" == family:
            networks.append(network)
    return [str(network) for network in collapse_addresses(networks)]  # type: ignore[type-var]
