"""What every node has to know of its cluster, as one value with three spellings.

Enters: the server's settings and certificates; a ConfigMap's data; a file.
Leaves: ClusterFacts, and ConfigMap data with the keys that people see in kube-system/edgekube-cluster.
Holds: pure; nothing in it is secret; what cannot be read raises ValueError and says which key.
Next: server.cluster_facts writes it, daemon.agent lives by it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct

NAMESPACE: Final = "kube-system"
NAME: Final = "edgekube-cluster"


class ClusterFacts(Struct, frozen=True):
    cluster_id: str  # uid of the namespace kube-system
    name: str
    cluster_cidr: str
    service_cidr: str
    cluster_dns: str
    cluster_domain: str
    authorities: str  # PEM of every CA that is trusted now
    servers: tuple[str, ...]  # https://HOST:PORT
    load_balancer_pool: str = ""  # which addresses nodes answer for
    signing_authority: str = ""  # SHA-256 of the CA that nodes are to hold certificates of; "": any that is trusted

    def as_data(self) -> dict[str, str]:
        """The data of the ConfigMap, and what a node is told when it joins."""
        return {
            "cluster-id": self.cluster_id,
            "cluster-name": self.name,
            "cluster-cidr": self.cluster_cidr,
            "service-cidr": self.service_cidr,
            "cluster-dns": self.cluster_dns,
            "cluster-domain": self.cluster_domain,
            "ca.crt": self.authorities,
            "servers": "\n".join(self.servers),
            "load-balancer-pool": self.load_balancer_pool,
            "signing-authority": self.signing_authority,
        }


def default_name(cluster_id: str) -> str:
    return f"edgekube-{cluster_id[:8]}"


def facts_from(data: Mapping[str, Any]) -> ClusterFacts:
    """The reverse of ``as_data``. Keys of later versions are passed over."""

    def text(key: str) -> str:
        value = data.get(key)
        if not isinstance(value, str) or not value.strip():
            raise ValueError(f"the cluster's facts lack {key!r}")
        return value

    return ClusterFacts(
        cluster_id=text("cluster-id"),
        name=text("cluster-name"),
        cluster_cidr=text("cluster-cidr"),
        service_cidr=text("service-cidr"),
        cluster_dns=text("cluster-dns"),
        cluster_domain=text("cluster-domain"),
        authorities=text("ca.crt"),
        servers=tuple(text("servers").split()),
        load_balancer_pool=str(data.get("load-balancer-pool") or ""),
        signing_authority=str(data.get("signing-authority") or ""),
    )
