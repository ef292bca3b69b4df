"""Open the database file, or refuse it and say what to do.

Enters: a path.
Leaves: a connection for the writer, one for readers, and the counter; the lock is held until close().
Holds: a file that is not ours, newer, damaged or in use is never changed; a new file appears complete or not at all;
after an unclean stop every page and value has been read once before anybody relies on it.
Next: store.sqlite.
"""

from __future__ import annotations

import fcntl
import logging
import os
import sqlite3
import struct
import zlib
from pathlib import Path
from typing import Final

import orjson
from msgspec import Struct

from edgekube import limits
from edgekube.store import schema
from edgekube.store.protocol import StoreRefused, StoreUnavailable
from edgekube.store.values import unpack

log = logging.getLogger("edgekube.store")

_MAGIC: Final = b"SQLite format 3\0"
_RECOVER: Final = "stop edgekube, move the file aside (keep it) and restore a snapshot in its place"


class Database(Struct):
    """An open, checked and locked database file."""

    path: Path
    writer: sqlite3.Connection
    reader: sqlite3.Connection
    reserved_revision: int
    start_revision: int  # what revision() says first
    was_clean: bool
    lock_descriptor: int

    def close(self) -> None:
        """Connections and lock; folding the log in and the mark of a clean stop are the writer's last act."""
        self.reader.close()
        self.writer.close()
        os.close(self.lock_descriptor)


def open_database(path: Path) -> Database:
    """StoreRefused or StoreUnavailable with a message for the operator; OSError when the directory itself cannot be used."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock_descriptor = _lock(path)
    try:
        try:
            if not path.exists():
                _create(path)
            _check_header(path)
            return _open(path, lock_descriptor)
        except sqlite3.DatabaseError as error:
            if _is_damage(error):
                raise StoreRefused(f"{path} cannot be read as a database ({error}): {_RECOVER}") from error
            raise StoreUnavailable(f"{path} could not be opened ({error}): is the disk full, read-only or failing?") from error
    except BaseException:
        os.close(lock_descriptor)
        raise


def _is_damage(error: sqlite3.DatabaseError) -> bool:
    """SQLite read the file and it makes no sense; anything else (I/O error, full) is the disk's fault, and may pass."""
    return (getattr(error, "sqlite_errorcode", 0) & 0xFF) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR)


def _lock(path: Path) -> int:
    """flock on a file beside the database: it goes with the process, however that ends."""
    descriptor = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise StoreRefused(f"{path} is in use by another edgekube process: stop that one first") from error
    return descriptor


def _create(path: Path) -> None:
    """Under another name first, so that a power cut leaves a whole database or none. ``link`` never replaces a file."""
    log_left = path.with_name(path.name + "-wal")
    if log_left.exists() and log_left.stat().st_size:
        raise StoreRefused(f"{path} is missing but {log_left} holds its latest writes: put the file back, or move the log aside")
    draft = path.with_name(path.name + ".new")
    draft.unlink(missing_ok=True)
    os.close(os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    connection = sqlite3.connect(draft, isolation_level=None)
    try:
        connection.execute("PRAGMA page_size = 4096")
        connection.execute("PRAGMA synchronous = FULL")
        schema.create(connection)
    finally:
        connection.close()
    os.link(draft, path)
    draft.unlink()
    sync_directory(path.parent)


def sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _check_header(path: Path) -> None:
    """Reads the first 100 bytes (sqlite.org/fileformat2.html, 1.3) before SQLite may touch the file: opening a foreign
    database can already change it, by rolling back its journal."""
    if not path.is_file():
        raise StoreRefused(f"{path} is not a regular file: choose another --data-dir")
    with path.open("rb") as file:
        header = file.read(100)
    if not header:
        raise StoreRefused(f"{path} is empty, which edgekube never leaves behind: {_RECOVER}, or delete it to start anew")
    if len(header) < 100 or not header.startswith(_MAGIC):
        raise StoreRefused(f"{path} is not a SQLite database, or its first page is damaged: {_RECOVER}")
    (version,) = struct.unpack_from(">I", header, 60)
    (application_id,) = struct.unpack_from(">I", header, 68)
    if application_id != schema.APPLICATION_ID:
        raise StoreRefused(f"{path} is a SQLite database of another program: choose another --data-dir")
    _refuse_newer(path, version)


def _refuse_newer(path: Path, version: int) -> None:
    if version > schema.VERSION:
        raise StoreRefused(
            f"{path} has schema version {version}, this edgekube knows versions up to {schema.VERSION}: "
            "install the edgekube that wrote it, or a newer one"
        )


def connect(path: Path, *, cache_kib: int) -> sqlite3.Connection:
    """A connection in autocommit mode with our settings. SQLite's own caches stay small: the kernel has the file's pages."""
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, isolation_level=None, check_same_thread=False)
    for pragma in (
        "journal_mode = WAL",
        "synchronous = FULL",
        f"cache_size = -{cache_kib}",
        "mmap_size = 0",
        "busy_timeout = 5000",
        "temp_store = MEMORY",
        f"wal_autocheckpoint = {limits.WAL_PAGES_MAX}",
        f"journal_size_limit = {limits.WAL_BYTES_KEPT_MAX}",
        "trusted_schema = OFF",
        "cell_size_check = ON",
    ):
        connection.execute(f"PRAGMA {pragma}").fetchall()
    return connection


