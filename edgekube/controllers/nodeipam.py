"""Every node gets a range of pod addresses: the lowest free one of the cluster's.

Enters: nodes, and the cluster's range given at construction.
Leaves: spec.podCIDR and spec.podCIDRs.
Holds: a range belongs to one node; all nodes are one key, so that two nodes are never planned side by side.
Source: k8s.io/kubernetes pkg/controller/nodeipam (range allocator).
Next: network.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from ipaddress import IPv4Network
from typing import Final

from edgekube.api.calls import Call, Patch, Record
from edgekube.api.controller import Change, Controller, Key, Moment
from edgekube.api.kinds import NODE
from edgekube.api.objects import Object, is_deleting, name_of, uid_of
from edgekube.api.view import View

#: 254 addresses for 110 pods, as upstream's --node-cidr-mask-size.
NODE_PREFIX: Final = 24
_ALL_NODES: Final = Key("", "")


def plan(cluster_cidr: str, view: View, key: Key, now: Moment) -> list[Call]:
    taken: set[str] = set()
    wanting: list[Object] = []
    for node in view.list(NODE):
        spec = node.get("spec") or {}
        if spec.get("podCIDR"):
            taken |= {str(spec["podCIDR"]), *(spec.get("podCIDRs") or ())}
        elif not is_deleting(node):
            wanting.append(node)
    if not wanting:
        return []
    held = [IPv4Network(each) for each in taken if ":" not in each]
    cluster = IPv4Network(cluster_cidr)
    free = (
        each
        for each in cluster.subnets(new_prefix=max(NODE_PREFIX, cluster.prefixlen))
        if not any(each.overlaps(other) for other in held)
    )
    calls: list[Call] = []
    for node in sorted(wanting, key=lambda node: (node["metadata"].get("creationTimestamp") or "", name_of(node))):
        cidr = next(free, None)
        if cidr is None:
            message = f"Node {name_of(node)} status is now: CIDRNotAvailable"
            calls.append(Record(node, "Normal", "CIDRNotAvailable", message))
            continue
        patch = {"metadata": {"uid": uid_of(node)}, "spec": {"podCIDR": str(cidr), "podCIDRs": [str(cidr)]}}
        calls.append(Patch(NODE, "", name_of(node), patch))
    return calls


def _when_one_lacks(change: Change, view: View) -> Iterable[Key]:
    """A node without a range, or the end of one, which frees its range for others."""
    return () if change.new is not None and (change.new.get("spec") or {}).get("podCIDR") else (_ALL_NODES,)


def controller(cluster_cidr: str) -> Controller:
    return Controller(name="node-ipam-controller", watches=((NODE, _when_one_lacks),), plan=partial(plan, cluster_cidr))
