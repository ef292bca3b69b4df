"""Nodes that fall silent become Unknown; conditions become taints.

Enters: a Node, its Lease in kube-node-lease, and whether any other node is ready.
Leaves: conditions set to Unknown, taints, pods marked not ready on a node that is not heard of; events about nodes that come and
go.
Holds: silence is measured on the monotonic clock since this process last saw the Lease or Node change, so neither a clock that
jumps nor a long power-off of the server makes nodes look dead. While no node at all is ready nobody is evicted; where most of a
zone is lost nobody more, for the fault is then likelier ours; else one node of a zone after the other.
Source: k8s.io/kubernetes pkg/controller/nodelifecycle; kubernetes.io/docs/concepts/architecture/nodes.
Next: controllers.tainteviction.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Final

from edgekube.api import podstate, taints, times
from edgekube.api.calls import Call, Later, Patch, Record
from edgekube.api.controller import Change, Controller, Key, Moment, key_of
from edgekube.api.kinds import LEASE, NODE, POD
from edgekube.api.objects import Object, is_deleting, labels_of, name_of, namespace_of, uid_of
from edgekube.api.verbs import STRATEGIC_MERGE_PATCH
from edgekube.api.view import View
from edgekube.api.waiting import is_yet_to_come

#: Upstream's --node-monitor-grace-period (settings may say otherwise) and --node-startup-grace-period.
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
#: Nodes of a zone that begin to be evicted, one in so many seconds (upstream's --node-eviction-rate 0.1).
_EVICTION_SECONDS: Final = 10.0
#: In a zone of which this share is lost (--unhealthy-zone-threshold), the slower pace (--secondary-node-eviction-rate 0.01),
#: and none at all where the zone is small (--large-cluster-size-threshold).
_LOST_SHARE: Final = 0.55
_SLOW_EVICTION_SECONDS: Final = 100.0
_LARGE_ZONE_NODES: Final = 50
_ZONE_LABELS: Final = ("topology.kubernetes.io/region", "topology.kubernetes.io/zone")
_SCHEDULING: Final = frozenset({*_TAINTED_BY.values(), taints.UNSCHEDULABLE})
_EVICTING: Final = frozenset({taints.NOT_READY, taints.UNREACHABLE})


def plan(view: View, key: Key, now: Moment, *, known: dict[str, str], grace_seconds: float) -> list[Call]:
    """``known``: the uid of each node that has been seen before, by name: the one thing that is remembered between plans, for of
    a node that is gone nothing else tells."""
    node = view.get(NODE, "", key.name)
    calls = _seen(node, key.name, known)
    if node is None or is_deleting(node):
        return calls
    silent_in = _silent_in(view, node, now, grace_seconds)
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
    evict_in = _evict_in(view, node, now.wall_seconds)
    if evict_in:
        calls.append(Later(evict_in))
    calls += _retaint(node, evict_in, now.wall_seconds)
    if _ready(node) == "Unknown":
        calls += _not_ready(view.pods_on(key.name), now.wall_seconds)
    return calls


def _seen(node: Object | None, name: str, known: dict[str, str]) -> list[Call]:
    """What is told of nodes that come and go; of one that came back in between, both."""
    before, after = known.get(name), None if node is None else uid_of(node)
    if before == after:
        return []
    calls: list[Call] = []
    if before is not None:
        gone: Object = {"apiVersion": NODE.api_version, "kind": NODE.kind, "metadata": {"name": name, "uid": before}}
        message = f"Node {name} event: Removing Node {name} from Controller"
        calls.append(Record(gone, "Normal", "RemovingNode", message))
        del known[name]
    if node is not None and after is not None:
        message = f"Node {name} event: Registered Node {name} in Controller"
        calls.append(Record(node, "Normal", "RegisteredNode", message))
        known[name] = after
    return calls


def _ready(node: Object) -> str:
    return str((podstate.condition_of(node, "Ready") or {}).get("status") or "")


def _silent_in(view: View, node: Object, now: Moment, grace_seconds: float) -> float:
    """Seconds until the node has been silent for too long."""
    name = name_of(node)
    heard = view.changed_at(LEASE, LEASE_NAMESPACE, name)
    if heard is None:
        heard = view.changed_at(NODE, "", name) or 0.0
    grace = grace_seconds if _ready(node) else max(grace_seconds, STARTUP_GRACE_SECONDS)
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


def _evict_in(view: View, node: Object, wall_seconds: float) -> float | None:
    """Seconds until a node that is not ready may be evicted; None while it may not, however long it takes."""
    # A ready node needs no look at the others, which matters when a thousand of them report.
    if _ready(node) == "True":
        return 0.0
    nodes = list(view.list(NODE))
    if not any(_ready(each) == "True" for each in nodes):
        return None
    if _evicting_since(node):
        return 0.0
    zone = [each for each in nodes if _zone(each) == _zone(node)]
    lost = sum(_ready(each) != "True" for each in zone)
    pause = _EVICTION_SECONDS
    if lost > 2 and lost < len(zone) and lost / len(zone) >= _LOST_SHARE:
        if len(zone) <= _LARGE_ZONE_NODES:
            return None
        pause = _SLOW_EVICTION_SECONDS
    begun = (since for each in zone for since in _evicting_since(each))
    latest = max((since for since in begun if not is_yet_to_come(since, wall_seconds)), default=None)
    return 0.0 if latest is None else min(pause, max(0.0, latest + pause - wall_seconds))


def _zone(node: Object) -> tuple[str | None, ...]:
    return tuple(labels_of(node).get(label) for label in _ZONE_LABELS)


def _evicting_since(node: Object) -> list[float]:
    """When the taints that evict its pods were added."""
    taints_of: list[Object] = (node.get("spec") or {}).get("taints") or []
    ours = [each for each in taints_of if each.get("effect") == taints.NO_EXECUTE and each.get("key") in _EVICTING]
    return [times.parse(each["timeAdded"]) if each.get("timeAdded") else 0.0 for each in ours]


def _retaint(node: Object, evict_in: float | None, wall_seconds: float) -> list[Call]:
    """``evict_in``: as _evict_in() has it; unless it is zero the node has no taint that evicts."""
    have: list[Object] = (node.get("spec") or {}).get("taints") or []
    conditions: list[Object] = (node.get("status") or {}).get("conditions") or []
    keys = [
        taint for each in conditions if (taint := _TAINTED_BY.get((str(each.get("type")), str(each.get("status"))))) is not None
    ]
    if (node.get("spec") or {}).get("unschedulable"):
        keys.append(taints.UNSCHEDULABLE)
    evicting = [key for key in keys if key in _EVICTING] if evict_in == 0.0 else []
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
        calls.append(Record(pod, "Warning", "NodeNotReady", "Node is not ready"))
    return calls


def _nodes(change: Change, view: View) -> Iterable[Key]:
    """The node itself; all of them when one becomes ready or ceases to be, for that may end or begin a full disruption."""
    before = _ready(change.old) if change.old is not None else ""
    after = _ready(change.new) if change.new is not None else ""
    if (before == "True") == (after == "True") and change.new is not None:
        return (change.key,)
    return [change.key, *(key_of(node) for node in view.list(NODE))]


def _of_first_lease(change: Change, view: View) -> Iterable[Key]:
    """A Lease that appears or goes; renewals are looked at when the time is up."""
    if change.key.namespace != LEASE_NAMESPACE or (change.old is not None and change.new is not None):
        return ()
    return (Key("", change.key.name),)


def controller(grace_seconds: float = GRACE_SECONDS) -> Controller:
    """``grace_seconds``: how long a node may be silent. One for each run: it remembers which nodes there were."""
    return Controller(
        name="node-lifecycle-controller",
        watches=((NODE, _nodes), (LEASE, _of_first_lease)),
        plan=partial(plan, known={}, grace_seconds=grace_seconds),
        reads=(POD,),
    )