def _open(path: Path, lock_descriptor: int) -> Database:
    writer = connect(path, cache_kib=2048)
    try:
        _refuse_newer(path, schema.version_of(writer))
        reserved, clean = _counter(path, writer)
        if clean is None:
            log.info("path=%s the last stop was not clean: checking the database", path)
            check(path, writer)
        schema.migrate(writer)
        # The mark goes before the first write: from here on a stop without goodbye is seen.
        writer.execute("UPDATE counter SET clean_revision = NULL, reserved_revision = max(reserved_revision, 1)")
        start = max(reserved if clean is None else clean, 1)
        reader = connect(path, cache_kib=1024)
        reader.execute("PRAGMA query_only = ON")
    except BaseException:
        writer.close()
        raise
    return Database(
        path=path,
        writer=writer,
        reader=reader,
        reserved_revision=max(reserved, 1),
        start_revision=start,
        was_clean=clean is not None,
        lock_descriptor=lock_descriptor,
    )


def _counter(path: Path, connection: sqlite3.Connection) -> tuple[int, int | None]:
    row = connection.execute("SELECT reserved_revision, clean_revision FROM counter").fetchone()
    if row is None or not isinstance(row[0], int) or not isinstance(row[1], int | None):
        raise StoreRefused(f"{path} has lost its revision counter: {_RECOVER}")
    return row[0], row[1]


def check(path: Path, connection: sqlite3.Connection) -> None:
    """SQLite's own check, then ours: StoreRefused names the first thing that is wrong."""
    problems = [" ".join(str(row[0]).split()) for row in connection.execute("PRAGMA quick_check(5)")]
    if problems != ["ok"]:
        raise StoreRefused(f"{path} is damaged ({'; '.join(problems)}): {_RECOVER}")
    beyond, orphans = connection.execute(
        "SELECT (SELECT count(*) FROM objects WHERE revision > (SELECT reserved_revision FROM counter) OR revision < 1),"
        " (SELECT count(*) FROM objects WHERE resource NOT IN (SELECT id FROM resources))"
    ).fetchone()
    if beyond:
        raise StoreRefused(f"{path} is damaged ({beyond} objects are outside the reserved revisions): {_RECOVER}")
    if orphans:
        raise StoreRefused(f"{path} is damaged ({orphans} objects have no resource): {_RECOVER}")
    for row_id, value in connection.execute("SELECT id, value FROM objects"):
        try:
            whole = isinstance(orjson.loads(unpack(value)), dict)
        except (zlib.error, IndexError, TypeError, ValueError):
            whole = False
        if not whole:
            raise StoreRefused(f"{path} is damaged (the value of row {row_id} is not whole): {_RECOVER}")
