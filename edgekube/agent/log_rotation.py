"""Keep container logs within their bound.

Enters: running containers and their log files.
Leaves: FILE, FILE.<time>, … at most limits.LOG_FILES_MAX; containerd told to reopen.
Holds: no line is lost: the file is renamed, and containerd writes on into it until it has opened the new one.
Source: Kubernetes documentation, "Logging Architecture", log rotation.
Next: containerd.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import trio

from edgekube.containerd.model import RuntimeFailure
from edgekube.containerd.protocol import Runtime
from edgekube.limits import LOG_FILE_BYTES_MAX, LOG_FILES_MAX, LOG_ROTATION_CHECK_SECONDS

log = logging.getLogger("edgekube.agent")


async def rotate(runtime: Runtime, container_id: str, path: Path, *, bytes_max: int, files_max: int) -> bool:
    """Rotate once if the file is too large."""
    try:
        if path.stat().st_size <= bytes_max:
            return False
    except FileNotFoundError:
        return False
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    moved = path.with_name(f"{path.name}.{stamp}")
    path.rename(moved)
    try:
        await runtime.reopen_log(container_id)
    except RuntimeFailure:
        if not path.exists():
            moved.rename(path)
        raise
    older = sorted(path.parent.glob(f"{path.name}.*"), key=lambda file: file.name, reverse=True)
    for file in older[files_max - 1 :]:
        file.unlink(missing_ok=True)
    return True


async def keep_logs_small(runtime: Runtime, running: Callable[[], Iterator[tuple[str, Path]]]) -> None:
    """For ever. ``running`` gives (container id, log file) of each running container."""
    while True:
        await trio.sleep(LOG_ROTATION_CHECK_SECONDS)
        for container_id, path in running():
            try:
                await rotate(runtime, container_id, path, bytes_max=LOG_FILE_BYTES_MAX, files_max=LOG_FILES_MAX)
            except (RuntimeFailure, OSError) as error:
                log.warning("log not rotated path=%s error=%s", path, error)
