"""Schedules of CronJobs: is this text one?

Enters: the schedule field.
Leaves: upstream's message, or "" when the text is a schedule.
Holds: five fields (minute, hour, day, month, weekday) or a descriptor such as @daily or @every 1h30m.
Source: https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/#schedule-syntax; messages of robfig/cron v3.
Next: api.validation.batch; controllers.cronjob computes the times.
"""

from __future__ import annotations

import re
from typing import Final

_DESCRIPTORS: Final = ("@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly")
_MONTHS: Final = {
    name: i for i, name in enumerate(("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"), 1)
}
_WEEKDAYS: Final = {name: i for i, name in enumerate(("sun", "mon", "tue", "wed", "thu", "fri", "sat"))}
_FIELDS: Final[tuple[tuple[int, int, dict[str, int]], ...]] = (
    (0, 59, {}),
    (0, 23, {}),
    (1, 31, {}),
    (1, 12, _MONTHS),
    (0, 6, _WEEKDAYS),
)
_DURATION: Final = re.compile(
    r"[+-]?(\d+(\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)((\d+(\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h))*", re.ASCII
)


class _BadField(Exception):
    pass


def problem_of(schedule: str) -> str:
    """Why ``schedule`` is none; "" when it is one. TZ= and CRON_TZ= prefixes are the caller's affair."""
    text = re.sub(r"^(CRON_)?TZ=\S+\s*", "", schedule)
    if not text:
        return "empty spec string"
    if text.startswith("@"):
        return _problem_of_descriptor(text)
    parts = text.split()
    if len(parts) != len(_FIELDS):
        return f"expected exactly 5 fields, found {len(parts)}: [{' '.join(parts)}]"
    try:
        for part, (low, high, words) in zip(parts, _FIELDS, strict=True):
            for expression in part.split(","):
                _check_range(expression, low, high, words)
    except _BadField as bad:
        return str(bad)
    return ""


def _problem_of_descriptor(text: str) -> str:
    if text in _DESCRIPTORS:
        return ""
    if text.startswith("@every "):
        duration = text.removeprefix("@every ")
        if _DURATION.fullmatch(duration):
            return ""
        return f'failed to parse duration {text}: time: invalid duration "{duration}"'
    return f"unrecognized descriptor: {text}"


def _number(text: str, words: dict[str, int]) -> int:
    if text.lower() in words:
        return words[text.lower()]
    if not re.fullmatch(r"[+-]?\d+", text, re.ASCII):
        raise _BadField(f'failed to parse int from {text}: strconv.Atoi: parsing "{text}": invalid syntax')
    if int(text) < 0:
        raise _BadField(f"negative number ({text}) not allowed: {text}")
    return int(text)


def _check_range(expression: str, low: int, high: int, words: dict[str, int]) -> None:
    range_and_step = expression.split("/")
    ends = range_and_step[0].split("-")
    if ends[0] in ("*", "?"):
        start, end = low, high
    else:
        start = _number(ends[0], words)
        if len(ends) == 1:
            end = high if len(range_and_step) == 2 else start
        elif len(ends) == 2:
            end = _number(ends[1], words)
        else:
            raise _BadField(f"too many hyphens: {expression}")
    if len(range_and_step) == 2:
        if _number(range_and_step[1], {}) == 0:
            raise _BadField(f"step of range should be a positive number: {expression}")
    elif len(range_and_step) > 2:
        raise _BadField(f"too many slashes: {expression}")
    if start < low:
        raise _BadField(f"beginning of range ({start}) below minimum ({low}): {expression}")
    if end > high:
        raise _BadField(f"end of range ({end}) above maximum ({high}): {expression}")
    if start > end:
        raise _BadField(f"beginning of range ({start}) beyond end of range ({end}): {expression}")
