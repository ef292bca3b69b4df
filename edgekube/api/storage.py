"""Claims and volumes: what fits what, and who of them is bound to whom.

Enters: decoded claims, volumes, classes and pods.
Leaves: yes or no, the volume that a claim should have, the names that they have for each other.
Holds: pure, and the same answers for the binder and the scheduler. A volume with a claimRef fits the claim that it names and no
other; of those that fit, one with the fewest further access modes, then the smallest, then the first by name.
Source: kubernetes.io, Persistent Volumes; component-helpers storage/volume; pkg/controller/volume/persistentvolume.
Next: controllers.volumes, scheduler.volumes, admission.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Final

from edgekube.api import quantities
from edgekube.api.node_affinity import required
from edgekube.api.objects import (
    Object,
    annotations_of,
    controller_of,
    is_deleting,
    labels_of,
    name_of,
    namespace_of,
    spec_of,
    uid_of,
)
from edgekube.api.selectors.labels import label_selector_of

BIND_COMPLETED: Final = "pv.kubernetes.io/bind-completed"
BOUND_BY_CONTROLLER: Final = "pv.kubernetes.io/bound-by-controller"
PROVISIONED_BY: Final = "pv.kubernetes.io/provisioned-by"
SELECTED_NODE: Final = "volume.kubernetes.io/selected-node"
STORAGE_PROVISIONER: Final = "volume.kubernetes.io/storage-provisioner"
BETA_STORAGE_PROVISIONER: Final = "volume.beta.kubernetes.io/storage-provisioner"
BETA_CLASS: Final = "volume.beta.kubernetes.io/storage-class"
#: Provisioner of classes whose volumes people make themselves.
NO_PROVISIONER: Final = "kubernetes.io/no-provisioner"
CLAIM_PROTECTION: Final = "kubernetes.io/pvc-protection"
VOLUME_PROTECTION: Final = "kubernetes.io/pv-protection"
ATTRIBUTES_CLASS_PROTECTION: Final = "kubernetes.io/vac-protection"
ONE_POD: Final = "ReadWriteOncePod"
WAIT_FOR_CONSUMER: Final = "WaitForFirstConsumer"


# --- classes


def has_class(claim: Object) -> bool:
    """Whether the claim says anything about a class; "" says: none."""
    return BETA_CLASS in annotations_of(claim) or spec_of(claim).get("storageClassName") is not None


def class_of(obj: Object) -> str:
    """The class of a claim or a volume; "" for none. The old annotation goes before the field."""
    annotated = annotations_of(obj).get(BETA_CLASS)
    return str(annotated if annotated is not None else spec_of(obj).get("storageClassName") or "")


def delays_binding(storage_class: Object | None) -> bool:
    """Whether claims of the class wait until the scheduler has chosen a node."""
    return storage_class is not None and storage_class.get("volumeBindingMode") == WAIT_FOR_CONSUMER


# --- one claim, one volume


def modes_of(obj: Object) -> list[str]:
    return spec_of(obj).get("accessModes") or []


def requested(claim: Object) -> str:
    """How much storage the claim asks for, as a quantity."""
    return str(((spec_of(claim).get("resources") or {}).get("requests") or {}).get("storage") or "0")


def capacity_of(volume: Object) -> str:
    return str((spec_of(volume).get("capacity") or {}).get("storage") or "0")


def claim_of(volume: Object) -> Object | None:
    """The volume's claimRef."""
    reference: Object | None = spec_of(volume).get("claimRef")
    return reference


def is_bound_to(volume: Object, claim: Object) -> bool:
    """Whether the volume's claimRef is this claim: by name, and by uid where it has one."""
    reference = claim_of(volume)
    if reference is None or reference.get("name") != name_of(claim) or (reference.get("namespace") or "") != namespace_of(claim):
        return False
    return not reference.get("uid") or reference["uid"] == uid_of(claim)


def volume_modes_differ(claim: Object, volume: Object) -> bool:
    return (spec_of(claim).get("volumeMode") or "Filesystem") != (spec_of(volume).get("volumeMode") or "Filesystem")


def _attributes_differ(claim: Object, volume: Object) -> bool:
    return (spec_of(claim).get("volumeAttributesClassName") or "") != (spec_of(volume).get("volumeAttributesClassName") or "")


def serves_modes(claim: Object, volume: Object) -> bool:
    return set(modes_of(claim)) <= set(modes_of(volume))


