"""Nodes that fall silent become Unknown; conditions become taints.

Enters: a Node, its Lease in kube-node-lease, and whether any other node is ready.
Leaves: conditions set to Unknown, taints, and pods marked not ready on a node that is not heard of.
Holds: silence is measured on the monotonic clock since this process last saw the Lease or Node change, so neither a clock that
jumps nor a long power-off of the server makes nodes look dead; while no node at all is ready nobody is evicted.
Source: k8s.io/kubernetes pkg/controller/nodelifecycle; kubernetes.io/docs/concepts/architecture/nodes.
Next: controllers.tainteviction.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from edgekube.api import podstate, taints, times
from edgekube.api.calls import Call, Later, Patch, Record
from edgekube.api.controller import Change, Controller, Key, Moment, key_of
from edgekube.api.kinds import LEASE, NODE, POD
from edgekube.api.objects import Object, is_deleting, name_of, namespace_of, uid_of
from edgekube.api.verbs import STRATEGIC_MERGE_PATCH
from edgekube.api.view import View

#: Upstream's --node-monitor-grace-period and --node-startup-grace-period.
GRACE_SECONDS: Final = 50.0
STARTUP_GRACE_SECONDS: Final = 60.0
LEASE_NAMESPACE: Final = "kube-node-lease"
_HEARTBEAT: Final = ("Ready", "MemoryPressure", "DiskPressure", "PIDPressure")
#: (condition, status) -> taint.
_TAINTED_BY: Final = {
    ("Ready", "False"): taints.NOT_READY,
    ("Ready", "Unknown"): taints.UNREACHABLE,
    ("MemoryPressure", "True"): taints.MEMORY_PRESSURE,
    ("DiskPressure", "True"): taints.DISK_PRESSURE,
    ("PIDPressure", "True"): taints.PID_PRESSURE,
    ("NetworkUnavailable", "True"): taints.NETWORK_UNAVAILABLE,
}
_SCHEDULING: Final = frozenset({*_TAINTED_BY.values(), taints.UNSCHEDULABLE})
_EVICTING: Final = frozenset({taints.NOT_READY, taints.UNREACHABLE})


def plan(view: View, key: Key, now: Moment) -> list[Call]:
    node = view.get(NODE, "", key.name)
    if node is None or is_deleting(node):
        return []
    silent_in = _silent_in(view, node, now)
    calls: list[Call] = []
    if silent_in > 0:
        calls.append(Later(silent_in))
    else:
        conditions = _unknown(node, now.wall_seconds)
        if conditions:
            patch: Object = {"metadata": {"uid": uid_of(node)}, "status": {"conditions": conditions}}
            calls.append(Patch(NODE, "", key.name, patch, patch_type=STRATEGIC_MERGE_PATCH, subresource="status"))
            if _ready(node) == "True":
                message = f"Node {key.name} status is now: NodeNotReady"
                calls.append(Record(node, "Normal", "NodeNotReady", message))
            return calls  # what was written wakes the next step
    # A ready node needs no look at the others, which matters when a thousand of them report.
    some_ready = _ready(node) == "True" or any(_ready(each) == "True" for each in view.list(NODE))
    calls += _retaint(node, some_ready, now.wall_seconds)
    if _ready(node) == "Unknown":
        calls += _not_ready(view.pods_on(key.name), now.wall_seconds)
    return calls


def _ready(node: Object) -> str:
    return str((podstate.condition_of(node, "Ready") or {}).get("status") or "")


def _silent_in(view: View, node: Object, now: Moment) -> float:
    """Seconds until the node has been silent for too long."""
    name = name_of(node)
    heard = view.changed_at(LEASE, LEASE_NAMESPACE, name)
    if heard is None:
        heard = view.changed_at(NODE, "", name) or 0.0
    grace = GRACE_SECONDS if _ready(node) else STARTUP_GRACE_SECONDS
    return heard + grace - now.monotonic_seconds


def _unknown(node: Object, wall_seconds: float) -> list[Object]:
    """The conditions that a silent node no longer vouches for, as they should be."""
    now = times.rfc3339(wall_seconds)
    changed: list[Object] = []
    for type_ in _HEARTBEAT:
        before = podstate.condition_of(node, type_)
        if before is None:
            reason, message = "NodeStatusNeverUpdated", "Kubelet never posted node status."
            created = (node.get("metadata") or {}).get("creationTimestamp") or now
            changed.append({"type": type_, "status": "Unknown", "reason": reason, "message": message,
                            "lastHeartbeatTime": created, "lastTransitionTime": now})  # fmt: skip
        elif before.get("status") != "Unknown":
            reason, message = "NodeStatusUnknown", "Kubelet stopped posting node status."
            found = {**before, "status": "Unknown", "reason": reason, "message": message, "lastTransitionTime": now}
            changed.append(found)
    return changed


def _retaint(node: Object, some_ready: bool, wall_seconds: float) -> list[Call]:
    have: list[Object] = (node.get("spec") or {}).get("taints") or []
    conditions: list[Object] = (node.get("status") or {}).get("conditions") or []
    keys = [
        taint for each in conditions if (taint := _TAINTED_BY.get((str(each.get("type")), str(each.get("status"))))) is not None
    ]
    if (node.get("spec") or {}).get("unschedulable"):
        keys.append(taints.UNSCHEDULABLE)
    evicting = [key for key in keys if key in _EVICTING] if some_ready else []
    wanted = _merged(have, taints.NO_SCHEDULE, _SCHEDULING, keys, wall_seconds)
    wanted = _merged(wanted, taints.NO_EXECUTE, _EVICTING, evicting, wall_seconds)
    if wanted == have:
        return []
    # The revision guards taints that somebody else sets at the same time: a merge patch replaces the whole list.
    metadata = {"resourceVersion": node["metadata"]["resourceVersion"]}
    return [Patch(NODE, "", name_of(node), {"metadata": metadata, "spec": {"taints": wanted or None}})]


def _merged(
    have: Sequence[Object], effect: str, ours: frozenset[str], wanted: Sequence[str], wall_seconds: float
) -> list[Object]:
    """The taints with ours of this effect as wanted; those that stay keep the time they were added."""
    result = [each for each in have if each.get("effect") != effect or each.get("key") not in ours or each.get("key") in wanted]
    present = {each.get("key") for each in result if each.get("effect") == effect}
    now = times.rfc3339(wall_seconds)
    return result + [{"key": key, "effect": effect, "timeAdded": now} for key in wanted if key not in present]


def _not_ready(pods: Iterable[Object], wall_seconds: float) -> list[Call]:
    """Pods of a node that is not heard of must not get traffic; its agent says otherwise once it is back."""
    now = times.rfc3339(wall_seconds)
    calls: list[Call] = []
    for pod in pods:
        if not podstate.is_ready(pod):
            continue
        condition = {"type": "Ready", "status": "False", "lastTransitionTime": now}
        patch: Object = {"metadata": {"uid": uid_of(pod)}, "status": {"conditions": [condition]}}
        calls.append(Patch(POD, namespace_of(pod), name_of(pod), patch, patch_type=STRATEGIC_MERGE_PATCH, subresource="status"))
    return calls


def _nodes(change: Change, view: View) -> Iterable[Key]:
    """The node itself; all of them when one becomes ready or ceases to be, for that may end or begin a full disruption."""
    before = _ready(change.old) if change.old is not None else ""
    after = _ready(change.new) if change.new is not None else ""
    if (before == "True") == (after == "True"):
        return (change.key,)
    return [change.key, *(key_of(node) for node in view.list(NODE))]


def _of_first_lease(change: Change, view: View) -> Iterable[Key]:
    """A Lease that appears or goes; renewals are looked at when the time is up."""
    if change.key.namespace != LEASE_NAMESPACE or (change.old is not None and change.new is not None):
        return ()
    return (Key("", change.key.name),)


NODELIFECYCLE_CONTROLLER: Final = Controller(
    name="node-lifecycle-controller",
    watches=((NODE, _nodes), (LEASE, _of_first_lease)),
    plan=plan,
    reads=(POD,),
)
