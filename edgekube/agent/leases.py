"""Pod addresses that nobody holds any more: what a power cut leaves between the CNI plugin's lease and containerd's record.

Enters: host-local's directory of leases (a file per address, its first line a sandbox id); the sandboxes that containerd knows.
Leaves: the leases of those sandboxes alone.
Holds: done once after a boot, before the first sandbox is made: later a lease may belong to a sandbox that is just being made.
Source: containernetworking/plugins, host-local's disk store. Next: daemon.node.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from ipaddress import ip_address
from pathlib import Path

log = logging.getLogger("edgekube.agent")


def leases_directory(data_dir: Path) -> Path:
    return data_dir / "cni" / "addresses"


def give_back(directory: Path, sandboxes: Collection[str]) -> list[str]:
    """Remove the leases of unknown sandboxes below ``directory``; the addresses that are free again. Raises OSError."""
    freed = []
    for path in sorted(directory.glob("*/*")):
        if not _is_address(path.name):
            continue  # host-local's lock and its memory of the last address
        sandbox = path.read_text(errors="replace").split("\n", 1)[0].strip()
        if sandbox not in sandboxes:
            path.unlink()
            freed.append(path.name)
    if freed:
        log.info("pod addresses given back count=%d addresses=%s", len(freed), ",".join(freed))
    return freed


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
