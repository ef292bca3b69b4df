"""What a node still has of pods that are gone, or has twice of a pod that is there.

Enters: a Program whose node is on, the uids of the pods that the API binds to it.
Leaves: a line for each sandbox, cgroup, mount, network namespace, interface or shim too many.
Holds: looked up in containerd and the kernel, past edgekube.
Next: tests.faults_nodes.world.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Final

import trio

from edgekube.containerd.cri import connect
from edgekube.containerd.model import Container, Sandbox
from tests.lab.containers import socket_of
from tests.lab.program import Program

#: Mount points that are somebody's: a pod's by its uid, a sandbox's or container's by its id.
_OF_POD: Final = re.compile(r"/agent/pods/([^/]+)/")
_OF_SANDBOX: Final = re.compile(r"/io\.containerd\.grpc\.v1\.cri/sandboxes/([0-9a-f]{64})/")
_OF_TASK: Final = re.compile(r"/io\.containerd\.runtime\.v2\.task/k8s\.io/([0-9a-f]{64})/")
_NETNS: Final = re.compile(r"/netns/cni-[0-9a-f-]+$")
_POD_CGROUP: Final = re.compile(r"pod([0-9a-f-]{36})")


def left_on(program: Program, uids: AbstractSet[str]) -> list[str]:
    sandboxes, containers = trio.run(_list, socket_of(program.node))
    mounts = [line.split()[1] for line in Path(f"/proc/{program.node.pid}/mounts").read_text().splitlines()]
    found = [
        *too_many_sandboxes(sandboxes, containers, uids),
        *strange_mounts(mounts, sandboxes, containers, uids),
        *(f"a cgroup of pod {uid}" for uid in sorted(_pods_with_cgroups(program.node.cgroup) - uids)),
    ]
    ready = sum(each.state == "READY" for each in sandboxes)
    for what, count in (
        ("shims", len(program.processes("containerd-shim"))),
        ("interfaces of pods", len(program.node.run(["ip", "-o", "link", "show", "type", "veth"]).splitlines()) - 1),
    ):
        if count != ready:
            found.append(f"{count} {what} for {ready} sandboxes")
    return [f"{program.name} has {each}" for each in found]


async def _list(socket: Path) -> tuple[list[Sandbox], list[Container]]:
    async with connect(socket) as runtime:
        return await runtime.list_sandboxes(), await runtime.list_containers()


def too_many_sandboxes(sandboxes: list[Sandbox], containers: list[Container], uids: AbstractSet[str]) -> list[str]:
    """Each is of a pod that is there, and of those that run one is enough."""
    ids = {each.id for each in sandboxes}
    found = [f"a sandbox of {each.name} ({each.uid}), {each.state}" for each in sandboxes if each.uid not in uids]
    found += [f"container {each.id[:12]} without its sandbox" for each in containers if each.sandbox_id not in ids]
    ready = Counter(each.uid for each in sandboxes if each.state == "READY")
    return found + [f"{count} sandboxes that run for pod {uid}" for uid, count in ready.items() if count > 1]


def strange_mounts(mounts: list[str], sandboxes: list[Sandbox], containers: list[Container], uids: AbstractSet[str]) -> list[str]:
    """Those that name a pod, a sandbox or a container name one that is there."""
    ready = {each.id for each in sandboxes if each.state == "READY"}
    tasks = ready | {each.id for each in containers if each.state == "RUNNING"}
    found = []
    for mount in mounts:
        for pattern, known in ((_OF_POD, uids), (_OF_SANDBOX, ready), (_OF_TASK, tasks)):
            match = pattern.search(f"{mount}/")
            if match and match[1] not in known:
                found.append(f"mount {mount}")
    namespaces = sorted({mount for mount in mounts if _NETNS.search(mount)})
    if len(namespaces) > len(ready):
        found.append(f"{len(namespaces)} network namespaces for {len(ready)} sandboxes: {namespaces}")
    return found


def _pods_with_cgroups(parent: str) -> set[str]:
    return {
        match[1]
        for root in Path("/sys/fs/cgroup").iterdir()
        for directory in (root / parent.lstrip("/")).rglob("pod*")
        if (match := _POD_CGROUP.fullmatch(directory.name))
    }
