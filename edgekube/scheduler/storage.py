"""What the scheduler knows of storage: claims, volumes, classes, drivers, and what it has given away in thought.

Enters: decoded objects as they come and go; volumes chosen for pods that are being bound.
Leaves: Storage, and for a pod and a node: VolumePlan, what must be bound or made before the pod can be.
Holds: a volume is chosen for one claim; a choice counts until the API shows it, or it is taken back.
Next: scheduler.plugins.volumes, reconcile.volume_binding.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from msgspec import Struct, field

from edgekube.api import quantities, storage
from edgekube.api.objects import Object, annotations_of, is_deleting, name_of, namespace_of, owners_of
from edgekube.scheduler.terms import selector_of


class ClaimKey(NamedTuple):
    namespace: str
    name: str


class Storage(Struct):
    claims: dict[ClaimKey, Object] = field(default_factory=dict)
    volumes: dict[str, Object] = field(default_factory=dict)
    classes: dict[str, Object] = field(default_factory=dict)
    #: node -> driver -> how many of its volumes the node can have.
    limits: dict[str, dict[str, int]] = field(default_factory=dict)
    #: Drivers that say how much room they have.
    counting_drivers: set[str] = field(default_factory=set)
    #: uid -> CSIStorageCapacity.
    capacities: dict[str, Object] = field(default_factory=dict)
    #: uid of a VolumeAttachment -> (node, attacher, volume).
    attachments: dict[str, tuple[str, str, str]] = field(default_factory=dict)
    #: Volumes chosen for claims of pods that are being bound.
    chosen: dict[str, ClaimKey] = field(default_factory=dict)
    #: Claims whose volume is to be made near a node.
    promised: dict[ClaimKey, str] = field(default_factory=dict)

    def claim(self, namespace: str, name: str) -> Object | None:
        return self.claims.get(ClaimKey(namespace, name))

    def assume(self, plan: VolumePlan) -> None:
        for claim, volume in plan.bind:
            self.chosen[name_of(volume)] = key_of(claim)
        for claim in plan.provision:
            self.promised[key_of(claim)] = plan.node

    def forget(self, plan: VolumePlan) -> None:
        for claim, volume in plan.bind:
            if self.chosen.get(name_of(volume)) == key_of(claim):
                del self.chosen[name_of(volume)]
        for claim in plan.provision:
            self.promised.pop(key_of(claim), None)


class VolumePlan(Struct, frozen=True):
    """What a pod's claims need on a node; an empty plan: nothing."""

    node: str
    bind: tuple[tuple[Object, Object], ...] = ()  # claim, volume
    provision: tuple[Object, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.bind or self.provision)

    def keys(self) -> list[ClaimKey]:
        return [*(key_of(claim) for claim, _ in self.bind), *map(key_of, self.provision)]


def key_of(claim: Object) -> ClaimKey:
    return ClaimKey(namespace_of(claim), name_of(claim))


class PodClaims(Struct, frozen=True):
    bound: tuple[Object, ...] = ()
    immediate: tuple[Object, ...] = ()
    delayed: tuple[Object, ...] = ()


def sort_claims(claims: Iterable[Object], known: Storage) -> PodClaims | str:
    """By what is left to do for them; text where that cannot be said."""
    bound, immediate, delayed = [], [], []
    for claim in claims:
        if storage.is_fully_bound(claim):
            bound.append(claim)
            continue
        name = storage.class_of(claim)
        found = known.classes.get(name)
        if name and found is None and not (claim.get("spec") or {}).get("volumeName"):
            return f'storageclass.storage.k8s.io "{name}" not found'
        if storage.delays_binding(found) and not (claim.get("spec") or {}).get("volumeName"):
            delayed.append(claim)
        else:
            immediate.append(claim)
    return PodClaims(tuple(bound), tuple(immediate), tuple(delayed))


# --- one node

NODE_CONFLICT: Final = "node(s) didn't match PersistentVolume's node affinity"
BIND_CONFLICT: Final = "node(s) didn't find available persistent volumes to bind"
NO_SPACE: Final = "node(s) did not have enough free storage"
NO_VOLUME: Final = "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)"


