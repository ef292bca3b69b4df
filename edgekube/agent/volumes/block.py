"""A block volume of this node: a device, or a file behind a loop device.

Enters: the path of a ``local`` or ``hostPath`` volume of volumeMode Block; the pod's own directory.
Leaves: a link in the pod's directory to the device that containers get.
Holds: one loop device per file, however many pods use it; it goes with the last of them. A device of the machine is left alone.
Source: Kubernetes documentation, "Raw Block Volume Support".
Next: volumes.setup.
"""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

from edgekube.agent.problems import VolumeProblem


def map_device(path: str, link: Path) -> Path:
    """The link. Made again at will: after a boot the loop device is another one."""
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        raise VolumeProblem(f'path "{path}" does not exist: {error.strerror}', stage="MapVolume.SetUpDevice") from None
    if stat.S_ISBLK(mode):
        device = path
    elif stat.S_ISREG(mode):
        device = loop_of(path) or _losetup("--find", "--show", path)
    else:
        raise VolumeProblem(f"path {path} is neither a block device nor a file", stage="MapVolume.SetUpDevice")
    link.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    if not link.is_symlink() or os.readlink(link) != device:
        link.unlink(missing_ok=True)
        link.symlink_to(device)
    return link


def unmap_device(path: str, link: Path, others: Path) -> None:
    """``others``: the directory of all pods; while one of them has a link to the device, it stays."""
    device = os.readlink(link) if link.is_symlink() else ""
    link.unlink(missing_ok=True)
    if not device or not os.path.isfile(path) or device != loop_of(path):
        return
    links = others.glob("*/volumeDevices/*/*")
    if not any(other.is_symlink() and os.readlink(other) == device for other in links):
        _losetup("--detach", device)


def loop_of(path: str) -> str:
    """The loop device that stands for the file, "" when there is none."""
    return (_losetup("--noheadings", "--output", "NAME", "--associated", path).split() or [""])[0]


def _losetup(*arguments: str) -> str:
    done = subprocess.run(["losetup", *arguments], check=False, capture_output=True, text=True)
    if done.returncode:
        raise VolumeProblem(f"losetup: {done.stderr.strip()}", stage="MapVolume.SetUpDevice")
    return done.stdout.strip()
