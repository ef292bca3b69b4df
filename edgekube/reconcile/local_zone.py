"""This machine's time zone, which schedules go by that name none.

Enters: the TZ variable, /etc/localtime.
Leaves: a tzinfo; UTC when the machine says nothing that can be read.
Holds: a change of the file counts from the next time on that is asked for.
Next: controllers.cronjob.
"""

from __future__ import annotations

import os
from datetime import UTC, tzinfo
from functools import lru_cache
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

_FILE: Final = Path("/etc/localtime")


def local_zone() -> tzinfo:
    try:
        return _read(os.environ.get("TZ"), _FILE.stat().st_mtime_ns if _FILE.exists() else 0)
    except (OSError, ValueError, KeyError):  # KeyError: ZoneInfoNotFoundError
        return UTC


@lru_cache(maxsize=2)
def _read(named: str | None, changed: int) -> tzinfo:
    if named is not None:
        return ZoneInfo(named.removeprefix(":")) if named else UTC
    if not changed:
        return UTC
    with _FILE.open("rb") as file:
        return ZoneInfo.from_file(file, key="Local")
