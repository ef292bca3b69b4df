"""Static pods: the files that lie in the manifests directory run here, and the API shows a mirror of each.

Enters: a directory, looked at now and then; the mirror pods that the API has.
Leaves: workers begun and ended; mirror pods made and taken away.
Holds: a pod begins only after a namesake from an older file has ended. A broken file is named in the log and harms nobody: what
it said before goes on. Deleting a mirror ends nothing: it comes back.
Bound: limits.STATIC_PODS_CHECK_SECONDS between looks (one scandir), limits.STATIC_MANIFEST_BYTES_MAX of a file.
Next: agent.pods, agent.worker.
"""

from __future__ import annotations

import logging
import stat
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import trio

from edgekube.agent.context import NodeContext
from edgekube.agent.static.manifest import ManifestError, mirror_of, mirrors, static_pod
from edgekube.api import errors
from edgekube.api.errors import StatusError
from edgekube.api.kinds import POD
from edgekube.api.objects import Object, is_deleting, name_of, namespace_of, uid_of
from edgekube.api.verbs import DeleteOptions
from edgekube.limits import (
    MIRROR_RETRY_SECONDS,
    MIRROR_RETRY_SECONDS_MAX,
    STATIC_MANIFEST_BYTES_MAX,
    STATIC_PODS_CHECK_SECONDS,
)

log = logging.getLogger("edgekube.agent")

Name: TypeAlias = tuple[str, str]
Stamp: TypeAlias = tuple[int, int]


def look(directory: Path) -> dict[Path, Stamp] | None:
    """Files, with size and time; hidden ones are somebody's drafts. None when it cannot be said what is there."""
    try:
        paths = sorted(path for path in directory.iterdir() if not path.name.startswith("."))
        found = {}
        for path in paths:
            try:
                status = path.stat()
            except FileNotFoundError:
                continue  # it went in this moment, or is a link to nothing
            if stat.S_ISREG(status.st_mode):
                found[path] = status.st_size, status.st_mtime_ns
        return found
    except FileNotFoundError:
        return {}
    except OSError as error:
        log.warning("manifests directory cannot be read, its pods stay as they are path=%s error=%s", directory, error)
        return None


class StaticPods:
    def __init__(
        self,
        directory: Path,
        node: NodeContext,
        *,
        begin: Callable[[Object], None],
        end: Callable[[str], None],
        running: Callable[[Name], list[str]],
        told: Callable[[str, Object | None], None],
    ) -> None:
        """``begin``, ``end`` a worker; ``running``: the uids of static pods of a name that have workers; ``told``: what the API
        has of the mirror of a uid."""
        self._directory = directory
        self._node = node
        self._begin, self._end, self._running, self._told = begin, end, running, told
        self._seen: dict[Path, Stamp] = {}
        self._pods: dict[Path, Object] = {}
        self._mirrors: dict[Name, Object] = {}
        self._retry_seconds = MIRROR_RETRY_SECONDS
        self._wake = trio.Event()

    # --- news ---------------------------------------------------------------------------------------------------------

    def mirror(self, pod: Object) -> None:
        name = (namespace_of(pod), name_of(pod))
        self._mirrors[name] = pod
        wanted = self._wanted().get(name)
        if wanted is not None and mirrors(pod, wanted):
            self._told(uid_of(wanted), pod)
        self._wake.set()

    def mirror_gone(self, uid: str) -> None:
        for name, mirror in list(self._mirrors.items()):
            if uid_of(mirror) == uid:
                del self._mirrors[name]
                wanted = self._wanted().get(name)
                if wanted is not None:
                    self._told(uid_of(wanted), None)
                self._wake.set()

    def mirrors_listed(self, uids: set[str]) -> None:
        """A new list: mirrors that are not in it are gone."""
        for mirror in list(self._mirrors.values()):
            if uid_of(mirror) not in uids:
                self.mirror_gone(uid_of(mirror))

    def worker_ended(self) -> None:
        self._wake.set()

    # --- the loop -----------------------------------------------------------------------------------------------------

    def _wanted(self) -> dict[Name, Object]:
        """The last file of a name counts."""
        return {(namespace_of(pod), name_of(pod)): pod for pod in self._pods.values()}

    def read(self) -> None:
        """Once before anything else, and then whenever a file is another."""
        now = look(self._directory)
        if now is None or now == self._seen:
            return
        for path in self._pods.keys() - now.keys():
            del self._pods[path]
        for path, stamp in now.items():
            if self._seen.get(path) == stamp:
                continue
            try:
                if stamp[0] > STATIC_MANIFEST_BYTES_MAX:
                    raise ManifestError(f"larger than {STATIC_MANIFEST_BYTES_MAX} bytes")
                self._pods[path] = static_pod(path.read_bytes(), str(path), self._node.settings.node_name)
            except (ManifestError, OSError) as error:
                log.warning("static pod not read path=%s error=%s", path, error)
        self._seen = now
        self._settle_workers()

    def _settle_workers(self) -> None:
        wanted = self._wanted()
        for name, pod in wanted.items():
            others = [uid for uid in self._running(name) if uid != uid_of(pod)]
            for uid in others:
                self._end(uid)
            if not others and uid_of(pod) not in self._running(name):
                self._begin(pod)
                mirror = self._mirrors.get(name)
                if mirror is not None and mirrors(mirror, pod):
                    self._told(uid_of(pod), mirror)

    def end_unwanted(self, names: dict[Name, list[str]]) -> None:
        """Workers of static pods whose file is gone."""
        wanted = self._wanted()
        for name, uids in names.items():
            if name not in wanted:
                for uid in uids:
                    self._end(uid)

    async def run(self, everything: Callable[[], dict[Name, list[str]]]) -> None:
        """For ever. ``everything``: the uids of all static pods that have workers, by name."""
        while True:
            self._wake = trio.Event()
            self.read()
            self._settle_workers()
            self.end_unwanted(everything())
            pause_seconds = STATIC_PODS_CHECK_SECONDS
            try:
                await self._settle_mirrors(everything())
                self._retry_seconds = MIRROR_RETRY_SECONDS
            except StatusError as error:
                log.info("mirror pods wait error=%s", error.message)
                pause_seconds = min(pause_seconds, self._retry_seconds)
                self._retry_seconds = min(self._retry_seconds * 2, MIRROR_RETRY_SECONDS_MAX)
            with trio.move_on_after(pause_seconds):
                await self._wake.wait()

    async def _settle_mirrors(self, running: dict[Name, list[str]]) -> None:
        wanted = self._wanted()
        for name, mirror in list(self._mirrors.items()):
            pod = wanted.get(name)
            if pod is None and name in running:
                continue  # it still runs: the mirror tells how it ends
            if pod is None or is_deleting(mirror) or not mirrors(mirror, pod):
                options = DeleteOptions(grace_period_seconds=0, precondition_uid=uid_of(mirror))
                try:
                    await self._node.verbs.delete(POD, *name, options)
                except StatusError as error:
                    if error.reason not in ("NotFound", "Conflict"):
                        raise
                self.mirror_gone(uid_of(mirror))
        for name, pod in wanted.items():
            if name not in self._mirrors and uid_of(pod) in self._running(name):
                with trio.move_on_after(MIRROR_RETRY_SECONDS) as patience:
                    node = await self._node.node_object(fresh=False)
                if patience.cancelled_caught:  # files must be looked at meanwhile
                    raise errors.unavailable("this node is not registered yet")
                try:
                    self.mirror(await self._node.verbs.create(POD, name[0], mirror_of(pod, node)))
                except StatusError as error:
                    if error.reason != "AlreadyExists":
                        raise
