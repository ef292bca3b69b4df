"""The database's shape, drawn beside what makes and changes it.

    resources                 objects
    +----+------------------+ +----+----------+-------------+-------+----------+-------+
    | id | name             | | id | resource | namespace   | name  | revision | value |
    +----+------------------+ +----+----------+-------------+-------+----------+-------+
    |  1 | configmaps       | |  1 |        1 | kube-system | ca    |       17 | {...  |
    |  2 | deployments.apps | |  2 |        2 | default     | web   |      210 | x...  |  store.values
    +----+------------------+ +----+----------+-------------+-------+----------+-------+
                                     unique (resource, namespace, name)

    counter (one row)
    +----+-------------------+----------------+
    | id | reserved_revision | clean_revision |
    +----+-------------------+----------------+
    |  1 |             10210 |           NULL |  NULL: running, or stopped without goodbye
    +----+-------------------+----------------+

Enters: a connection to an empty or older database.
Leaves: the same, at VERSION.
Holds: one row per object, its latest state only. An update touches one page of ``objects``: the index holds no column that
changes, and a value of up to 4,000 bytes lies in one page with its row (larger ones: store.values).
Every revision ever given out is at most ``reserved_revision``.
``application_id`` says that the file is ours, ``user_version`` is VERSION.
Next: store.opening.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

#: "edgk" as a big-endian integer: offset 68 of the file.
APPLICATION_ID: Final = 0x6564676B

_CREATE: Final = """
CREATE TABLE resources (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
);
CREATE TABLE objects (
    id INTEGER PRIMARY KEY,
    resource INTEGER NOT NULL REFERENCES resources (id),
    namespace TEXT NOT NULL,
    name TEXT NOT NULL,
    revision INTEGER NOT NULL,
    value BLOB NOT NULL,
    UNIQUE (resource, namespace, name)
);
CREATE TABLE counter (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    reserved_revision INTEGER NOT NULL,
    clean_revision INTEGER
);
INSERT INTO counter VALUES (1, 0, 0);
"""

#: Gets a ``sqlite_utils.Database``; runs inside one transaction with the version's change.
Migration: TypeAlias = Callable[[Any], None]

#: MIGRATIONS[n] leads from version n + 1 to n + 2. Append only; _CREATE always makes the newest shape.
MIGRATIONS: Final[tuple[Migration, ...]] = ()

VERSION: Final = len(MIGRATIONS) + 1


def create(connection: sqlite3.Connection) -> None:
    """Makes the tables in an empty database, in one transaction. The connection must be in autocommit mode."""
    connection.executescript(f"BEGIN;{_CREATE}PRAGMA application_id = {APPLICATION_ID};PRAGMA user_version = {VERSION};COMMIT;")


def version_of(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def migrate(connection: sqlite3.Connection, migrations: Sequence[Migration] = MIGRATIONS) -> int:
    """Takes the database to the newest version, each step with its version number in one transaction; how many steps ran.
    An exception of a step leaves the database at the version before it."""
    steps = range(version_of(connection), len(migrations) + 1)
    if not steps:
        return 0
    import sqlite_utils  # 4 MB of RSS: only when there is work for it

    database = sqlite_utils.Database(connection)
    for version in steps:
        connection.execute("BEGIN IMMEDIATE")
        try:
            migrations[version - 1](database)
            connection.execute(f"PRAGMA user_version = {version + 1}")
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
    return len(steps)
