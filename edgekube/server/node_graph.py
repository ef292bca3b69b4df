"""Keep the node graph current: pods, persistent volumes and volume attachments.

Enters: Verbs.
Leaves: a NodeGraph that nodes' requests are decided by.
Holds: no request is decided before the first lists are complete; after a lost history what is gone leaves the graph with the next
list, and what stands stays in it meanwhile.
Next: admission.node_graph, admission.node_authorizer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

import orjson
import trio

from edgekube.admission.node_graph import NodeGraph
from edgekube.api.kinds import PERSISTENTVOLUME, POD, VOLUMEATTACHMENT, Kind
from edgekube.api.objects import Object, name_of, namespace_of, revision_of
from edgekube.api.verbs import DELETED, Verbs, WatchEvent
from edgekube.reconcile.follow import follow

_Name: TypeAlias = tuple[str, str]


class _Followed:
    """A Sink: one kind on its way into the graph."""

    def __init__(
        self, put: Callable[[Object], None], remove: Callable[[_Name], None], known: Callable[[], Iterable[_Name]]
    ) -> None:
        self._put = put
        self._remove = remove
        self._known = known
        self._seen: set[_Name] = set()
        self._revision = 0
        self.synced = trio.Event()

    def begin(self) -> None:
        self._seen = set()

    def add(self, items: Sequence[bytes]) -> None:
        for item in items:
            obj = orjson.loads(item)
            self._seen.add((namespace_of(obj), name_of(obj)))
            self._put(obj)

    def finish(self, revision: int) -> None:
        for name in set(self._known()) - self._seen:
            self._remove(name)
        self._seen = set()
        self._revision = revision
        self.synced.set()

    def apply(self, event: WatchEvent) -> None:
        obj = event.object()
        self._revision = int(revision_of(obj))
        if event.type == DELETED:
            self._remove((namespace_of(obj), name_of(obj)))
        else:
            self._put(obj)

    def progressed(self, revision: int) -> None:
        self._revision = revision

    def resume_from(self) -> int:
        return self._revision


def followed_by(graph: NodeGraph) -> dict[Kind, _Followed]:
    """What there is to follow, and how each kind gets into the graph."""
    return {
        POD: _Followed(graph.put_pod, lambda name: graph.remove_pod(*name), graph.pods),
        PERSISTENTVOLUME: _Followed(
            graph.put_volume, lambda name: graph.remove_volume(name[1]), lambda: [("", name) for name in graph.volumes()]
        ),
        VOLUMEATTACHMENT: _Followed(
            graph.put_attachment,
            lambda name: graph.remove_attachment(name[1]),
            lambda: [("", name) for name in graph.attachments()],
        ),
    }


async def follow_node_graph(
    verbs: Verbs, graph: NodeGraph, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Runs until cancelled; started once everything has been listed."""
    followed = followed_by(graph)
    async with trio.open_nursery() as nursery:
        for kind, sink in followed.items():
            nursery.start_soon(follow, verbs, kind, sink)
        for sink in followed.values():
            await sink.synced.wait()
        task_status.started()
