"""What the scheduler knows of a pod and of a node: a few numbers instead of the objects.

Enters: decoded pods and nodes.
Leaves: PodFacts and NodeFacts.
Holds: facts of a bound pod are small (no node terms, no tolerations), for there may be ten thousand.
Next: scheduler.cluster, scheduler.pods for those without a node.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from msgspec import Struct

from edgekube import limits
from edgekube.api import podstate, storage, times
from edgekube.api.host_ports import HostPort, host_ports
from edgekube.api.objects import Object, annotations_of, is_deleting, labels_of, name_of, namespace_of, uid_of
from edgekube.api.pod_requests import NONZERO, Amounts, amounts, pod_requests
from edgekube.scheduler.disks import Disk, disks_of
from edgekube.scheduler.terms import PodTerms, pod_terms

#: Others are not looked at by any rule.
_OWN_ANNOTATIONS: Final = "edgekube.io/"
#: Why a pod has condition DisruptionTarget when it made room for another.
PREEMPTED: Final = "PreemptionByScheduler"


class PodFacts(Struct):
    """Everything that counts against a node, and what makes a pod more important than another."""

    uid: str
    namespace: str
    name: str
    node: str
    labels: dict[str, str]
    requests: Amounts
    nonzero: Amounts
    ports: tuple[HostPort, ...] = ()
    terms: PodTerms | None = None
    #: Names of its PersistentVolumeClaims.
    claims: tuple[str, ...] = ()
    disks: tuple[Disk, ...] = ()
    priority: int = 0
    #: Since when it runs; None: it has not said so yet.
    started_seconds: float | None = None
    leaving: bool = False
    #: It is leaving because it was preempted.
    preempted: bool = False
    generation: int = 0

    def reference(self) -> Object:
        """Enough of the object to record an Event about it."""
        metadata = {"namespace": self.namespace, "name": self.name, "uid": self.uid}
        return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata}


class NodeFacts(Struct):
    name: str
    labels: dict[str, str]
    annotations: dict[str, str]
    taints: tuple[Object, ...]
    unschedulable: bool
    allocatable: Amounts
    images: dict[str, int]  # name -> bytes
    features: frozenset[str] = frozenset()


def uses_node(pod: Object) -> bool:
    """It has a node and takes room there."""
    return bool(podstate.node_of(pod)) and not podstate.is_finished(pod)


def pod_facts(pod: Object) -> PodFacts:
    spec, status = pod.get("spec") or {}, pod.get("status") or {}
    leaving = is_deleting(pod)
    started = status.get("startTime")
    target = podstate.condition_of(pod, "DisruptionTarget") if leaving else None
    return PodFacts(
        uid=uid_of(pod),
        namespace=namespace_of(pod),
        name=name_of(pod),
        node=podstate.node_of(pod),
        labels=labels_of(pod),
        requests=shared(pod_requests(pod)),
        nonzero=shared(pod_requests(pod, NONZERO)),
        ports=host_ports(pod),
        terms=pod_terms(spec, namespace_of(pod)),
        claims=tuple(storage.claims_of(pod)),
        disks=disks_of(spec),
        priority=int(spec.get("priority") or 0),
        started_seconds=times.parse(started) if started else None,
        leaving=leaving,
        preempted=target is not None and target.get("status") == "True" and target.get("reason") == PREEMPTED,
        generation=int((pod.get("metadata") or {}).get("generation") or 0),
    )


def shared(requests: Amounts) -> Amounts:
    """The same dict for pods that ask for the same; nobody writes into it."""
    return _shared(tuple(sorted(requests.items())))


@lru_cache(maxsize=limits.POD_AMOUNTS_KEPT_MAX)
def _shared(requests: tuple[tuple[str, int], ...]) -> Amounts:
    return dict(requests)


def node_facts(node: Object) -> NodeFacts:
    spec, status = node.get("spec") or {}, node.get("status") or {}
    return NodeFacts(
        name=name_of(node),
        labels=labels_of(node),
        annotations={key: value for key, value in annotations_of(node).items() if key.startswith(_OWN_ANNOTATIONS)},
        taints=tuple(spec.get("taints") or ()),
        unschedulable=bool(spec.get("unschedulable")),
        allocatable=amounts(status.get("allocatable") or status.get("capacity")),
        images={
            name: int(image.get("sizeBytes") or 0) for image in status.get("images") or () for name in image.get("names") or ()
        },
        features=frozenset(status.get("declaredFeatures") or ()),
    )
