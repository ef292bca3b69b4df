"""The cluster as the control loops see it: each kind's objects as bytes, with a small index.

Enters: lists and watch events, through reconcile.follow.
Leaves: decoded objects when asked for, and Change values to those who subscribed to a kind.
Holds: a kind's table is a state that the API had; revisions never run backwards within a table, unless the API was restored
from a snapshot, which a relist shows.
Bound: the stored JSON of the kinds that somebody reads, plus about 1.1 KB an object; of a pod whose siblings are
counted, 0.6 KB more (api.pod_facts), of a node 0.3 (api.node_facts); nothing else decoded is kept.
Next: reconcile.engine, controllers, scheduler.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

import trio

from edgekube.api.controller import Key
from edgekube.api.kinds import NODE, POD, Kind
from edgekube.api.node_facts import NodeFacts
from edgekube.api.objects import Object
from edgekube.api.pod_facts import PodFacts
from edgekube.api.selectors.labels import LabelSelector
from edgekube.api.verbs import EVERYTHING, ListOptions, Verbs
from edgekube.reconcile.follow import follow
from edgekube.reconcile.table import Subscriber, Table, ViewChange, decode

__all__ = ["ClusterView", "Subscriber", "ViewChange"]


class ClusterView:
    """api.view.View over the kinds that were asked for with want(), before run()."""

    def __init__(self, verbs: Verbs) -> None:
        self._verbs = verbs
        self._tables: dict[Kind, Table] = {}
        self._selections: dict[Kind, ListOptions] = {}

    def want(self, kind: Kind, selection: ListOptions = EVERYTHING) -> None:
        """Follow the kind. A selection holds only while nobody wants everything."""
        if kind not in self._tables:
            self._tables[kind] = Table(kind)
            self._selections[kind] = selection
        elif self._selections[kind] != selection:
            self._selections[kind] = EVERYTHING

    def subscribe(self, kind: Kind, subscriber: Subscriber) -> None:
        """Called in the order of changes, at once: it must not block. What the first list brings counts as changes."""
        self._tables[kind].subscribers.append(subscriber)

    def table(self, kind: Kind) -> Table:
        return self._tables[kind]

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Fill and follow; started once every kind has been listed."""
        async with trio.open_nursery() as nursery:
            for kind, table in self._tables.items():
                nursery.start_soon(follow, self._verbs, kind, table, self._selections[kind], name=f"follow {kind.group_resource}")
            for table in self._tables.values():
                await table.synced.wait()
            task_status.started()

    async def saw_revision(self, kind: Kind, revision: int) -> None:
        """Wait until the kind's table includes the write of this revision. At once for a kind that is not followed."""
        table = self._tables.get(kind)
        while table is not None and table.revision < revision:
            await table.moved()

    async def saw_deletion(self, kind: Kind, namespace: str, name: str, uid: str) -> None:
        """Wait until the object of this uid is gone or on its way out."""
        table = self._tables.get(kind)
        while table is not None:
            entry = table.get(namespace, name)
            if entry is None or entry.deleting or (uid and entry.uid != uid):
                return
            await table.moved()

    # api.view.View.

    def get(self, kind: Kind, namespace: str, name: str) -> Object | None:
        entry = self._tables[kind].get(namespace, name)
        return None if entry is None else decode(kind, entry.raw)

    def list(self, kind: Kind, namespace: str = "") -> Iterator[Object]:
        table = self._tables[kind]
        names = [table.namespaces.get(namespace, {})] if namespace else list(table.namespaces.values())
        return (decode(kind, entry.raw) for entries in names for entry in list(entries.values()))

    def selected(self, kind: Kind, namespace: str, selector: LabelSelector) -> Iterator[Object]:
        entries = list(self._tables[kind].namespaces.get(namespace, {}).values())
        return (decode(kind, entry.raw) for entry in entries if selector.matches(entry.labels))

    def owned_by(self, kind: Kind, owner_uid: str, namespace: str = "") -> Iterator[Object]:
        keys = self._tables[kind].by_owner.get(owner_uid, ())
        return self._at(kind, {key for key in keys if key.namespace == namespace} if namespace else keys)

    def pod_facts_owned_by(self, owner_uid: str, namespace: str = "") -> Iterator[PodFacts]:
        table = self._tables[POD]
        keys = [key for key in table.by_owner.get(owner_uid, ()) if not namespace or key.namespace == namespace]
        entries = [table.get(key.namespace, key.name) for key in keys]
        return (entry.pod_facts() for entry in entries if entry is not None)

    def pod_facts_selected(self, namespace: str, selector: LabelSelector) -> Iterator[PodFacts]:
        entries = list(self._tables[POD].namespaces.get(namespace, {}).values())
        return (entry.pod_facts() for entry in entries if selector.matches(entry.labels))

    def node_facts(self) -> Iterator[NodeFacts]:
        entries = list(self._tables[NODE].namespaces.get("", {}).values())
        return (entry.node_facts() for entry in entries)

    def pods_on(self, node_name: str) -> Iterator[Object]:
        return self._at(POD, self._tables[POD].by_node.get(node_name, ()))

    def changed_at(self, kind: Kind, namespace: str, name: str) -> float | None:
        table = self._tables[kind]
        entry = table.get(namespace, name)
        return table.ended.get(Key(namespace, name)) if entry is None else entry.changed_at

    def _at(self, kind: Kind, keys: Collection[Key]) -> Iterator[Object]:
        table = self._tables[kind]
        entries = [table.get(key.namespace, key.name) for key in sorted(keys)]
        return (decode(kind, entry.raw) for entry in entries if entry is not None)
