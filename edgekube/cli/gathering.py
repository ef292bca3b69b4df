"""Look at this host: the facts that ``edgekube check`` judges.

Enters: Settings; /proc, /sys, the output of ip, nft, ss.
Leaves: HostFacts.
Holds: nothing is changed: kernel features are tried in a network namespace that ends with the trial, overlayfs in a scratch
directory that is removed. What cannot be seen counts as fine. Next: cli.judging.
"""

from __future__ import annotations

import datetime
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Final

from edgekube.cli import installation
from edgekube.cli.hostfacts import ForwardDrop, HostFacts, PortHolder
from edgekube.cli.judging import PACKAGES, TUNNEL_FEATURE
from edgekube.containerd import host
from edgekube.network.addresses import SERVICES_PROTOCOL, NoAddress, node_address
from edgekube.network.forwarding import DEVICE, PROTOCOL
from edgekube.network.policies.table import frame as policies_frame
from edgekube.network.ranges import ranges_of
from edgekube.network.ruleset import frame
from edgekube.settings import Settings
from edgekube.version import RELEASE_DATE

_CMDLINE_FILES: Final = (Path("/boot/firmware/cmdline.txt"), Path("/boot/cmdline.txt"))
#: Programs that are a cluster of their own, by their name in /proc/PID/comm.
_CLUSTERS: Final = ("kubelet", "k3s-server", "k3s-agent", "k3s", "k0s", "kube-apiserver", "kubelite", "minikube")


def gather(settings: Settings) -> HostFacts:
    root = os.geteuid() == 0
    memory = _numbers(_read("/proc/meminfo"))
    directory = existing_parent(settings.data_dir)
    free, total = _space(directory)
    rules = _json(["nft", "-j", "list", "chains"]).get("nftables", []) if root else []
    chains = [entry["chain"] for entry in rules if "chain" in entry]
    version, controllers = cgroups(Path("/sys/fs/cgroup"))
    return HostFacts(
        root=root,
        architecture=platform.machine(),
        model=_read("/proc/device-tree/model").rstrip("\0\n"),
        os_id=_os_release().get("ID", ""),
        os_name=_os_release().get("PRETTY_NAME", ""),
        kernel=platform.release(),
        python=platform.python_version(),
        memory_bytes=memory.get("MemTotal", 0) * 1024,
        swap_bytes=memory.get("SwapTotal", 0) * 1024,
        hostname=platform.node(),
        node_name=settings.node_name,
        node_address=settings.node_ip or _address(settings),
        cgroup_version=version,
        cgroup_controllers=controllers,
        cmdline_file=_cmdline_file(),
        kernel_refused=try_kernel(settings) if root else {},
        ip_forward=_read("/proc/sys/net/ipv4/ip_forward").strip() != "0",
        ip_forward_settable=os.access("/proc/sys/net/ipv4/ip_forward", os.W_OK) or not root,
        now=time.time(),
        built_at=built_at(),
        ports=_ports(settings),
        programs=_programs(),
        containerd_version=_containerd_version(),
        containerd_address=settings.containerd_address,
        data_dir=str(settings.data_dir),
        data_filesystem=_filesystem(directory),
        data_free_bytes=free,
        data_total_bytes=total,
        data_writable=os.access(directory, os.W_OK) or not root,
        overlay_works=_overlay_works(directory) if root and settings.agent else None,
        forward_drops=_forward_drops(chains, str(settings.cluster_networks[0])),
        other_clusters=_other_clusters(chains),
        overlapping_routes=_overlapping_routes(settings),
        cluster_cidr=str(settings.cluster_networks[0]),
        service_cidr=str(settings.service_networks[0]),
        agent=settings.agent,
    )


def existing_parent(path: Path) -> Path:
    """The path, or the nearest directory above it that is there: where it would be made."""
    for candidate in (path, *path.parents):
        if candidate.is_dir():
            return candidate
    return Path("/")


def cgroups(root: Path) -> tuple[int, list[str]]:
    """(version, controllers that are on) below ``root``. Version 1 counts what is mounted."""
    unified = root / "cgroup.controllers"
    if unified.is_file():
        return 2, sorted(unified.read_text().split())
    if not root.is_dir():
        return 0, []
    names = sorted(
        {name for entry in root.iterdir() if entry.is_dir() for name in entry.name.split(",")} - {"unified", "systemd"}
    )
    return (1, names) if names else (0, [])


