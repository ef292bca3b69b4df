"""Reads of durable rows, on the trio thread.

Enters: keys and ranges.
Leaves: records; each call is one read transaction that ends before it returns, so the log can always be folded in.
Holds: rows may be ahead of what is published (a commit that is still on its way to the trio thread): store.sqlite settles that.
Next: store.pages.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple

from edgekube.store.protocol import Key, Record, StoreUnavailable
from edgekube.store.values import unpack

_GET: Final = "SELECT revision, value FROM objects WHERE resource = ? AND namespace = ? AND name = ?"
_EXISTS: Final = "SELECT 1 FROM objects WHERE resource = ? AND namespace = ? AND name = ?"
_ALL: Final = "FROM objects WHERE resource = ? AND (namespace, name) > (?, ?)"
_ONE: Final = "FROM objects WHERE resource = ? AND namespace = ? AND name > ?"
_ORDER: Final = " ORDER BY namespace, name LIMIT ?"


class Rows(NamedTuple):
    records: list[Record]
    more: bool  # the range goes on behind the last record
    behind: int  # rows behind the last record (counted only when asked)
    existing: frozenset[Key]  # those of the asked keys that have a row


class Reader:
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._resources: dict[str, int] = {}

    def _resource_id(self, resource: str) -> int | None:
        known = self._resources.get(resource)
        if known is None:
            row = self._connection.execute("SELECT id FROM resources WHERE name = ?", (resource,)).fetchone()
            if row is None:
                return None
            known = self._resources[resource] = row[0]
        return known

    def get(self, key: Key) -> Record | None:
        try:
            resource_id = self._resource_id(key.resource)
            if resource_id is None:
                return None
            row = self._connection.execute(_GET, (resource_id, key.namespace, key.name)).fetchone()
        except sqlite3.Error as error:
            raise StoreUnavailable(f"the database could not be read: {error}") from error
        return None if row is None else Record(key, row[0], unpack(row[1]))

    def range(
        self,
        resource: str,
        namespace: str | None,
        after: Key | None,
        rows_max: int,
        *,
        count_behind: bool = False,
        exist: Iterable[Key] = (),
    ) -> Rows:
        """Up to ``rows_max`` records behind ``after`` in the order of (namespace, name), from one state of the database."""
        try:
            resource_id = self._resource_id(resource)
            if resource_id is None:
                return Rows([], False, 0, frozenset())
            if not count_behind:  # one statement is a transaction of its own
                return self._range(resource, resource_id, namespace, after, rows_max, False, ())
            self._connection.execute("BEGIN")
            try:
                return self._range(resource, resource_id, namespace, after, rows_max, True, exist)
            finally:
                self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            raise StoreUnavailable(f"the database could not be read: {error}") from error

    def documents(self, resource: str, namespace: str | None, after: Key | None, rows_max: int) -> tuple[list[bytes], Key | None]:
        """The values alone of up to ``rows_max`` rows behind ``after``, and the key of the last one if there may be more. Sound
        only if nothing of the range was written meanwhile: two statements see two states of the database."""
        try:
            resource_id = self._resource_id(resource)
            if resource_id is None:
                return [], None
            where, bounds = _bounds(namespace, after)
            execute, chosen = self._connection.execute, (resource_id, *bounds)
            last = execute(f"SELECT namespace, name {where}{_ORDER} OFFSET ?", (*chosen, 1, rows_max - 1)).fetchone()
            rows = execute(f"SELECT value {where}{_ORDER}", (*chosen, rows_max)).fetchall()
        except sqlite3.Error as error:
            raise StoreUnavailable(f"the database could not be read: {error}") from error
        return [unpack(value) for (value,) in rows], Key(resource, *last) if last else None

    def _range(
        self,
        resource: str,
        resource_id: int,
        namespace: str | None,
        after: Key | None,
        rows_max: int,
        count_behind: bool,
        exist: Iterable[Key],
    ) -> Rows:
        execute = self._connection.execute
        where, bounds = _bounds(namespace, after)
        rows = execute(
            f"SELECT namespace, name, revision, value {where}{_ORDER}", (resource_id, *bounds, rows_max + 1)
        ).fetchall()
        more = len(rows) > rows_max
        records = _records(resource, rows[:rows_max])
        if not count_behind:
            return Rows(records, more, 0, frozenset())
        behind = 0
        if more:
            where, bounds = _bounds(namespace, records[-1].key if records else after)
            behind = execute(f"SELECT count(*) {where}", (resource_id, *bounds)).fetchone()[0]
        existing = frozenset(key for key in exist if execute(_EXISTS, (resource_id, key.namespace, key.name)).fetchone())
        return Rows(records, more, behind, existing)

    def count(self, resource: str) -> int:
        try:
            resource_id = self._resource_id(resource)
            if resource_id is None:
                return 0
            return int(self._connection.execute("SELECT count(*) FROM objects WHERE resource = ?", (resource_id,)).fetchone()[0])
        except sqlite3.Error as error:
            raise StoreUnavailable(f"the database could not be read: {error}") from error

    def all_of(self, resource: str) -> list[Record]:
        """Every record of a volatile resource, oldest revision first (at start)."""
        resource_id = self._resource_id(resource)
        rows = self._connection.execute(
            "SELECT namespace, name, revision, value FROM objects WHERE resource = ? ORDER BY revision", (resource_id,)
        ).fetchall()
        return _records(resource, rows)


def _records(resource: str, rows: Iterable[tuple[str, str, int, bytes]]) -> list[Record]:
    """A list makes thousands: without the constructors, which are Python, in half of the time."""
    new: Callable[..., Any] = tuple.__new__
    return [
        new(Record, (new(Key, (resource, namespace, name)), revision, unpack(value))) for namespace, name, revision, value in rows
    ]


def _bounds(namespace: str | None, after: Key | None) -> tuple[str, tuple[str, ...]]:
    """Both forms walk the unique index. No namespace or name of a row sorts before ""."""
    if namespace is None:
        return _ALL, (after.namespace, after.name) if after else ("", "")
    if after is not None and after.namespace != namespace:
        # A page that continues in another namespace than it asks for: everything or nothing lies behind.
        return (_ONE, (namespace, "")) if after.namespace < namespace else (f"{_ONE} AND 0", (namespace, ""))
    return _ONE, (namespace, after.name if after else "")
