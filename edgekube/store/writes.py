"""What travels to the writer thread and back.

Enters: verbs of the Protocol, flushes of volatile rows.
Leaves: the same items with their outcome filled in, a commit's worth at a time.
Holds: the trio thread fills the first part of an item before it hands it over, the writer the second; nobody else touches it.
Next: store.writer, store.sqlite.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import trio
from msgspec import Struct

from edgekube.store.protocol import Key, Record, StoreError, StoreUnavailable

Verb: TypeAlias = Literal["create", "update", "delete"]


class Write(Struct, eq=False):
    """One verb, with its revision already given."""

    verb: Verb
    record: Record  # the document to store, or the one that watchers of a deletion see
    expected_revision: int
    volatile: bool
    task: trio.lowlevel.Task | None = None  # who waits; None: nobody (any more)
    # Filled in by whoever carries it out:
    previous: Record | None = None
    error: StoreError | None = None
    #: A volatile write that was answered as soon as there were revisions for it, before the batch it is in came back.
    passed: bool = False


class Reserve(Struct, eq=False):
    """Make revisions beyond this one durable before they are needed."""

    revision: int


class Flush(Struct, eq=False):
    """The latest state of volatile rows; None: the row is gone. ``done`` is set once they are on disk or have failed."""

    rows: dict[Key, Record | None]
    done: trio.Event
    failed: bool = False


class Close(Struct, eq=False):
    """The last item: the rest of the volatile rows and the mark of a clean stop."""

    rows: dict[Key, Record | None]
    revision: int
    done: trio.Event
    failed: bool = False


Item: TypeAlias = Write | Reserve | Flush | Close


class Batch(Struct):
    """Items that shared a transaction, in the order of submission."""

    items: list[Item]
    reserved_revision: int
    failure: StoreUnavailable | None = None  # of the transaction: nothing of the batch happened
    crash: BaseException | None = None  # a defect of ours
