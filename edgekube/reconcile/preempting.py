"""Evict pods for a more important one.

Enters: a Preemption that scheduler.preemption decided.
Leaves: victims with condition DisruptionTarget, deleted with their own grace; Preempted events; pods of lower priority that
had been promised room on the node are promised nothing any more.
Holds: a victim that is on its way out already is let be; the last victim is deleted only when the others could be.
Next: registry.delete.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from edgekube.api import times
from edgekube.api.calls import Record
from edgekube.api.errors import StatusError
from edgekube.api.kinds import POD
from edgekube.api.objects import Object
from edgekube.api.verbs import STRATEGIC_MERGE_PATCH, DeleteOptions, Verbs
from edgekube.reconcile.recorder import Recorder
from edgekube.scheduler.cluster import Cluster
from edgekube.scheduler.facts import PREEMPTED, PodFacts
from edgekube.scheduler.pods import PendingPod
from edgekube.scheduler.preemption import Preemption

log = logging.getLogger("edgekube.reconcile.preempting")


async def evict_all(
    verbs: Verbs, recorder: Recorder, pod: PendingPod, preemption: Preemption, clock: Callable[[], float]
) -> bool:
    """False when a victim could not be evicted: the pod must be looked at again."""
    for victim in preemption.victims:
        if victim.leaving:
            continue
        try:
            await _evict(verbs, pod, victim, times.rfc3339(clock()))
        except StatusError as error:
            if error.reason == "NotFound":
                continue
            log.warning("pod=%s/%s not evicted: %s", victim.namespace, victim.name, error.message)
            return False
        message = f"Preempted by pod {pod.facts.uid} on node {preemption.node}"
        recorder.record(pod.scheduler, Record(victim.reference(), "Normal", "Preempted", message))
    return True


async def _evict(verbs: Verbs, pod: PendingPod, victim: PodFacts, now: str) -> None:
    condition: Object = {
        "type": "DisruptionTarget",
        "status": "True",
        "reason": PREEMPTED,
        "message": f"{pod.scheduler}: preempting to accommodate a higher priority pod",
        "lastTransitionTime": now,
    }
    if victim.generation:
        condition["observedGeneration"] = victim.generation
    patch: Object = {"metadata": {"uid": victim.uid}, "status": {"conditions": [condition]}}
    await verbs.patch(POD, victim.namespace, victim.name, patch, patch_type=STRATEGIC_MERGE_PATCH, subresource="status")
    await verbs.delete(POD, victim.namespace, victim.name, DeleteOptions(precondition_uid=victim.uid))


async def forget_room(verbs: Verbs, cluster: Cluster, pod: PendingPod, node: str) -> None:
    """Lesser pods that waited for room on the node look elsewhere: this one comes first."""
    lesser = [each for each in cluster.nominated.get(node, {}).values() if each.priority < pod.priority]
    for each in lesser:
        patch: Object = {"metadata": {"uid": each.uid}, "status": {"nominatedNodeName": None}}
        try:
            await verbs.patch(POD, each.namespace, each.name, patch, patch_type=STRATEGIC_MERGE_PATCH, subresource="status")
        except StatusError as error:
            log.debug("pod=%s/%s still nominated: %s", each.namespace, each.name, error.message)
