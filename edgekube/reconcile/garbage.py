"""The garbage collector at work: look up owners, delete what lost them, let go what should be orphaned.

Enters: the owner graph's hints.
Leaves: deletions and patches, as controllers.garbagecollector plans them; an event when a reference leads to another namespace.
Holds: the graph only says where to look; every decision is made on the object and the owners as the API has them at that moment.
Bound: GARBAGE_WORKERS at once; limits.ABSENT_OWNERS_MAX remembered absences.
Next: registry.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Final

import trio

from edgekube import limits
from edgekube.api.calls import Call, Record
from edgekube.api.controller import Key
from edgekube.api.errors import StatusError
from edgekube.api.kinds import EVENT, Kind
from edgekube.api.objects import Object, is_deleting, owners_of, uid_of
from edgekube.api.verbs import ListOptions, Verbs
from edgekube.controllers.garbagecollector import (
    FOREGROUND,
    ORPHAN,
    Owner,
    finalizers_of,
    plan_dependent,
    waits_for_dependents,
    without_finalizer,
    without_owner,
)
from edgekube.reconcile.execute import execute
from edgekube.reconcile.follow import follow
from edgekube.reconcile.ownergraph import GraphNode, KindFeed, OwnerGraph, OwnerReference, Standing
from edgekube.reconcile.queue import Item, WorkQueue
from edgekube.reconcile.queue_figures import QueueFigures
from edgekube.reconcile.recorder import Recorder

log = logging.getLogger("edgekube.reconcile.garbage")

NAME: Final = "garbage-collector-controller"
GARBAGE_WORKERS: Final = 8


class KindUnknown(Exception):
    """An owner's kind is not served (yet): nothing may be concluded from that."""


def collectable(kinds: Iterable[Kind]) -> list[Kind]:
    """The kinds that take part, each stored form once. Events have no owners and come in floods."""
    found = {
        kind.resource: kind
        for kind in kinds
        if kind.stored_as is None and kind != EVENT and {"get", "list", "watch", "delete", "patch"} <= set(kind.verbs)
    }
    return list(found.values())


