"""Who is on the LAN, as far as was heard: bounded, and fair to the first honest machine among ten thousand forged ones.

Enters: announcements by instance name; instances that said goodbye.
Leaves: what is known now, by cluster.
Holds: pure. When it is full, one of the cluster with the most instances gives way, chosen by a keyed hash that nobody outside can
steer: a flood under one cluster's name costs that name only, and a flood of names keeps a fair sample of everything heard.
Bound: DISCOVERED_INSTANCES_MAX, DISCOVERED_PER_CLUSTER_MAX.
Next: cli.discover prints it; discovery.servers chooses from it.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Iterator

from edgekube import limits
from edgekube.discovery.announcement import Announcement


def _anything(announcement: Announcement) -> bool:
    return True


class Seen:
    """``wanted`` keeps only what the caller could use, for instance servers of its own cluster."""

    def __init__(
        self,
        wanted: Callable[[Announcement], bool] = _anything,
        *,
        instances_max: int = limits.DISCOVERED_INSTANCES_MAX,
        per_cluster_max: int = limits.DISCOVERED_PER_CLUSTER_MAX,
    ) -> None:
        self._wanted = wanted
        self._instances_max = instances_max
        self._per_cluster_max = per_cluster_max
        self._key = secrets.token_bytes(16)
        self._clusters: dict[tuple[str, str], dict[str, Announcement]] = {}
        self._cluster_of: dict[str, tuple[str, str]] = {}
        self._order: dict[str, bytes] = {}
        self.gave_way = 0

    def put(self, instance: str, announcement: Announcement) -> bool:
        """Whether anything is known now that was not before."""
        if not self._wanted(announcement):
            return self.remove(instance)
        known = self._clusters.get(self._cluster_of.get(instance, ("", "")), {}).get(instance)
        if known == announcement:
            return False
        self.remove(instance)
        self._cluster_of[instance] = announcement.cluster
        self._order[instance] = hashlib.blake2b(instance.encode(), key=self._key, digest_size=8).digest()
        self._clusters.setdefault(announcement.cluster, {})[instance] = announcement
        if len(self._clusters[announcement.cluster]) > self._per_cluster_max:
            self._make_room(announcement.cluster)
        elif len(self._cluster_of) > self._instances_max:
            most = max(len(instances) for instances in self._clusters.values())
            largest = [cluster for cluster, instances in self._clusters.items() if len(instances) == most]
            self._make_room(*largest)
        return instance in self._cluster_of

    def _make_room(self, *clusters: tuple[str, str]) -> None:
        victim = max((instance for cluster in clusters for instance in self._clusters[cluster]), key=self._order.__getitem__)
        self.remove(victim)
        self.gave_way += 1

    def remove(self, instance: str) -> bool:
        cluster = self._cluster_of.pop(instance, None)
        if cluster is None:
            return False
        del self._order[instance]
        instances = self._clusters[cluster]
        del instances[instance]
        if not instances:
            del self._clusters[cluster]
        return True

    def __len__(self) -> int:
        return len(self._cluster_of)

    def __iter__(self) -> Iterator[Announcement]:
        for instances in self._clusters.values():
            yield from instances.values()

    def clusters(self) -> dict[tuple[str, str], list[Announcement]]:
        """(id, CA) to announcements, servers first, then by node name."""
        return {
            cluster: sorted(instances.values(), key=lambda a: (a.role != "server", a.node, a.addresses))
            for cluster, instances in self._clusters.items()
        }
