"""What a host lacks, and the fix: one judgement, one function.

Enters: HostFacts.
Leaves: findings, in the order in which an operator should read them.
Holds: pure; a finding of level "blocks" names something without which the node cannot become Ready, and every finding but
"ok" has a fix. Next: cli.check prints them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Final, Literal, TypeAlias

from msgspec import Struct

from edgekube.cli.hostfacts import HostFacts

Level: TypeAlias = Literal["ok", "note", "warning", "blocks"]


class Finding(Struct, frozen=True):
    level: Level
    subject: str
    text: str
    fix: str = ""

    def as_object(self) -> dict[str, str]:
        return {"level": self.level, "subject": self.subject, "text": self.text, "fix": self.fix}


#: Program or CNI plugin -> Debian package. nsenter, mount and the like are essential packages of Debian.
PACKAGES: Final = {
    "containerd": "containerd",
    "runc": "runc",
    "cni/ptp": "containernetworking-plugins",
    "cni/host-local": "containernetworking-plugins",
    "cni/loopback": "containernetworking-plugins",
    "nft": "nftables",
    "ip": "iproute2",
    "conntrack": "conntrack",
}
_MIB: Final = 1024 * 1024
#: The server takes up to 100 MB, containerd 60, and pods want the rest.
_MEMORY_BYTES_MIN: Final = 400 * _MIB
_DISK_FREE_BYTES_MIN: Final = 200 * _MIB
#: Below a tenth free the node reports DiskPressure and refuses pods (kubelet's default threshold).
_DISK_FREE_SHARE_MIN: Final = 0.10
_NEEDED_CONTROLLERS: Final = ("cpu", "memory", "pids")


def judge(facts: HostFacts) -> list[Finding]:
    return [finding for judgement in _JUDGEMENTS for finding in judgement(facts)]


def _rights(facts: HostFacts) -> Iterator[Finding]:
    if not facts.root:
        yield Finding("warning", "rights", "not run as root: kernel features were not tried", "sudo edgekube check")


def _programs(facts: HostFacts) -> Iterator[Finding]:
    if not facts.agent:
        return
    unneeded = {"containerd", "runc"} if facts.containerd_address else set()
    missing = [name for name in PACKAGES if not facts.programs.get(name) and name not in unneeded]
    if missing:
        packages = " ".join(dict.fromkeys(PACKAGES[name] for name in missing))
        names = ", ".join(name.removeprefix("cni/") for name in missing)
        yield Finding("blocks", "packages", f"not installed: {names}", f"sudo apt-get install {packages}")
    else:
        yield Finding("ok", "packages", "containerd, runc, CNI plugins, nftables, iproute2 and conntrack are installed")
    version = _version(facts.containerd_version)
    if version and version < (1, 6):
        yield Finding(
            "blocks",
            "containerd",
            f"containerd {facts.containerd_version} is too old: version 1.6 or newer speaks CRI v1",
            "sudo apt-get install containerd (Debian 12 or newer)",
        )


def _version(text: str) -> tuple[int, int] | None:
    parts = text.split(".")
    if len(parts) < 2 or not (parts[0].isdigit() and parts[1].isdigit()):
        return None
    return int(parts[0]), int(parts[1])


def _cgroups(facts: HostFacts) -> Iterator[Finding]:
    if facts.cgroup_version == 0:
        yield Finding(
            "blocks",
            "cgroups",
            "no control groups at /sys/fs/cgroup",
            "sudo mount -t cgroup2 none /sys/fs/cgroup, and in /etc/fstab for the next boot",
        )
        return
    missing = [name for name in _NEEDED_CONTROLLERS if name not in facts.cgroup_controllers]
    if not missing:
        yield Finding("ok", "cgroups", f"version {facts.cgroup_version} with {', '.join(_NEEDED_CONTROLLERS)}")
    elif "memory" in missing and facts.cmdline_file:
        yield Finding(
            "blocks",
            "cgroups",
            "the memory controller is off, as Raspberry Pi OS ships it",
            f"add  cgroup_enable=memory cgroup_memory=1  to the end of the one line in {facts.cmdline_file}, then sudo reboot",
        )
    else:
        yield Finding(
            "blocks",
            "cgroups",
            f"the kernel has no {', '.join(missing)} controller (cgroup version {facts.cgroup_version})",
            "add  cgroup_enable=memory  to the kernel's command line and reboot"
            if missing == ["memory"]
            else "boot a kernel of the distribution, or one with CONFIG_CGROUP_SCHED, CONFIG_MEMCG and CONFIG_CGROUP_PIDS",
        )


#: What a node can do without, as long as all nodes are on one segment.
TUNNEL_FEATURE: Final = "vxlan"

#: Feature -> what to load or enable.
_FEATURE_FIXES: Final = {
    "veth": "sudo modprobe veth (CONFIG_VETH)",
    "nftables": "sudo modprobe -a nf_tables nft_chain_nat nft_masq nft_numgen nft_fib_ipv4 nft_fib_inet nft_reject_ipv4 nft_ct",
    "network namespaces": "boot a kernel with CONFIG_NET_NS",
}


def _kernel(facts: HostFacts) -> Iterator[Finding]:
    if not facts.agent:
        return
    for feature, said in facts.kernel_refused.items():
        words = " ".join(said.split())  # a finding is one line, whatever a tool prints
        if feature == TUNNEL_FEATURE:
            yield Finding(
                "warning",
                "kernel",
                f"no vxlan: {words}; pods of nodes on another segment, behind a router, will not be reached",
                "sudo modprobe vxlan (CONFIG_VXLAN), or keep all nodes on one segment",
            )
            continue
        fix = _FEATURE_FIXES.get(feature, "boot a kernel of the distribution")
        yield Finding("blocks", "kernel", f"no {feature}: {words}", f"{fix}; after a kernel upgrade a reboot may be all it needs")
    if not facts.kernel_refused and facts.root:
        yield Finding("ok", "kernel", f"{facts.kernel} has network namespaces, veth and what nftables needs")


def _forwarding(facts: HostFacts) -> Iterator[Finding]:
    if not facts.ip_forward and not facts.ip_forward_settable:
        yield Finding(
            "blocks",
            "forwarding",
            "the kernel does not forward between interfaces, and this system does not let edgekube turn it on",
            "echo net.ipv4.ip_forward=1 | sudo tee /etc/sysctl.d/90-edgekube.conf && sudo sysctl --system "
            "(in a container: allow it from outside)",
        )


def _clock(facts: HostFacts) -> Iterator[Finding]:
    if facts.now < facts.built_at:
        yield Finding(
            "blocks",
            "clock",
            f"the clock says {_date(facts.now)}, but edgekube was released on {_date(facts.built_at)}: certificates made now "
            "would be refused later",
            "plug in the network and wait for the time (timedatectl status), or set it: sudo date -s 'YYYY-MM-DD HH:MM'",
        )


def _date(seconds: float) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(seconds))


def _ports(facts: HostFacts) -> Iterator[Finding]:
    for holder in facts.ports:
        if holder.ours:
            continue
        who = f"{holder.program} (pid {holder.pid})" if holder.program else "another program (sudo ss -ltnp shows it)"
        flag = "--https-port" if holder.purpose == "the API" else "--agent-port"
        yield Finding(
            "blocks",
            "ports",
            f"port {holder.port} for {holder.purpose} is taken by {who}",
            f"stop that program, or choose another port: {flag[2:]}: NUMBER in /etc/edgekube/config.yaml",
        )


def _disk(facts: HostFacts) -> Iterator[Finding]:
    where = f"{facts.data_dir} ({facts.data_filesystem})" if facts.data_filesystem else facts.data_dir
    if not facts.data_writable:
        yield Finding(
            "blocks",
            "disk",
            f"{where} cannot be written",
            "sudo mount -o remount,rw / if the card was mounted read-only, or choose another place with data-dir",
        )
    elif facts.data_free_bytes < _DISK_FREE_BYTES_MIN:
        yield Finding(
            "blocks",
            "disk",
            f"{where} has {facts.data_free_bytes // _MIB} MiB free, fewer than the {_DISK_FREE_BYTES_MIN // _MIB} for a start",
            "free some space (sudo apt-get clean), or put data-dir on a larger disk",
        )
    elif facts.data_free_bytes < facts.data_total_bytes * _DISK_FREE_SHARE_MIN:
        yield Finding(
            "warning",
            "disk",
            f"{where} is more than nine tenths full: the node will report DiskPressure and take no pods",
            "free some space (sudo apt-get clean), or put data-dir on a larger disk",
        )
    else:
        yield Finding("ok", "disk", f"{where}: {facts.data_free_bytes // _MIB} MiB free")
    if facts.overlay_works is False:
        yield Finding(
            "warning",
            "disk",
            f"overlayfs cannot be stacked on {where}: every container will copy its whole image",
            "sudo modprobe overlay, or put data-dir on ext4, xfs or btrfs",
        )


def _memory(facts: HostFacts) -> Iterator[Finding]:
    if facts.memory_bytes < _MEMORY_BYTES_MIN:
        yield Finding(
            "warning",
            "memory",
            f"{facts.memory_bytes // _MIB} MiB of RAM: the control plane and containerd leave little for pods",
            "use a board with 1 GB or more",
        )
    if facts.swap_bytes:
        yield Finding(
            "note",
            "memory",
            f"{facts.swap_bytes // _MIB} MiB of swap is on: memory limits then bound RAM only, and a card wears out sooner",
            "sudo swapoff -a, and on Raspberry Pi OS: sudo systemctl disable --now dphys-swapfile",
        )


def _name(facts: HostFacts) -> Iterator[Finding]:
    if facts.hostname.split(".")[0] != facts.node_name and facts.node_name == "node":
        yield Finding(
            "warning",
            "name",
            f"the host name {facts.hostname!r} gives no node name; it will be 'node'",
            "sudo hostnamectl set-hostname NAME, or node-name: NAME in /etc/edgekube/config.yaml",
        )
    elif facts.node_name in ("localhost", "raspberrypi"):
        yield Finding(
            "note",
            "name",
            f"the node will be called {facts.node_name!r}, as many others are",
            "node-name: NAME in /etc/edgekube/config.yaml before the first start",
        )
    if not facts.node_address:
        yield Finding(
            "warning",
            "address",
            "no IPv4 address besides loopback: other machines cannot reach this node",
            "plug in a cable, or give node-ip: ADDRESS in /etc/edgekube/config.yaml",
        )


def _firewall(facts: HostFacts) -> Iterator[Finding]:
    for drop in facts.forward_drops:
        if drop.accepts_pods:
            continue
        yield Finding(
            "warning",
            "firewall",
            f"{drop.chain} drops what is forwarded: pods will not reach each other",
            f"sudo iptables -I FORWARD -s {facts.cluster_cidr} -j ACCEPT && sudo iptables -I FORWARD -d {facts.cluster_cidr} "
            "-j ACCEPT, and keep both where your firewall keeps its rules",
        )


def _neighbours(facts: HostFacts) -> Iterator[Finding]:
    for other in facts.other_clusters:
        yield Finding(
            "warning",
            "other clusters",
            other,
            "remove it (k3s-uninstall.sh, kubeadm reset, snap remove microk8s), then reboot so that its rules are gone",
        )
    for route in facts.overlapping_routes:
        yield Finding(
            "warning",
            "network",
            f"this host has a route inside the cluster's ranges: {route}",
            f"choose other ranges: cluster-cidr (now {facts.cluster_cidr}) and service-cidr (now {facts.service_cidr})",
        )


_JUDGEMENTS: Final[tuple[Callable[[HostFacts], Iterator[Finding]], ...]] = (
    _rights,
    _programs,
    _cgroups,
    _kernel,
    _forwarding,
    _clock,
    _ports,
    _disk,
    _memory,
    _name,
    _firewall,
    _neighbours,
)
