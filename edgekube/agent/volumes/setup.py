"""Make a pod's volumes ready, and undo it.

Enters: the pod, its paths, ConfigMaps and Secrets (References), tokens, claims and what stands behind them (the API).
Leaves: what containers mount, by volume; when to look again (a token's 80%).
Holds: everything may be done again at any time: the same content is not rewritten, a mount is not stacked. Secrets and tokens
live in tmpfs only, so no card ever holds them. What was found behind claims is on disk before it is mounted.
Next: agent.execute.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final, Protocol

import trio
from msgspec import Struct, field

from edgekube.agent.csi.volumes import CsiVolumes
from edgekube.agent.fieldrefs import Surroundings
from edgekube.agent.local_volumes import Directories
from edgekube.agent.names import PodPaths
from edgekube.agent.problems import VolumeProblem, VolumesProblem
from edgekube.agent.references import Key, References, sources_of
from edgekube.agent.tokens import TokenSource
from edgekube.agent.volumes import mounts
from edgekube.agent.volumes.atomic import VolumeFile, is_written, write_volume
from edgekube.agent.volumes.block import map_device, unmap_device
from edgekube.agent.volumes.claims import find_source
from edgekube.agent.volumes.empty_dir import make_empty_dir
from edgekube.agent.volumes.hostpath import check_host_path
from edgekube.agent.volumes.image import key_of, mount_image, unmount_image
from edgekube.agent.volumes.local import mount_local
from edgekube.agent.volumes.nfs import mount_nfs
from edgekube.agent.volumes.payload import volume_files, wanted_tokens
from edgekube.agent.volumes.record import NAME as RECORD
from edgekube.agent.volumes.record import read_record, write_record
from edgekube.agent.volumes.removal import remove_tree
from edgekube.agent.volumes.source import Mounted, VolumeSource, claim_name_of, kind_of, own_source, used_volumes
from edgekube.api.local_path import is_local_path
from edgekube.api.node_affinity import required as node_matches
from edgekube.api.objects import Object, labels_of, name_of, namespace_of, spec_of
from edgekube.api.storage import ONE_POD
from edgekube.api.verbs import Verbs
from edgekube.containerd.model import Image
from edgekube.containerd.protocol import Runtime
from edgekube.limits import ATTACH_PATIENCE_SECONDS, AWAY_RETRY_SECONDS

#: Kind of a source -> the plugin directory that kubelet uses.
_PLUGINS: Final = {
    "emptyDir": "empty-dir",
    "configMap": "configmap",
    "secret": "secret",
    "projected": "projected",
    "downwardAPI": "downward-api",
    "local": "local-volume",
    "nfs": "nfs",
    "image": "image",
}
#: What somebody must undo by name: remembered on disk before it begins.
_RECORDED: Final = ("csi", "image")
_IN_MEMORY: Final = ("secret", "projected", "downwardAPI")
#: What admission calls the volume of a pod's own token.
_ACCESS_PREFIX: Final = "kube-api-access-"


class FreshNode(Protocol):
    """This node's own Node."""

    async def __call__(self, *, fresh: bool) -> Object: ...


class _PodVolumes(Struct):
    #: Those that are remembered on disk.
    sources: dict[str, VolumeSource] = field(default_factory=dict)
    mounted: dict[str, Mounted] = field(default_factory=dict)
    #: Since when volumes wait to be attached.
    waiting_since: float | None = None


