"""Where CSI volumes are on this node, and what a driver may have left there.

Enters: sources, pods' paths.
Leaves: the kubelet's own paths below the agent's directory, and the same by the name that drivers know.
Holds: a path is made of names that the API has checked, and of a handle's hash; what is in a volume is never deleted.
Source: k8s.io/kubernetes pkg/volume/csi; docs/adr/0064.
Next: agent.csi.staging, agent.csi.volumes.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from msgspec import Struct

from edgekube.agent.csi.client import Use
from edgekube.agent.names import PodPaths
from edgekube.agent.volumes.mounts import is_mounted
from edgekube.agent.volumes.source import VolumeSource

GLOBAL = "globalmount"


class Places(Struct, frozen=True):
    agent_dir: Path
    #: Where drivers find agent_dir.
    shown_dir: Path

    @property
    def plugin_dir(self) -> Path:
        return self.agent_dir / "plugins" / "kubernetes.io" / "csi"

    def shown(self, path: Path) -> str:
        return str(self.shown_dir / path.relative_to(self.agent_dir))

    def staging(self, source: VolumeSource) -> Path:
        if source.block:
            return self.plugin_dir / "volumeDevices" / "staging" / source.spec_name
        digest = hashlib.sha256(str(source.spec["volumeHandle"]).encode()).hexdigest()
        return self.plugin_dir / str(source.spec["driver"]) / digest / GLOBAL

    def target(self, paths: PodPaths, source: VolumeSource) -> Path:
        if source.block:
            return self.plugin_dir / "volumeDevices" / "publish" / source.spec_name / paths.uid
        return paths.volume("csi", source.spec_name) / "mount"


def use_of(source: VolumeSource, group: str) -> Use:
    mode = source.access_modes[0] if source.access_modes else "ReadWriteOnce"
    return Use(mode, source.spec.get("fsType") or "", source.mount_options, group, source.block)


def remove_target(path: Path) -> None:
    """What a driver should have removed: an empty directory, a device's file. Not while something is mounted there."""
    if is_mounted(path):
        return
    try:
        if path.is_dir():
            path.rmdir()
        else:
            path.unlink(missing_ok=True)
    except FileNotFoundError:
        pass
    if path.name == "mount":
        try:
            path.parent.rmdir()
        except OSError:
            pass  # gone, or a driver has left something there: it goes with the pod's directory
