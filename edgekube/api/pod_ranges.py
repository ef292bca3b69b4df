"""Which addresses the pods of a node have.

Enters: a Node. Leaves: its ranges as text, IPv4 first; the ones that its machine had under an earlier Node of this name.
Holds: pure; what is no network is left out.
Next: controllers.nodeipam gives them, agent.node_object tells of former ones.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_network
from typing import Final

from edgekube.api.objects import Object, annotations_of

#: Annotation of a Node that its machine makes: ranges that its pods have already, separated by commas.
FORMER: Final = "edgekube.io/former-pod-cidrs"


def ranges_of_node(node: Object) -> tuple[str, ...]:
    spec = node.get("spec") or {}
    return _networks(spec.get("podCIDRs") or ([spec["podCIDR"]] if spec.get("podCIDR") else ()))


def former_ranges(node: Object) -> tuple[str, ...]:
    return _networks(annotations_of(node).get(FORMER, "").split(","))


def _networks(texts: Iterable[str]) -> tuple[str, ...]:
    found = []
    for text in texts:
        try:
            found.append(str(ip_network(text)))
        except ValueError:
            continue
    return tuple(found)