def plan_volumes(claims: PodClaims, node: str, labels: Mapping[str, str], known: Storage) -> VolumePlan | tuple[str, ...]:
    """The plan, or upstream's reasons against the node."""
    reasons = []
    for claim in claims.bound:
        volume = known.volumes.get(str(claim["spec"]["volumeName"]))
        if volume is None:
            reasons.append(NO_VOLUME)
            break
        if not storage.reachable_from(volume, labels):
            reasons.append(NODE_CONFLICT)
            break
    bindings: list[tuple[Object, Object]] = []
    wanting: list[Object] = []
    for claim in sorted(claims.delayed, key=lambda claim: (quantities.parse(storage.requested(claim)), name_of(claim))):
        selected = annotations_of(claim).get(storage.SELECTED_NODE) or known.promised.get(key_of(claim))
        if selected and selected != node:
            return (*reasons, BIND_CONFLICT)
        volume = None if selected else _matching(claim, labels, known, [name_of(each) for _, each in bindings])
        if volume is None:
            wanting.append(claim)
        else:
            bindings.append((claim, volume))
    for claim in wanting:
        reason = _cannot_provide(claim, labels, known)
        if reason is not None:
            # As upstream counts them: after what bound claims have against the node.
            reasons.append(reason)
            break
    if reasons:
        return tuple(sorted(reasons, key=_ORDER.index))
    return VolumePlan(node, tuple(bindings), tuple(wanting))


_ORDER: Final = (NODE_CONFLICT, BIND_CONFLICT, NO_SPACE, NO_VOLUME)


def _matching(claim: Object, labels: Mapping[str, str], known: Storage, taken: list[str]) -> Object | None:
    mine = key_of(claim)
    elsewhere = [name for name, owner in known.chosen.items() if owner != mine]
    name = storage.class_of(claim)
    of_class = [volume for volume in known.volumes.values() if storage.class_of(volume) == name]
    return storage.find_volume(claim, of_class, labels=labels, taken={*taken, *elsewhere}) if of_class else None


def _cannot_provide(claim: Object, labels: Mapping[str, str], known: Storage) -> str | None:
    found = known.classes.get(storage.class_of(claim))
    provisioner = str((found or {}).get("provisioner") or "")
    if found is None or provisioner in ("", storage.NO_PROVISIONER):
        return BIND_CONFLICT
    topologies = found.get("allowedTopologies")
    if topologies and not any(_in_topology(term, labels) for term in topologies):
        return BIND_CONFLICT
    if provisioner in known.counting_drivers and not _has_space(claim, name_of(found), labels, known):
        return NO_SPACE
    return None


def _in_topology(term: Object, labels: Mapping[str, str]) -> bool:
    expressions = term.get("matchLabelExpressions") or ()
    return bool(expressions) and all(labels.get(each.get("key") or "") in (each.get("values") or ()) for each in expressions)


def _has_space(claim: Object, class_name: str, labels: Mapping[str, str], known: Storage) -> bool:
    wanted = storage.requested(claim)
    for capacity in known.capacities.values():
        limit = capacity.get("maximumVolumeSize") or capacity.get("capacity")
        topology = capacity.get("nodeTopology")
        if capacity.get("storageClassName") != class_name or limit is None or topology is None:
            continue
        if quantities.compare(str(limit), wanted) >= 0 and selector_of(topology).matches(labels):
            return True
    return False


# --- a pod's claims


def claim_problem(claim: Object | None, name: str, pod_uid: str, pod_name: str, namespace: str, ephemeral: bool) -> str | None:
    """Why no pod can be placed with this claim, in upstream's words."""
    if claim is None:
        if ephemeral:
            return f'waiting for ephemeral volume controller to create the persistentvolumeclaim "{name}"'
        return f'persistentvolumeclaim "{name}" not found'
    if (claim.get("status") or {}).get("phase") == "Lost":
        volume = (claim.get("spec") or {}).get("volumeName") or ""
        return f'persistentvolumeclaim "{name}" bound to non-existent persistentvolume "{volume}"'
    if is_deleting(claim):
        return f'persistentvolumeclaim "{name}" is being deleted'
    if ephemeral and not any(each.get("controller") and each.get("uid") == pod_uid for each in owners_of(claim)):
        return f"PVC {namespace}/{name} was not created for pod {namespace}/{pod_name} (pod is not owner)"
    return None
