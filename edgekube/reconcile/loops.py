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
from edgekube.api.kinds import BUILT_IN, KINDS, Kind
from edgekube.api.metrics_source import MetricsSource
from edgekube.api.remote_content import RemoteContent
from edgekube.api.verbs import Verbs
from edgekube.controllers import loadbalancer, nodeipam, nodelifecycle, rootca, serviceaccounttokens, validatingpolicies
from edgekube.controllers.certificates import approving, signing
from edgekube.controllers.certificates.cleaning import CLEANING_CONTROLLER
from edgekube.controllers.cronjob import controller as cronjob
from edgekube.controllers.daemonset import controller as daemonset
from edgekube.controllers.deployment.controller import DEPLOYMENT_CONTROLLER
from edgekube.controllers.disruption.stale import STALE_DISRUPTION_CONTROLLER
from edgekube.controllers.endpoints.endpointslices import ENDPOINTSLICE_CONTROLLER
from edgekube.controllers.endpoints.legacy import ENDPOINTS_CONTROLLER
from edgekube.controllers.endpoints.mirroring import MIRRORING_CONTROLLER
from edgekube.controllers.ipaddresses import IPADDRESS_CONTROLLER
from edgekube.controllers.job import controller as job
from edgekube.controllers.job.orphans import ORPHAN_CONTROLLER
from edgekube.controllers.localpath.controller import LOCAL_PATH_CONTROLLER
from edgekube.controllers.podgc import PODGC_CONTROLLER
from edgekube.controllers.replicaset import REPLICASET_CONTROLLER, REPLICATION_CONTROLLER
from edgekube.controllers.roleaggregation import AGGREGATION_CONTROLLER
from edgekube.controllers.serviceaccount import SERVICEACCOUNT_CONTROLLER
from edgekube.controllers.servicecidrs import SERVICECIDR_CONTROLLER
from edgekube.controllers.statefulset.controller import STATEFULSET_CONTROLLER
from edgekube.controllers.tainteviction import TAINTEVICTION_CONTROLLER
from edgekube.controllers.ttlafterfinished import TTL_CONTROLLER
from edgekube.controllers.volumes.attached_lists import ATTACHED_LISTS_CONTROLLER
from edgekube.controllers.volumes.attaching import ATTACH_DETACH_CONTROLLER
from edgekube.controllers.volumes.binder import BINDER_CONTROLLER
from edgekube.controllers.volumes.ephemeral import EPHEMERAL_CONTROLLER
from edgekube.controllers.volumes.expansion import EXPANSION_CONTROLLER
from edgekube.controllers.volumes.protection import (
    CLAIM_PROTECTION_CONTROLLER,
    CLASS_PROTECTION_CONTROLLER,
    VOLUME_PROTECTION_CONTROLLER,
)
from edgekube.metrics import Metrics
from edgekube.reconcile import custom_scales, emptying, garbage, instances
from edgekube.reconcile.autoscaling import Autoscaler
from edgekube.reconcile.emptying import NamespaceEmptier
from edgekube.reconcile.engine import Engine
from edgekube.reconcile.garbage import GarbageCollector
from edgekube.reconcile.instances import InstanceCleaner
from edgekube.reconcile.local_zone import local_zone
from edgekube.reconcile.queue_figures import QueueFigures
from edgekube.reconcile.recorder import Recorder

#: Controllers that need no settings.
PLAIN: Final[tuple[Controller, ...]] = (
    SERVICEACCOUNT_CONTROLLER,
    DEPLOYMENT_CONTROLLER,
    REPLICASET_CONTROLLER,
    REPLICATION_CONTROLLER,
    STATEFULSET_CONTROLLER,
    STALE_DISRUPTION_CONTROLLER,
    ENDPOINTSLICE_CONTROLLER,
    ENDPOINTS_CONTROLLER,
    MIRRORING_CONTROLLER,
    IPADDRESS_CONTROLLER,
    SERVICECIDR_CONTROLLER,
    TAINTEVICTION_CONTROLLER,
    PODGC_CONTROLLER,
    ORPHAN_CONTROLLER,
    TTL_CONTROLLER,
    AGGREGATION_CONTROLLER,
    CLEANING_CONTROLLER,
    BINDER_CONTROLLER,
    CLAIM_PROTECTION_CONTROLLER,
    VOLUME_PROTECTION_CONTROLLER,
    CLASS_PROTECTION_CONTROLLER,
    EPHEMERAL_CONTROLLER,
    EXPANSION_CONTROLLER,
    ATTACH_DETACH_CONTROLLER,
    ATTACHED_LISTS_CONTROLLER,
)


