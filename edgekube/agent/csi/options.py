"""What a CSIDriver object says of its driver, and the names that follow from a volume.

Enters: CSIDrivers (None: there is none), sources, pods.
Leaves: answers; VolumeProblem in upstream's words.
Holds: pure. Source: Kubernetes documentation, CSIDriver; k8s.io/kubernetes pkg/volume/csi.
Next: agent.csi.volumes.
"""

from __future__ import annotations

import hashlib

from edgekube.agent.problems import VolumeProblem
from edgekube.agent.volumes.source import VolumeSource
from edgekube.api.objects import Object, name_of, namespace_of, spec_of, uid_of


def attach_required(driver: Object | None) -> bool:
    """Also when nothing is known of the driver."""
    return ((driver or {}).get("spec") or {}).get("attachRequired") is not False


def update_seconds(driver: Object | None) -> int:
    """How often the driver is asked how many volumes the node may have; 0: never again."""
    return int(((driver or {}).get("spec") or {}).get("nodeAllocatableUpdatePeriodSeconds") or 0)


def attachment_name(handle: str, driver: str, node: str) -> str:
    return f"csi-{hashlib.sha256(f'{handle}{driver}{node}'.encode()).hexdigest()}"


def inline_handle(uid: str, name: str) -> str:
    """A volume that is part of its pod has no handle of its own."""
    return f"csi-{hashlib.sha256(f'{uid}{name}'.encode()).hexdigest()}"


def unique_name(source: VolumeSource) -> str:
    """As Node.status.volumesInUse and volumesAttached name it."""
    return unique_name_of(source.spec["driver"], source.spec["volumeHandle"])


def unique_name_of(driver: str, handle: str) -> str:
    return f"kubernetes.io/csi/{driver}^{handle}"


def in_use_key(uid: str, source: VolumeSource) -> str:
    """Who uses it: a pod, by one of its volumes."""
    return f"{uid}/{source.name}"


def check_lifecycle(name: str, driver: Object | None) -> None:
    """A volume that is written into the pod needs a driver that says it can be one."""
    prefix = "kubernetes.io/csi: mounter.SetupAt failed to check volume lifecycle mode: "
    if driver is None:
        raise VolumeProblem(f'{prefix}volume mode "Ephemeral" not supported by driver {name} (no CSIDriver object)')
    modes = (driver.get("spec") or {}).get("volumeLifecycleModes") or ["Persistent"]
    if "Ephemeral" not in modes:
        listed = " ".join(f'"{mode}"' for mode in modes)
        raise VolumeProblem(f'{prefix}volume mode "Ephemeral" not supported by driver {name} (only supports [{listed}])')


def pod_attributes(pod: Object, *, ephemeral: bool) -> dict[str, str]:
    return {
        "csi.storage.k8s.io/pod.name": name_of(pod),
        "csi.storage.k8s.io/pod.namespace": namespace_of(pod),
        "csi.storage.k8s.io/pod.uid": uid_of(pod),
        "csi.storage.k8s.io/serviceAccount.name": spec_of(pod).get("serviceAccountName") or "",
        "csi.storage.k8s.io/ephemeral": "true" if ephemeral else "false",
    }


def applies_fs_group(source: VolumeSource, driver: Object | None) -> bool:
    """Whether the node makes the files the group's (a driver may do so itself, or want none of it)."""
    policy = ((driver or {}).get("spec") or {}).get("fsGroupPolicy") or "ReadWriteOnceWithFSType"
    if policy == "None" or source.read_only or source.block:
        return False
    if policy == "File":
        return True
    if not source.spec.get("fsType"):
        return False
    return not source.volume or bool({"ReadWriteOnce", "ReadWriteOncePod"} & set(source.access_modes))
