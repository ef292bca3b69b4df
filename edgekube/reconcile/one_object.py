"""One object by its name: what a node follows when it may not, or need not, see its neighbours.

Enters: Verbs, a kind, a namespace and a name.
Leaves: the object's bytes as last seen, None while there is none; a call whenever they change.
Holds: what was seen stays while the API is away. The selection names the object, so that the Node authorizer can allow it.
Next: reconcile.follow.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import orjson
import trio

from edgekube.api.kinds import Kind
from edgekube.api.objects import revision_of
from edgekube.api.verbs import DELETED, ListOptions, Verbs, WatchEvent
from edgekube.reconcile.follow import follow


class OneObject:
    """A Sink for a watch that has at most one object. ``changed`` is called after each change; also for the first list if
    ``first`` is set."""

    def __init__(self, changed: Callable[[], None], *, first: bool = False) -> None:
        self.raw: bytes | None = None
        #: Set once the API has answered.
        self.synced = trio.Event()
        self._changed = changed
        self._first = first
        self._revision = 0
        self._listed: bytes | None = None

    def begin(self) -> None:
        self._listed = None

    def add(self, items: Sequence[bytes]) -> None:
        for item in items:
            self._listed = bytes(item)

    def finish(self, revision: int) -> None:
        self._revision = revision
        known = self.synced.is_set()
        differs = self._listed != self.raw
        self.raw = self._listed
        self.synced.set()
        if (known and differs) or (not known and self._first):
            self._changed()

    def apply(self, event: WatchEvent) -> None:
        raw = bytes(event.raw)
        self._revision = int(revision_of(orjson.loads(raw)))
        now = None if event.type == DELETED else raw
        if now != self.raw:
            self.raw = now
            self._changed()

    def progressed(self, revision: int) -> None:
        self._revision = revision

    def resume_from(self) -> int:
        return self._revision


async def follow_one(verbs: Verbs, kind: Kind, namespace: str, name: str, sink: OneObject) -> None:
    """Never returns; errors of the API are waited out."""
    await follow(verbs, kind, sink, ListOptions(field_selector=f"metadata.name={name}"), namespace=namespace)
