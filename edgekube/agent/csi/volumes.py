"""CSI volumes of pods: attached, staged, published, and all of it undone.

Enters: a pod, its volume's source, the driver's client and CSIDriver.
Leaves: a mounted directory (or a device); VolumeProblem in upstream's words.
Holds: a volume is staged once for all pods of the node, and unstaged when the last one that names it has gone (their records on
disk say so, so that a crash in between loses nothing). Secrets are read for a call and kept nowhere. Each call may be made again.
Source: Kubernetes CSI documentation; k8s.io/kubernetes pkg/volume/csi.
Next: agent.csi.client, volumes.setup.
"""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

import orjson
import trio

from edgekube.agent.csi.client import EXPAND, GET_STATS, MOUNT_GROUP, STAGE_UNSTAGE, CsiClient, CsiFailure
from edgekube.agent.csi.drivers import CsiDrivers
from edgekube.agent.csi.expansion import Expansions, InUse
from edgekube.agent.csi.leaving import NOBODY, Leaving
from edgekube.agent.csi.objects import read_driver, read_secret
from edgekube.agent.csi.options import (
    applies_fs_group,
    attach_required,
    attachment_name,
    check_lifecycle,
    in_use_key,
    inline_handle,
    pod_attributes,
    unique_name,
    unique_name_of,
    update_seconds,
)
from edgekube.agent.csi.places import Places, remove_target, use_of
from edgekube.agent.csi.staging import Staging
from edgekube.agent.names import PodPaths
from edgekube.agent.problems import VolumeProblem
from edgekube.agent.tokens import TokenSource
from edgekube.agent.volumes.in_use import VolumesInUse
from edgekube.agent.volumes.mounts import is_mounted
from edgekube.agent.volumes.ownership import apply_fs_group
from edgekube.agent.volumes.record import read_record
from edgekube.agent.volumes.source import Mounted, VolumeSource, claim_name_of
from edgekube.api import times
from edgekube.api.errors import StatusError
from edgekube.api.kinds import VOLUMEATTACHMENT
from edgekube.api.objects import Object, is_deleting, namespace_of, spec_of
from edgekube.api.verbs import Verbs
from edgekube.limits import (
    AWAY_RETRY_SECONDS,
    CSI_REPUBLISH_SECONDS,
    CSI_STATS_PATIENCE_SECONDS,
    CSI_STATS_SECONDS,
    NODE_STATUS_CHECK_SECONDS,
)

log = logging.getLogger("edgekube.agent")

#: Of gRPC.
_RESOURCE_EXHAUSTED: Final = 8
_TOKENS: Final = "csi.storage.k8s.io/serviceAccount.tokens"


