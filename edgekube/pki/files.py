"""Write small files so that a power cut leaves the old one or the new one, never half of either.

Enters: a path, bytes, a mode.
Leaves: the file, complete and on disk, when the call returns.
Holds: the mode is set before the name exists; a private file is never readable by others, not for a moment.
Next: pki.authority, pki.tokens; whoever keeps small files on this machine.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

PRIVATE: Final = 0o600
PUBLIC: Final = 0o644


def write_durably(path: Path, data: bytes, mode: int) -> None:
    """The directory is made when it is missing. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
    # Two threads may replace the same file: each by one of its own, and the last one stays.
    replace_whole(path, data, mode, path.with_name(f".{path.name}.{os.urandom(6).hex()}.tmp"))
    sync_directory(path.parent)


def replace_whole(path: Path, data: bytes, mode: int, scratch: Path | None = None) -> None:
    """By a scratch file beside it, fsync and rename. After a power cut it is the old one or the new one; the new one for certain
    once sync_directory was called. The usual scratch file is for a single writer, who overwrites what a power cut left of it.
    Raises OSError."""
    scratch = scratch or path.with_name(f".{path.name}.new")
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(path)
    except BaseException:
        scratch.unlink(missing_ok=True)
        raise


def sync_directory(path: Path) -> None:
    """What was renamed in it is on disk when this returns."""
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
