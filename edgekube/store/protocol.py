"""What a store is, whatever engine stands behind it: revisions of JSON documents under keys.

Enters: keys, and a function from revision to document (the revision is part of the document).
Leaves: records, pages that stay at their revision, and changes in commit order.
Holds: revisions strictly rise over all resources and restarts; a write that returned is durable (or its resource is volatile);
a watcher sees each change of its resource once, in order; reads see every write that has returned. A write that was submitted is
waited for, also by a caller who is cancelled meanwhile.
Next: store.sqlite, the engine; tests/store/conformance, the suite that any engine passes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Literal, NamedTuple, Protocol, TypeAlias


class Key(NamedTuple):
    resource: str  # Kind.resource: "pods", "deployments.apps"
    namespace: str  # "" for cluster-scoped
    name: str


class Record(NamedTuple):
    key: Key
    revision: int
    value: bytes  # JSON, metadata.resourceVersion == str(revision)


class Change(NamedTuple):
    """``value`` is the document after the change; for DELETED the last one, carrying the deletion's revision.
    ``previous`` is the document before it (None for ADDED): selectors need both sides."""

    type: Literal["ADDED", "MODIFIED", "DELETED"]
    key: Key
    revision: int
    value: bytes
    previous: bytes | None


class Topic(NamedTuple):
    """Changes that a watcher may ask for alone, found by look-up however many others watch: those whose topics, as ``told_by``
    tells them, have ``value`` among them. It depends on nothing but the change."""

    told_by: Callable[[Change], Collection[str]]
    value: str


class Group(NamedTuple):
    """Objects that a list may ask for alone, found by look-up however many others there are: those of which ``of`` reads
    ``value`` out of the document. It depends on nothing but the document."""

    of: Callable[[bytes], str]
    value: str


class Page(NamedTuple):
    records: list[Record]  # ordered by (namespace, name)
    revision: int  # the state that all pages of this list show
    next_after: Key | None  # pass as ``after`` with ``revision`` for the next page; None: this was the last
    remaining: int  # records behind this page


class Documents(NamedTuple):
    values: list[bytes]  # of the records of a Page, in their order
    revision: int


#: Makes the document for a revision. Called exactly once, when the write is submitted.
Encode: TypeAlias = Callable[[int], bytes]


class StoreError(Exception):
    """Base of what a store raises."""


class KeyExists(StoreError):
    """create() found the key taken."""


class KeyMissing(StoreError):
    """update() or delete() found nothing under the key."""


class RevisionConflict(StoreError):
    """The key is not at the expected revision: read again and decide again."""


class Compacted(StoreError):
    """The revision is older than the history held (HTTP 410)."""


class FutureRevision(StoreError):
    """The revision has not happened yet (e.g. a client that outlived a restored snapshot)."""


class WatcherTooSlow(StoreError):
    """The watcher fell behind its bound and was closed."""


class StoreUnavailable(StoreError):
    """The disk refused (full, I/O error). Nothing was acknowledged; the message names the cause."""


class StoreRefused(StoreError):
    """The data cannot be opened: foreign, newer, corrupt or in use. Nothing was changed; the message says what to do."""


class Subscription(Protocol):
    """One watcher's end."""

    async def receive(self) -> Sequence[Change]:
        """At least one change, in commit order; waits. None after end(), and once after nudge(). Raises WatcherTooSlow once,
        after which the stream is dead."""
        ...

    def nudge(self) -> None:
        """Whoever waits in receive(), or comes to it next, is told that there is nothing, and may look at the clock."""
        ...

    def end(self) -> None:
        """Whoever waits in receive(), or comes to it, is told that there is nothing more."""
        ...

    def progress(self) -> int:
        """Every change up to this revision has been received: what a bookmark may say."""
        ...


class Store(Protocol):
    def revision(self) -> int:
        """The latest committed revision."""
        ...

    def submitted_revision(self) -> int:
        """The latest revision that was given to a write, committed or not."""
        ...

    async def get(self, key: Key) -> Record | None: ...

    async def list(
        self,
        resource: str,
        namespace: str | None = None,
        *,
        limit: int = 0,
        after: Key | None = None,
        revision: int | None = None,
        group: Group | None = None,
    ) -> Page:
        """``namespace`` None: all; ``group`` likewise. ``limit`` 0: no limit. ``revision``: the state at that revision
        (Compacted when the history no longer reaches it, FutureRevision when it has not come)."""
        ...

    async def documents(self, resource: str, namespace: str | None = None) -> Documents:
        """What list() without a limit shows, for who wants nothing but the documents: in half of the time."""
        ...

    async def count(self, resource: str) -> int: ...

    async def create(self, key: Key, encode: Encode) -> Record: ...

    async def update(self, key: Key, encode: Encode, *, expected_revision: int) -> Record: ...

    async def delete(self, key: Key, encode: Encode, *, expected_revision: int) -> Record:
        """``encode`` makes the document that watchers of the deletion see."""
        ...

    def watch(
        self, resource: str, namespace: str | None = None, *, after: int, topic: Topic | None = None
    ) -> AbstractAsyncContextManager[Subscription]:
        """Changes with a revision above ``after``; Compacted or FutureRevision on entering. ``topic`` None: of any."""
        ...
