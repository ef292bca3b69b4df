"""Names on the LAN: a name belongs to one Service, and what cannot be a name is refused with a reason."""

from __future__ import annotations

from typing import Any

import pytest

from edgekube import limits
from edgekube.api.lan_names import MDNS_NAME, LanName, lan_names
from edgekube.api.objects import Object


def named(name: str, wanted: str, address: str = "192.0.2.200", created: str = "1", **spec: Any) -> Object:
    return {
        "metadata": {"name": name, "namespace": "shop", "creationTimestamp": created, "annotations": {MDNS_NAME: wanted}},
        "spec": {"type": "LoadBalancer", "ports": [{"port": 80}], **spec},
        "status": {"loadBalancer": {"ingress": [{"ip": address}] if address else []}},
    }


def test_a_name_has_the_services_addresses_and_its_first_port() -> None:
    assert lan_names([named("a", "Shelf.local."), named("b", "safe", ports=[{"port": 8443, "name": "https"}, {"port": 80}])]) == (
        {"shelf": LanName("shelf", ("192.0.2.200",), 80, False), "safe": LanName("safe", ("192.0.2.200",), 8443, True)},
        [],
    )


def test_the_oldest_has_the_name_even_while_it_has_no_address() -> None:
    names, complaints = lan_names([named("new", "shelf", created="2"), named("old", "shelf", "", created="1")])
    assert names == {} and [(service["metadata"]["name"], why) for service, why in complaints] == [
        ("new", "edgekube.io/mdns-name: shelf.local belongs to Service shop/old")
    ]


@pytest.mark.parametrize(
    ("service", "why"),
    [
        (named("a", "two words"), "cannot be a name"),
        (named("a", "-x"), "cannot be a name"),
        (named("a", "a.b"), "cannot be a name"),
        (named("a", "x" * 64), "cannot be a name"),
        (named("a", "shelf", type="NodePort"), "only a Service of type LoadBalancer"),
    ],
)
def test_what_cannot_be_followed_says_why(service: Object, why: str) -> None:
    names, complaints = lan_names([service])
    assert names == {} and why in complaints[0][1]


def test_names_have_an_end() -> None:
    names, complaints = lan_names(named(f"s{number:03}", f"n{number}") for number in range(limits.LAN_NAMES_MAX + 1))
    assert len(names) == limits.LAN_NAMES_MAX and "has 256 names" in complaints[0][1]
