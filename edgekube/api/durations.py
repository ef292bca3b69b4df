"""Durations as people and Go write them: 90s, 1m30s, 1.5h, 300ms.

Enters: text.
Leaves: seconds.
Holds: pure; a number without a unit is refused but for 0, as time.ParseDuration does; negative ones are refused.
Next: cli.node_options, agent.eviction.
"""

from __future__ import annotations

import re
from typing import Final

_UNITS: Final = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART: Final = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(ns|us|µs|ms|s|m|h)", re.ASCII)
_WHOLE: Final = re.compile(rf"(?:{_PART.pattern})+", re.ASCII)


def seconds_of(text: str) -> float:
    """Raises ValueError."""
    if text == "0":
        return 0.0
    if not _WHOLE.fullmatch(text):
        raise ValueError("give a time such as 90s, 1m30s or 2h")
    return sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))
