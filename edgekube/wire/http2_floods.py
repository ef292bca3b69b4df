"""What a peer may do in plenty but not without end: resets, control frames.

Enters: what it did, counted as it comes; what of our answers speaks for it.
Leaves: frames.Violation, once it is a flood.
Holds: no clock is read as long as the allowance lasts.
Bound: the burst and the rate that its owner names (limits.WIRE_RESETS_BURST and its neighbours).
Next: wire.http2_reading, wire.http2_incoming.
"""

from __future__ import annotations

import trio

from edgekube.wire import frames


class Allowance:
    """So many at once, refilled with time: what exceeds it is a flood."""

    __slots__ = ("_burst", "_left", "_per_second", "_since", "_what")

    def __init__(self, what: str, burst: float, per_second: float) -> None:
        self._what = what
        self._burst = self._left = burst
        self._per_second = per_second
        self._since = trio.current_time()

    def spend(self, count: int) -> None:
        """Raises frames.Violation."""
        self._left -= count
        if self._left < 0:
            now = trio.current_time()
            self._left = min(self._burst, self._left + (now - self._since) * self._per_second)
            self._since = now
            if self._left < 0:
                raise frames.Violation(frames.ENHANCE_YOUR_CALM, f"a flood of {self._what}")

    def earn(self, count: float) -> None:
        self._left = min(self._burst, self._left + count)
