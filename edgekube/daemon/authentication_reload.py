"""An AuthenticationConfiguration that changes while the server runs.

Enters: the file's directory, through the kernel's word; the file itself once in AUTHENTICATION_RELOAD_SECONDS besides, for not
every file system tells.
Leaves: other providers for server.other_tokens; figures.
Holds: a file that cannot be used changes nothing, is counted and said once. What strangers may ask stays as it was at the start,
as upstream has it. A provider that stays as it is keeps its keys.
Source: k8s.io/kubernetes pkg/kubeapiserver/options, k8s.io/apiserver authenticationconfig/metrics.
Next: server.other_tokens.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Final

import trio

from edgekube import limits
from edgekube.agent.inotify import DirectoryWatch
from edgekube.daemon.authentication import AuthenticationRefused, ConfigurationFile, read_file
from edgekube.metrics import Metrics
from edgekube.server.oidc import Provider

log = logging.getLogger("edgekube")

_PREFIX: Final = "apiserver_authentication_config_controller"


def _hash(text: bytes) -> str:
    return f"sha256:{hashlib.sha256(text).hexdigest()}"


class AuthenticationReload:
    def __init__(
        self,
        file: ConfigurationFile,
        providers: Sequence[Provider],
        own_issuer: str,
        replace: Callable[[Sequence[Provider]], None],
        metrics: Metrics,
        server_name: str,
        clock: Callable[[], float],
    ) -> None:
        """``replace`` is given the providers that hold from now on."""
        self._file = file
        self._providers = {each.provider.issuer_url: each for each in providers}
        #: Also of a file that was refused: it is said once.
        self._seen = file.text
        self._own_issuer = own_issuer
        self._replace = replace
        self._clock = clock
        self._id = _hash(server_name.encode())
        self._reloads = metrics.counter(
            f"{_PREFIX}_automatic_reloads_total",
            "Automatic reloads of the authentication configuration, by how they ended.",
            *("status", "apiserver_id_hash"),
        )
        self._last = metrics.gauge(
            f"{_PREFIX}_automatic_reload_last_timestamp_seconds",
            "When the authentication configuration was last reloaded.",
            *("status", "apiserver_id_hash"),
        )
        self._info = metrics.gauge(
            f"{_PREFIX}_last_config_info",
            "The authentication configuration that holds, by its hash.",
            *("apiserver_id_hash", "hash"),
        )
        self._info.set((self._id, _hash(file.text)), 1)

    async def run(self) -> None:
        """Until cancelled."""
        with ExitStack() as stack:
            watch: DirectoryWatch | None = None
            try:
                watch = stack.enter_context(DirectoryWatch(contents=True))
                watch.add(self._file.path.parent)
            except OSError as error:
                log.info("changes of %s are noticed later why=%r", self._file.path, str(error))
                watch = None
            while True:
                await self.look()
                with trio.move_on_after(limits.AUTHENTICATION_RELOAD_SECONDS):
                    if watch is None:
                        await trio.sleep_forever()
                    else:
                        await watch.changed()

    async def look(self) -> None:
        try:
            text = await trio.Path(self._file.path).read_bytes()
        except OSError as error:
            self._failed(str(error))
            return
        if text == self._seen:
            return
        self._seen = text
        try:
            found = await trio.to_thread.run_sync(read_file, self._file.path, text, self._own_issuer)
            if found.read.anonymous != self._file.read.anonymous:
                raise AuthenticationRefused("anonymous: Forbidden: changed from initial configuration file")
        except AuthenticationRefused as error:
            self._failed(str(error))
            return
        kept = self._providers
        self._providers = {
            each.issuer_url: known
            if (known := kept.get(each.issuer_url)) is not None and known.provider == each
            else Provider(each, self._clock)
            for each in found.read.providers
        }
        self._replace(list(self._providers.values()))
        log.info("authentication configuration read again file=%s providers=%d", self._file.path, len(self._providers))
        self._count("success")
        self._info.clear()
        self._info.set((self._id, _hash(text)), 1)

    def _failed(self, why: str) -> None:
        log.error("authentication configuration not read again, the one before holds why=%r", why)
        self._count("failure")

    def _count(self, status: str) -> None:
        self._reloads.add((status, self._id))
        self._last.set((status, self._id), self._clock())