class VolumeSetup:
    def __init__(
        self,
        verbs: Verbs,
        node: FreshNode,
        references: References,
        tokens: TokenSource,
        directories: Directories,
        csi: CsiVolumes,
        runtime: Runtime,
        snapshotter: str,
        wake: Callable[[str], None],
        clock: Callable[[], float],
    ) -> None:
        """``directories``: who makes those of local-path volumes. ``wake`` is called with the uid of a pod whose volumes may get
        further now."""
        self._directories = directories
        self._verbs = verbs
        self._node = node
        self._csi = csi
        self._runtime = runtime
        self._snapshotter = snapshotter
        self._wake = wake
        self._clock = clock
        self._references = references
        self._tokens = tokens
        self._pods: dict[str, _PodVolumes] = {}
        #: Pods that this node starts from what it has on disk, because the API is silent.
        self.alone: set[str] = set()

    def mounted(self, uid: str) -> Mapping[str, Mounted]:
        """What is ready for the pod's containers, by the volume's name."""
        pod = self._pods.get(uid)
        return pod.mounted if pod else {}

    def remember(self, uid: str, record: Mapping[str, VolumeSource]) -> None:
        """What is on disk about the pod's volumes, as its first caller finds it."""
        self._pods.setdefault(uid, _PodVolumes(dict(record)))

    async def set_up(self, pod: Object, paths: PodPaths, around: Surroundings) -> float | None:
        """Every volume that a container of the pod mounts, side by side. Returns when to call again (seconds since the epoch)."""
        held = await self._held(paths)
        unbound: dict[str, str] = {}
        sources: list[tuple[Object, VolumeSource]] = []

        async def find(volume: Object) -> None:
            try:
                sources.append((volume, await self._source(held, pod, volume)))
            except VolumeProblem as problem:
                unbound[volume["name"]] = problem.message

        wanted = [volume for volume in used_volumes(pod) if kind_of(volume) != "image"]  # mounted when a container starts
        async with trio.open_nursery() as nursery:
            for volume in wanted:
                nursery.start_soon(find, volume)
        if held.sources:
            await trio.to_thread.run_sync(write_record, paths.root, dict(held.sources))

        again: list[float] = []
        failed: list[str] = []
        waiting: list[str] = []
        exhausted = False

        async def mount(volume: Object, source: VolumeSource) -> None:
            nonlocal exhausted
            try:
                held.mounted[source.name], refresh_at = await self._mount(pod, paths, volume, source, around)
            except (OSError, TimeoutError) as error:
                failed.append(f'MountVolume.SetUp failed for volume "{source.spec_name}" : {error}')
            except VolumeProblem as problem:
                if problem.waiting:
                    waiting.append(source.name)
                    exhausted |= problem.exhausted
                    return
                failed.append(f'{problem.stage} failed for volume "{source.spec_name}" : {problem.message}')
            else:
                if refresh_at is not None:
                    again.append(refresh_at)

        async with trio.open_nursery() as nursery:
            for volume, source in sources:
                nursery.start_soon(mount, volume, source)
        patient = self._is_patient(held, bool(waiting))
        rejection = ""
        if unbound or (waiting and not patient):
            left = [volume["name"] for volume in wanted if volume["name"] not in held.mounted]
            why = "; ".join(unbound[name] for name in sorted(unbound)) or "context deadline exceeded"
            lists = f"unmounted volumes={_listed(left)}, unattached volumes={_listed(waiting)}, "
            lists += f"failed to process volumes={_listed(unbound)}: {why}"
            failed.append(f"Unable to attach or mount volumes: {lists}")
            if exhausted and not patient:
                rejection = f"Node has reached its volume attachment limit, rejecting pod. {lists}"
        if failed or waiting:
            raise VolumesProblem(failed, unbound=bool(unbound or waiting), rejection=rejection)
        return min(again, default=None)

    async def mount_image(self, paths: PodPaths, volume: Object, image: Image) -> None:
        """``image`` is present. ConfigProblem when it cannot be mounted."""
        held, source = await self._held(paths), own_source(volume)
        if source.name not in held.mounted:
            held.sources[source.name] = source
            await trio.to_thread.run_sync(write_record, paths.root, dict(held.sources))
            target = paths.volume(_PLUGINS["image"], source.name)
            await mount_image(self._runtime, image, self._snapshotter, key_of(paths.uid, source.name), target)
            held.mounted[source.name] = Mounted(str(target), read_only=True)

    async def _held(self, paths: PodPaths) -> _PodVolumes:
        held = self._pods.get(paths.uid)
        if held is None:
            self.remember(paths.uid, await trio.to_thread.run_sync(read_record, paths.root))
            held = self._pods[paths.uid]
        return held

    def _is_patient(self, held: _PodVolumes, waiting: bool) -> bool:
        """A volume that is being attached is nobody's fault for a while; then the pod tells of it, each time that long passed."""
        now = trio.current_time()
        if not waiting or held.waiting_since is None:
            held.waiting_since = now if waiting else None
            return True
        if now - held.waiting_since < ATTACH_PATIENCE_SECONDS:
            return True
        held.waiting_since = now
        return False

    async def told_by_drivers(self) -> dict[tuple[str, str], tuple[int, int, int, int, int]]:
        """By uid and volume, of CSI volumes whose driver tells: bytes in all, available and used; inodes in all, and free."""
        return await self._csi.usages()

    def poke_all(self) -> None:
        """A driver came: whoever waits for it is not known by name."""
        for uid in list(self._pods):
            self._wake(uid)

    async def _source(self, held: _PodVolumes, pod: Object, volume: Object) -> VolumeSource:
        if not claim_name_of(pod, volume):
            source = own_source(volume)
            if source.kind in _RECORDED:
                held.sources[source.name] = source
            return source
        known = held.sources.get(volume["name"])
        if known is None:
            known = await find_source(self._verbs, pod, volume)
            held.sources[known.name] = known
        return known

    def _has_mounted(self, uid: str, name: str) -> bool:
        """The pod may have ended meanwhile, and its volumes with it."""
        held = self._pods.get(uid)
        return held is not None and name in held.mounted

    async def _mount(
        self, pod: Object, paths: PodPaths, volume: Object, source: VolumeSource, around: Surroundings
    ) -> tuple[Mounted, float | None]:
        if source.node_affinity is not None and not self._has_mounted(paths.uid, source.name):
            await self._check_affinity(source.node_affinity)
        if ONE_POD in source.access_modes and self._is_taken(paths.uid, source):
            raise VolumeProblem("volume uses the ReadWriteOncePod access mode and is already in use by another pod")
        if source.block and source.kind in ("local", "hostPath"):
            link = await trio.to_thread.run_sync(map_device, source.spec["path"], _device_link(paths, source))
            return Mounted(str(link), source.read_only, block=True), None
        if source.kind == "hostPath":
            if source.mount_options:
                why = "Mount options are not supported for this volume type"
                raise VolumeProblem(why, stage="MountVolume.checkMountOptionSupport")
            check = functools.partial(check_host_path, source.spec["path"], source.spec.get("type") or "")
            await trio.to_thread.run_sync(check)
            return Mounted(source.spec["path"], source.read_only, gid=source.gid), None
        if source.kind == "csi":
            return await self._csi.mount(pod, paths, source, _fs_group(pod), _change_policy(pod))
        if source.kind not in _PLUGINS or source.block:
            what = f"{source.kind} of volumeMode Block" if source.block else source.kind
            raise VolumeProblem(f"{what} is not supported by this node")
        path = paths.volume(_PLUGINS[source.kind], source.spec_name)
        mounted, refresh_at = Mounted(str(path), source.read_only, gid=source.gid), None
        if source.kind == "emptyDir":
            await trio.to_thread.run_sync(make_empty_dir, pod, source.spec, path, _fs_group(pod))
        elif source.kind == "local":
            if is_local_path(source.annotations):
                await trio.to_thread.run_sync(self._directories.make, source.volume, source.spec["path"])
            await trio.to_thread.run_sync(mount_local, source, path, _fs_group(pod), _change_policy(pod))
        elif source.kind == "nfs":
            await mount_nfs(source, path)
        else:
            try:
                refresh_at = await self._write_files(pod, volume, path, source.kind in _IN_MEMORY, around)
            except (TimeoutError, VolumeProblem) as problem:
                # The API is away: what the volume held when it was last heard is better than a pod that does not run.
                if not isinstance(problem, TimeoutError) or not await trio.to_thread.run_sync(is_written, path):
                    if paths.uid not in self.alone or not _may_come_later(volume):
                        raise
                    await trio.to_thread.run_sync(_make_ready, path, source.kind in _IN_MEMORY)
                refresh_at = self._clock() + AWAY_RETRY_SECONDS
        return mounted, refresh_at

    def _is_taken(self, uid: str, source: VolumeSource) -> bool:
        """Whether another pod of this node has the same persistent volume mounted."""
        return any(
            each.volume == source.volume and each.name in held.mounted
            for other, held in self._pods.items()
            if other != uid
            for each in held.sources.values()
        )

    async def _check_affinity(self, terms: Object) -> None:
        node = await self._node(fresh=True)
        affinity = {"requiredDuringSchedulingIgnoredDuringExecution": terms}
        if not node_matches({}, affinity, name_of(node), labels_of(node)):
            raise VolumeProblem("no matching NodeSelectorTerms", stage="MountVolume.NodeAffinity check")

    async def _write_files(self, pod: Object, volume: Object, path: Path, in_memory: bool, around: Surroundings) -> float | None:
        objects: dict[Key, Object | None] = {}
        for source_kind, name in sources_of(volume):
            if name:
                found = await self._references.get(source_kind, namespace_of(pod), name)
                objects[source_kind, namespace_of(pod), name] = found
        tokens: dict[tuple[str, int], str] = {}
        refresh_at: float | None = None
        for audience, seconds in wanted_tokens(pod, volume):
            token = await self._tokens.get(pod, audience, seconds)
            tokens[audience, seconds] = token.text
            refresh_at = token.refresh_at if refresh_at is None else min(refresh_at, token.refresh_at)
        files = volume_files(pod, volume, objects, tokens, around)
        await trio.to_thread.run_sync(_files, path, files, in_memory, _fs_group(pod))
        return refresh_at

    async def _unmount(self, paths: PodPaths, source: VolumeSource) -> None:
        """What a plain unmount does not undo."""
        if source.kind == "csi":
            await self._csi.unmount(paths, source)
        elif source.kind == "image":
            target = paths.volume(_PLUGINS["image"], source.name)
            await unmount_image(self._runtime, self._snapshotter, key_of(paths.uid, source.name), target)
        elif source.block:
            link = _device_link(paths, source)
            await trio.to_thread.run_sync(unmap_device, source.spec["path"], link, paths.root.parent)

    async def tear_down(self, paths: PodPaths) -> None:
        """Unmount and delete all volumes of the pod. What cannot be undone now raises, and may be tried again."""
        held = await self._held(paths)
        await trio.to_thread.run_sync(_unmount_subpaths, paths)
        for source in held.sources.values():
            try:
                await self._unmount(paths, source)
            except VolumeProblem as problem:
                raise OSError(f'{problem.stage} failed for volume "{source.spec_name}" : {problem.message}') from None
        await trio.to_thread.run_sync(tear_down, paths)
        self._pods.pop(paths.uid, None)


