"""NFS: mounted by the host's own mount.nfs.

Enters: a server and a path of it, mount options.
Leaves: a mount in the pod's directory; VolumeProblem with what mount(8) says.
Holds: a machine without mount.nfs (Debian's nfs-common) says so by name. No thread waits for a server: what does not answer
holds its own pod and nobody else.
Bound: limits.NFS_MOUNT_SECONDS: a server that is away must not hold a pod's worker for ever.
Source: Kubernetes documentation, "Volumes", nfs.
Next: volumes.setup.
"""

from __future__ import annotations

import functools
import shutil
from pathlib import Path

import trio

from edgekube.agent.problems import VolumeProblem
from edgekube.agent.volumes.mounts import is_mounted
from edgekube.agent.volumes.source import VolumeSource
from edgekube.limits import NFS_MOUNT_SECONDS


async def mount_nfs(source: VolumeSource, target: Path) -> None:
    if shutil.which("mount.nfs") is None:
        raise VolumeProblem("mount failed: this node has no /sbin/mount.nfs (Debian: apt install nfs-common)")
    if await trio.to_thread.run_sync(is_mounted, target):
        return
    await trio.to_thread.run_sync(functools.partial(target.mkdir, mode=0o750, parents=True, exist_ok=True))
    server, path = source.spec["server"], source.spec["path"]
    place = f"[{server}]:{path}" if ":" in server else f"{server}:{path}"
    options = [*source.mount_options, *(["ro"] if source.read_only else [])]
    # The server is any text that a pod's author likes: behind "--" it is no option of mount(8).
    command = ["mount", "-t", "nfs", *(["-o", ",".join(options)] if options else []), "--", place, str(target)]
    with trio.move_on_after(NFS_MOUNT_SECONDS) as patience:
        done = await trio.run_process(command, check=False, capture_stdout=True, capture_stderr=True)
    if patience.cancelled_caught:
        raise VolumeProblem(f"mount failed: {place} does not answer")
    if done.returncode:
        text = (done.stderr or done.stdout).decode(errors="replace").strip()
        raise VolumeProblem(
            f"mount failed: exit status {done.returncode}\nMounting command: mount\n"
            f"Mounting arguments: {' '.join(command[1:])}\nOutput: {text}"
        )
