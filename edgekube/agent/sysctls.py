"""Which sysctls a pod may set on this node.

Enters: the pod's sysctls, the patterns that the operator allowed (setting allowed-unsafe-sysctls).
Leaves: why the pod is refused; for the setting, which patterns cannot be allowed.
Holds: pure. A sysctl is safe when the kernel keeps one for each pod and it has no effect on other pods; others must be named by
the operator, and even those must be the pod's own (IPC or network namespace), which they are not on the host's namespaces.
Source: Kubernetes documentation, "Using sysctls in a Kubernetes Cluster".
Next: agent.admission, cli.options.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from edgekube.agent.podspec import host_network
from edgekube.api.objects import Object, spec_of

FORBIDDEN_REASON: Final = "SysctlForbidden"
#: All of them are kept per namespace by each kernel that runs edgekube (the newest of them since Linux 4.15).
SAFE: Final = (
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.ping_group_range",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_wmem",
)
_IPC: Final = frozenset({
    "kernel.sem", "kernel.shmall", "kernel.shmmax", "kernel.shmmni", "kernel.shm_rmid_forced", "kernel.shm",
    "kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.msg",
})  # fmt: skip
_SEGMENT: Final = "[a-z0-9](?:[-_a-z0-9]*[a-z0-9])?"
_PATTERN: Final = re.compile(rf"(?:{_SEGMENT}[\./])*(?:{_SEGMENT}|[a-z0-9][-_a-z0-9]*\*|\*)")
_CHARACTERS_MAX: Final = 253


def normalized(name: str) -> str:
    """With dots between its parts: ``net/ipv4/conf/eno2.100/rp_filter`` is ``net.ipv4.conf.eno2/100.rp_filter``."""
    first = re.search(r"[./]", name)
    if first is None or first[0] == ".":
        return name
    return name.translate(str.maketrans("./", "/."))


def _namespace(name: str) -> str:
    """IPC, Net, or "" for what the whole machine shares."""
    if name in _IPC or name.startswith("fs.mqueue."):
        return "IPC"
    return "Net" if name.startswith("net.") else ""


def check_pattern(pattern: str) -> str:
    """What an operator may allow: a sysctl, or the beginning of some and ``*``. Raises ValueError."""
    if len(pattern) > _CHARACTERS_MAX or not _PATTERN.fullmatch(pattern):
        raise ValueError("give sysctls such as kernel.msgmax or net.core.*")
    if not _namespace(normalized(pattern).partition("*")[0]):
        raise ValueError(f"{pattern} is not known to be a pod's own: the kernel has one for the whole machine")
    return pattern


def refusal(pod: Object, allowed: Iterable[str] = ()) -> str:
    """Why the pod is not admitted; "" when it is."""
    patterns = [normalized(pattern) for pattern in (*SAFE, *allowed)]
    for item in (spec_of(pod).get("securityContext") or {}).get("sysctls") or []:
        name = normalized(str(item["name"]))
        exact = name in patterns
        if not exact and not any(p.endswith("*") and name.startswith(p.partition("*")[0]) for p in patterns):
            return f'forbidden sysctl: "{name}" not allowlisted'
        space = _namespace(name)
        if (space == "IPC" and spec_of(pod).get("hostIPC")) or (space == "Net" and host_network(pod)):
            return f'forbidden sysctl: "{name}" not allowed with host {space} enabled'
    return ""
