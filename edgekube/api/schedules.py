"""Schedules of CronJobs: what the text means, and when its next time is.

Enters: the schedule field, a time zone, a moment.
Leaves: a Schedule; the first moment after another one; ScheduleError, in upstream's words, when the text is no schedule.
Holds: five fields (minute, hour, day, month, weekday) or a descriptor such as @daily or @every 1h30m. A time comes when the clock
on the wall shows it: what a clock put forward skips does not come that day, what a clock put back repeats comes twice.
Bound: limits.SCHEDULE_SEARCH_YEARS_MAX; a day that never comes (February 30th) has no next time.
Source: kubernetes.io/docs/concepts/workloads/controllers/cron-jobs (schedule syntax); rules and messages of robfig/cron v3.
Next: api.validation.batch; controllers.cronjob.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Final

from msgspec import Struct

from edgekube import limits

_MONTHS: Final = {
    name: i for i, name in enumerate(("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"), 1)
}
_WEEKDAYS: Final = {name: i for i, name in enumerate(("sun", "mon", "tue", "wed", "thu", "fri", "sat"))}
_FIELDS: Final[tuple[tuple[int, int, Mapping[str, int]], ...]] = (
    (0, 59, {}),
    (0, 23, {}),
    (1, 31, {}),
    (1, 12, _MONTHS),
    (0, 6, _WEEKDAYS),
)
_DESCRIPTORS: Final = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_ZONE: Final = re.compile(r"(?:CRON_)?TZ=")
_NUMBER: Final = re.compile(r"[+-]?\d+", re.ASCII)


class ScheduleError(ValueError):
    """The text is no schedule; str() says why."""


class Schedule(Struct, frozen=True):
    minutes: frozenset[int] = frozenset()
    hours: frozenset[int] = frozenset()
    days: frozenset[int] = frozenset()
    months: frozenset[int] = frozenset()
    weekdays: frozenset[int] = frozenset()  # 0: Sunday
    #: One of the two says "any", so that both must hold; else one suffices.
    both_days: bool = True
    #: Of @every; then the rest says nothing.
    every_seconds: int = 0
    #: Of a TZ= prefix, which new objects may not have.
    zone: str = ""

    def after(self, seconds: float, zone: tzinfo) -> float | None:
        """The first time later than ``seconds``, both since the epoch."""
        if self.every_seconds:
            return float(seconds // 1 + self.every_seconds)
        at = int(seconds // 60) * 60 + 60
        last_year = _local(at, zone).year + limits.SCHEDULE_SEARCH_YEARS_MAX
        while True:
            local = _local(at, zone)
            if local.year > last_year:
                return None
            if local.month not in self.months:
                at = max(at + 60, _begin_of(_next_month(local), zone))
            elif not self._has_day(local):
                at = max(at + 60, _begin_of(local.date() + timedelta(days=1), zone))
            elif local.hour not in self.hours:
                at += (60 - local.minute) * 60
            elif local.minute not in self.minutes:
                at += 60
            else:
                return float(at)

    def _has_day(self, local: datetime) -> bool:
        day, weekday = local.day in self.days, local.isoweekday() % 7 in self.weekdays
        return (day and weekday) if self.both_days else (day or weekday)


def _local(seconds: int, zone: tzinfo) -> datetime:
    return datetime.fromtimestamp(seconds, zone)


def _next_month(local: datetime) -> date:
    return date(local.year + local.month // 12, local.month % 12 + 1, 1)


def _begin_of(day: date, zone: tzinfo) -> int:
    """The first moment of the day; where midnight is skipped, the moment that comes instead."""
    return int(datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC).timestamp())


def problem_of(text: str) -> str:
    """Why ``text`` is no schedule; "" when it is one."""
    try:
        parse(text)
    except ScheduleError as error:
        return str(error)
    return ""


def parse(text: str) -> Schedule:
    zone = ""
    prefix = _ZONE.match(text)
    if prefix is not None:
        zone, space, rest = text[prefix.end() :].partition(" ")
        if not space:
            raise ScheduleError(f"invalid schedule format: no schedule after {text}")
        text = rest.strip()
    if not text:
        raise ScheduleError("empty spec string")
    if text.startswith("@every "):
        return Schedule(every_seconds=_every(text), zone=zone)
    if text.startswith("@"):
        if text not in _DESCRIPTORS:
            raise ScheduleError(f"unrecognized descriptor: {text}")
        text = _DESCRIPTORS[text]
    parts = text.split()
    if len(parts) != len(_FIELDS):
        raise ScheduleError(f"expected exactly 5 fields, found {len(parts)}: [{' '.join(parts)}]")
    fields = [_field(part, *bounds) for part, bounds in zip(parts, _FIELDS, strict=True)]
    (minutes, _), (hours, _), (days, any_day), (months, _), (weekdays, any_weekday) = fields
    return Schedule(minutes, hours, days, months, weekdays, any_day or any_weekday, zone=zone)


def _every(text: str) -> int:
    from edgekube.api.cel.errors import EvaluationError  # most schedules have no duration to read
    from edgekube.api.cel.library.times import duration_of

    duration = text.removeprefix("@every ")
    try:
        seconds = duration_of(duration).nanoseconds // 10**9
    except EvaluationError:
        raise ScheduleError(f'failed to parse duration {text}: time: invalid duration "{duration}"') from None
    return max(1, seconds)


def _field(text: str, low: int, high: int, words: Mapping[str, int]) -> tuple[frozenset[int], bool]:
    """The numbers, and whether one of the ranges is "any"."""
    ranges = [_range(expression, low, high, words) for expression in text.split(",") if expression]
    return frozenset(number for numbers, _ in ranges for number in numbers), any(star for _, star in ranges)


def _range(expression: str, low: int, high: int, words: Mapping[str, int]) -> tuple[range, bool]:
    start_and_end, *steps = expression.split("/")
    ends = start_and_end.split("-")
    star = ends[0] in ("*", "?")
    if star:
        start, end = low, high
    elif len(ends) > 2:
        _number(ends[0], words)
        raise ScheduleError(f"too many hyphens: {expression}")
    else:
        start, end = _number(ends[0], words), _number(ends[-1], words)
    if len(steps) > 1:
        raise ScheduleError(f"too many slashes: {expression}")
    step = 1
    if steps:
        step = _number(steps[0], {})
        if len(ends) == 1:
            end = high
        star = star and step <= 1
    if start < low:
        raise ScheduleError(f"beginning of range ({start}) below minimum ({low}): {expression}")
    if end > high:
        raise ScheduleError(f"end of range ({end}) above maximum ({high}): {expression}")
    if start > end:
        raise ScheduleError(f"beginning of range ({start}) beyond end of range ({end}): {expression}")
    if step == 0:
        raise ScheduleError(f"step of range should be a positive number: {expression}")
    return range(start, end + 1, step), star


def _number(text: str, words: Mapping[str, int]) -> int:
    if text.lower() in words:
        return words[text.lower()]
    if not _NUMBER.fullmatch(text) or len(text) > 18:
        raise ScheduleError(f'failed to parse int from {text}: strconv.Atoi: parsing "{text}": invalid syntax')
    if int(text) < 0:
        raise ScheduleError(f"negative number ({int(text)}) not allowed: {text}")
    return int(text)
