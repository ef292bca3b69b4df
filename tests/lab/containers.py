"""What runs on a node, as its containerd has it: the other side of what the API claims.

Enters: a Program whose node is on. Leaves: the pods and containers that are running.
Holds: asked through CRI on the node's own socket, past edgekube. Next: tests.e2e_nodes, tests.faults_nodes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import trio

from edgekube.containerd.cri import connect
from tests.lab.node import Node


@dataclass(frozen=True, order=True)
class Running:
    """One container that runs."""

    namespace: str
    pod: str
    pod_uid: str
    container: str
    id: str


def socket_of(node: Node) -> Path:
    """Below /proc, because the node's /run is a mount of its own."""
    return Path(f"/proc/{node.pid}/root/run/edgekube/containerd/containerd.sock")


def running_containers(node: Node) -> list[Running]:
    """The node's running containers, sorted."""
    return trio.run(_list, socket_of(node))


async def _list(socket: Path) -> list[Running]:
    async with connect(socket) as runtime:
        return sorted(
            Running(
                each.labels["io.kubernetes.pod.namespace"],
                each.labels["io.kubernetes.pod.name"],
                each.labels["io.kubernetes.pod.uid"],
                each.labels["io.kubernetes.container.name"],
                each.id,
            )
            for each in await runtime.list_containers()
            if each.state == "RUNNING"
        )
