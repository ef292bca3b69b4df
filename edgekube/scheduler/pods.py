"""A pod that wants a node: its facts and its wishes.

Enters: decoded pods.
Leaves: PendingPod, and whose turn it is: wants_node().
Holds: ``likeness`` is equal for pods for which every rule that looks at one node alone gives the same answer.
Next: scheduler.pending, scheduler.place.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import orjson
from msgspec import Struct, field

from edgekube.api import podstate, times
from edgekube.api.node_features import needed_features
from edgekube.api.objects import Object, is_deleting, owners_of, revision_of
from edgekube.api.pod_requests import pod_requests
from edgekube.scheduler.facts import PodFacts, pod_facts

#: spec.schedulerName of pods that name none.
SCHEDULER_NAME: Final = "default-scheduler"


class PendingPod(Struct):
    facts: PodFacts
    scheduler: str
    created_seconds: float
    revision: str
    generation: int
    likeness: bytes
    node_selector: dict[str, str] = field(default_factory=dict)
    node_affinity: Object = field(default_factory=dict)
    tolerations: tuple[Object, ...] = ()
    spread: tuple[Object, ...] = ()
    images: tuple[str, ...] = ()
    #: How many images its score is measured by: volumes are none.
    containers: int = 1
    volumes: tuple[Object, ...] = ()
    owners: tuple[Object, ...] = ()
    #: What its node's agent must be able to do (status.declaredFeatures).
    features: frozenset[str] = frozenset()
    resource_claims: bool = False
    preempts: bool = True
    #: status.nominatedNodeName: where room was made for it.
    nominated: str = ""
    nominated_told: str = ""
    #: What PodScheduled=False says now: (reason, message).
    told: tuple[str, str] = ("", "")
    told_at: float | None = None  # when an Event said so last

    @property
    def priority(self) -> int:
        return self.facts.priority

    def reference(self) -> Object:
        """Enough of the object to record an Event about it."""
        reference = self.facts.reference()
        reference["metadata"]["resourceVersion"] = self.revision
        return reference


def is_unplaced(pod: Object) -> bool:
    """It has no node and could still get one."""
    return not (pod.get("spec") or {}).get("nodeName") and not podstate.is_finished(pod) and not is_deleting(pod)


def scheduler_of(pod: Object) -> str:
    return str((pod.get("spec") or {}).get("schedulerName") or SCHEDULER_NAME)


def is_gated(pod: Object) -> bool:
    return bool((pod.get("spec") or {}).get("schedulingGates"))


def wants_node(pod: Object, schedulers: Collection[str] = (SCHEDULER_NAME,)) -> bool:
    """It is ours to place, now."""
    return is_unplaced(pod) and scheduler_of(pod) in schedulers and not is_gated(pod)


def pending_pod(pod: Object) -> PendingPod:
    spec, metadata, status = pod.get("spec") or {}, pod.get("metadata") or {}, pod.get("status") or {}
    condition = podstate.condition_of(pod, "PodScheduled") or {}
    when = metadata.get("creationTimestamp")
    facts = pod_facts(pod)
    # Nobody has given it anything yet: what it asks for is what counts.
    facts.requests = pod_requests(pod, held=False)
    containers = [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]
    images = [str(each.get("image") or "") for each in containers]
    images += [str(each["image"].get("reference") or "") for each in spec.get("volumes") or () if each.get("image")]
    node_affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    tolerations = spec.get("tolerations") or ()
    features = needed_features(spec)
    wishes = (
        scheduler_of(pod), facts.node, spec.get("nodeSelector"), node_affinity, tolerations, [list(each) for each in facts.ports],
        facts.requests, facts.nonzero, images, len(containers), sorted(features),
    )  # fmt: skip
    return PendingPod(
        facts=facts,
        scheduler=scheduler_of(pod),
        created_seconds=times.parse(when) if when else 0.0,
        revision=revision_of(pod),
        generation=int(metadata.get("generation") or 0),
        likeness=orjson.dumps(wishes, option=orjson.OPT_SORT_KEYS),
        node_selector=spec.get("nodeSelector") or {},
        node_affinity=node_affinity,
        tolerations=tuple(tolerations),
        spread=tuple(spec.get("topologySpreadConstraints") or ()),
        images=tuple(images),
        containers=len(containers),
        volumes=tuple(spec.get("volumes") or ()),
        owners=tuple(owners_of(pod)),
        features=features,
        resource_claims=bool(spec.get("resourceClaims")),
        preempts=spec.get("preemptionPolicy") != "Never",
        nominated=str(status.get("nominatedNodeName") or ""),
        nominated_told=str(status.get("nominatedNodeName") or ""),
        told=(str(condition.get("reason") or ""), str(condition.get("message") or ""))
        if condition.get("status") == "False"
        else ("", ""),
    )
