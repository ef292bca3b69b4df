"""recursiveReadOnly: a read-only mount whose submounts are read-only too.

Enters: a volumeMount; what this kernel can.
Leaves: whether it is to be; ConfigProblem in the kubelet's words when it must and cannot.
Holds: resolve() is pure. No container runtime is needed for it: the volume is bound once more, read-only all the way down
(mount_setattr, Linux 5.12), and a container's mount of that copies what its submounts are.
Source: Kubernetes documentation, "Recursive read-only mounts" (KEP-3857).
Next: volumes.container_mounts mounts, agent.status_containers tells.
"""

from __future__ import annotations

import functools

from edgekube.agent.problems import ConfigProblem
from edgekube.agent.volumes import mounts
from edgekube.api.objects import Object


@functools.cache
def supported() -> bool:
    """By this kernel; it does not change its mind."""
    return mounts.has_mount_setattr()


def resolve(mount: Object, *, able: bool) -> bool:
    wanted = mount.get("recursiveReadOnly") or "Disabled"
    if wanted == "Disabled":
        return False
    what = f'volume "{mount["name"]}" requested recursive read-only mode, but it is not'
    propagation = mount.get("mountPropagation") or "None"
    if not mount.get("readOnly"):
        why = f"{what} read-only"
    elif propagation != "None":
        why = f'{what} compatible with propagation "{propagation}"'
    elif wanted == "IfPossible" or (wanted == "Enabled" and able):
        return able
    elif wanted == "Enabled":
        why = f"{what} supported by the runtime"
    else:
        why = f'unknown recursive read-only mode "{wanted}"'
    raise ConfigProblem(f"failed to resolve recursive read-only mode: {why}")


def shown(mount: Object, *, able: bool) -> Object:
    """A volumeMount as a container's status shows it."""
    status: Object = {"name": mount["name"], "mountPath": mount["mountPath"]}
    if mount.get("readOnly"):
        status["readOnly"] = True
        try:
            status["recursiveReadOnly"] = "Enabled" if resolve(mount, able=able) else "Disabled"
        except ConfigProblem:
            status["recursiveReadOnly"] = "Disabled"
    return status
