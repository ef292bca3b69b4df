"""Follow one kind: list it, then watch it, for ever.

Enters: a kind and a selection.
Leaves: what the API has, told to a Sink: first a whole list, then each event; again a list when the history has been lost.
Holds: the sink's last revision is where the watch resumes; an error is waited out with growing pauses, never raised (bugs are).
Next: reconcile.view, reconcile.ownergraph.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Protocol

import msgspec
import trio
from msgspec.structs import replace

from edgekube import limits
from edgekube.api.errors import StatusError
from edgekube.api.kinds import Kind
from edgekube.api.verbs import BOOKMARK, EVERYTHING, ListOptions, Verbs, WatchEvent

log = logging.getLogger("edgekube.reconcile.follow")


class Sink(Protocol):
    def begin(self) -> None:
        """A list starts: what is not added before finish() is gone."""

    def add(self, items: Sequence[bytes]) -> None: ...

    def finish(self, revision: int) -> None: ...

    def apply(self, event: WatchEvent) -> None:
        """An event other than a bookmark."""

    def progressed(self, revision: int) -> None:
        """A bookmark: everything up to the revision has been told."""

    def resume_from(self) -> int:
        """The revision after which to watch."""
        ...


class _Metadata(msgspec.Struct):
    resourceVersion: str = "0"  # the wire's name


class _Bookmark(msgspec.Struct):
    metadata: _Metadata


_bookmark = msgspec.json.Decoder(_Bookmark)


async def follow(verbs: Verbs, kind: Kind, sink: Sink, selection: ListOptions = EVERYTHING, *, namespace: str = "") -> None:
    """Never returns. In one namespace unless ``namespace`` is ""."""
    pause = limits.WATCH_RETRY_FIRST_SECONDS
    listed = False
    paged = True
    while True:
        try:
            if not listed:
                await _list(verbs, kind, namespace, sink, selection, limits.VIEW_PAGE_ITEMS if paged else 0)
                listed = True
            quiet = True
            async with verbs.watch(kind, namespace, replace(selection, revision=str(sink.resume_from()))) as events:
                async for event in events:
                    quiet = False
                    pause = limits.WATCH_RETRY_FIRST_SECONDS
                    if event.type == BOOKMARK:
                        sink.progressed(int(_bookmark.decode(event.raw).metadata.resourceVersion))
                    else:
                        sink.apply(event)
            if not quiet:
                continue  # a stream that brought something may end: that is how servers bound them
        except StatusError as error:
            if error.code == 410:
                # The history moved on below us: start from a list, in one piece if it moved on between pages.
                paged, listed = listed, False
                log.info("kind=%s relisting: %s", kind.group_resource, error.message)
            else:
                # A server that is away is told of once, by whoever asks it (client.outage).
                level = logging.DEBUG if error.reason == "ServiceUnavailable" else logging.WARNING
                log.log(level, "kind=%s watch failed, trying again in %.1f s: %s", kind.group_resource, pause, error.message)
        await trio.sleep(pause)
        pause = min(pause * 2, limits.WATCH_RETRY_LAST_SECONDS)


async def _list(verbs: Verbs, kind: Kind, namespace: str, sink: Sink, selection: ListOptions, page_items: int) -> None:
    sink.begin()
    token = ""
    while True:
        page = await verbs.list(kind, namespace, replace(selection, limit=page_items, continue_token=token))
        sink.add(page.items)
        token = page.continue_token
        if not token:
            sink.finish(int(page.revision))
            return
