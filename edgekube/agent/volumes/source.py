"""What a pod's volume is in the end: its own source, or that of the persistent volume behind its claim.

Enters: a volume of a pod; the claim and the persistent volume that it leads to.
Leaves: VolumeSource, as data that also fits into a file; VolumeProblem in upstream's words.
Holds: pure. Source: Kubernetes documentation, "Persistent Volumes", "Ephemeral Volumes".
Next: volumes.claims reads the objects, volumes.setup mounts.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct, field

from edgekube.agent.podspec import all_containers
from edgekube.agent.problems import VolumeProblem
from edgekube.api.objects import Object, annotations_of, controller_of, is_deleting, name_of, namespace_of, spec_of, uid_of

#: The group that a volume's files belong to beside fsGroup (upstream: volumehelper.VolumeGidAnnotationKey).
GID_ANNOTATION = "pv.beta.kubernetes.io/gid"
#: What is mounted read-only into every container, whatever its mount says: the node writes these.
_ALWAYS_READ_ONLY = frozenset({"configMap", "secret", "projected", "downwardAPI", "image"})


class VolumeSource(Struct, frozen=True):
    #: The volume's name in the pod.
    name: str
    #: The field that names the source: ``emptyDir``, ``csi``, ``local``...
    kind: str
    #: What stands in that field.
    spec: Object = field(default_factory=dict)
    #: The persistent volume's name, "" when there is none.
    volume: str = ""
    read_only: bool = False
    block: bool = False
    mount_options: tuple[str, ...] = ()
    access_modes: tuple[str, ...] = ()
    #: Of the persistent volume: nodeAffinity.required, the annotations.
    node_affinity: Object | None = None
    annotations: dict[str, str] = field(default_factory=dict)

    @property
    def spec_name(self) -> str:
        """What the kubelet names directories and events by."""
        return self.volume or self.name

    @property
    def gid(self) -> int | None:
        """A group that the pod's processes get for this volume."""
        text = self.annotations.get(GID_ANNOTATION, "")
        return int(text) if text.isdigit() and int(text) > 0 else None


class Mounted(Struct, frozen=True):
    """A volume that is ready for containers."""

    #: A directory (or file) of the host; of a block volume the device.
    path: str
    read_only: bool = False
    block: bool = False
    gid: int | None = None


def kind_of(volume: Object) -> str:
    """``emptyDir``, ``configMap``...; emptyDir when the volume names no source, as the API defaults it."""
    return next((key for key in volume if key != "name" and volume[key] is not None), "emptyDir")


def own_source(volume: Object) -> VolumeSource:
    """Of a volume that names no claim."""
    kind = kind_of(volume)
    spec: Object = volume.get(kind) or {}
    read_only = kind in _ALWAYS_READ_ONLY or bool(kind in ("csi", "nfs") and spec.get("readOnly"))
    return VolumeSource(volume["name"], kind, spec, read_only=read_only)


def claim_name_of(pod: Object, volume: Object) -> str:
    """The claim that the volume is, "" when it is none."""
    if claim := volume.get("persistentVolumeClaim"):
        return str(claim["claimName"])
    if volume.get("ephemeral") is not None:
        return f"{name_of(pod)}-{volume['name']}"
    return ""


def used_volumes(pod: Object) -> Iterator[Object]:
    """Those that a container mounts: nothing is done for the others."""
    mounted, devices = _names(pod, "volumeMounts"), _names(pod, "volumeDevices")
    for volume in spec_of(pod).get("volumes") or []:
        if volume["name"] in mounted or volume["name"] in devices:
            yield volume


def _names(pod: Object, field_name: str) -> set[str]:
    return {item["name"] for container in all_containers(pod) for item in container.get(field_name) or []}


def check_claim(pod: Object, volume: Object, claim: Object | None) -> str:
    """The name of the persistent volume behind the claim. VolumeProblem while the pod may not use it."""
    name = claim_name_of(pod, volume)
    place = f"{namespace_of(pod)}/{name}"
    if claim is None:
        why = f'failed to fetch PVC from API server: persistentvolumeclaims "{name}" not found'
    elif is_deleting(claim):
        why = "PVC is being deleted"
    elif (claim.get("status") or {}).get("phase") != "Bound":
        why = "PVC is not bound"
    elif not (claim.get("spec") or {}).get("volumeName"):
        why = "PVC has empty pvc.Spec.VolumeName"
    else:
        if volume.get("ephemeral") is not None:
            owner = controller_of(claim)
            if owner is None or owner.get("uid") != uid_of(pod):
                raise VolumeProblem(
                    f"PVC {place} was not created for pod {namespace_of(pod)}/{name_of(pod)} (pod is not owner)", unbound=True
                )
        return str(claim["spec"]["volumeName"])
    raise VolumeProblem(f"error processing PVC {place}: {why}", unbound=True)


def claimed_source(pod: Object, volume: Object, claim: Object, persistent: Object | None) -> VolumeSource:
    """What the claim's volume is. VolumeProblem when it is not the claim's, or is used in another way than it can be."""
    name = volume["name"]
    volume_name = str(claim["spec"]["volumeName"])
    place = f"error processing PVC {namespace_of(pod)}/{name_of(claim)}"
    if persistent is None:
        why = f'failed to fetch PV {volume_name} from API server: persistentvolumes "{volume_name}" not found'
        raise VolumeProblem(f"{place}: {why}", unbound=True)
    spec: Object = persistent.get("spec") or {}
    reference = spec.get("claimRef")
    if reference is None:
        why = f"found PV object {volume_name} but it has a nil pv.Spec.ClaimRef indicating it is not yet bound to the claim"
        raise VolumeProblem(f"{place}: {why}", unbound=True)
    if reference.get("uid") != uid_of(claim):
        why = (
            f"found PV object {volume_name} but its pv.Spec.ClaimRef.UID {reference.get('uid') or ''} "
            f"does not point to claim.UID {uid_of(claim)}"
        )
        raise VolumeProblem(f"{place}: {why}", unbound=True)
    mode = spec.get("volumeMode") or "Filesystem"
    if name in _names(pod, "volumeMounts") and mode != "Filesystem":
        raise VolumeProblem(f"volume {name} has volumeMode {mode}, but is specified in volumeMounts", unbound=True)
    if name in _names(pod, "volumeDevices") and mode != "Block":
        raise VolumeProblem(f"volume {name} has volumeMode {mode}, but is specified in volumeDevices", unbound=True)
    kind = next((key for key in PERSISTENT_KINDS if spec.get(key) is not None), "")
    if not kind:
        raise VolumeProblem(f'no volume plugin matched the persistent volume "{volume_name}"')
    source: Object = spec[kind]
    of_claim = (volume.get("persistentVolumeClaim") or {}).get("readOnly")
    return VolumeSource(
        name,
        kind,
        source,
        volume=volume_name,
        read_only=bool(of_claim) or bool(kind in ("csi", "nfs") and source.get("readOnly")),
        block=mode == "Block",
        mount_options=tuple(spec.get("mountOptions") or ()),
        access_modes=tuple(spec.get("accessModes") or ()),
        node_affinity=(spec.get("nodeAffinity") or {}).get("required"),
        annotations=annotations_of(persistent),
    )


#: Sources of persistent volumes that this node can mount.
PERSISTENT_KINDS = ("local", "hostPath", "csi", "nfs")
