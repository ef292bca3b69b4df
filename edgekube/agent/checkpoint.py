"""A pod on disk: what the node goes by when it starts and the API is silent.

Enters: the pod as the API gave it.
Leaves: a private file in the pod's directory (environment may hold secrets).
Holds: the file is whole, old or new. Without the directory nothing is written: it is not there yet, or gone for good.
Next: agent.pods reads it at start.
"""

from __future__ import annotations

import os
from pathlib import Path

PRIVATE = 0o600


def write_checkpoint(path: Path, raw: bytes, *, durable: bool = False) -> None:
    """``durable``: on the disk when this returns; takes as long as the disk does."""
    try:
        if path.read_bytes() == raw:
            if durable:
                _sync(path)  # whoever wrote it may not have waited
            return
    except OSError:
        pass
    new = path.with_name(path.name + ".new")
    try:
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, PRIVATE)
    except FileNotFoundError:
        return
    with open(descriptor, "wb") as file:
        file.write(raw)
        if durable:
            file.flush()
            os.fsync(file.fileno())
    new.replace(path)
    if durable:
        _sync(path.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
