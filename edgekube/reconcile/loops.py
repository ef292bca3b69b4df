"""Every control loop of the cluster, in one nursery.

Enters: the API, and the few settings that controllers need.
Leaves: nothing; it runs until it is cancelled.
Holds: a loop's name is upstream's, and naming it in ``disable`` leaves it out.
Next: daemon starts it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Final

import trio

from edgekube.api.controller import Controller
from edgekube.api.kinds import BUILT_IN, Kind
from edgekube.api.verbs import Verbs
from edgekube.controllers import nodeipam, rootca
from edgekube.controllers.deployment.controller import DEPLOYMENT_CONTROLLER
from edgekube.controllers.endpoints.endpointslices import ENDPOINTSLICE_CONTROLLER
from edgekube.controllers.endpoints.legacy import ENDPOINTS_CONTROLLER
from edgekube.controllers.endpoints.mirroring import MIRRORING_CONTROLLER
from edgekube.controllers.nodelifecycle import NODELIFECYCLE_CONTROLLER
from edgekube.controllers.podgc import PODGC_CONTROLLER
from edgekube.controllers.replicaset import REPLICASET_CONTROLLER, REPLICATION_CONTROLLER
from edgekube.controllers.serviceaccount import SERVICEACCOUNT_CONTROLLER
from edgekube.controllers.tainteviction import TAINTEVICTION_CONTROLLER
from edgekube.reconcile import emptying, garbage
from edgekube.reconcile.emptying import NamespaceEmptier
from edgekube.reconcile.engine import Engine
from edgekube.reconcile.garbage import GarbageCollector
from edgekube.reconcile.recorder import Recorder

#: Controllers that need no settings.
PLAIN: Final[tuple[Controller, ...]] = (
    SERVICEACCOUNT_CONTROLLER,
    DEPLOYMENT_CONTROLLER,
    REPLICASET_CONTROLLER,
    REPLICATION_CONTROLLER,
    ENDPOINTSLICE_CONTROLLER,
    ENDPOINTS_CONTROLLER,
    MIRRORING_CONTROLLER,
    NODELIFECYCLE_CONTROLLER,
    TAINTEVICTION_CONTROLLER,
    PODGC_CONTROLLER,
)


async def run_controllers(
    verbs: Verbs,
    recorder: Recorder,
    *,
    cluster_cidr: str,
    root_ca_pem: str,
    disable: frozenset[str] = frozenset(),
    kinds: Callable[[], Iterable[Kind]] = lambda: BUILT_IN,
    clock: Callable[[], float] = time.time,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Never returns. Started once the view is full and the workers are at work."""
    controllers = [*PLAIN, nodeipam.controller(cluster_cidr), rootca.controller(root_ca_pem)]
    controllers = [each for each in controllers if each.name not in disable]
    async with trio.open_nursery() as nursery:
        await nursery.start(Engine(verbs, controllers, recorder=recorder, clock=clock).run)
        if emptying.NAME not in disable:
            nursery.start_soon(NamespaceEmptier(verbs, kinds, clock=clock).run)
        if garbage.NAME not in disable:
            await nursery.start(GarbageCollector(verbs, kinds).run)
        task_status.started()
