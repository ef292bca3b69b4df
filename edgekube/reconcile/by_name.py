"""The objects of a kind without namespaces, or of one namespace, by name: what a part of the server goes by that has few.

Enters: a list, then events (reconcile.follow).
Leaves: the objects, decoded, without managedFields; a call after each change.
Holds: for kinds of which there are some dozens; they are all in memory.
Next: server.aggregation, server.fairness, reconcile.cluster_info.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import orjson
import trio

from edgekube.api.objects import Object, metadata_of, name_of, revision_of
from edgekube.api.verbs import DELETED, WatchEvent


class ByName:
    """A reconcile.follow.Sink."""

    def __init__(self, changed: Callable[[], None]) -> None:
        """``changed`` must not block."""
        self.objects: dict[str, Object] = {}
        #: Set once the API has answered.
        self.listed = trio.Event()
        self._changed = changed
        self._listing: dict[str, Object] = {}
        self._revision = 0

    def begin(self) -> None:
        self._listing = {}

    def add(self, items: Sequence[bytes]) -> None:
        for item in items:
            obj = _decoded(item)
            self._listing[name_of(obj)] = obj

    def finish(self, revision: int) -> None:
        self._revision = revision
        self.objects, self._listing = self._listing, {}
        self.listed.set()
        self._changed()

    def apply(self, event: WatchEvent) -> None:
        obj = _decoded(event.raw)
        self._revision = int(revision_of(obj))
        if event.type == DELETED:
            self.objects.pop(name_of(obj), None)
        else:
            self.objects[name_of(obj)] = obj
        self._changed()

    def progressed(self, revision: int) -> None:
        self._revision = revision

    def resume_from(self) -> int:
        return self._revision


def _decoded(raw: bytes) -> Object:
    obj: Object = orjson.loads(raw)
    metadata_of(obj).pop("managedFields", None)
    return obj
