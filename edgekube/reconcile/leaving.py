"""What to do before an object goes for good, done over and over until nothing holds it.

Enters: objects of a kind with a deletionTimestamp and a finalizer of ours, by their watch.
Leaves: calls of ``settle``, one name at a time in each worker, with growing pauses after failures.
Bound: ``workers`` objects at once.
Next: reconcile.emptying, reconcile.instances.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence

import msgspec
import trio

from edgekube.api.controller import Key
from edgekube.api.errors import StatusError
from edgekube.api.kinds import Kind
from edgekube.api.verbs import DELETED, Verbs, WatchEvent
from edgekube.reconcile.follow import follow
from edgekube.reconcile.queue import Item, WorkQueue
from edgekube.reconcile.queue_figures import QueueFigures


class Metadata(msgspec.Struct):
    name: str = ""
    namespace: str = ""
    resourceVersion: str = "0"
    deletionTimestamp: str | None = None
    finalizers: list[str] | None = None


class _Peek(msgspec.Struct):
    metadata: Metadata


_peek = msgspec.json.Decoder(_Peek)


def metadata_in(raw: bytes) -> Metadata:
    return _peek.decode(raw).metadata


class Leavers:
    """``concerns``: whether an object is on its way out and waits for us. ``settle``: 0.0 when nothing is left to do for the
    name; else after how many seconds, at most, it is to be asked again."""

    def __init__(
        self,
        verbs: Verbs,
        kind: Kind,
        controller: str,
        concerns: Callable[[Metadata], bool],
        settle: Callable[[str], Awaitable[float]],
        *,
        workers: int,
        log: logging.Logger,
        figures: QueueFigures | None = None,
    ) -> None:
        self._verbs = verbs
        self._kind = kind
        self._controller = controller
        self._concerns = concerns
        self._settle = settle
        self._workers = workers
        self._log = log
        self._queue = WorkQueue(figures)
        self._revision = 0

    async def run(self) -> None:
        """Never returns."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(follow, self._verbs, self._kind, self)
            nursery.start_soon(self._queue.run_deadlines)
            for _ in range(self._workers):
                nursery.start_soon(self._work)

    # The Sink.

    def begin(self) -> None:
        pass

    def add(self, items: Sequence[bytes]) -> None:
        for raw in items:
            self._look(metadata_in(raw))

    def finish(self, revision: int) -> None:
        self._revision = revision

    def apply(self, event: WatchEvent) -> None:
        metadata = metadata_in(event.raw)
        self._revision = int(metadata.resourceVersion)
        if event.type != DELETED:
            self._look(metadata)

    def progressed(self, revision: int) -> None:
        self._revision = max(self._revision, revision)

    def resume_from(self) -> int:
        return self._revision

    def _look(self, metadata: Metadata) -> None:
        if self._concerns(metadata):
            self._queue.add(Item(self._controller, Key("", metadata.name)))

    # The work.

    async def _work(self) -> None:
        while True:
            item = await self._queue.take()
            try:
                again_seconds = await self._settle(item.key.name)
                if again_seconds:
                    self._queue.retry(item, again_seconds)
                else:
                    self._queue.forget(item)
            except StatusError as error:
                if error.reason == "NotFound":
                    self._queue.forget(item)
                else:
                    pause = self._queue.retry(item)
                    self._log.info("%s=%s again in %.3f s: %s", self._kind.singular, item.key.name, pause, error.message)
            finally:
                self._queue.done(item)
