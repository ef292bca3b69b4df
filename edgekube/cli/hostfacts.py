"""What ``edgekube check`` knows of a host, as plain values: everything that a judgement may rest on.

Enters: nothing. Leaves: HostFacts, which can be written to and read from JSON (the fixtures of tests are such files).
Holds: pure. Next: cli.gathering fills it, cli.judging reads it.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class PortHolder:
    """Somebody listens there. ``ours``: it is this edgekube. ``program`` may be empty when it cannot be seen."""

    port: int
    purpose: str
    program: str = ""
    pid: int = 0
    ours: bool = False


@dataclass(slots=True)
class ForwardDrop:
    """A chain that drops what is forwarded and was not accepted. ``accepts_pods``: it names the pods' addresses."""

    chain: str
    accepts_pods: bool = False


@dataclass(slots=True)
class HostFacts:
    root: bool = True
    architecture: str = "x86_64"
    model: str = ""
    os_id: str = "debian"
    os_name: str = ""
    kernel: str = ""
    python: str = ""
    memory_bytes: int = 0
    swap_bytes: int = 0
    hostname: str = ""
    node_name: str = ""
    node_address: str = ""
    #: 1, 2, or 0 when /sys/fs/cgroup is not there.
    cgroup_version: int = 2
    cgroup_controllers: list[str] = field(default_factory=list)
    #: The file that holds the kernel's command line on a Raspberry Pi; "" elsewhere.
    cmdline_file: str = ""
    #: What the kernel refused, by feature: the words of ip or nft. Not tried without root.
    kernel_refused: dict[str, str] = field(default_factory=dict)
    ip_forward: bool = True
    ip_forward_settable: bool = True
    now: float = 0.0
    built_at: float = 0.0
    ports: list[PortHolder] = field(default_factory=list)
    #: Program or plugin -> path; "" when it is not there.
    programs: dict[str, str] = field(default_factory=dict)
    containerd_version: str = ""
    containerd_address: str = ""
    data_dir: str = "/var/lib/edgekube"
    data_filesystem: str = ""
    data_free_bytes: int = 0
    data_total_bytes: int = 0
    data_writable: bool = True
    #: None: not tried.
    overlay_works: bool | None = None
    forward_drops: list[ForwardDrop] = field(default_factory=list)
    #: What another cluster left or runs here: "k3s is running (pid 812)", "chain KUBE-SERVICES in table ip nat".
    other_clusters: list[str] = field(default_factory=list)
    #: Routes of the host that lie in the cluster's own ranges: "10.42.0.0/16 dev cni0".
    overlapping_routes: list[str] = field(default_factory=list)
    cluster_cidr: str = "10.42.0.0/16"
    service_cidr: str = "10.43.0.0/16"
    agent: bool = True

    def as_object(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_object(cls, obj: dict[str, Any]) -> HostFacts:
        """Raises TypeError for a key that there is not."""
        obj = dict(obj)
        obj["ports"] = [PortHolder(**port) for port in obj.get("ports", ())]
        obj["forward_drops"] = [ForwardDrop(**drop) for drop in obj.get("forward_drops", ())]
        return cls(**obj)
