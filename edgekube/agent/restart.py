"""How long to wait before trying again: 10 s, doubled up to 300 s, forgotten after ten quiet minutes.

Enters: when something failed, in seconds on any one clock.
Leaves: how long to wait still.
Holds: no clock of its own; the first restart is immediate, as Kubernetes documents for CrashLoopBackOff.
Bound: one entry per key; ``forget`` when the key is gone.
Next: agent.plan (containers), agent.images (pulls).
"""

from __future__ import annotations

from msgspec import Struct

from edgekube.limits import BACKOFF_FIRST_SECONDS, BACKOFF_SECONDS_MAX, CLOCK_STEP_SECONDS


class _Entry(Struct):
    delay_seconds: float
    updated: float


class Backoff:
    """k8s.io/client-go flowcontrol.Backoff, with the clock handed in."""

    __slots__ = ("_entries", "_first_seconds", "_max_seconds")

    def __init__(self, first_seconds: float = BACKOFF_FIRST_SECONDS, max_seconds: float = BACKOFF_SECONDS_MAX) -> None:
        self._first_seconds = first_seconds
        self._max_seconds = max_seconds
        self._entries: dict[str, _Entry] = {}

    def delay_seconds(self, key: str) -> float:
        """The delay that stands for the key now; 0 when it has none."""
        entry = self._entries.get(key)
        return entry.delay_seconds if entry else 0.0

    def remaining_seconds(self, key: str, failed_at: float, now: float) -> float:
        """0 when the key may be tried: it failed at ``failed_at`` and its delay since then has passed, or the clock was set back
        since and will be long in coming there again."""
        entry = self._entries.get(key)
        if entry is None or failed_at - entry.updated > 2 * self._max_seconds or failed_at > now + CLOCK_STEP_SECONDS:
            return 0.0
        return max(0.0, failed_at + entry.delay_seconds - now)

    def advance(self, key: str, now: float) -> float:
        """The key is tried (again): the next delay."""
        entry = self._entries.get(key)
        if entry is None or now - entry.updated > 2 * self._max_seconds:
            delay_seconds = self._first_seconds
        else:
            delay_seconds = min(entry.delay_seconds * 2, self._max_seconds)
        self._entries[key] = _Entry(delay_seconds, now)
        return delay_seconds

    def forget(self, key: str) -> None:
        self._entries.pop(key, None)


def duration_text(seconds: float) -> str:
    """``10s``, ``1m20s``, ``5m0s``: Go's way, which messages and people know."""
    whole = int(seconds)
    if whole < 60:
        return f"{whole}s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes}m{rest}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes}m{rest}s"
