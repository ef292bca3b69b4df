"""What the scheduler knows of a pod and of a node: a few numbers instead of the objects.

Enters: decoded pods and nodes.
Leaves: PodFacts and NodeFacts.
Holds: facts of a bound pod are small (no terms, no tolerations), for there may be ten thousand.
Next: scheduler.cluster.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, NamedTuple

from edgekube.api import podstate, times
from edgekube.api.objects import Object, controller_of, is_deleting, labels_of, name_of, namespace_of, revision_of, uid_of
from edgekube.scheduler.resources import NONZERO, Amounts, amounts, pod_requests

#: spec.schedulerName of the pods that are ours.
SCHEDULER_NAME: Final = "default-scheduler"
_ANY_ADDRESS: Final = "0.0.0.0"


class HostPort(NamedTuple):
    address: str
    protocol: str
    port: int

    def clashes(self, other: HostPort) -> bool:
        if (self.protocol, self.port) != (other.protocol, other.port):
            return False
        return self.address == other.address or _ANY_ADDRESS in (self.address, other.address)


@dataclass(slots=True)
class PodFacts:
    """Everything that counts against a node."""

    uid: str
    namespace: str
    name: str
    node: str
    requests: Amounts
    nonzero: Amounts
    ports: tuple[HostPort, ...]
    #: Pods that share it want to be on different nodes.
    family: str


@dataclass(slots=True)
class PendingPod:
    """A pod that wants a node."""

    facts: PodFacts
    priority: int
    created_seconds: float
    revision: str
    generation: int
    node_selector: dict[str, str] = field(default_factory=dict)
    node_affinity: Object = field(default_factory=dict)
    tolerations: tuple[Object, ...] = ()
    images: tuple[str, ...] = ()
    #: What PodScheduled=False says now: (reason, message).
    told: tuple[str, str] = ("", "")
    told_at: float | None = None  # when an Event said so last

    def reference(self) -> Object:
        """Enough of the object to record an Event about it."""
        facts = self.facts
        metadata = {"namespace": facts.namespace, "name": facts.name, "uid": facts.uid, "resourceVersion": self.revision}
        return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata}


@dataclass(slots=True)
class NodeFacts:
    name: str
    labels: dict[str, str]
    taints: tuple[Object, ...]
    unschedulable: bool
    allocatable: Amounts
    images: dict[str, int]  # name -> bytes


def uses_node(pod: Object) -> bool:
    """It has a node and takes room there."""
    return bool(podstate.node_of(pod)) and not podstate.is_finished(pod)


def wants_node(pod: Object) -> bool:
    """It is ours to place, now."""
    spec = pod.get("spec") or {}
    return (
        not spec.get("nodeName")
        and (spec.get("schedulerName") or SCHEDULER_NAME) == SCHEDULER_NAME
        and not spec.get("schedulingGates")
        and not podstate.is_finished(pod)
        and not is_deleting(pod)
    )


def pod_facts(pod: Object) -> PodFacts:
    spec = pod.get("spec") or {}
    owner = controller_of(pod)
    return PodFacts(
        uid=uid_of(pod),
        namespace=namespace_of(pod),
        name=name_of(pod),
        node=podstate.node_of(pod),
        requests=pod_requests(pod),
        nonzero=pod_requests(pod, NONZERO),
        ports=tuple(_host_ports(spec)),
        family=str(owner.get("uid")) if owner else _labelled(pod),
    )


def _labelled(pod: Object) -> str:
    """Pods without controller belong together when their labels are the same; without labels each stands alone."""
    labels = labels_of(pod)
    return f"{namespace_of(pod)} {sorted(labels.items())}" if labels else uid_of(pod)


def _host_ports(spec: Object) -> list[HostPort]:
    sidecars = [each for each in spec.get("initContainers") or () if each.get("restartPolicy") == "Always"]
    return [
        HostPort(port.get("hostIP") or _ANY_ADDRESS, port.get("protocol") or "TCP", int(port["hostPort"]))
        for container in [*(spec.get("containers") or ()), *sidecars]
        for port in container.get("ports") or ()
        if port.get("hostPort")
    ]


def pending_pod(pod: Object) -> PendingPod:
    spec, metadata = pod.get("spec") or {}, pod.get("metadata") or {}
    condition = podstate.condition_of(pod, "PodScheduled") or {}
    when = metadata.get("creationTimestamp")
    return PendingPod(
        facts=pod_facts(pod),
        priority=int(spec.get("priority") or 0),
        created_seconds=times.parse(when) if when else 0.0,
        revision=revision_of(pod),
        generation=int(metadata.get("generation") or 0),
        node_selector=spec.get("nodeSelector") or {},
        node_affinity=(spec.get("affinity") or {}).get("nodeAffinity") or {},
        tolerations=tuple(spec.get("tolerations") or ()),
        images=tuple(str(each.get("image") or "") for each in spec.get("containers") or ()),
        told=(str(condition.get("reason") or ""), str(condition.get("message") or ""))
        if condition.get("status") == "False"
        else ("", ""),
    )


def node_facts(node: Object) -> NodeFacts:
    spec, status = node.get("spec") or {}, node.get("status") or {}
    return NodeFacts(
        name=name_of(node),
        labels=labels_of(node),
        taints=tuple(spec.get("taints") or ()),
        unschedulable=bool(spec.get("unschedulable")),
        allocatable=amounts(status.get("allocatable") or status.get("capacity")),
        images={
            name: int(image.get("sizeBytes") or 0) for image in status.get("images") or () for name in image.get("names") or ()
        },
    )