def built_at() -> float:
    """No clock that is right can be before the release of this program. Seconds since the epoch."""
    return datetime.datetime.fromisoformat(RELEASE_DATE).replace(tzinfo=datetime.UTC).timestamp()


def try_kernel(settings: Settings) -> dict[str, str]:
    """What the kernel refused of what a node needs: feature -> the words of the tool."""
    if not shutil.which("unshare"):
        return {}
    alone = ["unshare", "--net", "--"]
    if words := _refusal([*alone, "true"]):
        return {"network namespaces": words}
    refused = {}
    if shutil.which("ip") and (words := _refusal([*alone, "ip", "link", "add", "try0", "type", "veth", "peer", "name", "try1"])):
        refused["veth"] = words
    tunnel = ["ip", "link", "add", "try2", "type", "vxlan", "id", "1", "dstport", "8472", "local", "192.0.2.1"]
    if shutil.which("ip") and (words := _refusal([*alone, *tunnel])):
        refused[TUNNEL_FEATURE] = words
    # The very tables that services and policies will make; the node's own part of the pods' range is not known yet.
    families = ranges_of(settings.cluster_cidr.split(","), settings.cluster_cidr, settings.service_cidr)
    rules = "".join(frame(ranges, targets_max=1) for ranges in families)
    rules += policies_frame([network.version for network in settings.cluster_networks], {})
    if shutil.which("nft") and (words := _refusal([*alone, "nft", "-f", "-"], rules)):
        refused["nftables"] = words
    return refused


def _refusal(command: list[str], stdin: str = "") -> str:
    """ "" when the command succeeded, else its last words in one line."""
    try:
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.SubprocessError) as error:
        return str(error)
    if done.returncode == 0:
        return ""
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    return lines[0][:200] if lines else f"exit code {done.returncode}"


def _overlay_works(directory: Path) -> bool | None:
    try:
        return host.overlay_works(directory)
    except (OSError, subprocess.SubprocessError):
        return None


def _programs() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        if name.startswith("cni/"):
            plugins = (directory / name.removeprefix("cni/") for directory in host.cni_bin_dirs())
            found[name] = next((str(plugin) for plugin in plugins if plugin.exists()), "")
        else:
            found[name] = shutil.which(name) or shutil.which(name, path=host.SEARCH_PATH) or ""
    return found


def _containerd_version() -> str:
    try:
        return ".".join(map(str, host.containerd_version(host.containerd_binary())))
    except host.RuntimeUnavailable:
        return ""


def _ports(settings: Settings) -> list[PortHolder]:
    wanted = [] if installation.role() == "agent" else [(settings.https_port, "the API")]
    if settings.agent:
        wanted.append((settings.agent_port, "the node's agent"))
    listening = listeners(_output(["ss", "-H", "-ltnp"]))
    return [
        PortHolder(port, purpose, program=listening[port][0], pid=listening[port][1], ours=_is_edgekube(listening[port][1]))
        for port, purpose in wanted
        if port in listening
    ]


def server_on(settings: Settings) -> int:
    """The pid of an ``edgekube server`` or ``agent`` that listens on its port; 0 when there is none."""
    return next((holder.pid for holder in _ports(settings) if holder.ours), 0)


_ROLES: Final = frozenset(installation.ROLES)


def listeners(text: str) -> dict[int, tuple[str, int]]:
    """Port -> (program, pid) from ``ss -H -ltnp``; ("", 0) when ss does not say who."""
    found: dict[int, tuple[str, int]] = {}
    for line in text.splitlines():
        words = line.split()
        if len(words) < 4 or not words[3].rpartition(":")[2].isdigit():
            continue
        who = re.search(r'users:\(\("([^"]*)",pid=(\d+)', line)
        port = int(words[3].rpartition(":")[2])
        if who or port not in found:
            found[port] = (who[1], int(who[2])) if who else ("", 0)
    return found