class CsiVolumes:
    def __init__(
        self,
        verbs: Verbs,
        node_name: str,
        drivers: CsiDrivers,
        tokens: TokenSource,
        in_use: VolumesInUse,
        *,
        places: Places,
        clock: Callable[[], float],
        expansions: Expansions,
        tell: Callable[[Object, str, str, str], None],
    ) -> None:
        """``tell`` records an event: about what, its type, reason and message."""
        self._expansions = expansions
        self._tell = tell
        #: (uid, volume) that this process has published: driver (which may be started anew), handle, path.
        self._published: dict[tuple[str, str], tuple[str, str, str]] = {}
        self._usages: tuple[float, dict[tuple[str, str], tuple[int, int, int, int, int]]] = (float("-inf"), {})
        self._verbs = verbs
        self._node_name = node_name
        self._drivers = drivers
        self._tokens = tokens
        self._in_use = in_use
        self._places = places
        self._staging = Staging(verbs, drivers, places)
        self._leaving = Leaving(self._staging)
        self._clock = clock

    # --- coming up

    async def mount(
        self, pod: Object, paths: PodPaths, source: VolumeSource, fs_group: int | None, change_policy: str
    ) -> tuple[Mounted, float | None]:
        """Returns when it wants to be published again."""
        before = (paths.uid, source.name) in self._published
        name = str(source.spec["driver"])
        target = self._places.target(paths, source)
        mounted = Mounted(str(target), source.read_only, block=source.block, gid=source.gid)
        try:
            driver = await read_driver(self._verbs, name)
        except VolumeProblem:
            if await trio.to_thread.run_sync(is_mounted, target):
                return mounted, self._clock() + AWAY_RETRY_SECONDS
            raise
        if source.volume and not attach_required(driver):
            self._in_use.drop(unique_name(source), in_use_key(paths.uid, source))
        republish = bool(driver and (driver.get("spec") or {}).get("requiresRepublish"))
        if before and not republish:
            return mounted, None
        if self._drivers.get(name) is None and await trio.to_thread.run_sync(is_mounted, target):
            return mounted, None  # the driver comes later than its volumes: those are as they were before a restart
        if source.volume:
            published = await self._attached(source, driver, paths.uid)
            staging = await self._staging.stage(source, published, fs_group)
            await self._publish(pod, paths, source, driver, published, staging, fs_group, before=before)
        else:
            check_lifecycle(name, driver)
            await self._publish(pod, paths, source, driver, {}, "", fs_group, before=before)
        client = self._drivers.need(name, "mounter.SetUpAt failed to get CSI client", "MountVolume.SetUp")
        takes_group = not source.block and await client.can(MOUNT_GROUP)
        if fs_group is not None and not takes_group and not before and applies_fs_group(source, driver):
            on_root_mismatch = change_policy == "OnRootMismatch"
            change = functools.partial(apply_fs_group, target, fs_group, on_root_mismatch=on_root_mismatch)
            try:
                await trio.to_thread.run_sync(change)
            except OSError as error:
                raise VolumeProblem(f"applyFSGroup failed for vol {self._handle(pod, source)}: {error}") from None
        self._published[paths.uid, source.name] = (name, self._handle(pod, source), self._places.shown(target))
        if source.volume and not source.read_only and await client.can(EXPAND):
            self._expansions.follow(paths.uid, self._in_use_by(pod, paths, source))
        return mounted, self._clock() + CSI_REPUBLISH_SECONDS if republish else None

    def _in_use_by(self, pod: Object, paths: PodPaths, source: VolumeSource) -> InUse:
        async def expand(size_bytes: int) -> None:
            client = self._drivers.need(str(source.spec["driver"]), "Expander.NodeExpand", "NodeExpandVolume")
            secrets = await read_secret(
                self._verbs, source.spec.get("nodeExpandSecretRef"), "NodeExpandSecretRef", "NodeExpandVolume"
            )
            staging = self._places.shown(self._places.staging(source)) if await client.can(STAGE_UNSTAGE) else ""
            path = self._places.shown(self._places.target(paths, source))
            await client.expand(str(source.spec["volumeHandle"]), path, staging, use_of(source, ""), size_bytes, secrets)

        volume = next(item for item in spec_of(pod)["volumes"] if item["name"] == source.name)
        return InUse(pod, claim_name_of(pod, volume), source, expand, self._tell)

    def _handle(self, pod: Object, source: VolumeSource) -> str:
        return str(source.spec["volumeHandle"]) if source.volume else inline_handle(pod["metadata"]["uid"], source.name)

    async def _attached(self, source: VolumeSource, driver: Object | None, uid: str) -> dict[str, str]:
        """The driver's publish context. VolumeProblem (soon) until somebody has attached the volume to this node."""
        if not attach_required(driver):
            return {}
        self._in_use.take(unique_name(source), in_use_key(uid, source))
        with trio.move_on_after(2 * NODE_STATUS_CHECK_SECONDS):
            await self._in_use.until_told(unique_name(source))
        handle = source.spec["volumeHandle"]
        name = attachment_name(handle, source.spec["driver"], self._node_name)
        stage = "MountVolume.WaitForAttach"
        try:
            found = await self._verbs.get(VOLUMEATTACHMENT, "", name)
        except StatusError as error:
            why = f"volume {handle} has GET error for volume attachment {name}: {error.message}"
            raise VolumeProblem(why, stage=stage, waiting=True) from None
        status: Object = found.get("status") or {}
        if is_deleting(found):
            raise VolumeProblem("volume attachment is being deleted", stage=stage, waiting=True)
        if not status.get("attached"):
            refusal: Object = status.get("attachError") or {}
            why = refusal.get("message") or f"volume {handle} is not attached for volume attachment {name}"
            exhausted = update_seconds(driver) > 0 and refusal.get("errorCode") == _RESOURCE_EXHAUSTED
            if exhausted:
                await self._drivers.measure(str(source.spec["driver"]))
            raise VolumeProblem(why, stage=stage, waiting=True, exhausted=exhausted)
        metadata: dict[str, str] = status.get("attachmentMetadata") or {}
        return metadata

    async def _publish(
        self,
        pod: Object,
        paths: PodPaths,
        source: VolumeSource,
        driver: Object | None,
        published: Mapping[str, str],
        staging: str,
        fs_group: int | None,
        *,
        before: bool,
    ) -> None:
        stage = "MapVolume.MapPodDevice" if source.block else "MountVolume.SetUp"
        client = self._drivers.need(str(source.spec["driver"]), "mounter.SetUpAt failed to get CSI client", stage)
        spec: Object = (driver or {}).get("spec") or {}
        context: dict[str, str] = dict(source.spec.get("volumeAttributes") or {})
        secrets = await read_secret(
            self._verbs,
            source.spec.get("nodePublishSecretRef"),
            "NodePublishSecretRef",
            stage,
            "" if source.volume else namespace_of(pod),
        )
        if spec.get("podInfoOnMount"):
            context |= pod_attributes(pod, ephemeral=not source.volume)
        if spec.get("tokenRequests"):
            tokens = {_TOKENS: await self._token_text(pod, spec["tokenRequests"])}
            if spec.get("serviceAccountTokenInSecrets"):
                secrets |= tokens
            else:
                context |= tokens
        target = self._places.target(paths, source)
        await trio.to_thread.run_sync(functools.partial(target.parent.mkdir, mode=0o750, parents=True, exist_ok=True))
        group = str(fs_group) if fs_group is not None and await client.can(MOUNT_GROUP) else ""
        try:
            await client.publish(
                self._handle(pod, source),
                staging,
                self._places.shown(target),
                use_of(source, group),
                context,
                published,
                secrets,
                read_only=source.read_only,
            )
        except CsiFailure as failure:
            if failure.is_final and not before:
                await trio.to_thread.run_sync(remove_target, target)
            failure.stage = stage
            raise

    async def _token_text(self, pod: Object, requests: Iterable[Object]) -> str:
        found: Object = {}
        for request in requests:
            audience = request.get("audience") or ""
            token = await self._tokens.get(pod, audience, int(request.get("expirationSeconds") or 3600))
            found[audience] = {"token": token.text, "expirationTimestamp": times.rfc3339(token.expires_at)}
        return orjson.dumps(found).decode()

    # --- going down

    async def unmount(self, paths: PodPaths, source: VolumeSource) -> None:
        """VolumeProblem, and nothing lost, while the driver is away or refuses."""
        self._expansions.forget(paths.uid, source.name)
        target = self._places.target(paths, source)
        driver = str(source.spec["driver"])
        if await trio.to_thread.run_sync(os.path.lexists, target.parent):
            client = self._drivers.need(driver, "Unmounter.TearDownAt failed to get CSI client", "UnmountVolume.TearDown")
            handle = str(source.spec["volumeHandle"]) if source.volume else inline_handle(paths.uid, source.name)
            try:
                await client.unpublish(handle, self._places.shown(target))
            except CsiFailure as failure:
                failure.stage = "UnmapVolume.UnmapPodDevice" if source.block else "UnmountVolume.TearDown"
                raise
            await trio.to_thread.run_sync(remove_target, target)
        self._published.pop((paths.uid, source.name), None)
        if source.volume:
            done = functools.partial(self._in_use.drop, unique_name(source), in_use_key(paths.uid, source))
            if await trio.to_thread.run_sync(self._has_it_twice, paths, source):
                done()
            else:
                await self._leaving.leave(driver, str(source.spec["volumeHandle"]), self._places.staging(source), paths.uid, done)

    def _has_it_twice(self, paths: PodPaths, source: VolumeSource) -> bool:
        """The pod has another volume that is the same to the driver, and that one is still there."""
        return any(
            other.name != source.name
            and other.kind == "csi"
            and other.volume
            and unique_name(other) == unique_name(source)
            and os.path.lexists(self._made_for(paths, other))
            for other in read_record(paths.root).values()
        )

    def _made_for(self, paths: PodPaths, source: VolumeSource) -> Path:
        """What is there as long as the volume is: devices of one volume share the directory above."""
        target = self._places.target(paths, source)
        return target if source.block else target.parent

    async def sweep(self, driver: str) -> None:
        """Volumes of the driver that are staged for nobody: a crash came between a pod's last unpublish and that."""
        for path, handle in await self._staging.left_over(driver):
            done = functools.partial(self._in_use.drop, unique_name_of(driver, handle), NOBODY)
            await self._leaving.leave(driver, handle, path, NOBODY, done)

    async def run(self) -> None:
        await self._leaving.run()

    async def usages(self) -> dict[tuple[str, str], tuple[int, int, int, int, int]]:
        """What drivers say of their volumes, no older than CSI_STATS_SECONDS. One that does not answer in time says nothing."""
        if trio.current_time() - self._usages[0] < CSI_STATS_SECONDS:
            return self._usages[1]
        found: dict[tuple[str, str], tuple[int, int, int, int, int]] = {}

        async def ask(key: tuple[str, str], client: CsiClient, handle: str, path: str) -> None:
            try:
                if await client.can(GET_STATS):
                    rows = {unit: figures for unit, *figures in await client.stats(handle, path)}
                    available, total, used = rows.get("BYTES", (0, 0, 0))
                    inodes_free, inodes, _ = rows.get("INODES", (0, 0, 0))
                    found[key] = (total, available, used, inodes, inodes_free)
            except CsiFailure as failure:
                log.info("a driver does not tell of its volume path=%s error=%s", path, failure.message)

        with trio.move_on_after(CSI_STATS_PATIENCE_SECONDS):
            async with trio.open_nursery() as nursery:
                for key, (driver, handle, path) in self._published.items():
                    if (client := self._drivers.get(driver)) is not None:
                        nursery.start_soon(ask, key, client, handle, path)
        self._usages = (trio.current_time(), found)
        return found
