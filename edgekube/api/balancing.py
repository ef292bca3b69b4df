"""Which Services and nodes load balancing is about: what the controller that gives addresses and the nodes that answer for them
must see alike.

Enters: Services, Nodes, EndpointSlices. Leaves: yes or no, addresses, names of nodes. Holds: pure.
Source: kubernetes.io, Service, "Specifying class of load balancer implementation"; well-known labels.
Next: controllers.loadbalancer, network.lan_addresses.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from edgekube.api.objects import Object, is_deleting, labels_of

#: Who wants one of several load balancers by name says this one.
CLASS: Final = "edgekube.io/lan"
#: The segments that a node is plugged into, as its agent says: networks, separated by commas.
SEGMENTS: Final = "edgekube.io/segments"
_EXCLUDED: Final = "node.kubernetes.io/exclude-from-external-load-balancers"


def is_balanced(service: Object) -> bool:
    """A Service that we give addresses to."""
    spec = service.get("spec") or {}
    chosen = spec.get("loadBalancerClass")
    return spec.get("type") == "LoadBalancer" and chosen in (None, "", CLASS) and not is_deleting(service)


def is_balancing(node: Object) -> bool:
    """A node that may take traffic from outside: Ready, and not excluded by its label."""
    conditions = (node.get("status") or {}).get("conditions") or ()
    ready = any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions)
    return ready and _EXCLUDED not in labels_of(node) and not is_deleting(node)


def balanced_addresses(service: Object) -> list[str]:
    """status.loadBalancer.ingress, those that are addresses."""
    ingress = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    return [str(entry["ip"]) for entry in ingress if entry.get("ip")]


def nodes_with_endpoints(slices: Iterable[Object]) -> set[str]:
    """Names of nodes with an endpoint that takes connections."""
    return {
        str(endpoint.get("nodeName") or "")
        for piece in slices
        for endpoint in piece.get("endpoints") or ()
        if (endpoint.get("conditions") or {}).get("ready") is not False
    }
