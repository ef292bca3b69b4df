"""Rules about a pod's volumes: whether they can be had on a node.

Enters: a pending pod's volumes, and scheduler.storage.
Leaves: refusals in upstream's words.
Holds: the same rules of binding as the binder's (api.storage).
Source: kube-scheduler plugins VolumeRestrictions, NodeVolumeLimits, VolumeBinding and VolumeZone.
Next: scheduler.profiles.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from edgekube.api import storage
from edgekube.api.objects import Object, labels_of, name_of
from edgekube.scheduler.cluster import Cluster, NodeState
from edgekube.scheduler.plugin import Check, Filter, Refusal
from edgekube.scheduler.pods import PendingPod
from edgekube.scheduler.storage import ClaimKey, PodClaims, Storage, VolumePlan, claim_problem, plan_volumes, sort_claims

RESTRICTIONS: Final = "VolumeRestrictions"
VOLUME_LIMITS: Final = "NodeVolumeLimits"
BINDING: Final = "VolumeBinding"
ZONE: Final = "VolumeZone"
NAMES: Final = frozenset((RESTRICTIONS, VOLUME_LIMITS, BINDING, ZONE))

_disk: Final = Refusal(RESTRICTIONS, ("node(s) had no available disk",))
_in_use: Final = Refusal(
    RESTRICTIONS,
    ("node(s) unavailable due to PersistentVolumeClaim with ReadWriteOncePod access mode already in-use by another pod",),
)
_too_many: Final = Refusal(VOLUME_LIMITS, ("node(s) exceed max volume count",))
_other_zone: Final = Refusal(ZONE, ("node(s) had no available volume zone",), hopeless=True)

#: Labels of volumes that say where they are -> the label of nodes that says the same today.
_TOPOLOGY: Final[Mapping[str, str]] = {
    "failure-domain.beta.kubernetes.io/zone": "topology.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region": "topology.kubernetes.io/region",
    "topology.kubernetes.io/zone": "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region": "topology.kubernetes.io/region",
}


def _claim_names(pod: PendingPod) -> Iterator[tuple[str, bool]]:
    """With whether it is an ephemeral volume's."""
    for volume in pod.volumes:
        if volume.get("persistentVolumeClaim"):
            yield str(volume["persistentVolumeClaim"].get("claimName") or ""), False
        elif volume.get("ephemeral") is not None:
            yield f"{pod.facts.name}-{volume.get('name') or ''}", True


def _claims(pod: PendingPod, known: Storage) -> Iterator[Object]:
    for name, _ in _claim_names(pod):
        claim = known.claim(pod.facts.namespace, name)
        if claim is not None:
            yield claim


def _nobody(plugin: str, reason: str) -> Refusal:
    return Refusal(plugin, (reason,), hopeless=True)


# --- VolumeRestrictions


def _restrictions(pod: PendingPod, cluster: Cluster) -> Check | Refusal | None:
    known, namespace = cluster.surroundings.storage, pod.facts.namespace
    for name, ephemeral in _claim_names(pod):
        if not ephemeral and known.claim(namespace, name) is None:
            return _nobody(RESTRICTIONS, f'persistentvolumeclaim "{name}" not found')
    single = [name_of(claim) for claim in _claims(pod, known) if storage.ONE_POD in storage.modes_of(claim)]
    if any(cluster.claim_users.get(ClaimKey(namespace, name)) for name in single):
        return lambda node: _in_use
    mine = pod.facts.disks
    if not mine:
        return None

    def check(node: NodeState) -> Refusal | None:
        theirs = [disk for other in node.pods.values() if other.disks for disk in other.disks]
        return _disk if any(disk.clashes(other) for disk in mine for other in theirs) else None

    return check


# --- NodeVolumeLimits


def _handle(claim: Object, known: Storage) -> tuple[str, str] | None:
    """(driver, volume) where it is a driver's; a volume that is not made yet goes by its claim."""
    volume = known.volumes.get(str((claim.get("spec") or {}).get("volumeName") or ""))
    if volume is not None:
        source = (volume.get("spec") or {}).get("csi")
        return (str(source.get("driver")), str(source.get("volumeHandle"))) if source else None
    found = known.classes.get(storage.class_of(claim))
    provisioner = str((found or {}).get("provisioner") or "")
    return (provisioner, f"claim {claim['metadata'].get('namespace')}/{name_of(claim)}") if provisioner else None


