"""Make a pod's volumes ready, and undo it.

Enters: the pod, its paths, ConfigMaps and Secrets (References), tokens (the API).
Leaves: directories to mount into containers; when to look again (a token's 80%).
Holds: everything may be done again at any time: the same content is not rewritten, a mount is not stacked. Secrets and tokens
live in tmpfs only, so no card ever holds them.
Next: agent.execute.
"""

from __future__ import annotations

import logging
import shutil
from dataclasses import dataclass
from pathlib import Path

import trio

from edgekube.agent.fieldrefs import Surroundings
from edgekube.agent.names import PodPaths
from edgekube.agent.podspec import containers_of, spec_of
from edgekube.agent.problems import VolumeProblem
from edgekube.agent.references import Key, References, sources_of
from edgekube.agent.tokens import TokenSource
from edgekube.agent.volumes import mounts
from edgekube.agent.volumes.atomic import VolumeFile, write_volume
from edgekube.agent.volumes.hostpath import check_host_path
from edgekube.agent.volumes.ownership import apply_fs_group
from edgekube.agent.volumes.payload import volume_files, wanted_tokens
from edgekube.api import quantities
from edgekube.api.objects import Object, namespace_of

log = logging.getLogger("edgekube.agent")

#: Volume field -> the plugin directory that kubelet uses.
_PLUGINS = {
    "emptyDir": "empty-dir",
    "configMap": "configmap",
    "secret": "secret",
    "projected": "projected",
    "downwardAPI": "downward-api",
}
_IN_MEMORY = ("secret", "projected", "downwardAPI")


def kind_of(volume: Object) -> str:
    """``emptyDir``, ``configMap``…; emptyDir when the volume names no source, as the API defaults it."""
    return next((key for key in volume if key != "name" and volume[key] is not None), "emptyDir")


def volume_path(paths: PodPaths, volume: Object) -> Path:
    """Where containers find it on the host. VolumeProblem for kinds that this node has not."""
    kind = kind_of(volume)
    if kind == "hostPath":
        return Path(volume["hostPath"]["path"])
    if kind not in _PLUGINS:
        raise VolumeProblem(f'volume "{volume["name"]}": {kind} is not supported by this node')
    return paths.volume(_PLUGINS[kind], volume["name"])


@dataclass(slots=True)
class VolumeSetup:
    references: References
    tokens: TokenSource

    async def set_up(self, pod: Object, paths: PodPaths, around: Surroundings) -> float | None:
        """Every volume of the pod, those with files side by side. Returns when to call again (seconds since the epoch)."""
        again: list[float] = []

        async def one(volume: Object) -> None:
            try:
                refresh_at = await self._one(pod, paths, volume, around)
            except OSError as error:
                problems.append(VolumeProblem(f'MountVolume.SetUp failed for volume "{volume["name"]}" : {error}'))
            except TimeoutError as error:
                problems.append(VolumeProblem(f'MountVolume.SetUp failed for volume "{volume["name"]}" : {error}'))
            except VolumeProblem as problem:
                text = f'MountVolume.SetUp failed for volume "{volume["name"]}" : {problem.message}'
                problems.append(VolumeProblem(text))
            else:
                if refresh_at is not None:
                    again.append(refresh_at)

        problems: list[VolumeProblem] = []
        async with trio.open_nursery() as nursery:
            for volume in spec_of(pod).get("volumes") or []:
                nursery.start_soon(one, volume)
        if problems:
            raise problems[0]
        return min(again, default=None)

    async def _one(self, pod: Object, paths: PodPaths, volume: Object, around: Surroundings) -> float | None:
        kind = kind_of(volume)
        path = volume_path(paths, volume)
        if kind == "hostPath":
            check_host_path(str(path), volume["hostPath"].get("type") or "")
            return None
        if kind == "emptyDir":
            await trio.to_thread.run_sync(_empty_dir, pod, volume, path)
            return None
        objects: dict[Key, Object | None] = {}
        for source_kind, name in sources_of(volume):
            if name:
                objects[source_kind, namespace_of(pod), name] = await self.references.get(source_kind, namespace_of(pod), name)
        wanted = wanted_tokens(pod, volume)
        tokens: dict[tuple[str, int], str] = {}
        refresh_at: float | None = None
        for audience, seconds in wanted:
            token = await self.tokens.get(pod, audience, seconds)
            tokens[audience, seconds] = token.text
            refresh_at = token.refresh_at if refresh_at is None else min(refresh_at, token.refresh_at)
        files = volume_files(pod, volume, objects, tokens, around)
        await trio.to_thread.run_sync(_files, pod, path, files, kind in _IN_MEMORY)
        return refresh_at


def _fs_group(pod: Object) -> int | None:
    value = (spec_of(pod).get("securityContext") or {}).get("fsGroup")
    return None if value is None else int(value)


def _files(pod: Object, path: Path, files: dict[str, VolumeFile], in_memory: bool) -> None:
    path.mkdir(parents=True, exist_ok=True)
    if in_memory and not path.is_mount():
        mounts.mount_tmpfs(path)
    write_volume(path, files, _fs_group(pod))


def _memory_limit_bytes(pod: Object) -> int:
    """What all containers may use together; 0 when one of them has no limit."""
    total = 0
    for container in containers_of(pod):
        limit = ((container.get("resources") or {}).get("limits") or {}).get("memory")
        if limit is None:
            return 0
        total += quantities.to_bytes(limit)
    return total


def _empty_dir(pod: Object, volume: Object, path: Path) -> None:
    source = volume.get("emptyDir") or {}
    medium = source.get("medium") or ""
    existed = path.is_dir()
    path.mkdir(parents=True, exist_ok=True)
    if medium == "Memory":
        if not path.is_mount():
            sizes = [_memory_limit_bytes(pod), quantities.to_bytes(source["sizeLimit"]) if source.get("sizeLimit") else 0]
            mounts.mount_tmpfs(path, min((size for size in sizes if size), default=0), 0o777)
            existed = False
    elif medium:
        raise VolumeProblem(f"emptyDir medium {medium} is not supported by this node")
    if not existed:
        path.chmod(0o777)
        fs_group = _fs_group(pod)
        if fs_group is not None:
            apply_fs_group(path, fs_group)


def tear_down(paths: PodPaths) -> None:
    """Unmount and delete all volumes of the pod. A mount that will not go keeps its directory from being emptied."""
    for root in (paths.subpaths, paths.volumes):
        if root.exists():
            mounts.unmount_under(root)
            if not mounts.mounted_under(root):
                shutil.rmtree(root)


def remove_pod_directory(paths: PodPaths) -> None:
    """Volumes, hosts file, termination logs, checkpoint and container logs."""
    tear_down(paths)
    for root in (paths.root, paths.logs):
        if root.exists() and not mounts.mounted_under(root):
            shutil.rmtree(root)
