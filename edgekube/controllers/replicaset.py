"""ReplicaSet, and ReplicationController, its predecessor with a plain map for a selector: keep so many pods running.

Enters: a ReplicaSet and the pods of its namespace.
Leaves: pods made, deleted, adopted and released; status.
Holds: pods are counted when they are active (neither finished nor being deleted); the least useful ones go first.
Bound: limits.BURST_REPLICAS a plan.
Source: k8s.io/kubernetes pkg/controller/replicaset; kubernetes.io/docs/concepts/workloads/controllers/replicaset.
Next: scheduler.
"""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final

import orjson

from edgekube import limits
from edgekube.api import podstate, times
from edgekube.api.calls import Call, Create, Delete, Later, Report
from edgekube.api.controller import Change, Controller, Key, KeysFor, Moment, controlled_by, itself, key_of
from edgekube.api.errors import StatusError
from edgekube.api.kinds import KINDS, POD, REPLICASET, Kind
from edgekube.api.objects import Object, annotations_of, controller_of, is_deleting, labels_of, name_of, namespace_of, uid_of
from edgekube.api.ownership import claim, controller_reference
from edgekube.api.selectors import LabelSelector, label_selector_of, label_selector_of_set
from edgekube.api.statuses import status_calls, with_condition, without_condition
from edgekube.api.verbs import DeleteOptions
from edgekube.api.view import View

_REPLICATION_CONTROLLER: Final = KINDS.by_kind("v1", "ReplicationController")
assert _REPLICATION_CONTROLLER is not None, "the table of kinds has ReplicationController"
REPLICATIONCONTROLLER: Final[Kind] = _REPLICATION_CONTROLLER

DELETION_COST: Final = "controller.kubernetes.io/pod-deletion-cost"
_PHASE_RANK: Final = {"Pending": 0, "Unknown": 1, "Running": 2}


def plan(kind: Kind, view: View, key: Key, now: Moment) -> list[Call]:
    owner = view.get(kind, key.namespace, key.name)
    if owner is None:
        return []
    candidates = [
        *view.owned_by(POD, uid_of(owner)),
        *view.owned_by(POD, "", key.namespace),
    ]
    alive = [pod for pod in candidates if not podstate.is_finished(pod)]
    pods, calls = claim(kind, owner, POD, alive, selector_of(kind, owner).matches, adoptable=podstate.is_active)
    active = [pod for pod in pods if podstate.is_active(pod)]
    terminating = len(pods) - len(active)
    if not is_deleting(owner):
        calls += _manage(kind, owner, active, terminating, view, now)
    conditions = without_condition((owner.get("status") or {}).get("conditions") or [], "ReplicaFailure")
    calls += status_calls(kind, owner, _status(owner, active, terminating, conditions, now))
    waits = [podstate.available_in(pod, _min_ready_seconds(owner), now.wall_seconds) for pod in active]
    calls += [Later(wait) for wait in waits if wait]
    return calls


def selector_of(kind: Kind, owner: Object) -> LabelSelector:
    selector = (owner.get("spec") or {}).get("selector")
    return label_selector_of(selector) if kind is REPLICASET else label_selector_of_set(selector)


def _replicas(owner: Object) -> int:
    replicas = (owner.get("spec") or {}).get("replicas")
    return 1 if replicas is None else int(replicas)


def _min_ready_seconds(owner: Object) -> int:
    return int((owner.get("spec") or {}).get("minReadySeconds") or 0)


def _manage(kind: Kind, owner: Object, active: list[Object], terminating: int, view: View, now: Moment) -> list[Call]:
    missing = _replicas(owner) - len(active)
    if not missing:
        return []

    def failed(reason: str) -> Callable[[StatusError], list[Call]]:
        def remedy(error: StatusError) -> list[Call]:
            conditions = (owner.get("status") or {}).get("conditions") or []
            conditions = with_condition(conditions, "ReplicaFailure", "True", reason, error.message, now.wall_seconds)
            return status_calls(kind, owner, _status(owner, active, terminating, conditions, now))

        return remedy

    if missing > 0:
        report = Report(owner, "SuccessfulCreate", "Created pod: {name}", "FailedCreate", "Error creating: {error}")
        template = orjson.dumps(_pod(kind, owner))
        return [
            Create(POD, namespace_of(owner), orjson.loads(template), report=report, on_failure=failed("FailedCreate"))
            for _ in range(min(missing, limits.BURST_REPLICAS))
        ]
    report = Report(owner, "SuccessfulDelete", "Deleted pod: {name}", "FailedDelete", "Error deleting: {error}")
    related = _related_nodes(kind, owner, active, view)
    surplus = ranked_for_deletion(active, related, now.wall_seconds)[: min(-missing, limits.BURST_REPLICAS)]
    return [
        Delete(
            POD,
            namespace_of(pod),
            name_of(pod),
            DeleteOptions(precondition_uid=uid_of(pod)),
            report=report,
            on_failure=failed("FailedDelete"),
        )
        for pod in surplus
    ]


