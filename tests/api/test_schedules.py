"""Times of schedules, against the cronsim library, against a walk minute by minute, and on days when clocks are changed."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim, CronSimError
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from edgekube.api.schedules import ScheduleError, parse, problem_of

BERLIN = ZoneInfo("Europe/Berlin")


def field(low: int, high: int) -> st.SearchStrategy[str]:
    number = st.integers(low, high)
    single = number.map(str)
    span = st.tuples(number, number).map(lambda ends: f"{min(ends)}-{max(ends)}")
    stepped = st.tuples(number, st.integers(1, 20)).map(lambda pair: f"{pair[0]}/{pair[1]}")
    return st.one_of(st.just("*"), single, span, stepped, st.lists(st.one_of(single, span), min_size=1, max_size=3).map(",".join))


SCHEDULES = st.tuples(field(0, 59), field(0, 23), field(1, 31), field(1, 12), field(0, 6)).map(" ".join)
MOMENTS = st.integers(1_700_000_000, 1_900_000_000)


@settings(max_examples=150, deadline=None)
@given(text=SCHEDULES, since=MOMENTS)
def test_as_cronsim_in_utc(text: str, since: int) -> None:
    # cronsim's days of the week end at 7; n/m is the same up to there.
    assume("/" not in text.split()[4])
    try:
        expected = next(CronSim(text, datetime.fromtimestamp(since, UTC)), None)
    except (CronSimError, StopIteration):
        expected = None
    found = parse(text).after(since, UTC)
    if expected is None or expected.timestamp() - since > 4 * 365 * 86400:
        assert found is None or found - since > 4 * 365 * 86400
    else:
        assert found == expected.timestamp()


@settings(max_examples=60, deadline=None)
@given(
    text=st.tuples(field(0, 59), field(0, 5)).map(lambda parts: f"{parts[0]} {parts[1]} * * *"),
    zone=st.sampled_from(["Europe/Berlin", "America/Havana", "Australia/Lord_Howe", "America/Santiago"]),
    day=st.sampled_from(["2026-03-07", "2026-03-28", "2026-10-24", "2026-10-31", "2026-04-04", "2026-10-03", "2026-09-05"]),
)
def test_every_minute_that_the_wall_shows(text: str, zone: str, day: str) -> None:
    place = ZoneInfo(zone)
    begin = int(datetime.fromisoformat(day).replace(tzinfo=place).timestamp())
    schedule = parse(text)
    walked = []
    for at in range(begin + 60, begin + 48 * 3600, 60):
        local = datetime.fromtimestamp(at, place)
        if local.minute in schedule.minutes and local.hour in schedule.hours:
            walked.append(at)
    found: list[float] = []
    following = schedule.after(begin, place)
    while following is not None and following < begin + 48 * 3600:
        found.append(following)
        following = schedule.after(following, place)
    assert found == walked


@pytest.mark.parametrize(
    ("text", "since", "expected"),
    [
        # The clock goes from 02:00 to 03:00: that day has no half past two.
        ("30 2 * * *", "2026-03-28T12:00:00+01:00", "2026-03-30T02:30:00+02:00"),
        # It goes from 03:00 back to 02:00: half past two comes twice.
        ("30 2 * * *", "2026-10-25T02:30:00+02:00", "2026-10-25T02:30:00+01:00"),
        ("0 0 29 2 *", "2026-01-01T00:00:00+01:00", "2028-02-29T00:00:00+01:00"),
        ("0 0 31 2 *", "2026-01-01T00:00:00+01:00", None),
        # Two days that are named: either will do. With a star both must hold.
        ("0 0 13 * 5", "2026-01-01T12:00:00+01:00", "2026-01-02T00:00:00+01:00"),
        ("0 0 ? * 5", "2026-01-03T12:00:00+01:00", "2026-01-09T00:00:00+01:00"),
        ("0 0 */10 * 5", "2026-01-01T12:00:00+01:00", "2026-01-02T00:00:00+01:00"),
        ("0 0 * * sun", "2026-01-01T00:00:00+01:00", "2026-01-04T00:00:00+01:00"),
        ("@weekly", "2026-01-01T00:00:00+01:00", "2026-01-04T00:00:00+01:00"),
        ("@every 1h30m", "2026-01-01T00:00:20+01:00", "2026-01-01T01:30:20+01:00"),
        ("50/5 * * JAN-feb *", "2026-01-01T00:56:00+01:00", "2026-01-01T01:50:00+01:00"),
    ],
)
def test_known_times(text: str, since: str, expected: str | None) -> None:
    found = parse(text).after(datetime.fromisoformat(since).timestamp(), BERLIN)
    assert found == (None if expected is None else datetime.fromisoformat(expected).timestamp())


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "empty spec string"),
        ("* * * *", "expected exactly 5 fields, found 4: [* * * *]"),
        ("60 * * * *", "end of range (60) above maximum (59): 60"),
        ("* * 0 * *", "beginning of range (0) below minimum (1): 0"),
        ("* * * * 7", "end of range (7) above maximum (6): 7"),
        ("5-1 * * * *", "beginning of range (5) beyond end of range (1): 5-1"),
        ("*/0 * * * *", "step of range should be a positive number: */0"),
        ("1-2-3 * * * *", "too many hyphens: 1-2-3"),
        ("1/2/3 * * * *", "too many slashes: 1/2/3"),
        ("x * * * *", 'failed to parse int from x: strconv.Atoi: parsing "x": invalid syntax'),
        ("@often", "unrecognized descriptor: @often"),
        ("@every often", 'failed to parse duration @every often: time: invalid duration "often"'),
        ("1,,2 * * * *", ""),
        ("TZ=Europe/Berlin 1 * * * *", ""),
    ],
)
def test_problems_are_told_in_upstreams_words(text: str, problem: str) -> None:
    assert problem_of(text) == problem


def test_a_bad_schedule_cannot_be_had() -> None:
    with pytest.raises(ScheduleError):
        parse("nonsense")
