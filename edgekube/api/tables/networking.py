"""Tables of the group networking.k8s.io.

Enters: objects and the time.
Leaves: cells.
Next: tables.
"""

from __future__ import annotations

from typing import Any, Final

from edgekube.api.objects import Object
from edgekube.api.tables.columns import AGE, NAME, Table, age, label_selector, listed, name, part, section, text
from edgekube.api.tables.core import load_balancer_addresses

_HOSTS_SHOWN_MAX: Final = 3


def _hosts(rules: list[Object]) -> str:
    hosts: list[str] = []
    for rule in rules:
        if len(hosts) == _HOSTS_SHOWN_MAX:
            return f"{','.join(hosts)} + {len(rules) - _HOSTS_SHOWN_MAX} more..."
        if rule.get("host"):
            hosts.append(rule["host"])
    return ",".join(hosts) or "*"


def _ingress(ingress: Object, now: float) -> list[Any]:
    spec = section(ingress, "spec")
    return [
        name(ingress),
        spec.get("ingressClassName") or "<none>",
        _hosts(listed(spec, "rules")),
        load_balancer_addresses(ingress),
        "80, 443" if listed(spec, "tls") else "80",
        age(ingress, now),
    ]


def _ingress_class(ingress_class: Object, now: float) -> list[Any]:
    parameters = part(ingress_class, "spec", "parameters")
    shown = "<none>"
    if parameters:
        group = parameters.get("apiGroup")
        shown = f"{parameters.get('kind') or ''}{f'.{group}' if group else ''}/{parameters.get('name') or ''}"
    return [name(ingress_class), part(ingress_class, "spec", "controller") or "", shown, age(ingress_class, now)]


def _network_policy(policy: Object, now: float) -> list[Any]:
    return [name(policy), label_selector(section(policy, "spec", "podSelector")), age(policy, now)]


def _ip_address(address: Object, now: float) -> list[Any]:
    parent = section(address, "spec", "parentRef")
    shown = "<none>"
    if parent:
        group = parent.get("group")
        resource = f"{parent.get('resource') or ''}{f'.{group}' if group else ''}".lower()
        shown = "/".join([resource, *([parent["namespace"]] if parent.get("namespace") else []), parent.get("name") or ""])
    return [name(address), shown]


def _service_cidr(cidr: Object, now: float) -> list[Any]:
    return [name(cidr), ",".join(listed(cidr, "spec", "cidrs")), age(cidr, now)]


TABLES: Final[dict[str, Table]] = {
    "Ingress": Table(
        (
            NAME,
            text("Class", "The class whose controller serves it."),
            text("Hosts", "Hosts that requests are matched against."),
            text("Address", "Addresses of the load balancer."),
            text("Ports", "Ports that are open; 443 with TLS."),
            AGE,
        ),
        _ingress,
    ),
    "IngressClass": Table(
        (NAME, text("Controller", "Who serves this class."), text("Parameters", "Where its parameters are."), AGE),
        _ingress_class,
    ),
    "NetworkPolicy": Table((NAME, text("Pod-Selector", "Labels of the pods that it is for."), AGE), _network_policy),
    "IPAddress": Table((NAME, text("ParentRef", "What holds the address.")), _ip_address),
    "ServiceCIDR": Table((NAME, text("CIDRs", "Ranges that services get addresses from."), AGE), _service_cidr),
}
