"""How long something still has, reckoned from a time that an object bears.

Enters: that time, how long, now, and when the object was last seen to change.
Leaves: seconds.
Holds: a time that is yet to come was written before the clock was set back, for a board may have been years ahead. What counts
then is how long the object has been known as it is; nothing waits for a time that the clock may take years to reach.
Bound: limits.CLOCK_SKEW_SECONDS: clocks of nodes may differ by so much.
Next: controllers.
"""

from __future__ import annotations

from edgekube import limits
from edgekube.api.controller import Moment


def is_yet_to_come(time_seconds: float, wall_seconds: float) -> bool:
    return time_seconds > wall_seconds + limits.CLOCK_SKEW_SECONDS


def left_seconds(since_seconds: float, period_seconds: float, now: Moment, seen_at: float | None) -> float:
    """``seen_at``: api.view.View.changed_at() of the object; None when it is not known. 0 or less: the time is over."""
    if not is_yet_to_come(since_seconds, now.wall_seconds):
        return since_seconds + period_seconds - now.wall_seconds
    return (now.monotonic_seconds if seen_at is None else seen_at) + period_seconds - now.monotonic_seconds