def _pod(kind: Kind, owner: Object) -> Object:
    template = (owner.get("spec") or {}).get("template") or {}
    of_template = template.get("metadata") or {}
    metadata: Object = {"generateName": f"{name_of(owner)}-", "namespace": namespace_of(owner)}
    for part in ("labels", "annotations", "finalizers"):
        if of_template.get(part):
            metadata[part] = of_template[part]
    metadata["ownerReferences"] = [controller_reference(kind, owner)]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template.get("spec") or {}}


def _status(owner: Object, active: list[Object], terminating: int, conditions: list[Object], now: Moment) -> Object:
    wanted = (((owner.get("spec") or {}).get("template") or {}).get("metadata") or {}).get("labels") or {}
    min_ready = _min_ready_seconds(owner)
    labelled = sum(wanted.items() <= labels_of(pod).items() for pod in active)
    available = sum(podstate.is_available(pod, min_ready, now.wall_seconds) for pod in active)
    status: Object = {"replicas": len(active), "observedGeneration": (owner.get("metadata") or {}).get("generation") or None}
    status["fullyLabeledReplicas"] = labelled or None
    status["readyReplicas"] = sum(map(podstate.is_ready, active)) or None
    status["availableReplicas"] = available or None
    if owner.get("kind") == "ReplicaSet":
        status["terminatingReplicas"] = terminating
    status["conditions"] = conditions or None
    return status


def _related_nodes(kind: Kind, owner: Object, active: list[Object], view: View) -> Counter[str]:
    """Active pods per node of every ReplicaSet with the same controller: scaling down spreads a Deployment's pods."""
    parent = controller_of(owner)
    if kind is not REPLICASET or parent is None:
        return Counter(podstate.node_of(pod) for pod in active)
    nodes: Counter[str] = Counter()
    for sibling in view.owned_by(REPLICASET, str(parent.get("uid"))):
        nodes.update(podstate.node_of(pod) for pod in view.owned_by(POD, uid_of(sibling)) if podstate.is_active(pod))
    return nodes


def ranked_for_deletion(pods: Iterable[Object], related: Counter[str], wall_seconds: float) -> list[Object]:
    """The pods, those that are missed least first (source: controller_utils.go ActivePodsWithRanks)."""

    def rank(pod: Object) -> tuple[int, int, int, int, int]:
        node = podstate.node_of(pod)
        phase = _PHASE_RANK.get(podstate.phase_of(pod), 0)
        return (1 if node else 0, phase, int(podstate.is_ready(pod)), _deletion_cost(pod), -related[node] if node else 0)

    def compare(left: tuple[tuple[int, ...], Object], right: tuple[tuple[int, ...], Object]) -> int:
        if left[0] != right[0]:
            return -1 if left[0] < right[0] else 1
        a, b = left[1], right[1]
        return (
            _younger_first(podstate.ready_since(a) or 0.0, podstate.ready_since(b) or 0.0, a, b, wall_seconds)
            or podstate.restarts_of(b) - podstate.restarts_of(a)
            or _younger_first(_created(a), _created(b), a, b, wall_seconds)
        )

    return [pod for _, pod in sorted(((rank(pod), pod) for pod in pods), key=functools.cmp_to_key(compare))]


def _younger_first(a_since: float, b_since: float, a: Object, b: Object, wall_seconds: float) -> int:
    """Ages are compared by their order of magnitude, so that of pods that are about as old any may go."""
    if a_since == b_since:
        return 0

    def magnitude(since: float) -> int:
        nanoseconds = (wall_seconds - since) * 1e9
        return int(math.log2(nanoseconds)) if nanoseconds > 1 else -1

    difference = magnitude(a_since) - magnitude(b_since)
    if difference:
        return difference
    return -1 if uid_of(a) < uid_of(b) else 1


def _created(pod: Object) -> float:
    when = (pod.get("metadata") or {}).get("creationTimestamp")
    return times.parse(when) if when else 0.0


def _deletion_cost(pod: Object) -> int:
    try:
        return int(annotations_of(pod).get(DELETION_COST, "0"))
    except ValueError:
        return 0


def _adopters(kind: Kind) -> KeysFor:
    """The owners that would adopt a pod without controller."""

    def keys(change: Change, view: View) -> Iterable[Key]:
        pod = change.new
        if pod is None or controller_of(pod) is not None or is_deleting(pod):
            return ()
        owners = view.list(kind, namespace_of(pod))
        return [key_of(owner) for owner in owners if selector_of(kind, owner).matches(labels_of(pod))]

    return keys


def _controller(name: str, kind: Kind) -> Controller:
    return Controller(
        name=name,
        watches=((kind, itself), (POD, controlled_by(kind)), (POD, _adopters(kind))),
        plan=functools.partial(plan, kind),
        reads=(REPLICASET,),
    )


REPLICASET_CONTROLLER: Final = _controller("replicaset-controller", REPLICASET)
REPLICATION_CONTROLLER: Final = _controller("replication-controller", REPLICATIONCONTROLLER)