def _device_link(paths: PodPaths, source: VolumeSource) -> Path:
    plugin = "local-volume" if source.kind == "local" else "host-path"
    return paths.root / "volumeDevices" / f"kubernetes.io~{plugin}" / source.spec_name


def _fs_group(pod: Object) -> int | None:
    value = (spec_of(pod).get("securityContext") or {}).get("fsGroup")
    return None if value is None else int(value)


def _change_policy(pod: Object) -> str:
    return (spec_of(pod).get("securityContext") or {}).get("fsGroupChangePolicy") or "Always"


def _files(path: Path, files: dict[str, VolumeFile], in_memory: bool, fs_group: int | None) -> None:
    _make_ready(path, in_memory)
    write_volume(path, files, fs_group)


def _may_come_later(volume: Object) -> bool:
    """The token that every pod has, asked for or not: after a boot it is gone, and most pods never look at it."""
    return volume.get("projected") is not None and str(volume["name"]).startswith(_ACCESS_PREFIX)


def _make_ready(path: Path, in_memory: bool) -> None:
    path.mkdir(parents=True, exist_ok=True)
    if in_memory and not path.is_mount():
        mounts.mount_tmpfs(path)


def _listed(names: Iterable[str]) -> str:
    return f"[{' '.join(sorted(names))}]"


def _unmount_subpaths(paths: PodPaths) -> None:
    """They hold their volumes."""
    if paths.subpaths.exists():
        mounts.unmount_under(paths.subpaths)


def tear_down(paths: PodPaths) -> None:
    """A mount that will not go keeps its directory from being emptied."""
    (paths.root / RECORD).unlink(missing_ok=True)
    for root in (paths.subpaths, paths.volumes):
        if root.exists():
            mounts.unmount_under(root)
            if not mounts.mounted_under(root):
                remove_tree(root)


def remove_pod_directory(paths: PodPaths) -> None:
    """Volumes, hosts file, termination logs, checkpoint and container logs."""
    tear_down(paths)
    paths.remove_log_links()
    for root in (paths.root, paths.logs):
        if root.exists() and not mounts.mounted_under(root):
            remove_tree(root)
