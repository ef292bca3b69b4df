"""The pod network's configuration for containerd: ptp and host-local.

Enters: this node's pod CIDRs, the MTU, where addresses are remembered.
Leaves: a CNI network configuration list, as text and as the one file of its directory.
Holds: pure but for write(); ptp needs no bridge, no br_netfilter and no hairpin mode.
Source: cni.dev, plugins ptp and host-local.
Next: the runtime reads the directory.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_network
from pathlib import Path

import orjson

from edgekube.pki.files import PUBLIC, write_durably

FILE_NAME = "10-edgekube.conflist"


def conflist(*, pod_cidrs: Sequence[str], mtu: int, leases_dir: Path) -> bytes:
    """``leases_dir`` must outlive a reboot: addresses of sandboxes that were not cleaned up yet are still taken."""
    network = {
        "cniVersion": "0.4.0",
        "name": "edgekube",
        "plugins": [
            {
                "type": "ptp",
                "ipMasq": False,
                "mtu": mtu,
                "ipam": {
                    "type": "host-local",
                    "ranges": [[{"subnet": pod_cidr}] for pod_cidr in pod_cidrs],
                    "routes": [{"dst": "::/0" if ":" in pod_cidr else "0.0.0.0/0"} for pod_cidr in pod_cidrs],
                    "dataDir": str(leases_dir),
                },
            }
        ],
    }
    return orjson.dumps(network, option=orjson.OPT_INDENT_2) + b"\n"


def configured(directory: Path) -> tuple[str, ...]:
    """The ranges that the directory's configuration gives addresses from; () when there is none."""
    try:
        conflist = orjson.loads((directory / FILE_NAME).read_bytes())
        return tuple(str(ip_network(ranges[0]["subnet"])) for ranges in conflist["plugins"][0]["ipam"]["ranges"])
    except (OSError, ValueError, KeyError, IndexError, TypeError):
        return ()


def forget(directory: Path) -> None:
    """From now on the runtime makes no pods until it is told anew."""
    (directory / FILE_NAME).unlink(missing_ok=True)


def write(directory: Path, text: bytes) -> bool:
    """Make ``text`` the directory's only configuration; True when that changed something."""
    path = directory / FILE_NAME
    try:
        if path.read_bytes() == text:
            return False
    except FileNotFoundError:
        directory.mkdir(parents=True, exist_ok=True)
    write_durably(path, text, PUBLIC)
    return True
