"""What an operator may choose, and the paths that follow from it.

Enters: flags, EDGEKUBE_* variables and /etc/edgekube/config.yaml, already merged (cli.options).
Leaves: one immutable value that daemon hands down; nothing below daemon reads the environment.
Holds: every path that users rely on is spelled here and nowhere else.
Next: daemon.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path
from typing import Final

CONFIG_FILE: Final = Path("/etc/edgekube/config.yaml")
ADMIN_KUBECONFIG: Final = Path("/etc/edgekube/kubeconfig.yaml")


@dataclass(frozen=True, slots=True)
class Settings:
    node_name: str
    data_dir: Path = Path("/var/lib/edgekube")
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
    log_format: str = "text"
    cgroup_parent: str = "/kubepods"
    admin_kubeconfig: Path = ADMIN_KUBECONFIG

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
    def images_dir(self) -> Path:
        return self.agent_dir / "images"

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
        return self.agent_dir / "logs" / "pods"

    @property
    def kubernetes_service_ip(self) -> str:
        """The first address of the service range is the ``kubernetes`` Service."""
        return str(IPv4Network(self.service_cidr)[1])
