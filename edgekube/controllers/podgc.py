"""Pods that nobody will end: on nodes that are gone, never bound and deleted, or finished long ago.

Enters: pods by the node they name ("" are the unbound), and nodes.
Leaves: forced deletions.
Holds: a node may be gone for GONE_SECONDS before its pods are, for it may be registering anew.
Bound: limits.TERMINATED_PODS_MAX finished pods stay, the newest.
Source: k8s.io/kubernetes pkg/controller/podgc; kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle (pod garbage collection).
Next: registry.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from edgekube import limits
from edgekube.api import podstate, taints, times
from edgekube.api.calls import Call, Delete, Later, Patch
from edgekube.api.controller import Change, Controller, Key, Moment, sides
from edgekube.api.kinds import NODE, POD
from edgekube.api.objects import Object, is_deleting, metadata_of, name_of, namespace_of, uid_of
from edgekube.api.verbs import STRATEGIC_MERGE_PATCH, DeleteOptions
from edgekube.api.view import View

#: As upstream's quarantine.
GONE_SECONDS: Final = 40.0
#: No node can have this name: the key under which finished pods are counted.
_FINISHED: Final = Key("", "*finished*")


def plan(view: View, key: Key, now: Moment) -> list[Call]:
    if key == _FINISHED:
        return _old_finished(view)
    if not key.name:
        return [call for pod in view.pods_on("") if is_deleting(pod) for call in _failed_and_deleted(pod)]
    node = view.get(NODE, "", key.name)
    if node is not None:
        return _out_of_service(node, view.pods_on(key.name))
    return _of_gone_node(view, key.name, now)


def _of_gone_node(view: View, node_name: str, now: Moment) -> list[Call]:
    calls: list[Call] = []
    gone_at = view.changed_at(NODE, "", node_name)
    for pod in view.pods_on(node_name):
        since = gone_at if gone_at is not None else view.changed_at(POD, namespace_of(pod), name_of(pod))
        wait = (since or 0.0) + GONE_SECONDS - now.monotonic_seconds
        if wait > 0:
            calls.append(Later(wait))
            continue
        condition: Object = {
            "type": "DisruptionTarget",
            "observedGeneration": metadata_of(pod).get("generation"),
            "status": "True",
            "reason": "DeletionByPodGC",
            "message": "PodGC: node no longer exists",
            "lastTransitionTime": times.rfc3339(now.wall_seconds),
        }
        calls += _failed_and_deleted(pod, [condition])
    return calls


def _out_of_service(node: Object, pods: Iterable[Object]) -> list[Call]:
    """Somebody vouches that the machine is off: its deleted pods need not be confirmed by it."""
    marked = any(each.get("key") == taints.OUT_OF_SERVICE for each in (node.get("spec") or {}).get("taints") or ())
    if not marked or (podstate.condition_of(node, "Ready") or {}).get("status") == "True":
        return []
    return [call for pod in pods if is_deleting(pod) for call in _failed_and_deleted(pod)]


def _old_finished(view: View) -> list[Call]:
    finished = [pod for pod in view.list(POD) if podstate.is_finished(pod) and not is_deleting(pod)]
    surplus = len(finished) - limits.TERMINATED_PODS_MAX
    if surplus <= 0:
        return []
    # What a node evicted first: of what a controller made, people want to see the end.
    finished.sort(key=lambda pod: (not _is_evicted(pod), pod["metadata"].get("creationTimestamp") or "", name_of(pod)))
    return [_delete(pod) for pod in finished[:surplus]]


def _is_evicted(pod: Object) -> bool:
    status = pod.get("status") or {}
    return status.get("phase") == "Failed" and status.get("reason") == "Evicted"


def _failed_and_deleted(pod: Object, conditions: Sequence[Object] = ()) -> list[Call]:
    """Nobody else will say that it has ended, and what waits for that (a Job's finalizer) must hear it."""
    if podstate.is_finished(pod):
        return [_delete(pod)]
    status: Object = {"phase": "Failed", "observedGeneration": metadata_of(pod).get("generation")}
    if conditions:
        status["conditions"] = list(conditions)
    patch: Object = {"metadata": {"uid": uid_of(pod)}, "status": status}
    failed = Patch(POD, namespace_of(pod), name_of(pod), patch, patch_type=STRATEGIC_MERGE_PATCH, subresource="status")
    return [failed, _delete(pod)]


def _delete(pod: Object) -> Call:
    options = DeleteOptions(grace_period_seconds=0, precondition_uid=uid_of(pod))
    return Delete(POD, namespace_of(pod), name_of(pod), options)


def _of_pod(change: Change, view: View) -> Iterable[Key]:
    pod = change.new
    if pod is None:
        return
    if podstate.is_finished(pod) and (change.old is None or not podstate.is_finished(change.old)):
        yield _FINISHED
    node_name = podstate.node_of(pod)
    if not node_name:
        if is_deleting(pod):
            yield Key("", "")
    elif is_deleting(pod) or change.old is None or podstate.node_of(change.old) != node_name:
        yield Key("", node_name)


def _of_node(change: Change, view: View) -> Iterable[Key]:
    tainted = any(
        taint.get("key") == taints.OUT_OF_SERVICE
        for side in sides(change)
        for taint in (side.get("spec") or {}).get("taints") or ()
    )
    return (change.key,) if change.new is None or tainted else ()


PODGC_CONTROLLER: Final = Controller(
    name="pod-garbage-collector-controller",
    watches=((POD, _of_pod), (NODE, _of_node)),
    plan=plan,
)
