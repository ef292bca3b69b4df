"""A copy of the database that can stand in its place.

Enters: the path of an open database and a path that does not exist.
Leaves: a whole, compact database file there, on disk, readable by its owner only.
Holds: an existing file is never overwritten; a failed copy leaves nothing. The copy carries the mark of an unclean stop:
it is checked when it is opened.
Next: cli.snapshot.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from edgekube.store.opening import connect, sync_directory
from edgekube.store.protocol import StoreUnavailable


def write_snapshot(database: Path, snapshot: Path) -> None:
    """Blocks for as long as the copy takes; writers go on meanwhile. FileExistsError, StoreUnavailable."""
    draft = snapshot.with_name(snapshot.name + ".new")
    if snapshot.exists():
        raise FileExistsError(f"{snapshot} exists: choose another name")
    os.close(os.open(draft, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600))
    try:
        connection = connect(database, cache_kib=1024)
        try:
            connection.execute("VACUUM INTO ?", (str(draft),))
        finally:
            connection.close()
        descriptor = os.open(draft, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.link(draft, snapshot)
    except sqlite3.Error as error:
        raise StoreUnavailable(f"the snapshot could not be written: {error}") from error
    finally:
        draft.unlink(missing_ok=True)
    sync_directory(snapshot.parent)
