"""What travels to the writer thread and back.

Enters: verbs of the Protocol, flushes of volatile rows.
Leaves: the same items with their outcome filled in, a commit's worth at a time.
Holds: the trio thread fills the first part of an item before it hands it over, the writer the second; nobody else touches it.
Next: store.writer, store.sqlite.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import trio

from edgekube.store.protocol import Key, Record, StoreError, StoreUnavailable

Verb: TypeAlias = Literal["create", "update", "delete"]


@dataclass(slots=True, eq=False)
class Write:
    """One verb, with its revision already given."""

    verb: Verb
    record: Record  # the document to store, or the one that watchers of a deletion see
    expected_revision: int
    volatile: bool
    task: trio.lowlevel.Task | None = None  # who waits; None: nobody (any more)
    # Filled in by whoever carries it out:
    previous: Record | None = None
    error: StoreError | None = None


@dataclass(slots=True, eq=False)
class Reserve:
    """Make revisions beyond this one durable before they are needed."""

    revision: int


@dataclass(slots=True, eq=False)
class Flush:
    """The latest state of volatile rows; None: the row is gone. ``done`` is set once they are on disk or have failed."""

    rows: dict[Key, Record | None]
    done: trio.Event
    failed: bool = False


@dataclass(slots=True, eq=False)
class Close:
    """The last item: the rest of the volatile rows and the mark of a clean stop."""

    rows: dict[Key, Record | None]
    revision: int
    done: trio.Event
    failed: bool = False


Item: TypeAlias = Write | Reserve | Flush | Close


@dataclass(slots=True)
class Batch:
    """Items that shared a transaction, in the order of submission."""

    items: list[Item]
    reserved_revision: int
    failure: StoreUnavailable | None = None  # of the transaction: nothing of the batch happened
    crash: BaseException | None = None  # a defect of ours
