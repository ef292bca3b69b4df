"""Image archives dropped into <data>/agent/images: imported at start and on arrival, no registry needed.

Enters: OCI or docker-save archives in one directory, tar files, plain or compressed (SUFFIXES).
Leaves: images in containerd; a call to ``arrived`` after each.
Holds: an archive is imported once per change of its size and time; one that is still being written is left until it rests; a
broken one is named in the log and harms nobody.
Bound: limits.IMAGE_DIR_CHECK_SECONDS between looks (one scandir).
Next: containerd.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import trio

from edgekube.containerd.model import RuntimeFailure
from edgekube.containerd.protocol import Runtime
from edgekube.limits import IMAGE_DIR_CHECK_SECONDS

log = logging.getLogger("edgekube.agent")

SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.xz", ".tar.zst", ".tzst")
#: size, mtime in ns
Stamp: TypeAlias = tuple[int, int]


def look(directory: Path) -> dict[Path, Stamp]:
    found: dict[Path, Stamp] = {}
    if directory.is_dir():
        for path in sorted(directory.iterdir()):
            if path.name.endswith(SUFFIXES) and not path.name.startswith(".") and path.is_file():
                stat = path.stat()
                found[path] = (stat.st_size, stat.st_mtime_ns)
    return found


async def import_archives(directory: Path, runtime: Runtime, arrived: Callable[[], None]) -> None:
    """For ever."""
    directory.mkdir(parents=True, exist_ok=True)
    imported: dict[Path, Stamp] = {}
    seen = look(directory)  # what lies there at the start is not being written
    first = True
    while True:
        now = seen if first else look(directory)
        for path, stamp in now.items():
            if imported.get(path) == stamp or seen.get(path) != stamp:
                continue
            try:
                references = await runtime.import_archive(path)
                log.info("image archive imported path=%s images=%s", path, ",".join(references))
            except (RuntimeFailure, OSError, ValueError) as error:
                log.warning("image archive not imported path=%s error=%s", path, error)
                if isinstance(error, RuntimeFailure) and error.code == "UNAVAILABLE":
                    continue  # containerd is away, the archive is not to blame
            imported[path] = stamp
            arrived()
        seen, first = now, False
        await trio.sleep(IMAGE_DIR_CHECK_SECONDS)
