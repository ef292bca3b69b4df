"""NoExecute taints evict the pods that do not tolerate them, or no longer.

Enters: a Node and the pods on it.
Leaves: deletions, now or later.
Holds: the time a pod is tolerated for runs from the taint's timeAdded, which is written where it is missing.
Source: kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration; pkg/controller/tainteviction.
Next: agent.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from edgekube.api import podstate, taints, times
from edgekube.api.calls import Call, Delete, Later, Patch, Record
from edgekube.api.controller import Change, Controller, Key, Moment
from edgekube.api.kinds import NODE, POD
from edgekube.api.objects import Object, is_deleting, metadata_of, name_of, namespace_of, uid_of
from edgekube.api.verbs import STRATEGIC_MERGE_PATCH, DeleteOptions
from edgekube.api.view import View
from edgekube.api.waiting import left_seconds


def plan(view: View, key: Key, now: Moment) -> list[Call]:
    node = view.get(NODE, "", key.name)
    if node is None:
        return []
    found = _no_execute(node)
    if not found:
        return []
    if any(not each.get("timeAdded") for each in found):
        return [_stamped(node, now.wall_seconds)]
    calls: list[Call] = []
    for pod in view.pods_on(key.name):
        if is_deleting(pod) or podstate.is_finished(pod):
            continue
        left = _left_seconds(pod, found, now, view.changed_at(NODE, "", key.name))
        if left is None:
            continue
        calls += [Later(left)] if left > 0 else _evict(pod, now.wall_seconds)
    return calls


def _no_execute(node: Object) -> list[Object]:
    return [each for each in (node.get("spec") or {}).get("taints") or () if each.get("effect") == taints.NO_EXECUTE]


def _stamped(node: Object, wall_seconds: float) -> Call:
    now = times.rfc3339(wall_seconds)
    stamped = [
        {**each, "timeAdded": now} if each.get("effect") == taints.NO_EXECUTE and not each.get("timeAdded") else each
        for each in node["spec"]["taints"]
    ]
    metadata = {"resourceVersion": node["metadata"]["resourceVersion"]}
    return Patch(NODE, "", name_of(node), {"metadata": metadata, "spec": {"taints": stamped}})


def _left_seconds(pod: Object, found: list[Object], now: Moment, seen_at: float | None) -> float | None:
    """Seconds that the pod may stay; 0.0 when it must go; None when it may stay for ever."""
    tolerations = (pod.get("spec") or {}).get("tolerations") or []
    if taints.untolerated(found, tolerations, (taints.NO_EXECUTE,)) is not None:
        return 0.0
    allowed = taints.toleration_seconds(found, tolerations)
    if allowed is None:
        return None
    since = max(times.parse(each["timeAdded"]) for each in found)
    return max(0.0, left_seconds(since, allowed, now, seen_at))


def _evict(pod: Object, wall_seconds: float) -> list[Call]:
    namespace, name = namespace_of(pod), name_of(pod)
    condition = {
        "type": "DisruptionTarget",
        "observedGeneration": metadata_of(pod).get("generation"),
        "status": "True",
        "reason": "DeletionByTaintManager",
        "message": "Taint manager: deleting due to NoExecute taint",
        "lastTransitionTime": times.rfc3339(wall_seconds),
    }
    patch: Object = {"metadata": {"uid": uid_of(pod)}, "status": {"conditions": [condition]}}
    return [
        Record(pod, "Normal", "TaintManagerEviction", f"Marking for deletion Pod {namespace}/{name}"),
        Patch(POD, namespace, name, patch, patch_type=STRATEGIC_MERGE_PATCH, subresource="status"),
        Delete(POD, namespace, name, DeleteOptions(precondition_uid=uid_of(pod))),
    ]


def _tainted_node(change: Change, view: View) -> Iterable[Key]:
    return (change.key,) if change.new is not None and _no_execute(change.new) else ()


def _node_of_pod(change: Change, view: View) -> Iterable[Key]:
    """A pod that has come to a node, or changed what it tolerates there."""
    pod = change.new
    if pod is None or not podstate.node_of(pod) or (change.old is not None and _concern(change.old) == _concern(pod)):
        return ()
    return (Key("", podstate.node_of(pod)),)


def _concern(pod: Object) -> tuple[str, object]:
    return podstate.node_of(pod), (pod.get("spec") or {}).get("tolerations")


TAINTEVICTION_CONTROLLER: Final = Controller(
    name="taint-eviction-controller",
    watches=((NODE, _tainted_node), (POD, _node_of_pod)),
    plan=plan,
)
