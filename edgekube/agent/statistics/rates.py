"""How fast a counter of processor time grows.

Enters: counters by name, as they are read now and then.
Leaves: nanocores: nanoseconds of processor time a second.
Holds: a rate is over at least RATE_SECONDS_MIN; who asks sooner gets the last one. What is not asked for any more is forgotten.
Bound: one entry for each name that is there.
Next: agent.statistics.summary.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

RATE_SECONDS_MIN: Final = 1.0


class Rates:
    def __init__(self) -> None:
        self._last: dict[str, tuple[float, int, int | None]] = {}

    def take(self, at: float, counters_ns: Mapping[str, int]) -> dict[str, int]:
        """Of each name that was seen before."""
        rates: dict[str, int] = {}
        kept: dict[str, tuple[float, int, int | None]] = {}
        for name, counter in counters_ns.items():
            before = self._last.get(name)
            if before is None or counter < before[1] or at < before[0]:
                kept[name] = (at, counter, None)
                continue
            seconds = at - before[0]
            if seconds < RATE_SECONDS_MIN:
                kept[name] = before
            else:
                kept[name] = (at, counter, int((counter - before[1]) / seconds))
            rate = kept[name][2]
            if rate is not None:
                rates[name] = rate
        self._last = kept
        return rates
