"""A StatefulSet's status.

Enters: a StatefulSet, its revisions and the pods that count.
Leaves: the status it should have.
Holds: the update is complete, and update's revision becomes the current one, when every replica is of it and ready.
Source: k8s.io/kubernetes pkg/controller/statefulset updateStatus, completeRollingUpdate.
Next: controller.
"""

from __future__ import annotations

from collections.abc import Iterable

from edgekube.api import podstate
from edgekube.api.objects import Object, is_deleting, spec_of
from edgekube.controllers.statefulset.history import History
from edgekube.controllers.statefulset.identity import is_running_and_ready, replicas_of, revision_of_pod
from edgekube.controllers.statefulset.updating import is_rolling


def status_for(stateful: Object, history: History, pods: Iterable[Object], replaced: int, wall_seconds: float) -> Object:
    """``replaced``: pods of the current revision that this plan deletes."""
    min_ready = int(spec_of(stateful).get("minReadySeconds") or 0)
    there = ready = available = current = updated = 0
    for pod in pods:
        there += 1
        if is_running_and_ready(pod):
            ready += 1
            available += podstate.is_available(pod, min_ready, wall_seconds)
        if not is_deleting(pod):
            current += revision_of_pod(pod) == history.current_name
            updated += revision_of_pod(pod) == history.update_name
    current_name = history.current_name
    current -= replaced
    if is_rolling(stateful) and updated == ready == there == replicas_of(stateful):
        current, current_name = updated, history.update_name
    before = stateful.get("status") or {}
    return {
        "observedGeneration": (stateful.get("metadata") or {}).get("generation") or None,
        "replicas": there,
        "readyReplicas": ready or None,
        "currentReplicas": current or None,
        "updatedReplicas": updated or None,
        "currentRevision": current_name,
        "updateRevision": history.update_name,
        "collisionCount": history.collisions,
        "availableReplicas": available,
        "conditions": before.get("conditions"),
    }
