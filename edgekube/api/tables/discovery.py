"""Tables of the group discovery.k8s.io.

Enters: objects and the time.
Leaves: cells.
Next: tables.
"""

from __future__ import annotations

from typing import Any, Final

from edgekube.api.objects import Object
from edgekube.api.tables.columns import AGE, NAME, Table, age, first_few, listed, name, text


def _port(port: Object) -> str:
    number = port.get("port")
    return str(number) if number is not None else port.get("name") or "*"


def _endpoint_slice(endpoint_slice: Object, now: float) -> list[Any]:
    addresses = [address for endpoint in listed(endpoint_slice, "endpoints") for address in listed(endpoint, "addresses")]
    return [
        name(endpoint_slice),
        endpoint_slice.get("addressType") or "",
        first_few([_port(port) for port in listed(endpoint_slice, "ports")]) or "<unset>",
        first_few(addresses) or "<unset>",
        age(endpoint_slice, now),
    ]


TABLES: Final[dict[str, Table]] = {
    "EndpointSlice": Table(
        (
            NAME,
            text("AddressType", "IPv4, IPv6 or FQDN."),
            text("Ports", "Ports of the endpoints."),
            text("Endpoints", "Addresses of the endpoints."),
            AGE,
        ),
        _endpoint_slice,
    )
}
