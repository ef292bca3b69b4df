"""Plugins that register themselves: a socket in plugins_registry is asked who it is, and told whether it is taken.

Enters: sockets as they appear and go; a handler for each type of plugin.
Leaves: calls of the handlers; the plugin hears of success or of the reason against it, in upstream's words.
Holds: each socket is registered once for as long as it stays the same file; one that does not answer is asked again, later and
later, while it is there.
Bound: limits.PLUGIN_SOCKETS_MAX sockets.
Source: Kubernetes documentation, "Kubelet plugin registration"; k8s.io/kubelet pluginregistration/v1.
Next: agent.csi.drivers.
"""

from __future__ import annotations

import logging
import math
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import trio
from msgspec import Struct

from edgekube.agent._generated import pluginregistration_pb2 as messages
from edgekube.agent.inotify import DirectoryWatch
from edgekube.agent.restart import Backoff
from edgekube.containerd.model import RuntimeFailure
from edgekube.containerd.rpc import Rpc
from edgekube.limits import PLUGIN_CALL_SECONDS, PLUGIN_RETRY_SECONDS, PLUGIN_RETRY_SECONDS_MAX, PLUGIN_SOCKETS_MAX

log = logging.getLogger("edgekube.agent")

_SERVICE: Final = messages.DESCRIPTOR.services_by_name["Registration"]


class PluginRefused(Exception):
    """The text is what the plugin hears."""


class PluginHandler(Protocol):
    async def register(self, name: str, endpoint: str, versions: Sequence[str]) -> None:
        """Raises PluginRefused; RuntimeFailure when it does not answer."""
        ...

    async def removed(self, name: str, endpoint: str) -> None: ...


class _Registered(Struct, frozen=True):
    identity: tuple[int, int]
    kind: str
    name: str
    endpoint: str


class PluginsRegistry:
    def __init__(self, directory: Path, handlers: Mapping[str, PluginHandler]) -> None:
        self._directory = directory
        self._handlers = handlers
        self._registered: dict[Path, _Registered] = {}
        self._retries = Backoff(PLUGIN_RETRY_SECONDS, PLUGIN_RETRY_SECONDS_MAX)
        self._retry_at: dict[Path, float] = {}

    async def run(self) -> None:
        """For ever, also where the kernel gives no inotify instance for a while: others may have taken all there are."""
        while True:
            try:
                await self._follow()
            except OSError as error:
                log.warning("plugins cannot register directory=%s error=%s", self._directory, error)
            await trio.sleep(PLUGIN_RETRY_SECONDS_MAX)

    async def _follow(self) -> None:
        self._directory.mkdir(mode=0o750, parents=True, exist_ok=True)
        with DirectoryWatch() as watch:
            while True:
                found = await trio.to_thread.run_sync(self._scan, watch)
                await self._reconcile(found)
                pause_seconds = min(self._retry_at.values(), default=math.inf) - trio.current_time()
                with trio.move_on_after(max(0.0, pause_seconds)):
                    await watch.changed()

    def _scan(self, watch: DirectoryWatch) -> dict[Path, tuple[int, int]]:
        """Sockets, each with what tells it from a later one of the same name."""
        found: dict[Path, tuple[int, int]] = {}
        waiting = [self._directory]
        while waiting and len(found) < PLUGIN_SOCKETS_MAX:
            folder = waiting.pop()
            try:
                watch.add(folder)
                entries = sorted(folder.iterdir())
            except OSError:
                continue
            for path in entries:
                try:
                    status = path.lstat()
                except OSError:
                    continue
                if path.name.startswith("."):
                    continue
                if stat.S_ISDIR(status.st_mode):
                    waiting.append(path)
                elif stat.S_ISSOCK(status.st_mode):
                    found[path] = (status.st_ino, status.st_ctime_ns)
        return found

    async def _reconcile(self, found: Mapping[Path, tuple[int, int]]) -> None:
        for path, known in list(self._registered.items()):
            if found.get(path) != known.identity:
                del self._registered[path]
                await self._handlers[known.kind].removed(known.name, known.endpoint)
        for path in [path for path in self._retry_at if path not in found]:
            del self._retry_at[path]
            self._retries.forget(str(path))
        for path, identity in found.items():
            if path not in self._registered and self._retry_at.get(path, 0.0) <= trio.current_time():
                await self._register(path, identity)

    async def _register(self, path: Path, identity: tuple[int, int]) -> None:
        rpc = Rpc(path)
        try:
            info = await self._call(rpc, "GetInfo", messages.InfoRequest())
            endpoint = info.endpoint or str(path)
            try:
                handler = self._handlers.get(info.type)
                if handler is None:
                    raise PluginRefused(f"no handler registered for plugin type: {info.type} at socket {path}")
                await handler.register(info.name, endpoint, tuple(info.supported_versions))
            except PluginRefused as refused:
                log.warning("plugin refused socket=%s name=%s why=%s", path, info.name, refused)
                await self._tell(rpc, f"RegisterPlugin error -- {refused}")
                self._later(path)
                return
            self._registered[path] = _Registered(identity, info.type, info.name, endpoint)
            self._retry_at.pop(path, None)
            self._retries.forget(str(path))
            log.info("plugin registered type=%s name=%s endpoint=%s", info.type, info.name, endpoint)
            await self._tell(rpc, "")
        except RuntimeFailure as failure:
            log.info("plugin does not answer socket=%s code=%s error=%s", path, failure.code, failure.message)
            if path not in self._registered:
                self._later(path)
        finally:
            rpc.close()

    def _later(self, path: Path) -> None:
        now = trio.current_time()
        self._retry_at[path] = now + self._retries.advance(str(path), now)

    async def _tell(self, rpc: Rpc, error: str) -> None:
        await self._call(rpc, "NotifyRegistrationStatus", messages.RegistrationStatus(plugin_registered=not error, error=error))

    async def _call(self, rpc: Rpc, method: str, request: Any) -> Any:
        return await rpc.call(_SERVICE, method, request, PLUGIN_CALL_SECONDS)
