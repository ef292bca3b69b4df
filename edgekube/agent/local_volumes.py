"""The directories that are this node's local-path volumes: made when a pod first mounts one, removed when its volume ends.

Enters: persistent volumes that name this node by their label, by a watch; a pod's wish to mount one.
Leaves: directories below the node's own (``--local-path-dir``), which nobody but root enters; finalizers taken away.
Holds: only what this node made is removed: each directory is noted in a file before it is made. A volume that is not Delete
keeps its directory. What was interrupted is done again; a directory with something mounted in it is not touched. Where the file
system has project quotas a directory holds no more than its volume's size.
Next: volumes.setup asks for directories; controllers.localpath makes and ends the volumes.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

import trio
from msgspec import Struct

from edgekube import limits
from edgekube.agent.problems import VolumeProblem
from edgekube.agent.volumes import mounts, project_quota
from edgekube.agent.volumes.removal import remove_tree
from edgekube.api import local_path, quantities
from edgekube.api.errors import StatusError
from edgekube.api.kinds import PERSISTENTVOLUME
from edgekube.api.objects import Object, is_deleting, name_of, revision_of, uid_of
from edgekube.api.verbs import ListOptions, Verbs
from edgekube.pki.files import PUBLIC, replace_whole, sync_directory
from edgekube.reconcile.by_name import ByName
from edgekube.reconcile.follow import follow
from edgekube.settings import Settings

log = logging.getLogger("edgekube.agent")

#: Any user of any container may have the volume; the directory above keeps out whoever is not root on the node.
_VOLUME_MODE: Final = 0o777
_ABOVE_MODE: Final = 0o700


def node_annotations(settings: Settings) -> dict[str, str]:
    """What the Node says of room for volumes: the size of the file system, less what only root may fill."""
    if local_path.CLASS_NAME in settings.disable:
        return {}
    directory = settings.local_path_directory
    there = next(path for path in (directory, *directory.parents) if path.exists())
    found = os.statvfs(there)
    usable = (found.f_blocks - (found.f_bfree - found.f_bavail)) * found.f_frsize
    return {local_path.DIRECTORY: str(directory), local_path.CAPACITY: str(usable)}


class Ending(Struct, frozen=True):
    """What is left to do for a volume that ends."""

    volume: Object
    removes: bool


def endings(volumes: Iterable[Object]) -> list[Ending]:
    """Volumes that wait for this node to let them go. Pure."""
    return [
        Ending(volume, volume["spec"].get("persistentVolumeReclaimPolicy") == "Delete")
        for volume in volumes
        if is_deleting(volume)
        and local_path.FINALIZER in (volume["metadata"].get("finalizers") or ())
        and (volume.get("status") or {}).get("phase") != "Bound"
    ]


class Directories:
    """What this node made; each is noted in a file of its volume's name."""

    def __init__(self, settings: Settings) -> None:
        self._base = settings.local_path_directory
        self._notes = settings.agent_dir / "local-volumes"
        #: How large volumes may be, as far as that is known yet.
        self._sizes: dict[str, int] = {}
        self._marking = threading.Lock()

    def make(self, volume_name: str, path: str) -> None:
        """VolumeProblem when the volume is not one that this node would make."""
        directory = Path(path)
        if directory.parent != self._base or not directory.name.startswith(f"{volume_name}_"):
            if not directory.is_dir():
                raise VolumeProblem(f'path "{path}" does not exist, and is not below {self._base}')
            return  # made while the node's directory was another
        if directory.is_dir():
            return
        self._notes.mkdir(mode=0o700, parents=True, exist_ok=True)
        # On disk before the directory is: what is not noted is never removed.
        replace_whole(self._notes / volume_name, os.fsencode(path), PUBLIC)
        sync_directory(self._notes)
        self._base.mkdir(mode=_ABOVE_MODE, parents=True, exist_ok=True)
        half_made = self._base / f".{volume_name}"  # of its mode before it has its name
        half_made.mkdir(exist_ok=True)
        half_made.chmod(_VOLUME_MODE)
        self._count(half_made)
        half_made.rename(directory)
        self._bound(volume_name, directory)

    def may_hold(self, volume_name: str, size_bytes: int) -> None:
        """The volume is, or will be, of this size."""
        if self._sizes.get(volume_name) != size_bytes:
            self._sizes[volume_name] = size_bytes
            try:
                directory = Path(os.fsdecode((self._notes / volume_name).read_bytes()))
            except OSError:
                return  # it is not made yet
            self._bound(volume_name, directory)

    def _count(self, directory: Path) -> None:
        if project_quota.device_of(directory):
            try:
                with self._marking:
                    project_quota.mark(directory, self._base.iterdir())
            except OSError as error:
                log.warning("a volume's directory is not counted for itself path=%s error=%s", directory, error)

    def _bound(self, volume_name: str, directory: Path) -> None:
        device, size_bytes = project_quota.device_of(directory), self._sizes.get(volume_name, 0)
        if device and size_bytes:
            try:
                project_quota.limit(directory, device, size_bytes)
            except OSError as error:
                log.warning("a volume may outgrow its claim volume=%s error=%s", volume_name, error)

    def remove(self, volume_name: str) -> None:
        """Remove what was made for the volume, if anything. OSError when something keeps it."""
        note = self._notes / volume_name
        try:
            directory = Path(os.fsdecode(note.read_bytes()))
        except FileNotFoundError:
            return
        if not directory.is_absolute() or not directory.name.startswith(f"{volume_name}_") or "\0" in str(directory):
            # Torn by a power cut before the directory was made: nothing else may ever be removed by it.
            log.warning("note of a volume's directory is not readable, nothing is removed volume=%s", volume_name)
            note.unlink()
            return
        mounted = mounts.mounted_under(directory)
        if mounted:
            raise OSError(f"{mounted[0]} is still mounted")
        device = project_quota.device_of(directory)
        for path in (directory, directory.parent / f".{volume_name}"):
            if path.exists():
                if device:  # its id may be another volume's next
                    with suppress(OSError):
                        project_quota.limit(path, device, 0)
                remove_tree(path)
        self._sizes.pop(volume_name, None)
        note.unlink()

    def forget(self, volume_name: str) -> None:
        """The directory stays, and is nobody's business any more."""
        (self._notes / volume_name).unlink(missing_ok=True)