class GarbageCollector:
    """``kinds`` is asked when an owner is looked up; add_kind() and remove_kind() follow custom resources."""

    def __init__(
        self,
        verbs: Verbs,
        kinds: Callable[[], Iterable[Kind]],
        recorder: Recorder,
        figures: QueueFigures | None = None,
    ) -> None:
        self._verbs = verbs
        self._kinds = kinds
        self._recorder = recorder
        self._queue = WorkQueue(figures)
        self._graph = OwnerGraph(self._look)
        self._feeds: dict[str, tuple[KindFeed, trio.CancelScope]] = {}
        self._absent: OrderedDict[tuple[OwnerReference, str], None] = OrderedDict()  # and the dependent's namespace
        self._nursery: trio.Nursery | None = None

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Never returns. Started once every kind has been listed: before that a dependent might be overlooked."""
        async with trio.open_nursery() as self._nursery:
            for kind in collectable(self._kinds()):
                self.add_kind(kind)
            for feed, _ in list(self._feeds.values()):
                await feed.synced.wait()
            self._nursery.start_soon(self._until_ended)
            self._nursery.start_soon(self._queue.run_deadlines)
            for _ in range(GARBAGE_WORKERS):
                self._nursery.start_soon(self._work)
            task_status.started()

    async def _until_ended(self) -> None:
        """A definition may come or go while the server stops: nobody is followed any more by then."""
        try:
            await trio.sleep_forever()
        finally:
            self._nursery = None

    def add_kind(self, kind: Kind) -> None:
        assert self._nursery is not None, "run() comes first"
        if kind.resource in self._feeds:
            return
        feed, scope = KindFeed(kind, self._graph), trio.CancelScope()
        self._feeds[kind.resource] = (feed, scope)

        async def follow_until_removed() -> None:
            with scope:
                await follow(self._verbs, kind, feed)

        self._nursery.start_soon(follow_until_removed, name=f"own {kind.group_resource}")

    def remove_kind(self, kind: Kind) -> None:
        feed, scope = self._feeds.pop(kind.resource, (None, None))
        if feed is not None and scope is not None:
            scope.cancel()
            feed.drop()

    def refresh(self) -> None:
        """Follow what ``kinds`` has now, and nothing else: call it when a CustomResourceDefinition came or went."""
        if self._nursery is None:
            return
        wanted = {kind.resource: kind for kind in collectable(self._kinds())}
        for resource, (feed, _) in list(self._feeds.items()):
            if wanted.get(resource) != feed.kind:
                self.remove_kind(feed.kind)
        for kind in wanted.values():
            self.add_kind(kind)

    def _look(self, uid: str) -> None:
        self._queue.add(Item(NAME, Key("", uid)))

    async def _work(self) -> None:
        while True:
            item = await self._queue.take()
            try:
                await self._collect(item.key.name)
                self._queue.forget(item)
            except (StatusError, KindUnknown) as error:
                pause = self._queue.retry(item)
                stale = isinstance(error, StatusError) and error.reason in ("Conflict", "NotFound")
                log.log(logging.DEBUG if stale else logging.INFO, "uid=%s again in %.3f s: %s", item.key.name, pause, error)
            finally:
                self._queue.done(item)

    async def _collect(self, uid: str) -> None:
        node = self._graph.nodes.get(uid)
        if node is None:
            return
        if self._graph.is_settled(node):
            return
        obj = await self._live(node.kind, node.namespace, node.name, uid)
        if obj is None:
            self._graph.remove(uid)
            return
        if is_deleting(obj):
            await self._going(node, obj)
            return
        owners = [await self._owner(node, reference) for reference in owners_of(obj)]
        dependents = list(self._graph.dependents(uid))
        waits = any(each.waits for each in dependents)
        await self._do(plan_dependent(node.kind, obj, owners, has_dependents=bool(dependents), dependent_waits=waits))

    async def _going(self, node: GraphNode, obj: Object) -> None:
        """An owner on its way out that has its dependents looked after."""
        if ORPHAN in finalizers_of(obj):
            for dependent in list(self._graph.dependents(node.uid)):
                child = await self._live(dependent.kind, dependent.namespace, dependent.name, dependent.uid)
                if child is not None:
                    await self._do(without_owner(dependent.kind, child, node.uid))
            await self._do(without_finalizer(node.kind, obj, ORPHAN))
        elif waits_for_dependents(obj):
            dependents = list(self._graph.dependents(node.uid))
            if not any(_blocks(dependent, node.uid) for dependent in dependents):
                await self._do(without_finalizer(node.kind, obj, FOREGROUND))
            for dependent in dependents:
                self._look(dependent.uid)

    async def _do(self, calls: list[Call]) -> None:
        outcome = await execute(self._verbs, calls, lambda _: None)
        if outcome.failure is not None:
            raise outcome.failure

    async def _live(self, kind: Kind, namespace: str, name: str, uid: str) -> Object | None:
        try:
            obj = await self._verbs.get(kind, namespace, name)
        except StatusError as error:
            if error.reason == "NotFound":
                return None
            raise
        return obj if uid_of(obj) == uid else None

    async def _owner(self, node: GraphNode, reference: Object) -> Owner:
        """How the owner stands. A namespaced owner is looked for in the dependent's own namespace only."""
        owner = OwnerReference(
            str(reference.get("apiVersion")), str(reference.get("kind")), str(reference["name"]), str(reference["uid"])
        )
        if self._graph.is_solid(owner, node.namespace):
            return Owner.SOLID
        if (owner, node.namespace) in self._absent:
            return Owner.ABSENT
        kind = self._kind_of(owner.apiVersion, owner.kind)
        if kind.namespaced and not node.kind.namespaced:
            log.warning("kind=%s name=%s owner of kind %s needs a namespace", node.kind.kind, node.name, kind.kind)
            return Owner.UNKNOWN
        namespace = node.namespace if kind.namespaced else ""
        losses = self._graph.losses
        obj = await self._live(kind, namespace, owner.name, owner.uid)
        if obj is None:
            self._absent[owner, node.namespace] = None
            if len(self._absent) > limits.ABSENT_OWNERS_MAX:
                self._absent.popitem(last=False)
            if kind.namespaced:
                await self._tell_of_invalid_namespace(node, owner, kind)
            return Owner.ABSENT
        if waits_for_dependents(obj):
            return Owner.WAITING
        if losses == self._graph.losses:
            place = namespace if kind.namespaced else None
            self._graph.solid[owner.uid] = Standing(owner.apiVersion, owner.kind, owner.name, place)
        return Owner.SOLID

    async def _tell_of_invalid_namespace(self, node: GraphNode, owner: OwnerReference, kind: Kind) -> None:
        """People take the dependent's end for a fault of ours, unless they hear that its owner is in another namespace."""
        if owner.uid in self._graph.ended:
            return
        if not self._graph.elsewhere(owner.uid, node.namespace):
            named = ListOptions(field_selector=f"metadata.name={owner.name}")
            if all(uid_of(each) != owner.uid for each in (await self._verbs.list(kind, "", named)).objects()):
                return
        about: Object = {
            "apiVersion": node.kind.api_version,
            "kind": node.kind.kind,
            "metadata": {"namespace": node.namespace, "name": node.name, "uid": node.uid},
        }
        message = (
            f"ownerRef [{owner.apiVersion}/{owner.kind}, namespace: {node.namespace}, name: {owner.name}, uid: {owner.uid}] "
            f'does not exist in namespace "{node.namespace}"'
        )
        self._recorder.record(NAME, Record(about, "Warning", "OwnerRefInvalidNamespace", message))

    def _kind_of(self, api_version: str, kind_name: str) -> Kind:
        """By group and kind: any version will do."""
        group = api_version.rpartition("/")[0]
        for kind in self._kinds():
            if kind.kind == kind_name and kind.group == group and "get" in kind.verbs:
                return kind
        raise KindUnknown(f"no resource serves {api_version} {kind_name}")


def _blocks(dependent: GraphNode, owner_uid: str) -> bool:
    def blocks(owner: OwnerReference) -> bool:
        return owner.uid == owner_uid and bool(owner.blockOwnerDeletion)

    return any(map(blocks, dependent.owners))
