"""A disk of this node as a file system: made on a blank one, checked on any other, mounted.

Enters: a block device, the file system's type, mount options.
Leaves: a mount; VolumeProblem in the kubelet's words.
Holds: only what blkid(8) finds blank is formatted: what has a file system of another type, partitions, or cannot be read, is left
as it is.
Source: k8s.io/mount-utils, SafeFormatAndMount.
Next: volumes.local.
"""

from __future__ import annotations

import logging
import subprocess
from collections.abc import Sequence
from pathlib import Path

from edgekube.agent.problems import VolumeProblem
from edgekube.limits import DISK_COMMAND_SECONDS

log = logging.getLogger("edgekube.agent")

DEFAULT_TYPE = "ext4"
#: blkid's exit code for a device on which nothing is.
_BLANK = 2
#: From here on fsck(8) left errors that it could not mend.
_FSCK_ERRORS = 4
_PARTITIONED = "unknown data, probably partitions"


def mount_disk(device: str, target: Path, kind: str, options: Sequence[str], *, read_only: bool) -> None:
    """Nothing, when something is mounted at ``target`` already."""
    if target.is_mount():
        return
    wanted, found = kind or DEFAULT_TYPE, format_of(device)
    if not found:
        if read_only:
            why = f"cannot mount unformatted disk {device} as we are manipulating it in read-only mode"
            raise VolumeProblem(why, stage="MountVolume.MountDevice")
        _make(device, wanted)
    elif not read_only:
        _check(device)
    given = ",".join([*options, *(["ro"] if read_only else []), "defaults"])
    _run(["mount", "-t", wanted, "-o", given, device, str(target)], "mount failed")


def format_of(device: str) -> str:
    """The file system on it, "" when it is blank."""
    done = _do(["blkid", "-p", "-s", "TYPE", "-s", "PTTYPE", "-o", "export", device])
    if done.returncode == _BLANK:
        return ""
    if done.returncode:
        why = f"failed to get disk format of disk {device}: exit status {done.returncode} {done.stderr.strip()}"
        raise VolumeProblem(why, stage="MountVolume.MountDevice")
    found = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
    return _PARTITIONED if "PTTYPE" in found else found.get("TYPE", "")


def _make(device: str, kind: str) -> None:
    arguments = {"ext3": ["-F", "-m0"], "ext4": ["-F", "-m0"], "xfs": ["-f"]}.get(kind, [])
    log.info("a blank disk is formatted device=%s type=%s", device, kind)
    _run([f"mkfs.{kind}", *arguments, device], f'format of disk "{device}" failed: type:("{kind}")')


def _check(device: str) -> None:
    try:
        done = _do(["fsck", "-a", device])
    except VolumeProblem:
        log.warning("fsck is not there, the disk is mounted unchecked device=%s", device)
        return
    if done.returncode == _FSCK_ERRORS:
        why = f"'fsck' found errors on device {device} but could not correct them: {done.stdout.strip()}"
        raise VolumeProblem(why, stage="MountVolume.MountDevice")


def _do(command: list[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, check=False, capture_output=True, text=True, timeout=DISK_COMMAND_SECONDS)
    except FileNotFoundError:
        raise VolumeProblem(f"this node has no {command[0]}", stage="MountVolume.MountDevice") from None
    except subprocess.TimeoutExpired:
        raise VolumeProblem(f"{command[0]} does not end", stage="MountVolume.MountDevice") from None


def _run(command: list[str], begin: str) -> None:
    done = _do(command)
    if done.returncode:
        text = (done.stderr or done.stdout).strip()
        raise VolumeProblem(f"{begin}: exit status {done.returncode}\nOutput: {text}", stage="MountVolume.MountDevice")
