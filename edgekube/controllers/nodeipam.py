"""Every node gets a range of pod addresses: the lowest free one of the cluster's, in each of its families.

Enters: nodes, and the cluster's ranges given at construction.
Leaves: spec.podCIDR and spec.podCIDRs.
Holds: a range belongs to one node; all nodes are one key, so that two nodes are never planned side by side.
Source: k8s.io/kubernetes pkg/controller/nodeipam (range allocator).
Next: network.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Final, TypeAlias

from edgekube.api.calls import Call, Patch, Record
from edgekube.api.controller import Change, Controller, Key, Moment
from edgekube.api.kinds import NODE
from edgekube.api.objects import Object, is_deleting, name_of, uid_of
from edgekube.api.pod_ranges import former_ranges
from edgekube.api.view import View

Network: TypeAlias = IPv4Network | IPv6Network

#: 254 addresses for 110 pods, and one IPv6 subnet, as upstream's --node-cidr-mask-size-ipv4 and -ipv6.
NODE_PREFIX: Final = {4: 24, 6: 64}
_ALL_NODES: Final = Key("", "")


def plan(cluster_cidr: str, view: View, key: Key, now: Moment) -> list[Call]:
    """``cluster_cidr``: "v4", or "v4,v6"; a node gets one range of each."""
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
    clusters = [ip_network(cluster) for cluster in cluster_cidr.split(",")]
    #: Drawn from for all nodes of this plan: what is taken is gone through once.
    free = [_free(cluster, tuple(taken)) for cluster in clusters]
    calls: list[Call] = []
    for node in sorted(wanting, key=lambda node: (node["metadata"].get("creationTimestamp") or "", name_of(node))):
        cidrs = [
            _former(node, cluster, taken) or next((each for each in ranges if str(each) not in taken), None)
            for cluster, ranges in zip(clusters, free, strict=True)
        ]
        if None in cidrs:
            message = f"Node {name_of(node)} status is now: CIDRNotAvailable"
            calls.append(Record(node, "Normal", "CIDRNotAvailable", message))
            continue
        texts = [str(cidr) for cidr in cidrs]
        taken.update(texts)
        patch = {"metadata": {"uid": uid_of(node)}, "spec": {"podCIDR": texts[0], "podCIDRs": texts}}
        calls.append(Patch(NODE, "", name_of(node), patch))
    return calls


def _former(node: Object, cluster: Network, taken: Iterable[str]) -> Network | None:
    """The range that a machine has pods in: one whose Node was deleted by mistake comes back without ending any."""
    for wanted in map(ip_network, former_ranges(node)):
        prefix = max(NODE_PREFIX[cluster.version], cluster.prefixlen)
        free = not any(each.version == wanted.version and each.overlaps(wanted) for each in map(ip_network, taken))
        if wanted.version == cluster.version and wanted.prefixlen == prefix and wanted[0] in cluster and free:
            return wanted
    return None


def _free(cluster: Network, taken: Iterable[str]) -> Iterator[Network]:
    """The ranges that nobody has, lowest first."""
    base, prefix = int(cluster.network_address), max(NODE_PREFIX[cluster.version], cluster.prefixlen)
    held = sorted((int(each[0]), int(each[-1])) for each in map(ip_network, taken) if each.version == cluster.version)
    size = 1 << (cluster.max_prefixlen - prefix)
    reach, at = -1, 0  # how far those go that begin before the end of this one
    for number in range(1 << (prefix - cluster.prefixlen)):
        first = base + number * size
        while at < len(held) and held[at][0] < first + size:
            reach, at = max(reach, held[at][1]), at + 1
        if reach < first:
            yield ip_network((first, prefix))


def _when_one_lacks(change: Change, view: View) -> Iterable[Key]:
    """A node without a range, or the end of one, which frees its range for others."""
    return () if change.new is not None and (change.new.get("spec") or {}).get("podCIDR") else (_ALL_NODES,)


def controller(cluster_cidr: str) -> Controller:
    return Controller(name="node-ipam-controller", watches=((NODE, _when_one_lacks),), plan=partial(plan, cluster_cidr))
