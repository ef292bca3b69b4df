"""Names on the LAN: which Services are reached as NAME.local, as an annotation asks.

Enters: Services.
Leaves: the names with their addresses and ports; complaints about annotations that cannot be followed.
Holds: pure. A name belongs to the oldest Service that asks for it; one that has no address on the LAN (yet) has no name.
Bound: limits.LAN_NAMES_MAX names.
Source: RFC 6762, section 3 (``.local``), RFC 1123 (labels).
Next: controllers.loadbalancer complains, discovery.lan_names announces.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from msgspec import Struct

from edgekube import limits
from edgekube.api.balancing import balanced_addresses
from edgekube.api.objects import Object, annotations_of, is_deleting, name_of, namespace_of

#: ``edgekube.io/mdns-name: myapp`` makes a Service of type LoadBalancer known as myapp.local.
MDNS_NAME: Final = "edgekube.io/mdns-name"
_LABEL: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


class LanName(Struct, frozen=True):
    name: str  # without .local
    addresses: tuple[str, ...]
    port: int  # the first of the Service
    secure: bool  # browsers are told https


def lan_names(services: Iterable[Object]) -> tuple[dict[str, LanName], list[tuple[Object, str]]]:
    """(names, complaints by Service)."""
    asking = [service for service in services if MDNS_NAME in annotations_of(service) and not is_deleting(service)]
    asking.sort(key=lambda s: (s["metadata"].get("creationTimestamp") or "", namespace_of(s), name_of(s)))
    owners: dict[str, str] = {}
    names: dict[str, LanName] = {}
    complaints: list[tuple[Object, str]] = []
    for service in asking:
        spec = service.get("spec") or {}
        wanted = annotations_of(service)[MDNS_NAME].lower().removesuffix(".").removesuffix(".local")
        if not _LABEL.fullmatch(wanted):
            complaints.append((service, f"{MDNS_NAME}: {wanted!r} cannot be a name; give letters, digits and '-', as myapp"))
        elif spec.get("type") != "LoadBalancer":
            complaints.append((service, f"{MDNS_NAME}: only a Service of type LoadBalancer has an address on the LAN"))
        elif wanted in owners:
            complaints.append((service, f"{MDNS_NAME}: {wanted}.local belongs to Service {owners[wanted]}"))
        elif len(owners) >= limits.LAN_NAMES_MAX:
            complaints.append((service, f"{MDNS_NAME}: the LAN has {limits.LAN_NAMES_MAX} names of this cluster already"))
        else:
            owners[wanted] = f"{namespace_of(service)}/{name_of(service)}"
            addresses = tuple(balanced_addresses(service))
            ports = spec.get("ports") or ()
            if addresses and ports:
                port = int(ports[0]["port"])
                names[wanted] = LanName(wanted, addresses, port, port == 443 or ports[0].get("name") == "https")
    return names, complaints
