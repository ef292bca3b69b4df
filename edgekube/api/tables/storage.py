"""Tables of the group storage.k8s.io.

Enters: objects and the time.
Leaves: cells.
Next: tables.
"""

from __future__ import annotations

from typing import Any, Final

from edgekube.api.objects import Object, annotations_of
from edgekube.api.tables.columns import AGE, NAME, Column, Table, age, flag, joined, listed, name, part, section, text, whole

_DEFAULT_CLASS: Final = ("storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class")
_DEFAULT_ATTRIBUTES_CLASS: Final = ("volumeattributesclass.alpha.kubernetes.io/is-default-class",)


def _name_and_default(obj: Object, keys: tuple[str, ...]) -> str:
    is_default = any(annotations_of(obj).get(key) == "true" for key in keys)
    return f"{name(obj)} (default)" if is_default else name(obj)


def _storage_class(storage_class: Object, now: float) -> list[Any]:
    return [
        _name_and_default(storage_class, _DEFAULT_CLASS),
        storage_class.get("provisioner") or "",
        storage_class.get("reclaimPolicy") or "Delete",
        storage_class.get("volumeBindingMode") or "Immediate",
        bool(storage_class.get("allowVolumeExpansion")),
        age(storage_class, now),
    ]


def _volume_attributes_class(attributes: Object, now: float) -> list[Any]:
    return [_name_and_default(attributes, _DEFAULT_ATTRIBUTES_CLASS), attributes.get("driverName") or "", age(attributes, now)]


def _volume_attachment(attachment: Object, now: float) -> list[Any]:
    spec = section(attachment, "spec")
    return [
        name(attachment),
        spec.get("attacher") or "",
        part(spec, "source", "persistentVolumeName") or "",
        spec.get("nodeName") or "",
        bool(part(attachment, "status", "attached")),
        age(attachment, now),
    ]


def _csi_node(node: Object, now: float) -> list[Any]:
    return [name(node), len(listed(node, "spec", "drivers")), age(node, now)]


def _csi_driver(driver: Object, now: float) -> list[Any]:
    spec = section(driver, "spec")
    requests = spec.get("tokenRequests")
    audiences = "<unset>" if requests is None else ",".join(request.get("audience") or "" for request in requests)
    return [
        name(driver),
        spec.get("attachRequired", True),
        bool(spec.get("podInfoOnMount")),
        bool(spec.get("storageCapacity")),
        audiences,
        bool(spec.get("requiresRepublish")),
        joined(listed(spec, "volumeLifecycleModes")),
        age(driver, now),
    ]


TABLES: Final[dict[str, Table]] = {
    "StorageClass": Table(
        (
            NAME,
            text("Provisioner", "Who makes volumes of this class."),
            text("ReclaimPolicy", "What happens to a volume when its claim goes."),
            text("VolumeBindingMode", "When volumes are made and bound."),
            text("AllowVolumeExpansion", "Whether volumes may grow."),
            AGE,
        ),
        _storage_class,
    ),
    "VolumeAttributesClass": Table((NAME, text("DriverName", "The CSI driver."), AGE), _volume_attributes_class),
    "VolumeAttachment": Table(
        (
            NAME,
            Column("Attacher", "string", "Who attaches the volume.", format="name"),
            text("PV", "The persistent volume."),
            text("Node", "The node."),
            flag("Attached", "Whether the volume is attached."),
            AGE,
        ),
        _volume_attachment,
    ),
    "CSINode": Table((NAME, whole("Drivers", "CSI drivers on the node."), AGE), _csi_node),
    "CSIDriver": Table(
        (
            NAME,
            flag("AttachRequired", "Whether volumes must be attached before they are mounted."),
            flag("PodInfoOnMount", "Whether the driver is told about the pod."),
            flag("StorageCapacity", "Whether the driver publishes its capacity."),
            text("TokenRequests", "Audiences of the tokens that the driver gets."),
            flag("RequiresRepublish", "Whether the driver is called again now and then."),
            text("Modes", "Persistent, ephemeral or both."),
            AGE,
        ),
        _csi_driver,
    ),
}
