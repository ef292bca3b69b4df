"""Time zones by name, as this machine's data has them.

Enters: names such as Europe/Berlin.
Leaves: a tzinfo, or None for a name that nobody knows.
Holds: "" and UTC need no data; a machine without any data knows no other name, and says so (has_data).
Next: api.validation.batch, controllers.cronjob.
"""

from __future__ import annotations

import os
from datetime import UTC, tzinfo
from functools import lru_cache
from zoneinfo import TZPATH, ZoneInfo, ZoneInfoNotFoundError


@lru_cache(maxsize=32)
def zone_of(name: str) -> tzinfo | None:
    if name in ("", "UTC"):
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None


def has_data() -> bool:
    return any(map(os.path.isdir, TZPATH))
