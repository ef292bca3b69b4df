"""Which tests stay together when several processes share the run, and who takes what next.

Enters: the collected tests' ids (pytest-xdist's controller). Leaves: whole files handed to workers, or whole folders where a
folder shares a cluster that takes long to boot.
Holds: a file's tests run in one process, in their order. Nodes of the lab mostly wait, pure tests mostly compute: the last worker
begins with what computes while the others begin with what waits, longest first, so that neither is left for the end.
Next: tests.conftest.
"""

from __future__ import annotations

from typing import Final

from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

#: One cluster each; several would only boot and idle beside one another. Clients: what one builds, the next need not.
_TOGETHER: Final = ("tests/e2e_nodes/", "tests/clients/")
#: A containerd of this machine itself, not of a node of the lab: two at once end each other's connections.
_ON_THIS_MACHINE: Final = (
    "tests/containerd/",
    "tests/agent/images/test_pulls_end_to_end.py",
    "tests/agent/test_csi_lifecycle.py",
    "tests/agent/test_devices_end_to_end.py",
    "tests/agent/test_eviction_end_to_end.py",
    "tests/agent/test_lifecycle_end_to_end.py",
    "tests/agent/test_node.py",
    "tests/agent/test_pod_volumes.py",
    "tests/agent/test_pods_end_to_end.py",
    "tests/agent/test_server.py",
)
#: What waits, longest first. The rest computes.
_WAITING: Final = (
    "tests/e2e/test_install.py",
    "tests/containerd/",
    "tests/faults_nodes/",
    "tests/e2e_nodes/",
    "tests/e2e/",
    "tests/faults/",
    "tests/discovery/",
    "tests/agent/",
    "tests/lab/",
    "tests/network/",
)


def unit_of(test: str) -> str:
    """What runs in one process without a break."""
    if test.startswith(_ON_THIS_MACHINE):
        return _ON_THIS_MACHINE[0]
    for folder in _TOGETHER:
        if test.startswith(folder):
            return folder
    return test.partition("::")[0]


def rank_of(unit: str) -> int:
    if unit == "tests/clients/":
        return len(_WAITING) + 1  # compilers compute most of all
    return next((rank for rank, beginning in enumerate(_WAITING) if unit.startswith(beginning)), len(_WAITING))


class Sharing(LoadScopeScheduling):  # type: ignore[misc]
    def _split_scope(self, nodeid: str) -> str:
        return unit_of(nodeid)

    def _assign_work_unit(self, node: WorkerController) -> None:
        last = node is self.nodes[-1] and len(self.nodes) > 1
        units = list(self.workqueue)
        unit = max(units, key=rank_of) if last else min(units, key=rank_of)
        self.workqueue.move_to_end(unit, last=False)
        super()._assign_work_unit(node)
