"""Which of the clusters on a LAN is meant, and where its servers are.

Enters: announcements; what the operator said of the cluster (id, name or the beginning of its CA's fingerprint), or nothing.
Leaves: one cluster's servers, nearest guess first; SeveralClusters when the choice would be a guess.
Holds: pure. Two that share an id or a name but not the CA are two: somebody pretends.
Next: daemon.finding.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from msgspec import Struct

from edgekube.discovery.announcement import Announcement

_PREFIX: Final = re.compile(r"[0-9a-f]{8,64}")


class FoundCluster(Struct, frozen=True):
    id: str
    name: str
    ca: str
    addresses: tuple[tuple[str, int], ...]


class SeveralClusters(Exception):
    """More than one could be meant; the text lists them."""


def is_meant(wanted: str, cluster_id: str, name: str, ca: str) -> bool:
    """``wanted`` "": any."""
    if not wanted:
        return True
    text = wanted.lower()
    return text in (cluster_id, name.lower()) or (_PREFIX.fullmatch(text) is not None and ca.startswith(text))


def found(announcements: Iterable[Announcement], wanted: str = "") -> list[FoundCluster]:
    """The clusters that are meant, each with the addresses of all its servers: first each server's first one."""
    servers: dict[tuple[str, str], list[Announcement]] = {}
    for announcement in announcements:
        if announcement.role == "server" and is_meant(
            wanted, announcement.cluster_id, announcement.cluster_name, announcement.ca
        ):
            servers.setdefault(announcement.cluster, []).append(announcement)
    clusters = []
    for (cluster_id, ca), own in sorted(servers.items()):
        own.sort(key=_order)
        clusters.append(FoundCluster(cluster_id, own[0].cluster_name, ca, _addresses(own)))
    return clusters


def _order(announcement: Announcement) -> tuple[str, tuple[str, ...]]:
    return (announcement.node, announcement.addresses)


def _addresses(servers: list[Announcement]) -> tuple[tuple[str, int], ...]:
    most = max(len(server.addresses) for server in servers)
    turns = [(server.addresses[turn], server.port) for turn in range(most) for server in servers if turn < len(server.addresses)]
    return tuple(dict.fromkeys(turns))


def the_one(clusters: list[FoundCluster]) -> FoundCluster | None:
    """None when there is none yet. Raises SeveralClusters."""
    if len(clusters) > 1:
        lines = [f"  --cluster {cluster.ca[:16]}   {cluster.name}, id {cluster.id}" for cluster in clusters]
        raise SeveralClusters(
            "several clusters announce themselves on this LAN; choose one by the fingerprint of its CA (sudo edgekube token list "
            "and the server's log show it):\n" + "\n".join(lines)
        )
    return clusters[0] if clusters else None
