"""What waits for a time ends, whatever becomes of the clock."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edgekube import limits
from edgekube.api import podstate, times
from edgekube.api.controller import Moment
from edgekube.api.waiting import left_seconds

_SECONDS = st.floats(0, 1e9)


@given(since=_SECONDS, period=st.floats(0, 1e6), wall=_SECONDS, passed=st.floats(0, 1e7))
def test_it_waits_for_no_longer_than_the_period(since: float, period: float, wall: float, passed: float) -> None:
    seen_at = 50.0
    left = left_seconds(since, period, Moment(wall, seen_at + passed), seen_at)
    assert left <= period + limits.CLOCK_SKEW_SECONDS + 1e-6
    if wall + limits.CLOCK_SKEW_SECONDS >= since:
        assert left == since + period - wall
    elif passed > period:
        assert left <= 1e-6, "a year ahead, and over all the same"


def test_a_pod_that_became_ready_before_the_clock_was_set_back_is_available() -> None:
    def available(seconds: float) -> float | None:
        ready = {"type": "Ready", "status": "True", "lastTransitionTime": times.rfc3339(1e9)}
        return podstate.available_in({"status": {"conditions": [ready]}}, 10, seconds)

    assert (available(1e9 + 4), available(1e9 - 2), available(1e9 - 86_400)) == (6, 12, 0)
