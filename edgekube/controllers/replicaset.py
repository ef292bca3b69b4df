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
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final

import orjson

from edgekube import limits
from edgekube.api import podstate
from edgekube.api.adoption import adopters
from edgekube.api.calls import Call, Create, Delete, Later, Report
from edgekube.api.controller import Change, Controller, Key, KeysFor, Moment, controlled_by, itself, looks_alike
from edgekube.api.errors import StatusError
from edgekube.api.kinds import POD, REPLICASET, REPLICATIONCONTROLLER, Kind
from edgekube.api.objects import Object, controller_of, is_deleting, name_of, namespace_of, uid_of
from edgekube.api.ownership import controller_reference
from edgekube.api.pod_claims import claim_pods
from edgekube.api.pod_facts import PodFacts
from edgekube.api.pod_ranking import ranked_for_deletion
from edgekube.api.selectors.labels import LabelSelector, label_selector_of, label_selector_of_set
from edgekube.api.statuses import status_calls, with_condition, without_condition
from edgekube.api.verbs import DeleteOptions
from edgekube.api.view import View


def plan(kind: Kind, view: View, key: Key, now: Moment) -> list[Call]:
    owner = view.get(kind, key.namespace, key.name)
    if owner is None:
        return []
    matches = selector_of(kind, owner).matches
    pods, calls = claim_pods(kind, owner, view, matches, adoptable=podstate.is_active, concerns=lambda pod: not pod.finished)
    active = [pod for pod in pods if pod.active]
    terminating = len(pods) - len(active)
    if not is_deleting(owner):
        calls += _manage(kind, owner, active, terminating, view, now)
    conditions = without_condition((owner.get("status") or {}).get("conditions") or [], "ReplicaFailure")
    calls += status_calls(kind, owner, _status(owner, active, terminating, conditions, now))
    min_ready = _min_ready_seconds(owner)
    if min_ready:
        calls += [Later(wait) for pod in active if (wait := pod.available_in(min_ready, now.wall_seconds))]
    return calls


def selector_of(kind: Kind, owner: Object) -> LabelSelector:
    selector = (owner.get("spec") or {}).get("selector")
    return label_selector_of(selector) if kind is REPLICASET else label_selector_of_set(selector)


def _replicas(owner: Object) -> int:
    replicas = (owner.get("spec") or {}).get("replicas")
    return 1 if replicas is None else int(replicas)


def _min_ready_seconds(owner: Object) -> int:
    return int((owner.get("spec") or {}).get("minReadySeconds") or 0)


def _manage(kind: Kind, owner: Object, active: list[PodFacts], terminating: int, view: View, now: Moment) -> list[Call]:
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
            pod.namespace,
            pod.name,
            DeleteOptions(precondition_uid=pod.uid),
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


def _status(owner: Object, active: list[PodFacts], terminating: int, conditions: list[Object], now: Moment) -> Object:
    wanted = (((owner.get("spec") or {}).get("template") or {}).get("metadata") or {}).get("labels") or {}
    min_ready = _min_ready_seconds(owner)
    labelled = sum(wanted.items() <= pod.labels.items() for pod in active)
    available = sum(pod.available_in(min_ready, now.wall_seconds) == 0.0 for pod in active)
    status: Object = {"replicas": len(active), "observedGeneration": (owner.get("metadata") or {}).get("generation") or None}
    status["fullyLabeledReplicas"] = labelled or None
    status["readyReplicas"] = sum(pod.ready for pod in active) or None
    status["availableReplicas"] = available or None
    if owner.get("kind") == "ReplicaSet":
        status["terminatingReplicas"] = terminating
    status["conditions"] = conditions or None
    return status


def _related_nodes(kind: Kind, owner: Object, active: list[PodFacts], view: View) -> Counter[str]:
    """Active pods per node of every ReplicaSet with the same controller: scaling down spreads a Deployment's pods."""
    parent = controller_of(owner)
    if kind is not REPLICASET or parent is None:
        return Counter(pod.node for pod in active)
    nodes: Counter[str] = Counter()
    for sibling in view.owned_by(REPLICASET, str(parent.get("uid"))):
        nodes.update(pod.node for pod in view.pod_facts_owned_by(uid_of(sibling)) if pod.active)
    return nodes


def _of_its_pods(kind: Kind) -> KeysFor:
    """The controller of a pod of which it would see another thing. What containers do says nothing to it: a thousand pods that
    crash would be looked at over and over, each time all of them."""
    controlled = controlled_by(kind)

    def keys(change: Change, view: View) -> Iterable[Key]:
        if looks_alike(change, _seen):
            return ()
        return controlled(change, view)

    return keys


def _seen(pod: Object) -> tuple[object, ...]:
    return podstate.belonging(pod), podstate.is_finished(pod), podstate.ready_since(pod)


def _controller(name: str, kind: Kind) -> Controller:
    return Controller(
        name=name,
        watches=((kind, itself), (POD, _of_its_pods(kind)), (POD, adopters(kind, functools.partial(selector_of, kind)))),
        plan=functools.partial(plan, kind),
        reads=(REPLICASET,),
    )


REPLICASET_CONTROLLER: Final = _controller("replicaset-controller", REPLICASET)
REPLICATION_CONTROLLER: Final = _controller("replication-controller", REPLICATIONCONTROLLER)
