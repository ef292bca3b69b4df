"""The names that Services ask for on the LAN, followed.

Enters: Verbs.
Leaves: WantedNames.
Holds: only Services with the annotation are kept.
Next: discovery.lan_names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
import orjson
import trio
from msgspec import Struct, field

from edgekube.api.kinds import SERVICE
from edgekube.api.lan_names import MDNS_NAME, LanName, lan_names
from edgekube.api.objects import Object
from edgekube.api.verbs import DELETED, Verbs, WatchEvent
from edgekube.reconcile.follow import follow


class _Metadata(msgspec.Struct):
    uid: str = ""
    resourceVersion: str = "0"  # the wire's name
    annotations: dict[str, str] | None = None


class _Service(msgspec.Struct):
    metadata: _Metadata


_decode = msgspec.json.Decoder(_Service).decode


class FollowedNames(Struct):
    """A Sink, and WantedNames."""

    _services: dict[str, Object] = field(default_factory=dict)  # uid -> Service
    _listed: dict[str, Object] = field(default_factory=dict)
    _revision: int = 0
    _changed: trio.Event = field(default_factory=trio.Event)

    def current(self) -> Mapping[str, LanName]:
        return lan_names(self._services.values())[0]

    async def changed(self) -> None:
        await self._changed.wait()
        self._changed = trio.Event()

    async def run(self, verbs: Verbs) -> None:
        """Until cancelled."""
        await follow(verbs, SERVICE, self)

    def begin(self) -> None:
        self._listed = {}

    def add(self, items: Sequence[bytes]) -> None:
        for item in items:
            metadata = _decode(item).metadata
            if MDNS_NAME in (metadata.annotations or {}):
                self._listed[metadata.uid] = orjson.loads(item)

    def finish(self, revision: int) -> None:
        self._services, self._revision = self._listed, revision
        self._changed.set()

    def apply(self, event: WatchEvent) -> None:
        metadata = _decode(event.raw).metadata
        self._revision = int(metadata.resourceVersion)
        before = self._services.pop(metadata.uid, None)
        if event.type != DELETED and MDNS_NAME in (metadata.annotations or {}):
            self._services[metadata.uid] = event.object()
        if before is not None or metadata.uid in self._services:
            self._changed.set()

    def progressed(self, revision: int) -> None:
        self._revision = revision

    def resume_from(self) -> int:
        return self._revision
