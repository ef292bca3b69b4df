"""What an operator may choose, and the paths that follow from it.

Enters: flags, EDGEKUBE_* variables and /etc/edgekube/config.yaml, already merged (cli.options).
Leaves: one immutable value that daemon hands down; nothing below daemon reads the environment.
Holds: every path that users rely on is spelled here and nowhere else.
Next: daemon.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Final

from msgspec import Struct

from edgekube.node_rules import NodeRules

CONFIG_FILE: Final = Path("/etc/edgekube/config.yaml")
ADMIN_KUBECONFIG: Final = Path("/etc/edgekube/kubeconfig.yaml")

DATA_DIR: Final = Path("/var/lib/edgekube")
KUBELET_DIR: Final = Path("/var/lib/kubelet")
LOGS_DIR: Final = Path("/var/log")


class BoardDevice(Struct, frozen=True):
    """Devices of this board that pods may ask for by a resource's name (api.board_devices reads what an operator writes).

    ``paths``: each is a path or a pattern. Each match is a device; with ``together`` all of them are one.
    """

    resource: str
    paths: tuple[str, ...]
    #: How many containers may have each of them.
    share: int = 1
    permissions: str = "rw"
    together: bool = False
    #: Where a container finds it; "": where the host has it.
    container_path: str = ""


@dataclass(frozen=True, slots=True)
class Settings:
    node_name: str
    data_dir: Path = DATA_DIR
    run_dir: Path = Path("/run/edgekube")
    node_ip: str = ""  # "": the address of the default route, else the first global one
    https_port: int = 6443
    agent_port: int = 10250
    cluster_cidr: str = "10.42.0.0/16"
    service_cidr: str = "10.43.0.0/16"
    cluster_dns: str = "10.43.0.10"
    cluster_domain: str = "cluster.local"
    containerd_address: str = ""  # "": a supervised instance of our own
    agent: bool = True  # --no-agent: control plane only
    disable: frozenset[str] = frozenset()
    node_monitor_grace_seconds: int = 50
    load_balancer_pool: str = ""  # "": the nodes' own addresses
    log_format: str = "text"
    log_requests: bool = False  # a line for each request; slow ones have theirs anyway
    scheduler_config: Path | None = None  # None: upstream's default profile
    audit_policy_file: Path | None = None  # None: no audit log
    audit_webhook_config_file: Path | None = None  # None: the audit log is a file; with one, a file only where a path is given
    audit_log_path: str = ""  # "": audit/audit.log in server_dir; "-": standard output
    audit_log_maxsize: int = 10  # megabytes
    audit_log_maxbackup: int = 5
    audit_log_maxage: int = 0  # days; 0: however old
    cgroup_parent: str = "/kubepods"
    local_path_dir: Path | None = None  # None: storage in data_dir; where a node makes volumes of class local-path
    # What containers of this node may have.
    allowed_unsafe_sysctls: tuple[str, ...] = ()
    memory_swap: str = "NoSwap"  # or "LimitedSwap"
    pod_pids_limit: int = 0  # processes of one pod; 0: as many as the kernel allows
    kubelet_dir: str = ""  # "": /var/lib/kubelet where data_dir is the standard one; "-": none
    pod_logs: Path | None = None  # None: pods below /var/log where data_dir is the standard one, else below data_dir
    devices: tuple[BoardDevice, ...] = ()  # of this board, offered to pods
    admin_kubeconfig: Path = ADMIN_KUBECONFIG
    node: NodeRules = field(default_factory=NodeRules)
    authentication_config: Path | None = None  # None: the flags below say who is let in
    # An identity provider whose tokens are let in; a server's only.
    oidc_issuer_url: str = ""  # "": none
    oidc_client_id: str = ""
    oidc_username_claim: str = "sub"
    oidc_username_prefix: str = ""  # "": issuer's URL and "#", nothing before an e-mail address; "-": nothing
    oidc_groups_claim: str = ""
    oidc_groups_prefix: str = ""
    oidc_required_claims: tuple[tuple[str, str], ...] = ()
    oidc_ca_file: Path | None = None  # None: whom the machine trusts
    oidc_signing_algs: tuple[str, ...] = ("RS256",)
    # What an agent joins by; a server has no use for them.
    server: tuple[str, ...] = ()  # https://HOST:PORT, tried in turn; (): found by mDNS
    token: str = field(default="", repr=False)
    token_file: Path | None = None
    cluster: str = ""  # id, name or the beginning of the CA's fingerprint: join no other; "": whichever is there alone
    node_name_given: bool = False  # False: node_name is the host name, and may be made another if it is taken
    hardware_serial: str = ""  # "": what the board says of itself

    @property
    def server_dir(self) -> Path:
        return self.data_dir / "server"

    @property
    def database(self) -> Path:
        return self.server_dir / "state.db"

    @property
    def pki_dir(self) -> Path:
        return self.server_dir / "pki"

    @property
    def manifests_dir(self) -> Path:
        return self.server_dir / "manifests"

    @property
    def kubeconfig(self) -> Path:
        return self.server_dir / "kubeconfig.yaml"

    @property
    def agent_dir(self) -> Path:
        return self.data_dir / "agent"

    @property
    def kubelet_directory(self) -> Path | None:
        """Where CSI drivers and device plugins look for the node; None: nowhere but in agent_dir."""
        if not self.kubelet_dir:
            return KUBELET_DIR if self.data_dir == DATA_DIR else None
        return None if self.kubelet_dir == "-" else Path(self.kubelet_dir)

    @property
    def agent_pki_dir(self) -> Path:
        return self.agent_dir / "pki"

    @property
    def local_path_directory(self) -> Path:
        return self.local_path_dir or self.data_dir / "storage"

    @property
    def images_dir(self) -> Path:
        return self.agent_dir / "images"

    @property
    def device_plugins_dir(self) -> Path:
        """Where device plugins register, and have their sockets."""
        return self.agent_dir / "device-plugins"

    @property
    def seccomp_dir(self) -> Path:
        """Profiles of seccomp that pods name (Localhost), as a kubelet keeps them."""
        return self.agent_dir / "seccomp"

    @property
    def containerd_root(self) -> Path:
        return self.data_dir / "containerd"

    @property
    def containerd_state(self) -> Path:
        return self.run_dir / "containerd"

    @property
    def cni_conf_dir(self) -> Path:
        return self.data_dir / "cni" / "net.d"

    @property
    def pod_logs_dir(self) -> Path:
        """CRI log files live here: <namespace>_<pod>_<uid>/<container>/<restart>.log, as a kubelet lays them."""
        if self.pod_logs is not None:
            return self.pod_logs
        return LOGS_DIR / "pods" if self.data_dir == DATA_DIR else self.agent_dir / "logs" / "pods"

    @property
    def container_logs_dir(self) -> Path:
        """A link to each of them, by the names that log shippers know."""
        return (LOGS_DIR if self.data_dir == DATA_DIR else self.agent_dir / "logs") / "containers"

    @property
    def node_ips(self) -> tuple[str, ...]:
        """What the operator fixed, IPv4 first."""
        return tuple(part for part in self.node_ip.split(",") if part)

    @property
    def cluster_networks(self) -> tuple[IPv4Network | IPv6Network, ...]:
        """Ranges of pods: IPv4, and IPv6 in a dual-stack cluster."""
        return tuple(ip_network(part) for part in self.cluster_cidr.split(","))

    @property
    def service_networks(self) -> tuple[IPv4Network | IPv6Network, ...]:
        return tuple(ip_network(part) for part in self.service_cidr.split(","))

    @property
    def cluster_dns_addresses(self) -> tuple[str, ...]:
        """The address of the cluster's DNS, and the eleventh of the IPv6 range of Services where there is one."""
        return (self.cluster_dns, *(str(network[10]) for network in self.service_networks if network.version == 6))

    @property
    def kubernetes_service_ip(self) -> str:
        """The first address of the service range is the ``kubernetes`` Service."""
        return str(self.service_networks[0][1])
