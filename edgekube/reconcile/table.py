"""One kind's objects as bytes, with a small index.

Enters: lists and watch events, through reconcile.follow.
Leaves: entries by name, owner, node and label, and Change values to those who subscribed.
Holds: the table is a state that the API had; a change is told once, when it is applied.
Bound: the stored JSON, plus about 1.1 KB an object; nothing decoded is kept but api.pod_facts and api.node_facts.
Next: reconcile.view.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import TypeAlias

import msgspec
import orjson
import trio

from edgekube import limits
from edgekube.api.controller import Key
from edgekube.api.kinds import POD, Kind
from edgekube.api.node_facts import NodeFacts, node_facts
from edgekube.api.objects import Object
from edgekube.api.pod_facts import PodFacts, pod_facts
from edgekube.api.verbs import DELETED, WatchEvent

# The wire's names, hence the capitals.


class _Owner(msgspec.Struct):
    uid: str = ""
    controller: bool | None = None


class _Metadata(msgspec.Struct):
    name: str
    namespace: str = ""
    uid: str = ""
    resourceVersion: str = "0"
    deletionTimestamp: str | None = None
    labels: dict[str, str] | None = None
    ownerReferences: list[_Owner] | None = None
    managedFields: msgspec.Raw = msgspec.Raw()


class _Any(msgspec.Struct):
    metadata: _Metadata


class _PodSpec(msgspec.Struct):
    nodeName: str = ""


class _Pod(msgspec.Struct):
    metadata: _Metadata
    spec: _PodSpec


_any_decoder = msgspec.json.Decoder(_Any)
_pod_decoder = msgspec.json.Decoder(_Pod)


class Entry:
    """One object: its JSON and what is asked without decoding it."""

    __slots__ = ("_facts", "changed_at", "deleting", "labels", "node", "owners", "raw", "revision", "uid")

    def __init__(self, raw: bytes, metadata: _Metadata, node: str | None, changed_at: float) -> None:
        self.raw = raw
        self.uid = metadata.uid
        self.revision = int(metadata.resourceVersion)
        self.deleting = metadata.deletionTimestamp is not None
        owners = metadata.ownerReferences or ()
        #: "" stands for "no controller": the index then finds what may be adopted.
        self.owners = tuple(owner.uid for owner in owners) + (() if any(owner.controller for owner in owners) else ("",))
        self.node = node
        self.labels: dict[str, str] = metadata.labels or {}
        self.changed_at = changed_at
        self._facts: PodFacts | NodeFacts | None = None

    def pod_facts(self) -> PodFacts:
        """Of a pod; read when first asked for."""
        if not isinstance(self._facts, PodFacts):
            self._facts = pod_facts(self.raw, self.labels)
        return self._facts

    def node_facts(self) -> NodeFacts:
        """Of a node; read when first asked for."""
        if not isinstance(self._facts, NodeFacts):
            self._facts = node_facts(self.raw, self.labels)
        return self._facts


class ViewChange:
    """One change; each side is decoded once, for all who look."""

    __slots__ = ("_new", "_new_raw", "_old", "_old_raw", "key", "kind")

    def __init__(self, kind: Kind, key: Key, old_raw: bytes | None, new_raw: bytes | None) -> None:
        self.kind = kind
        self.key = key
        self._old_raw = old_raw
        self._new_raw = new_raw
        self._old: Object | None = None
        self._new: Object | None = None

    @property
    def old(self) -> Object | None:
        if self._old is None and self._old_raw is not None:
            self._old = decode(self.kind, self._old_raw)
        return self._old

    @property
    def new(self) -> Object | None:
        if self._new is None and self._new_raw is not None:
            self._new = decode(self.kind, self._new_raw)
        return self._new


Subscriber: TypeAlias = Callable[[ViewChange], None]


def decode(kind: Kind, raw: bytes) -> Object:
    """The object, saying what it is even where the stored form leaves that out."""
    obj: Object = orjson.loads(raw)
    obj.setdefault("apiVersion", kind.api_version)
    obj.setdefault("kind", kind.kind)
    return obj


def without_managers(raw: bytes, managers: bytes) -> bytes:
    """The document without its metadata.managedFields, a third to a half of it, which no loop reads."""
    if not managers:
        return raw
    field = b'"managedFields":' + managers
    at = raw.find(field)
    if at < 0 or raw.find(field, at + 1) >= 0:
        return raw  # not as the store writes it, or said twice: better too much than the wrong part
    end = at + len(field)
    if raw[end : end + 1] == b",":
        end += 1
    elif raw[at - 1 : at] == b",":
        at -= 1
    return raw[:at] + raw[end:]


class Table:
    """One kind of the view; a Sink of reconcile.follow."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.revision = 0
        self.synced = trio.Event()
        self.namespaces: dict[str, dict[str, Entry]] = {}
        self.by_owner: dict[str, set[Key]] = {}
        self.by_node: dict[str, set[Key]] = {}
        self.subscribers: list[Subscriber] = []
        #: When the latest removed objects went.
        self.ended: OrderedDict[Key, float] = OrderedDict()
        self._is_pod = kind is POD
        self._listing: set[Key] | None = None
        self._moved: trio.Event | None = None

    def get(self, namespace: str, name: str) -> Entry | None:
        return self.namespaces.get(namespace, {}).get(name)

    def keys(self, namespace: str) -> list[Key]:
        if namespace:
            return [Key(namespace, name) for name in self.namespaces.get(namespace, ())]
        return [Key(ns, name) for ns, names in self.namespaces.items() for name in names]

    # The Sink.

    def begin(self) -> None:
        self._listing = set()

    def add(self, items: Sequence[bytes]) -> None:
        assert self._listing is not None, "add() belongs between begin() and finish()"
        for raw in items:
            self._listing.add(self._put(raw))

    def finish(self, revision: int) -> None:
        assert self._listing is not None, "finish() belongs after begin()"
        listed, self._listing = self._listing, None
        for key in self.keys(""):
            if key not in listed:
                self._remove(key)
        self.revision = revision
        self._wake()
        self.synced.set()

    def apply(self, event: WatchEvent) -> None:
        if event.type == DELETED:
            metadata = _any_decoder.decode(event.raw).metadata
            self.revision = int(metadata.resourceVersion)
            self._remove(Key(metadata.namespace, metadata.name))
        else:
            key = self._put(event.raw)
            self.revision = self.namespaces[key.namespace][key.name].revision
        self._wake()

    def progressed(self, revision: int) -> None:
        self.revision = max(self.revision, revision)
        self._wake()

    def resume_from(self) -> int:
        return self.revision

    async def moved(self) -> None:
        """Wait for the next change or bookmark."""
        if self._moved is None:
            self._moved = trio.Event()
        await self._moved.wait()

    def _wake(self) -> None:
        if self._moved is not None:
            self._moved.set()
            self._moved = None

    def _put(self, raw: bytes) -> Key:
        node: str | None = None
        if self._is_pod:
            pod = _pod_decoder.decode(raw)
            metadata, node = pod.metadata, pod.spec.nodeName
        else:
            metadata = _any_decoder.decode(raw).metadata
        raw = without_managers(raw, bytes(metadata.managedFields))
        key = Key(metadata.namespace, metadata.name)
        names = self.namespaces.setdefault(key.namespace, {})
        old = names.get(key.name)
        if old is not None and old.raw == raw:
            return key
        new = Entry(raw, metadata, node, trio.current_time())
        if old is not None:
            self._unindex(key, old)
        names[key.name] = new
        for owner in new.owners:
            self.by_owner.setdefault(owner, set()).add(key)
        if node is not None:
            self.by_node.setdefault(node, set()).add(key)
        self._tell(key, None if old is None else old.raw, raw)
        return key

    def _remove(self, key: Key) -> None:
        names = self.namespaces.get(key.namespace)
        old = None if names is None else names.pop(key.name, None)
        if names is None or old is None:
            return
        if not names:
            del self.namespaces[key.namespace]
        self._unindex(key, old)
        self.ended[key] = trio.current_time()
        self.ended.move_to_end(key)
        if len(self.ended) > limits.VIEW_ENDED_MAX:
            self.ended.popitem(last=False)
        self._tell(key, old.raw, None)

    def _unindex(self, key: Key, entry: Entry) -> None:
        for owner in entry.owners:
            _discard(self.by_owner, owner, key)
        if entry.node is not None:
            _discard(self.by_node, entry.node, key)

    def _tell(self, key: Key, old: bytes | None, new: bytes | None) -> None:
        if self.subscribers:
            change = ViewChange(self.kind, key, old, new)
            for subscriber in self.subscribers:
                subscriber(change)


def _discard(index: dict[str, set[Key]], value: str, key: Key) -> None:
    keys = index.get(value)
    if keys is not None:
        keys.discard(key)
        if not keys:
            del index[value]