class LocalVolumes:
    def __init__(self, settings: Settings, verbs: Verbs, directories: Directories) -> None:
        self._node = settings.node_name
        self._verbs = verbs
        self._directories = directories
        self._news = trio.Event()
        self._volumes = ByName(lambda: self._news.set())

    async def run(self) -> None:
        """For ever; idle while no volume ends."""
        selection = ListOptions(label_selector=f"{local_path.NODE_LABEL}={self._node}")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(follow, self._verbs, PERSISTENTVOLUME, self._volumes, selection)
            while True:
                await self._news.wait()
                self._news = trio.Event()
                await trio.to_thread.run_sync(self._tell_sizes, list(self._volumes.objects.values()))
                failed = [ending for ending in endings(self._volumes.objects.values()) if not await self._end(ending)]
                if failed:
                    with trio.move_on_after(limits.LOCAL_VOLUME_RETRY_SECONDS):
                        await self._news.wait()
                    self._news.set()

    def _tell_sizes(self, volumes: Iterable[Object]) -> None:
        for volume in volumes:
            if not is_deleting(volume):
                self._directories.may_hold(name_of(volume), quantities.to_bytes(volume["spec"]["capacity"]["storage"]))

    async def _end(self, ending: Ending) -> bool:
        name = name_of(ending.volume)
        try:
            await trio.to_thread.run_sync(self._directories.remove if ending.removes else self._directories.forget, name)
            await self._let_go(ending.volume)
        except OSError as error:
            log.warning("the directory of a volume that ended is not removed yet volume=%s error=%s", name, error)
            return False
        except StatusError as error:
            log.debug("volume=%s not let go yet: %s", name, error.message)
            return error.reason == "NotFound"
        return True

    async def _let_go(self, volume: Object) -> None:
        kept = [each for each in volume["metadata"]["finalizers"] if each != local_path.FINALIZER]
        metadata: Object = {"uid": uid_of(volume), "resourceVersion": revision_of(volume), "finalizers": kept}
        await self._verbs.patch(PERSISTENTVOLUME, "", name_of(volume), {"metadata": metadata})
