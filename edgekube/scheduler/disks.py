"""Network disks that a pod mounts without a claim, and which pods can share them on a node.

Enters: volumes of pods.
Leaves: Disk values.
Holds: the documented rules: read-only mounts share a GCE disk, an iSCSI target or a Ceph image; an EBS volume is never shared.
Source: kube-scheduler plugin VolumeRestrictions.
Next: scheduler.facts.
"""

from __future__ import annotations

from typing import NamedTuple

from edgekube.api.objects import Object


class Disk(NamedTuple):
    kind: str
    name: str
    read_only: bool
    #: Where a Ceph image is served.
    monitors: frozenset[str] = frozenset()

    def clashes(self, other: Disk) -> bool:
        if (self.kind, self.name) != (other.kind, other.name) or (self.read_only and other.read_only):
            return False
        return self.kind != "rbd" or bool(self.monitors & other.monitors)


def disks_of(spec: Object) -> tuple[Disk, ...]:
    found = []
    for volume in spec.get("volumes") or ():
        if source := volume.get("gcePersistentDisk"):
            found.append(Disk("gce", str(source.get("pdName")), bool(source.get("readOnly"))))
        elif source := volume.get("awsElasticBlockStore"):
            found.append(Disk("aws", str(source.get("volumeID")), False))
        elif source := volume.get("iscsi"):
            found.append(Disk("iscsi", str(source.get("iqn")), bool(source.get("readOnly"))))
        elif source := volume.get("rbd"):
            name = f"{source.get('pool') or 'rbd'}/{source.get('image')}"
            found.append(Disk("rbd", name, bool(source.get("readOnly")), frozenset(source.get("monitors") or ())))
    return tuple(found)
