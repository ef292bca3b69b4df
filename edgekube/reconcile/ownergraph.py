"""Who owns whom, over all kinds: only the edges, not the objects.

Enters: lists and watch events of every kind that can be deleted.
Leaves: dependents by owner's uid, and the uids that deserve a look.
Holds: an object is remembered while it has owners, or while it waits for its dependents; everything else is read and forgotten.
Bound: about 700 bytes per object with an owner.
Next: reconcile.garbage.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from sys import intern
from typing import NamedTuple

import msgspec
import trio

from edgekube import limits
from edgekube.api.kinds import Kind
from edgekube.api.verbs import DELETED, WatchEvent
from edgekube.controllers.garbagecollector import FOREGROUND, ORPHAN


class OwnerReference(msgspec.Struct, frozen=True, gc=False):
    apiVersion: str
    kind: str
    name: str
    uid: str
    blockOwnerDeletion: bool | None = None


class _Metadata(msgspec.Struct):
    name: str = ""
    namespace: str = ""
    uid: str = ""
    resourceVersion: str = "0"
    deletionTimestamp: str | None = None
    finalizers: list[str] | None = None
    ownerReferences: list[OwnerReference] | None = None


class _Peek(msgspec.Struct):
    metadata: _Metadata


_peek = msgspec.json.Decoder(_Peek)


class Standing(NamedTuple):
    """An object as its dependents have to name it."""

    apiVersion: str
    kind: str
    name: str
    namespace: str | None  # None: of the cluster, and so of every namespace


class GraphNode:
    __slots__ = ("kind", "name", "namespace", "orphans", "owners", "uid", "waits")

    def __init__(self, kind: Kind, metadata: _Metadata) -> None:
        finalizers = metadata.finalizers or ()
        deleting = metadata.deletionTimestamp is not None
        self.kind = kind
        self.namespace = intern(metadata.namespace)
        self.name = metadata.name
        self.uid = metadata.uid
        self.owners = tuple(metadata.ownerReferences or ())
        self.waits = deleting and FOREGROUND in finalizers
        self.orphans = deleting and ORPHAN in finalizers

    @property
    def matters(self) -> bool:
        return bool(self.owners) or self.waits or self.orphans


class OwnerGraph:
    """``look`` is called with the uid of each remembered object whose situation has changed."""

    def __init__(self, look: Callable[[str], None]) -> None:
        self.nodes: dict[str, GraphNode] = {}
        self._look = look
        self._dependents: dict[str, set[str]] = {}
        #: Owners that were seen to exist, as they are; a deletion takes them out. A reference to one says more than its uid.
        self.solid: dict[str, Standing] = {}
        #: Owners that were seen to go, the newest: whoever named them rightly did.
        self.ended: OrderedDict[str, None] = OrderedDict()
        #: Counts what may have made an owner less than solid: a look-up that began before is not to be remembered.
        self.losses = 0

    def dependents(self, owner_uid: str) -> Iterator[GraphNode]:
        return (self.nodes[uid] for uid in tuple(self._dependents.get(owner_uid, ())) if uid in self.nodes)

    def is_solid(self, owner: OwnerReference, namespace: str) -> bool:
        """Known to exist under all that the reference says, for a dependent of this namespace."""
        known = self.solid.get(owner.uid)
        return (
            known is not None
            and known[:3] == (owner.apiVersion, owner.kind, owner.name)
            and known.namespace in (None, namespace)
        )  # fmt: skip

    def is_settled(self, node: GraphNode) -> bool:
        """Nothing is to be done about it."""
        return not (node.waits or node.orphans) and all(self.is_solid(owner, node.namespace) for owner in node.owners)

    def elsewhere(self, uid: str, namespace: str) -> bool:
        """The object is there, but in another namespace."""
        known = self.solid.get(uid)
        if known is not None:
            return known.namespace not in (None, namespace)
        node = self.nodes.get(uid)
        return node is not None and node.kind.namespaced and node.namespace != namespace

    def put(self, node: GraphNode) -> None:
        old = self.nodes.get(node.uid)
        if node.waits or node.orphans:
            self.losses += 1
            self.solid.pop(node.uid, None)
        if old is not None and (old.owners, old.waits, old.orphans) == (node.owners, node.waits, node.orphans):
            return
        if old is not None:
            self._forget(old)
        if node.matters:
            self.nodes[node.uid] = node
            for owner in node.owners:
                self._dependents.setdefault(owner.uid, set()).add(node.uid)
            if not self.is_settled(node):
                self._look(node.uid)
        if old is not None:
            self._look_at_waiting_owners(old)

    def remove(self, uid: str) -> None:
        self.losses += 1
        self.solid.pop(uid, None)
        if uid in self._dependents:
            self.ended[uid] = None
            if len(self.ended) > limits.ABSENT_OWNERS_MAX:
                self.ended.popitem(last=False)
        old = self.nodes.get(uid)
        if old is not None:
            self._forget(old)
            self._look_at_waiting_owners(old)
        for dependent in self._dependents.get(uid, ()):
            self._look(dependent)

    def owners_of_kind_missing_from(self, kind: Kind, present: set[str]) -> None:
        """After a list: owners of the kind that are not in it have gone while nobody watched."""
        for uid in list(self._dependents):
            if uid in present:
                continue
            for node in self.dependents(uid):
                if any(owner.uid == uid and owner.kind == kind.kind for owner in node.owners):
                    self.solid.pop(uid, None)
                    self._look(node.uid)

    def _forget(self, node: GraphNode) -> None:
        del self.nodes[node.uid]
        for owner in node.owners:
            dependents = self._dependents.get(owner.uid)
            if dependents is not None:
                dependents.discard(node.uid)
                if not dependents:
                    del self._dependents[owner.uid]
                    self.solid.pop(owner.uid, None)

    def _look_at_waiting_owners(self, node: GraphNode) -> None:
        for owner in node.owners:
            waiting = self.nodes.get(owner.uid)
            if waiting is not None and waiting.waits:
                self._look(waiting.uid)


class KindFeed:
    """A Sink of reconcile.follow for one kind."""

    def __init__(self, kind: Kind, graph: OwnerGraph) -> None:
        self.kind = kind
        self.synced = trio.Event()
        self._graph = graph
        self._listing: set[str] = set()
        self._revision = 0

    def begin(self) -> None:
        self._listing = set()

    def add(self, items: Sequence[bytes]) -> None:
        for raw in items:
            metadata = _peek.decode(raw).metadata
            self._listing.add(metadata.uid)
            self._graph.put(GraphNode(self.kind, metadata))

    def finish(self, revision: int) -> None:
        for uid in [uid for uid, node in self._graph.nodes.items() if node.kind is self.kind and uid not in self._listing]:
            self._graph.remove(uid)
        if self.synced.is_set():
            self._graph.owners_of_kind_missing_from(self.kind, self._listing)
        self._listing = set()
        self._revision = revision
        self.synced.set()

    def apply(self, event: WatchEvent) -> None:
        metadata = _peek.decode(event.raw).metadata
        self._revision = int(metadata.resourceVersion)
        if event.type == DELETED:
            self._graph.remove(metadata.uid)
        else:
            self._graph.put(GraphNode(self.kind, metadata))

    def progressed(self, revision: int) -> None:
        self._revision = max(self._revision, revision)

    def resume_from(self) -> int:
        return self._revision

    def drop(self) -> None:
        """The kind is no more (its CustomResourceDefinition went), and its objects with it."""
        for uid in [uid for uid, node in self._graph.nodes.items() if node.kind is self.kind]:
            self._graph.remove(uid)
