"""Write small files so that a power cut leaves the old one or the new one, never half of either.

Enters: a path, bytes, a mode.
Leaves: the file, complete and on disk, when the call returns.
Holds: the mode is set before the name exists; a private file is never readable by others, not for a moment.
Next: pki.authority, pki.tokens.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

PRIVATE: Final = 0o600
PUBLIC: Final = 0o644


def write_durably(path: Path, data: bytes, mode: int) -> None:
    """Replace ``path`` by ``data``: temporary file beside it, fsync, rename, fsync of the directory. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
    # Two threads may replace the same file: each by one of its own, and the last one stays.
    temporary = path.with_name(f".{path.name}.{os.urandom(6).hex()}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """What was renamed in it is on disk when this returns."""
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
