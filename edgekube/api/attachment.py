"""Volumes of CSI drivers that are attached to nodes: who needs that, and what it is called.

Enters: persistent volumes, CSIDrivers, VolumeAttachments.
Leaves: names and yes or no.
Holds: pure; the names are those that kubelets compute.
Source: pkg/volume/csi (getAttachmentName), pkg/volume/util (GetUniqueVolumeName, IsMultiAttachAllowed).
Next: controllers.volumes.attaching.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final

from edgekube.api.objects import Object, name_of
from edgekube.api.storage import modes_of

_MANY_NODES: Final = frozenset({"ReadWriteMany", "ReadOnlyMany"})
_CSI: Final = "kubernetes.io/csi/"
_NAME: Final = re.compile(r"csi-[0-9a-f]{64}")


def csi_of(volume: Object) -> Object | None:
    source: Object | None = (volume.get("spec") or {}).get("csi")
    return source


def attachment_name(volume: Object, node_name: str) -> str:
    source = csi_of(volume) or {}
    return _hashed(str(source.get("volumeHandle") or ""), str(source.get("driver") or ""), node_name)


def _hashed(handle: str, driver: str, node_name: str) -> str:
    return "csi-" + hashlib.sha256(f"{handle}{driver}{node_name}".encode()).hexdigest()


def is_attachment_name(name: str) -> bool:
    """Whether it is one that we, or a kubelet, would give."""
    return _NAME.fullmatch(name) is not None


def unique_name(volume: Object) -> str:
    """As it stands in a Node's volumesInUse and volumesAttached."""
    source = csi_of(volume) or {}
    return f"{_CSI}{source.get('driver', '')}^{source.get('volumeHandle', '')}"


def needs_attaching(driver: Object | None) -> bool:
    """``driver``: the CSIDriver; without one the volume is attached."""
    return driver is None or (driver.get("spec") or {}).get("attachRequired") is not False


def is_for_many_nodes(volume: Object) -> bool:
    return not modes_of(volume) or bool(_MANY_NODES & set(modes_of(volume)))


def volume_of(attachment: Object) -> str:
    """The persistent volume's name; "" for a volume that stands in the attachment itself."""
    return str((((attachment.get("spec") or {}).get("source")) or {}).get("persistentVolumeName") or "")


def node_of(attachment: Object) -> str:
    return str((attachment.get("spec") or {}).get("nodeName") or "")


def is_attached(attachment: Object) -> bool:
    return bool((attachment.get("status") or {}).get("attached"))


def _entries(node: Object, field: str) -> list[str]:
    """Of status.volumesInUse, or of status.volumesAttached."""
    entries = (node.get("status") or {}).get(field) or ()
    return [str(entry.get("name") if isinstance(entry, dict) else entry) for entry in entries]


def of_volume(attachments: list[Object], volume: Object | None, volume_name: str) -> list[Object]:
    """Those that we made for the volume, or for another one that is the same to its driver; without the volume, those for it
    that bear a name of ours."""
    if volume is not None:
        return [each for each in attachments if name_of(each) == attachment_name(volume, node_of(each))]
    return [each for each in attachments if volume_of(each) == volume_name and is_attachment_name(name_of(each))]


def listed_names(node: Object, field: str, attachment: str) -> list[str]:
    """What the node calls the volume of the attachment of this name, whether or not there is such a volume any more."""
    return [name for name in _entries(node, field) if attachment_of(name, name_of(node)) == attachment]


def attachment_of(unique: str, node_name: str) -> str:
    """The attachment's name for what a Node lists; "" for what is not a CSI volume."""
    driver, _, handle = unique.removeprefix(_CSI).partition("^")
    return _hashed(handle, driver, node_name) if unique.startswith(_CSI) else ""