def _limits(pod: PendingPod, cluster: Cluster) -> Check | None:
    known = cluster.surroundings.storage
    wanted = {handle for claim in _claims(pod, known) if (handle := _handle(claim, known)) is not None}
    drivers = {driver for driver, _ in wanted}
    if not any(drivers & limits.keys() for limits in known.limits.values()):
        return None

    def check(node: NodeState) -> Refusal | None:
        limits = known.limits.get(node.facts.name)
        if not limits or not drivers & limits.keys():
            return None
        there: set[tuple[str, str]] = set()
        for other in node.pods.values():
            for name in other.claims:
                claim = known.claim(other.namespace, name)
                handle = _handle(claim, known) if claim is not None else None
                if handle is not None:
                    there.add(handle)
        for at, attacher, volume_name in known.attachments.values():
            source = (known.volumes.get(volume_name) or {}).get("spec", {}).get("csi") if at == node.facts.name else None
            if source:
                there.add((attacher, str(source.get("volumeHandle"))))
        for driver in drivers & limits.keys():
            used = sum(each == driver for each, _ in there)
            more = sum(each[0] == driver for each in wanted - there)
            if more and used + more > limits[driver]:
                return _too_many
        return None

    return check


# --- VolumeBinding


def pod_claims(pod: PendingPod, known: Storage) -> PodClaims | Refusal | None:
    """None for a pod without claims."""
    facts = pod.facts
    names = list(_claim_names(pod))
    for name, ephemeral in names:
        problem = claim_problem(known.claim(facts.namespace, name), name, facts.uid, facts.name, facts.namespace, ephemeral)
        if problem is not None:
            return _nobody(BINDING, problem)
    if not names:
        return None
    claims = sort_claims(_claims(pod, known), known)
    if isinstance(claims, str):
        return _nobody(BINDING, claims)
    if claims.immediate:
        return _nobody(BINDING, "pod has unbound immediate PersistentVolumeClaims")
    return claims


def _binding(pod: PendingPod, cluster: Cluster) -> Check | Refusal | None:
    known = cluster.surroundings.storage
    claims = pod_claims(pod, known)
    if claims is None or isinstance(claims, Refusal):
        return claims

    def check(node: NodeState) -> Refusal | None:
        answer = plan_volumes(claims, node.facts.name, node.facts.labels, known)
        return Refusal(BINDING, answer, hopeless=True) if isinstance(answer, tuple) else None

    return check


def plan_for(pod: PendingPod, node: NodeState, cluster: Cluster) -> VolumePlan | None:
    """What the claims of a pod that fits on the node need there."""
    if not pod.facts.claims:
        return None
    known = cluster.surroundings.storage
    claims = pod_claims(pod, known)
    if claims is None or isinstance(claims, Refusal):
        return None
    plan = plan_volumes(claims, node.facts.name, node.facts.labels, known)
    return plan if isinstance(plan, VolumePlan) else None


# --- VolumeZone


def _zone(pod: PendingPod, cluster: Cluster) -> Check | Refusal | None:
    known = cluster.surroundings.storage
    wanted: list[tuple[str, frozenset[str]]] = []
    for claim in _claims(pod, known):
        volume = known.volumes.get(str((claim.get("spec") or {}).get("volumeName") or ""))
        for key, value in labels_of(volume or {}).items():
            if key in _TOPOLOGY:
                wanted.append((key, frozenset(part.strip() for part in value.split("__"))))
    if not wanted:
        return None

    def check(node: NodeState) -> Refusal | None:
        labels = node.facts.labels
        if not any(key in labels for key in _TOPOLOGY):
            return None
        for key, values in wanted:
            if labels.get(key, labels.get(_TOPOLOGY[key])) not in values:
                return _other_zone
        return None

    return check


VOLUME_FILTERS: Final = (
    Filter(RESTRICTIONS, _restrictions),
    Filter(VOLUME_LIMITS, _limits),
    Filter(BINDING, _binding),
    Filter(ZONE, _zone),
)
