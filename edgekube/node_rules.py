"""How a node treats its pods, images and its own end: what an operator may choose, named as the kubelet names it.

Enters: flags, EDGEKUBE_* variables and /etc/edgekube/config.yaml, already read (cli.node_options).
Leaves: one immutable value, settings.Settings.node.
Holds: the defaults are the kubelet's, but for the grace of a shutdown, which is on; amounts are checked where they come in.
Source: Kubernetes documentation, "Kubelet Configuration (v1beta1)".
Next: agent.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, TypeAlias

from msgspec import Struct

REGISTRIES_FILE: Final = Path("/etc/edgekube/registries.yaml")

#: ("memory.available", "100Mi"), in the order of the kubelet's own defaults.
Pairs: TypeAlias = tuple[tuple[str, str], ...]

EVICTION_HARD: Final[Pairs] = (
    ("memory.available", "100Mi"),
    ("nodefs.available", "10%"),
    ("nodefs.inodesFree", "5%"),
    ("imagefs.available", "15%"),
    ("imagefs.inodesFree", "5%"),
)


class NodeRules(Struct, frozen=True):
    # Reservations: what pods do not get.
    kube_reserved: Pairs = ()
    system_reserved: Pairs = ()
    kube_reserved_cgroup: str = ""
    system_reserved_cgroup: str = ""
    enforce_allocatable: frozenset[str] = frozenset({"pods"})
    pods_max: int = 110
    # Registration.
    labels: Pairs = ()
    taints: tuple[tuple[str, str, str], ...] = ()  # key, value, effect
    # Eviction.
    eviction_hard: Pairs = EVICTION_HARD
    eviction_soft: Pairs = ()
    eviction_soft_grace: Pairs = ()
    eviction_minimum_reclaim: Pairs = ()
    eviction_transition_seconds: float = 300.0
    eviction_grace_seconds_max: int = 0
    # Images.
    image_gc_high_percent: int = 85
    image_gc_low_percent: int = 80
    image_age_seconds_min: float = 120.0
    image_age_seconds_max: float = 0.0  # 0: however old
    image_pulls_max: int = 1
    image_verification: str = "NeverVerifyPreloadedImages"
    image_allowlist: tuple[str, ...] = ()
    registries_file: Path = REGISTRIES_FILE
    credential_provider_config: Path | None = None
    credential_provider_dir: Path | None = None
    # Shutdown.
    shutdown_grace_seconds: float = 30.0
    shutdown_grace_critical_seconds: float = 10.0
    shutdown_grace_by_priority: tuple[tuple[int, float], ...] = ()
    # Of these there is one choice each: the others are refused by name.
    cpu_policy: str = "none"
    memory_policy: str = "None"
    topology_policy: str = "none"
