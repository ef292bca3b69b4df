"""Defaults of networking.k8s.io and discovery.k8s.io.

Enters: an object of these groups.
Leaves: the same, with every field that Kubernetes fills set.
Source: networking/v1 and discovery/v1 SetDefaults_*.
Next: api.defaults.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from edgekube.api.defaults.fill import fill_missing, items, part
from edgekube.api.objects import Object


def default_network_policy(policy: Object) -> None:
    spec = part(policy, "spec")
    part(spec, "podSelector")
    for direction in ("ingress", "egress"):
        for rule in items(spec, direction):
            for port in items(rule, "ports"):
                fill_missing(port, {"protocol": "TCP"})
    if not spec.get("policyTypes"):
        spec["policyTypes"] = ["Ingress", "Egress"] if spec.get("egress") else ["Ingress"]


def default_ingress(ingress: Object) -> None:
    part(ingress, "spec")
    part(part(ingress, "status"), "loadBalancer")


def default_ingress_class(ingress_class: Object) -> None:
    parameters = part(ingress_class, "spec").get("parameters")
    if isinstance(parameters, dict):
        fill_missing(parameters, {"scope": "Cluster"})


def default_service_cidr(cidr: Object) -> None:
    part(cidr, "spec")
    part(cidr, "status")


def default_endpoint_slice(endpoint_slice: Object) -> None:
    for port in items(endpoint_slice, "ports"):
        fill_missing(port, {"name": "", "protocol": "TCP"})
    for endpoint in items(endpoint_slice, "endpoints"):
        part(endpoint, "conditions")
    endpoint_slice.setdefault("endpoints", [])


DEFAULTERS: Final[dict[str, Callable[[Object], None]]] = {
    "Ingress": default_ingress,
    "IngressClass": default_ingress_class,
    "NetworkPolicy": default_network_policy,
    "ServiceCIDR": default_service_cidr,
}
DISCOVERY_DEFAULTERS: Final[dict[str, Callable[[Object], None]]] = {"EndpointSlice": default_endpoint_slice}
