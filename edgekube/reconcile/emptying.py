"""Empty namespaces that are on their way out, then let them go.

Enters: namespaces with a deletionTimestamp, by their watch.
Leaves: their content deleted, pods first; conditions that say what is left; the namespace finalized.
Holds: nothing is finalized while anything is left; what holds out (grace periods, finalizers) is asked for with growing pauses.
Bound: EMPTYING_WORKERS namespaces at once.
Next: controllers.namespace decides, registry deletes.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import msgspec
import trio

from edgekube.api.controller import Key
from edgekube.api.errors import StatusError
from edgekube.api.kinds import EVENT, NAMESPACE, Kind
from edgekube.api.objects import is_deleting
from edgekube.api.verbs import DELETED, DeleteOptions, Verbs, WatchEvent
from edgekube.controllers.namespace import Content, deletion_order, plan_finalize, plan_status
from edgekube.reconcile.execute import execute
from edgekube.reconcile.follow import follow
from edgekube.reconcile.queue import Item, WorkQueue

log = logging.getLogger("edgekube.reconcile.emptying")

NAME: Final = "namespace-controller"
EMPTYING_WORKERS: Final = 4
#: While content holds out: pods may take their grace period, people wait for the namespace's end.
LOOK_AGAIN_SECONDS: Final = 1.0


class _Metadata(msgspec.Struct):
    name: str = ""
    resourceVersion: str = "0"
    deletionTimestamp: str | None = None
    finalizers: list[str] | None = None


class _Peek(msgspec.Struct):
    metadata: _Metadata


_peek = msgspec.json.Decoder(_Peek)


def namespaced(kinds: Iterable[Kind]) -> list[Kind]:
    """The kinds whose objects are a namespace's content, each stored form once."""
    found = {
        kind.resource: kind
        for kind in kinds
        if kind.namespaced and kind.stored and kind.stored_as is None and {"list", "delete"} <= set(kind.verbs)
    }
    return list(found.values())


class NamespaceEmptier:
    """``kinds`` is asked each time, for custom resources come and go."""

    def __init__(self, verbs: Verbs, kinds: Callable[[], Iterable[Kind]], *, clock: Callable[[], float] = time.time) -> None:
        self._verbs = verbs
        self._kinds = kinds
        self._clock = clock
        self._queue = WorkQueue()
        self._revision = 0

    async def run(self) -> None:
        """Never returns."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(follow, self._verbs, NAMESPACE, self)
            nursery.start_soon(self._queue.run_deadlines)
            for _ in range(EMPTYING_WORKERS):
                nursery.start_soon(self._work)

    # The Sink.

    def begin(self) -> None:
        pass

    def add(self, items: Sequence[bytes]) -> None:
        for raw in items:
            self._look(raw)

    def finish(self, revision: int) -> None:
        self._revision = revision

    def apply(self, event: WatchEvent) -> None:
        self._revision = int(_peek.decode(event.raw).metadata.resourceVersion)
        if event.type != DELETED:
            self._look(event.raw)

    def progressed(self, revision: int) -> None:
        self._revision = max(self._revision, revision)

    def resume_from(self) -> int:
        return self._revision

    def _look(self, raw: bytes) -> None:
        metadata = _peek.decode(raw).metadata
        if metadata.deletionTimestamp is not None:
            self._queue.add(Item(NAME, Key("", metadata.name)))

    # The work.

    async def _work(self) -> None:
        while True:
            item = await self._queue.take()
            try:
                if await self._empty(item.key.name):
                    self._queue.forget(item)
                else:
                    self._queue.retry(item, LOOK_AGAIN_SECONDS)
            except StatusError as error:
                if error.reason == "NotFound":
                    self._queue.forget(item)
                else:
                    pause = self._queue.retry(item)
                    log.info("namespace=%s again in %.3f s: %s", item.key.name, pause, error.message)
            finally:
                self._queue.done(item)

    async def _empty(self, name: str) -> bool:
        """True when there is nothing more to do."""
        namespace = await self._verbs.get(NAMESPACE, "", name)
        if not is_deleting(namespace) or not (namespace.get("spec") or {}).get("finalizers"):
            return True
        content = Content()
        for group in deletion_order(namespaced(self._kinds())):
            for kind in group:
                await self._delete_all(kind, name, content)
            if content.remaining or content.failures:
                break
        if content.remaining or content.failures:
            outcome = await execute(self._verbs, plan_status(namespace, content, self._clock()), lambda _: None)
            if outcome.failure is not None:
                raise outcome.failure
            return False
        outcome = await execute(self._verbs, plan_finalize(namespace), lambda _: None)
        if outcome.failure is not None:
            raise outcome.failure
        log.info("namespace=%s emptied", name)
        return True

    async def _delete_all(self, kind: Kind, namespace: str, content: Content) -> None:
        """Delete what there is of the kind, and count what does not go at once."""
        try:
            left = (await self._verbs.list(kind, namespace)).items
            if left and any(_peek.decode(raw).metadata.deletionTimestamp is None for raw in left):
                await self._verbs.delete_collection(kind, namespace, options=DeleteOptions(propagation_policy="Background"))
                left = (await self._verbs.list(kind, namespace)).items
        except StatusError as error:
            content.failures.append(f"{kind.group_resource}: {error.message}")
            return
        if not left or kind == EVENT:
            return  # events are told while the content goes; they hold nothing up
        content.remaining[kind.group_resource] = len(left)
        for raw in left:
            for finalizer in _peek.decode(raw).metadata.finalizers or ():
                content.finalizers[finalizer] = content.finalizers.get(finalizer, 0) + 1
