"""What the cluster's zone says: names of Services, their ports, their endpoints, pods, and the names of addresses.

Enters: a name and a type; a View.
Leaves: a Reply with records, or None for a name that is not ours.
Holds: pure. A name that exists with other types is NOERROR without records, one that does not is NXDOMAIN, both with the SOA.
Source: Kubernetes DNS-Based Service Discovery, schema version 1.1.0; TTLs and dashed names as CoreDNS gives them.
Next: network.dns.message makes packets of replies.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final, NamedTuple

from msgspec import Struct

from edgekube.api.kinds import NAMESPACE, SERVICE
from edgekube.api.objects import Object, name_of, namespace_of
from edgekube.api.view import View
from edgekube.network.slices import SliceIndex, service_of

SCHEMA_VERSION: Final = "1.1.0"
TTL_SECONDS: Final = 5

A: Final = 1
CNAME: Final = 5
PTR: Final = 12
TXT: Final = 16
AAAA: Final = 28
SRV: Final = 33
ANY: Final = 255

_HEX_DIGIT: Final = re.compile("[0-9a-f]")

NOERROR: Final = 0
NXDOMAIN: Final = 3


class Answer(NamedTuple):
    """One record. ``data``: an address for A and AAAA, a name for CNAME and PTR, text for TXT,
    (priority, weight, port, target) for SRV."""

    name: str
    type: int
    data: object


class Reply(Struct, frozen=True):
    code: int
    answers: tuple[Answer, ...] = ()
    additional: tuple[Answer, ...] = ()
    #: A CNAME that leads out of the zone: the forwarder is to be asked for it.
    follow: str = ""


_MISSING: Final = Reply(NXDOMAIN)
_EMPTY: Final = Reply(NOERROR)


class _Endpoint(NamedTuple):
    address: str
    hostname: str
    ports: tuple[tuple[str, str, int], ...]  # (name, protocol, number)


class Zone:
    def __init__(self, view: View, domain: str, ranges: Sequence[str]) -> None:
        """``ranges``: pod and service CIDRs of either family, whose reverse zones are ours."""
        self.domain = domain
        self._view = view
        self._labels = domain.split(".")
        self._ranges = [ip_network(cidr) for cidr in ranges]
        self._slices = SliceIndex()
        self._service_addresses: dict[str, tuple[str, str]] = {}  # address -> (namespace, name)
        self._endpoint_addresses: dict[str, set[tuple[str, str]]] = {}
        #: Rises with every change, so that packets made earlier are known to be old.
        self.generation = 0

    def touch_service(self, old: Object | None, new: Object | None) -> None:
        self.generation += 1
        for address in _cluster_addresses(old):
            self._service_addresses.pop(address, None)
        for address in _cluster_addresses(new):
            assert new is not None
            self._service_addresses[address] = (namespace_of(new), name_of(new))

    def touch_slice(self, old: Object | None, new: Object | None) -> None:
        self.generation += 1
        self._slices.touch(old, new)
        for piece, present in ((old, False), (new, True)):
            service = service_of(piece) if piece is not None else None
            if piece is None or service is None:
                continue
            for endpoint in piece.get("endpoints") or ():
                for address in endpoint.get("addresses") or ():
                    services = self._endpoint_addresses.setdefault(address, set())
                    if present:
                        services.add(service)
                    else:
                        services.discard(service)
                    if not services:
                        del self._endpoint_addresses[address]

    def lookup(self, name: str, type_: int) -> Reply | None:
        """``name`` in lower case without the final dot. None: not a name of ours."""
        labels = name.split(".")
        if labels[-len(self._labels) :] == self._labels:
            return self._forward(name, labels[: -len(self._labels)], type_)
        if labels[-2:] in (["in-addr", "arpa"], ["ip6", "arpa"]):
            return self._reverse(name, labels, type_)
        return None

    def _forward(self, name: str, labels: list[str], type_: int) -> Reply:
        if not labels:
            return _EMPTY
        if labels == ["dns-version"]:
            return _select(name, type_, [Answer(name, TXT, SCHEMA_VERSION)])
        if labels[-1] == "svc":
            return self._in_svc(name, labels[:-1], type_)
        if labels[-1] == "pod":
            return self._in_pod(name, labels[:-1], type_)
        return _MISSING

    def _in_pod(self, name: str, labels: list[str], type_: int) -> Reply:
        if not labels:
            return _EMPTY
        if self._view.get(NAMESPACE, "", labels[-1]) is None or len(labels) > 2:
            return _MISSING
        if len(labels) == 1:
            return _EMPTY
        for text in (labels[0].replace("-", "."), labels[0].replace("-", ":")):
            try:
                address = ip_address(text)
            except ValueError:
                continue
            return _select(name, type_, [_address_answer(name, str(address))])
        return _MISSING

    def _in_svc(self, name: str, labels: list[str], type_: int) -> Reply:
        if not labels:
            return _EMPTY
        namespace = labels[-1]
        if len(labels) == 1:
            return _MISSING if self._view.get(NAMESPACE, "", namespace) is None else _EMPTY
        service = self._view.get(SERVICE, namespace, labels[-2])
        if service is None:
            return _MISSING
        spec = service.get("spec") or {}
        base = ".".join((*labels[-2:], "svc", self.domain))
        inner = labels[:-2]
        if spec.get("type") == "ExternalName":
            return _MISSING if inner else self._external(name, str(spec.get("externalName") or ""))
        if spec.get("clusterIP") == "None":
            return self._headless(name, base, inner, list(self._endpoints(namespace, labels[-2])), type_)
        return self._with_address(name, base, inner, spec, type_)

    def _external(self, name: str, target: str) -> Reply:
        target = target.rstrip(".").lower()
        return Reply(NOERROR, (Answer(name, CNAME, target),), follow=target) if target else _EMPTY

    def _with_address(self, name: str, base: str, inner: list[str], spec: Object, type_: int) -> Reply:
        addresses = [_address_answer(base, ip) for ip in spec.get("clusterIPs") or [spec.get("clusterIP")] if ip]
        ports = [
            (str(p.get("name") or ""), str(p.get("protocol") or "TCP").lower(), int(p["port"])) for p in spec.get("ports") or ()
        ]
        if not inner:
            services = [Answer(name, SRV, (0, 100, port, base)) for _, _, port in ports]
            return _select(name, type_, [*addresses, *services], addresses)
        matching = [port for port in ports if _port_matches(inner, port)]
        if not matching:
            return _EMPTY if _is_protocol(inner, ports) else _MISSING
        return _select(name, type_, [Answer(name, SRV, (0, 100, port, base)) for _, _, port in matching], addresses)

    def _headless(self, name: str, base: str, inner: list[str], endpoints: list[_Endpoint], type_: int) -> Reply:
        if not inner:
            if not endpoints:
                return _EMPTY
            unique = dict.fromkeys(endpoint.address for endpoint in endpoints)
            addresses = [_address_answer(name, address) for address in unique]
            every = [answer for endpoint in endpoints for answer in _port_records(name, base, endpoint, endpoint.ports)]
            return _select(name, type_, [*addresses, *every], _hosts(base, endpoints))
        if len(inner) == 1 and not inner[0].startswith("_"):
            own = [_address_answer(name, e.address) for e in endpoints if e.hostname == inner[0]]
            return _select(name, type_, own) if own else _MISSING
        found: list[Answer] = []
        for endpoint in endpoints:
            matching = tuple(port for port in endpoint.ports if _port_matches(inner, port))
            found.extend(_port_records(name, base, endpoint, matching))
        if not found:
            ports = [port for endpoint in endpoints for port in endpoint.ports]
            return _EMPTY if _is_protocol(inner, ports) else _MISSING
        return _select(name, type_, found, _hosts(base, endpoints))

    def _endpoints(self, namespace: str, service: str) -> Iterator[_Endpoint]:
        for piece in self._slices.slices(self._view, namespace, service):
            ports = tuple(
                (str(p.get("name") or ""), str(p.get("protocol") or "TCP").lower(), int(p["port"]))
                for p in piece.get("ports") or ()
                if p.get("port")
            )
            for endpoint in piece.get("endpoints") or ():
                if (endpoint.get("conditions") or {}).get("ready") is False:
                    continue
                for address in endpoint.get("addresses") or ():
                    yield _Endpoint(address, str(endpoint.get("hostname") or _dashed(address)), ports)

    def _reverse(self, name: str, labels: list[str], type_: int) -> Reply | None:
        address = _address_of(labels)
        if address is None:
            return None
        found: list[Answer] = []
        service = self._service_addresses.get(address)
        if service is not None:
            found.append(Answer(name, PTR, f"{service[1]}.{service[0]}.svc.{self.domain}"))
        for namespace, headless in sorted(self._endpoint_addresses.get(address, ())):
            owner = self._view.get(SERVICE, namespace, headless)
            if owner is None or (owner.get("spec") or {}).get("clusterIP") != "None":
                continue
            hosts = {e.hostname for e in self._endpoints(namespace, headless) if e.address == address}
            found.extend(Answer(name, PTR, f"{host}.{headless}.{namespace}.svc.{self.domain}") for host in sorted(hosts))
        if found:
            return _select(name, type_, found)
        ours = any(ip_address(address) in cidr for cidr in self._ranges)
        return _MISSING if ours else None


def _select(name: str, type_: int, answers: Iterable[Answer], additional: Iterable[Answer] = ()) -> Reply:
    """The answers of the asked type, under the asked name; addresses of SRV targets go beside them."""
    chosen = tuple(Answer(name, a.type, a.data) if a.type != SRV else a for a in answers if type_ in (a.type, ANY))
    beside = tuple(dict.fromkeys(additional)) if type_ == SRV and chosen else ()
    return Reply(NOERROR, chosen, beside)


def _port_records(name: str, base: str, endpoint: _Endpoint, ports: Iterable[tuple[str, str, int]]) -> Iterator[Answer]:
    for _, _, number in ports:
        yield Answer(name, SRV, (0, 100, number, f"{endpoint.hostname}.{base}"))


def _hosts(base: str, endpoints: Iterable[_Endpoint]) -> list[Answer]:
    return [_address_answer(f"{e.hostname}.{base}", e.address) for e in endpoints]


def _port_matches(inner: list[str], port: tuple[str, str, int]) -> bool:
    return len(inner) == 2 and bool(port[0]) and inner == [f"_{port[0]}", f"_{port[1]}"]


def _is_protocol(inner: list[str], ports: Iterable[tuple[str, str, int]]) -> bool:
    """``_tcp.web.shop.svc…`` exists as soon as a named port has the protocol, but has no records of its own."""
    return len(inner) == 1 and any(name and inner[0] == f"_{protocol}" for name, protocol, _ in ports)


def _address_answer(name: str, address: str) -> Answer:
    return Answer(name, AAAA if ":" in address else A, address)


def _dashed(address: str) -> str:
    return address.replace(".", "-").replace(":", "-")


def _address_of(labels: list[str]) -> str | None:
    """The address that a reverse name stands for, spelled as objects spell it; None for what is no address."""
    try:
        if labels[-2] == "in-addr" and len(labels) == 6:
            return str(IPv4Address(".".join(labels[3::-1])))
        if labels[-2] == "ip6" and len(labels) == 34 and all(_HEX_DIGIT.fullmatch(label) for label in labels[:32]):
            return str(IPv6Address(int("".join(labels[31::-1]), 16)))
    except ValueError:
        pass
    return None


def _cluster_addresses(service: Object | None) -> list[str]:
    spec = (service or {}).get("spec") or {}
    addresses = spec.get("clusterIPs") or [spec.get("clusterIP")]
    return [address for address in addresses if address and address != "None"]
