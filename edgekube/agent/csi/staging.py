"""CSI volumes that are staged on this node: each once, whoever uses it.

Enters: a volume's source; the pods' records on disk.
Leaves: NodeStageVolume and NodeUnstageVolume calls.
Holds: one call at a time for a volume; one that is under way when its pod is deleted is heard out, for what failed for good is
not undone. It is unstaged when no pod's record names it any more but that of the pod that leaves, so a crash between any two
steps loses nothing; what was staged for nobody is found when its driver registers.
Next: agent.csi.volumes.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import orjson
import trio

from edgekube.agent.csi.client import MOUNT_GROUP, STAGE_UNSTAGE, CsiFailure
from edgekube.agent.csi.drivers import CsiDrivers
from edgekube.agent.csi.hearing import heard_out
from edgekube.agent.csi.objects import read_secret
from edgekube.agent.csi.places import GLOBAL, Places, remove_target, use_of
from edgekube.agent.volumes import mounts
from edgekube.agent.volumes.record import read_record, with_records
from edgekube.agent.volumes.source import VolumeSource
from edgekube.api.verbs import Verbs
from edgekube.limits import CSI_ANSWER_SECONDS

log = logging.getLogger("edgekube.agent")

_DATA: Final = "vol_data.json"


class Staging:
    def __init__(self, verbs: Verbs, drivers: CsiDrivers, places: Places) -> None:
        self._verbs = verbs
        self._drivers = drivers
        self._places = places
        self._staged: set[tuple[str, str]] = set()
        #: Of volumes that somebody stages or unstages now.
        self._locks: dict[tuple[str, str], trio.Lock] = {}

    async def stage(self, source: VolumeSource, published: Mapping[str, str], fs_group: int | None) -> str:
        """The path as the driver knows it; "" when it stages nothing."""
        stage = "MapVolume.SetUpDevice" if source.block else "MountVolume.MountDevice"
        driver, handle = str(source.spec["driver"]), str(source.spec["volumeHandle"])
        client = self._drivers.need(driver, "attacher.MountDevice failed to create newCsiDriverClient", stage)
        if not await client.can(STAGE_UNSTAGE):
            return ""
        path = self._places.staging(source)
        async with self._lock(driver, handle):
            if (driver, handle) in self._staged:
                return self._places.shown(path)
            secrets = await read_secret(self._verbs, source.spec.get("nodeStageSecretRef"), "NodeStageSecretRef", stage)
            await trio.to_thread.run_sync(_make_staging, path, driver, handle)
            group = str(fs_group) if fs_group is not None and await client.can(MOUNT_GROUP) else ""
            context = source.spec.get("volumeAttributes") or {}

            async def ask() -> None:
                try:
                    await client.stage(handle, self._places.shown(path), use_of(source, group), context, published, secrets)
                except CsiFailure as failure:
                    failure.stage = stage
                    if failure.is_final:
                        await trio.to_thread.run_sync(_remove_staging, path)
                    raise
                self._staged.add((driver, handle))

            await heard_out(ask, CSI_ANSWER_SECONDS)
        return self._places.shown(path)

    async def unstage(self, driver: str, handle: str, path: Path, leaving: str) -> None:
        async with self._lock(driver, handle):
            data = path.parent / _DATA if path.name == GLOBAL else path
            if not await trio.to_thread.run_sync(data.exists):
                self._staged.discard((driver, handle))
                return
            users = await trio.to_thread.run_sync(functools.partial(users_of, self._places.agent_dir, driver, handle))
            if users - {leaving}:
                return
            client = self._drivers.need(
                driver, "attacher.UnmountDevice failed to create newCsiDriverClient", "UnmountVolume.UnmountDevice"
            )
            if await client.can(STAGE_UNSTAGE):
                # Whatever comes of it: whoever needs the volume next has it staged anew.
                self._staged.discard((driver, handle))
                try:
                    await client.unstage(handle, self._places.shown(path))
                except CsiFailure as failure:
                    failure.stage = "UnmountVolume.UnmountDevice"
                    raise
            self._staged.discard((driver, handle))
            await trio.to_thread.run_sync(_remove_staging, path)

    async def left_over(self, driver: str) -> list[tuple[Path, str]]:
        """What the driver has staged, by the disk: the path and the volume's handle."""
        return await trio.to_thread.run_sync(staged_volumes, self._places.plugin_dir / driver)

    @asynccontextmanager
    async def _lock(self, driver: str, handle: str) -> AsyncIterator[None]:
        lock = self._locks.setdefault((driver, handle), trio.Lock())
        try:
            async with lock:
                yield
        finally:
            if not lock.locked():
                self._locks.pop((driver, handle), None)


def users_of(agent_dir: Path, driver: str, handle: str) -> set[str]:
    """Uids of the pods whose records name the volume."""
    return {
        uid
        for uid, source in recorded(agent_dir)
        if (source.spec.get("driver"), source.spec.get("volumeHandle")) == (driver, handle)
    }


def recorded(agent_dir: Path) -> Iterator[tuple[str, VolumeSource]]:
    """Persistent CSI volumes of pods that are here, or were and are not undone yet, by their records."""
    for uid in with_records(agent_dir):
        for source in read_record(agent_dir / "pods" / uid).values():
            if source.kind == "csi" and source.volume:
                yield uid, source


def _make_staging(path: Path, driver: str, handle: str) -> None:
    path.mkdir(mode=0o750, parents=True, exist_ok=True)
    if path.name == GLOBAL:
        (path.parent / _DATA).write_bytes(orjson.dumps({"driverName": driver, "volumeHandle": handle}))


def _remove_staging(path: Path) -> None:
    mounts.unmount_under(path)
    remove_target(path)
    if path.name == GLOBAL:
        (path.parent / _DATA).unlink(missing_ok=True)
        path.parent.rmdir()


def staged_volumes(folder: Path) -> list[tuple[Path, str]]:
    """Of one driver, by its folder."""
    found = []
    for data in folder.glob(f"*/{_DATA}"):
        try:
            found.append((data.parent / GLOBAL, str(orjson.loads(data.read_bytes())["volumeHandle"])))
        except (OSError, ValueError, KeyError):
            log.warning("what was staged here is not known path=%s", data)
    return found