def _is_edgekube(pid: int) -> bool:
    """Whether that process is ``edgekube server`` or ``agent`` (or ``python -m edgekube …``)."""
    words = _read(f"/proc/{pid}/cmdline").split("\0") if pid else []
    return any(Path(word).name == "edgekube" for word in words[:3]) and not _ROLES.isdisjoint(words)


def _forward_drops(chains: Iterable[dict[str, Any]], cluster_cidr: str) -> list[ForwardDrop]:
    found = []
    for chain in chains:
        if chain.get("hook") == "forward" and chain.get("policy") == "drop":
            place = [chain["family"], chain["table"], chain["name"]]
            rules = _output(["nft", "list", "table", chain["family"], chain["table"]])
            found.append(ForwardDrop(f"chain {' '.join(place)}", cluster_cidr in rules))
    legacy = _output(["iptables-legacy", "-S", "FORWARD"]) if shutil.which("iptables-legacy") else ""
    if "-P FORWARD DROP" in legacy:
        found.append(ForwardDrop("chain FORWARD of iptables-legacy", cluster_cidr in legacy))
    return found


def _other_clusters(chains: Iterable[dict[str, Any]]) -> list[str]:
    found = []
    for process in sorted(Path("/proc").glob("[0-9]*"), key=lambda path: int(path.name)):
        name = _read(process / "comm").strip()
        if name in _CLUSTERS:
            found.append(f"{name} is running (pid {process.name})")
    tables = dict.fromkeys(f"{chain['family']} {chain['table']}" for chain in chains if chain["name"] == "KUBE-SERVICES")
    found += [
        f"rules of another kube-proxy in table {table}: they catch Service addresses before edgekube does" for table in tables
    ]
    return found


def _overlapping_routes(settings: Settings) -> list[str]:
    ranges = [*settings.cluster_networks, *settings.service_networks]
    lines = [*_output(["ip", "-4", "route", "show"]).splitlines(), *_output(["ip", "-6", "route", "show"]).splitlines()]
    our_routes = (" dev veth", " dev lo ", f" dev {DEVICE} ", f" proto {PROTOCOL} ", f" proto {SERVICES_PROTOCOL} ")
    found = []
    for line in lines:
        words = line.split()
        try:
            route = ip_network(words[0])
        except (IndexError, ValueError):
            continue
        # Our own: single pods on veths, the service range on lo, other nodes' pods.
        ours = any(mark in f"{line} " for mark in our_routes)
        overlaps = (route.overlaps(cidr) for cidr in ranges if cidr.version == route.version)
        if not ours and route.prefixlen and any(overlaps):
            found.append(" ".join(words[:5]))
    return found


def _address(settings: Settings) -> str:
    try:
        return node_address(avoid=[str(network) for network in (*settings.cluster_networks, *settings.service_networks)])
    except (NoAddress, OSError, subprocess.SubprocessError):
        return ""


def _cmdline_file() -> str:
    if "Raspberry Pi" not in _read("/proc/device-tree/model"):
        return ""
    return str(next((path for path in _CMDLINE_FILES if path.is_file()), _CMDLINE_FILES[0]))


def _filesystem(directory: Path) -> str:
    return _output(["stat", "-f", "-c", "%T", str(directory)]).strip()


def _space(directory: Path) -> tuple[int, int]:
    disk = os.statvfs(directory)
    return disk.f_frsize * disk.f_bavail, disk.f_frsize * disk.f_blocks


def _os_release() -> dict[str, str]:
    lines = (line.partition("=") for line in _read("/etc/os-release").splitlines())
    return {name: value.strip('"') for name, _, value in lines}


def _numbers(text: str) -> dict[str, int]:
    lines = (line.partition(":") for line in text.splitlines())
    return {name: int(value.split()[0]) for name, _, value in lines if value.split()}


def _read(path: str | Path) -> str:
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""


def _output(command: list[str]) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False).stdout
    except (OSError, subprocess.SubprocessError) as error:
        print(f"{command[0]}: {error}", file=sys.stderr)
        return ""


def _json(command: list[str]) -> dict[str, Any]:
    try:
        parsed: dict[str, Any] = json.loads(_output(command) or "{}")
    except ValueError:
        return {}
    return parsed