def mismatch(claim: Object, volume: Object) -> str | None:
    """Why the volume that a claim asks for by name cannot be its volume, in upstream's words."""
    if is_deleting(volume):
        return f'the volume is marked for deletion "{name_of(volume)}"'
    if quantities.compare(capacity_of(volume), requested(claim)) < 0:
        return "requested PV is too small"
    if class_of(volume) != class_of(claim):
        return "storageClassName does not match"
    if _attributes_differ(claim, volume):
        return "volumeAttributesClassName does not match"
    if volume_modes_differ(claim, volume):
        return "incompatible volumeMode"
    if not serves_modes(claim, volume):
        return "incompatible accessMode"
    return None


def reachable_from(volume: Object, labels: Mapping[str, str]) -> bool:
    """Whether the volume's node affinity allows a node with these labels."""
    affinity = (spec_of(volume).get("nodeAffinity") or {}).get("required")
    return affinity is None or required({}, {"requiredDuringSchedulingIgnoredDuringExecution": affinity}, "", labels)


# --- the volume for a claim


def find_volume(
    claim: Object,
    volumes: Iterable[Object],
    *,
    delayed: bool = False,
    labels: Mapping[str, str] | None = None,
    taken: Collection[str] = (),
) -> Object | None:
    """The best volume for an unbound claim.

    ``labels``: those of the node where the claim's pod would run, as the scheduler asks. Without them ``delayed`` says that the
    scheduler is to choose: then only a volume that names the claim is an answer. ``taken``: names of volumes that other claims
    of the same pod have been given in thought.
    """
    selector = spec_of(claim).get("selector")
    matches: Callable[[Mapping[str, str]], bool] = label_selector_of(selector).matches if selector is not None else lambda _: True
    wanted, name = requested(claim), class_of(claim)
    best: tuple[tuple[int, object, str], Object] | None = None
    for volume in volumes:
        if name_of(volume) in taken or not serves_modes(claim, volume):
            continue
        if claim_of(volume) is not None and not is_bound_to(volume, claim):
            continue
        if quantities.compare(capacity_of(volume), wanted) < 0 or is_deleting(volume):
            continue
        if volume_modes_differ(claim, volume) or _attributes_differ(claim, volume):
            continue
        in_reach = labels is None or reachable_from(volume, labels)
        if claim_of(volume) is not None:
            return volume if in_reach else None
        if labels is None and delayed:
            continue
        if (volume.get("status") or {}).get("phase") != "Available" or not matches(labels_of(volume)):
            continue
        if class_of(volume) != name or not in_reach:
            continue
        rank = (len(set(modes_of(volume))), quantities.parse(capacity_of(volume)), name_of(volume))
        if best is None or rank < best[0]:
            best = (rank, volume)
    return best[1] if best is not None else None


def bound_volume(volume: Object, claim: Object) -> Object | None:
    """The volume as it should be stored to be the claim's; None when it is already. Changes ``volume``."""
    if not is_bound_to(volume, claim):
        volume["metadata"].setdefault("annotations", {}).setdefault(BOUND_BY_CONTROLLER, "yes")
    elif (claim_of(volume) or {}).get("uid"):
        return None
    volume["spec"]["claimRef"] = claim_reference(claim)
    return volume


def claim_identity(claim: Object) -> Object:
    return {"namespace": namespace_of(claim), "name": name_of(claim), "uid": uid_of(claim)}


def claim_reference(claim: Object) -> Object:
    """What a volume's spec.claimRef says of its claim."""
    revision = claim["metadata"].get("resourceVersion")
    return {
        "kind": "PersistentVolumeClaim",
        "apiVersion": "v1",
        **claim_identity(claim),
        **({"resourceVersion": revision} if revision else {}),
    }


def is_fully_bound(claim: Object) -> bool:
    """The binder is done with it: it has a volume and says so."""
    return bool(spec_of(claim).get("volumeName")) and BIND_COMPLETED in annotations_of(claim)


# --- pods


def ephemeral_claim(pod: Object, volume: Object) -> str:
    """The name of the claim that is made for an ephemeral volume of the pod."""
    return f"{name_of(pod)}-{volume.get('name') or ''}"


def claims_of(pod: Object) -> Iterator[str]:
    """Names of the claims, in the pod's namespace, that its volumes stand for; those of ephemeral volumes included."""
    for volume in spec_of(pod).get("volumes") or ():
        if volume.get("persistentVolumeClaim"):
            yield str(volume["persistentVolumeClaim"].get("claimName") or "")
        elif volume.get("ephemeral") is not None:
            yield ephemeral_claim(pod, volume)


def is_made_for(claim: Object, pod: Object) -> bool:
    """Whether the claim of an ephemeral volume's name belongs to this pod, and is not somebody else's of that name."""
    owner = controller_of(claim)
    return owner is not None and owner.get("uid") == uid_of(pod)