async def run_controllers(
    verbs: Verbs,
    recorder: Recorder,
    *,
    cluster_cidr: str,
    root_ca: Callable[[], str],
    node_grace_seconds: float = nodelifecycle.GRACE_SECONDS,
    load_balancer: loadbalancer.Rules | None = None,
    sign: signing.Sign | None = None,
    may_create: approving.MayCreate | None = None,
    account_tokens: serviceaccounttokens.Signer | None = None,
    check_policy: validatingpolicies.Check | None = None,
    local_path: bool = True,
    metrics: MetricsSource | None = None,
    remote_content: RemoteContent | None = None,
    disable: frozenset[str] = frozenset(),
    kinds: Callable[[], Iterable[Kind]] = lambda: BUILT_IN,
    kind_of: Callable[[str, str], Kind | None] = KINDS.by_kind,
    on_kinds_changed: Callable[[Callable[[], None]], None] = lambda tell: None,
    clock: Callable[[], float] = time.time,
    figures: Metrics | None = None,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Never returns. Started once the view is full and the workers are at work. ``load_balancer`` None: somebody else gives
    addresses to Services of type LoadBalancer; likewise certificates without ``sign``, and tokens in Secrets without
    ``account_tokens``. Humans approve all certificates without ``may_create``. ``check_policy``: the type check of a
    ValidatingAdmissionPolicy. ``metrics``: nothing is scaled by itself without.
    ``remote_content``: what other API servers keep in namespaces. ``kinds``: every stored kind once, custom ones
    included; ``kind_of``: one by apiVersion and kind, as served; ``on_kinds_changed`` takes whom to tell of a change.
    ``figures``: where it is counted how the loops keep up."""
    controllers = [
        *PLAIN,
        job.new_controller(),
        daemonset.controller(),
        cronjob.controller(local_zone),
        nodeipam.controller(cluster_cidr),
        nodelifecycle.controller(node_grace_seconds),
        rootca.controller(root_ca),
        custom_scales.controller(verbs, kind_of),
    ]
    if local_path:
        controllers.append(LOCAL_PATH_CONTROLLER)
    if load_balancer is not None:
        controllers.append(loadbalancer.controller(load_balancer))
    if sign is not None:
        controllers.append(signing.controller(sign))
    if account_tokens is not None:
        controllers.append(serviceaccounttokens.controller(account_tokens, root_ca))
    if may_create is not None:
        controllers.append(approving.controller(may_create))
    if metrics is not None:
        controllers.append(Autoscaler(verbs, metrics, kinds).controller())
    if check_policy is not None:
        controllers.append(validatingpolicies.controller(check_policy))
    controllers = [each for each in controllers if each.name not in disable]
    queues = QueueFigures(figures) if figures is not None else None
    async with trio.open_nursery() as nursery:
        await nursery.start(Engine(verbs, controllers, recorder=recorder, clock=clock, figures=queues).run)
        if emptying.NAME not in disable:
            nursery.start_soon(NamespaceEmptier(verbs, kinds, remote_content, clock=clock, figures=queues).run)
        if garbage.NAME not in disable:
            collector = GarbageCollector(verbs, kinds, recorder, queues)
            await nursery.start(collector.run)
            on_kinds_changed(collector.refresh)
            collector.refresh()  # what came while the rest was being listed
        if instances.NAME not in disable:
            nursery.start_soon(InstanceCleaner(verbs, kinds, figures=queues).run)
        task_status.started()
