"""What may become larger: a claim whose class allows it, a pod that still fits on its node.

Enters: an object before and after; the class or the node.
Leaves: nothing, or StatusError Forbidden.
Holds: pure.
Source: k8s.io/kubernetes plugin/pkg/admission/storage/persistentvolume/resize and plugin/pkg/admission/podresize.
Next: registry.resizing.
"""

from __future__ import annotations

from typing import Final

from edgekube.admission.pod_resources import amounts_of, asked, plus
from edgekube.api import errors, quantities
from edgekube.api.errors import Cause, StatusError
from edgekube.api.objects import Object, annotations_of, labels_of, name_of

_CLASS_ANNOTATION: Final = "volume.beta.kubernetes.io/storage-class"


def grows(new: Object, old: Object) -> bool:
    after, before = (amounts_of(claim.get("spec") or {}, "requests").get("storage", "0") for claim in (new, old))
    return quantities.compare(after, before) > 0


def class_of(claim: Object) -> str:
    return str(annotations_of(claim).get(_CLASS_ANNOTATION) or (claim.get("spec") or {}).get("storageClassName") or "")


def check_claim(new: Object, old: Object, storage_class: Object | None) -> None:
    """``storage_class``: the one that the claim names, None when there is none of that name."""
    if (old.get("status") or {}).get("phase") != "Bound":
        why = "Only bound persistent volume claims can be expanded"
    elif class_of(new) == class_of(old) and storage_class is not None and storage_class.get("allowVolumeExpansion"):
        return
    else:
        why = "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize"
    raise errors.forbidden("", "persistentvolumeclaims", name_of(new), why)


def check_pod(pod: Object, node_name: str, node: Object | None) -> None:
    if node is None:
        raise errors.forbidden("", "pods", name_of(pod), f'node "{node_name}" not found')
    system = labels_of(node).get("kubernetes.io/os", "linux")
    if system != "linux":
        why = f'pod resize is only supported on linux nodes, node "{node_name}" is "{system}"'
        raise _because(pod, "UnsupportedPlatform", why)
    overhead = (pod.get("spec") or {}).get("overhead") or {}
    requests = plus(asked(pod, "requests"), {name: quantities.canonical(amount) for name, amount in overhead.items()})
    allocatable = (node.get("status") or {}).get("allocatable") or {}
    short = []
    for name, shown in (("cpu", quantities.to_milli), ("memory", quantities.to_bytes)):
        wanted, there = requests.get(name, "0"), allocatable.get(name, "0")
        if quantities.compare(wanted, there) > 0:
            short.append(f"{name}, requested: {shown(wanted)}, allocatable: {shown(there)}")
    if short:
        raise _because(pod, "NodeCapacity", f"node didn't have enough allocatable resources: {'; '.join(short)}")


def _because(pod: Object, reason: str, why: str) -> StatusError:
    refusal = errors.forbidden("", "pods", name_of(pod), why)
    return StatusError(refusal.reason, refusal.message, kind="pods", name=name_of(pod), causes=[Cause(reason, "")])
