"""Timestamps and durations: text, arithmetic, and their parts in a time zone.

Enters: RFC 3339 text, Go's duration text (1h30m), numbers.
Leaves: Timestamp, Duration, parts as numbers.
Holds: whole nanoseconds; years 1 to 9999; UTC unless the expression names a zone.
Source: the CEL language definition (timestamps, durations); Go's time.ParseDuration documentation.
Next: api.cel.library.standard.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any, Final

from edgekube.api.cel.errors import EvaluationError, conversion_error, no_such_overload
from edgekube.api.cel.values import INT_MAX, INT_MIN, Duration, Timestamp

_SECOND: Final = 10**9
_UNITS: Final = {
    "ns": 1,
    "us": 10**3,
    "µs": 10**3,
    "μs": 10**3,
    "ms": 10**6,
    "s": _SECOND,
    "m": 60 * _SECOND,
    "h": 3600 * _SECOND,
}
_DURATION: Final = re.compile(r"[+-]?(?:(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:ns|us|µs|μs|ms|s|m|h))+")
_PART: Final = re.compile(r"([0-9]*)(?:\.([0-9]*))?(ns|us|µs|μs|ms|s|m|h)")
_RFC3339: Final = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:[.,](\d+))?(?:Z|([+-])(\d\d):(\d\d))", re.ASCII)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST: Final = -62135596800 * _SECOND
_LAST: Final = 253402300800 * _SECOND
_NAMES_MAX: Final = 64

#: Function -> end of its overload's name.
TIMESTAMP_FIELDS: Final = {
    "getFullYear": "year",
    "getMonth": "month",
    "getDayOfYear": "day_of_year",
    "getDayOfMonth": "day_of_month",
    "getDate": "day_of_month_1_based",
    "getDayOfWeek": "day_of_week",
    "getHours": "hours",
    "getMinutes": "minutes",
    "getSeconds": "seconds",
    "getMilliseconds": "milliseconds",
}
DURATION_FIELDS: Final = {
    "getHours": 3600 * _SECOND,
    "getMinutes": 60 * _SECOND,
    "getSeconds": _SECOND,
    "getMilliseconds": 10**6,
}


def checked_duration(nanoseconds: int) -> Duration:
    if not INT_MIN <= nanoseconds <= INT_MAX:
        raise EvaluationError("duration overflow")
    return Duration(nanoseconds)


def checked_timestamp(nanoseconds: int) -> Timestamp:
    if not _FIRST <= nanoseconds < _LAST:
        raise EvaluationError("timestamp overflow")
    return Timestamp(nanoseconds)


def duration_of(text: str) -> Duration:
    """``1h30m``. EvaluationError, in Go's words, when it is none."""
    if text in ("0", "+0", "-0"):
        return Duration(0)
    if len(text) > _NAMES_MAX * 4 or _DURATION.fullmatch(text) is None:
        raise EvaluationError(f'time: invalid duration "{text}"')
    total = 0
    for whole, fraction, unit in _PART.findall(text.lstrip("+-")):
        scale = _UNITS[unit]
        total += int(whole or "0") * scale
        if fraction:
            total += int(fraction) * scale // 10 ** len(fraction)
    total = -total if text.startswith("-") else total
    if not INT_MIN <= total <= INT_MAX:
        raise EvaluationError(f'time: invalid duration "{text}"')
    return Duration(total)


def timestamp_of(text: str) -> Timestamp:
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise _unreadable(text)
    year, month, day, hour, minute, second, fraction, sign, off_hours, off_minutes = match.groups()
    try:
        moment = datetime(int(year), int(month), int(day), int(hour), int(minute), int(second), tzinfo=UTC)
    except ValueError:
        raise _unreadable(text) from None
    seconds = (moment - _EPOCH) // timedelta(seconds=1)
    if sign:
        if int(off_hours) > 24 or int(off_minutes) > 60:
            raise _unreadable(text)
        offset = int(off_hours) * 3600 + int(off_minutes) * 60
        seconds += offset if sign == "-" else -offset
    return checked_timestamp(seconds * _SECOND + int((fraction or "")[:9].ljust(9, "0")))


def _unreadable(text: str) -> EvaluationError:
    return EvaluationError(f'parsing time "{text}" as "2006-01-02T15:04:05Z07:00": cannot parse "{text}" as "2006"')


def to_duration(value: Any) -> Duration:
    if type(value) is str:
        try:
            return duration_of(value)
        except EvaluationError:
            raise conversion_error(value, "google.protobuf.Duration") from None
    if type(value) is Duration:
        return value
    if type(value) is int:
        raise EvaluationError("type conversion error from 'int' to 'google.protobuf.Duration'")
    raise no_such_overload()


def to_timestamp(value: Any) -> Timestamp:
    if type(value) is str:
        try:
            return timestamp_of(value)
        except EvaluationError:
            raise conversion_error(value, "google.protobuf.Timestamp") from None
    if type(value) is Timestamp:
        return value
    if type(value) is int:
        return checked_timestamp(value * _SECOND)
    raise no_such_overload()


def _fraction(nanoseconds: int) -> str:
    return f".{nanoseconds:09d}".rstrip("0") if nanoseconds else ""


def duration_text(value: Duration) -> str:
    """Seconds: ``5400s``."""
    seconds, rest = divmod(abs(value.nanoseconds), _SECOND)
    return f"{'-' if value.nanoseconds < 0 else ''}{seconds}{_fraction(rest)}s"


def timestamp_text(value: Timestamp) -> str:
    seconds, rest = divmod(value.nanoseconds, _SECOND)
    return (_EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S").rjust(19, "0") + _fraction(rest) + "Z"


def _zone(name: str) -> tzinfo:
    offset = re.fullmatch(r"([+-]?)(\d\d):(\d\d)", name, re.ASCII)
    if offset is not None:
        minutes = int(offset.group(2)) * 60 + int(offset.group(3))
        if minutes < 24 * 60:
            return timezone(timedelta(minutes=-minutes if offset.group(1) == "-" else minutes))
    if name in ("", "UTC"):
        return UTC
    from zoneinfo import ZoneInfo

    try:
        if len(name) > _NAMES_MAX:
            raise ValueError
        return ZoneInfo(name)
    except (ValueError, OSError, LookupError):
        raise EvaluationError(f"unknown time zone {name}") from None


_PARTS: Final[dict[str, Callable[[datetime], int]]] = {
    "getFullYear": lambda moment: moment.year,
    "getMonth": lambda moment: moment.month - 1,
    "getDayOfYear": lambda moment: moment.timetuple().tm_yday - 1,
    "getDayOfMonth": lambda moment: moment.day - 1,
    "getDate": lambda moment: moment.day,
    "getDayOfWeek": lambda moment: moment.isoweekday() % 7,
    "getHours": lambda moment: moment.hour,
    "getMinutes": lambda moment: moment.minute,
    "getSeconds": lambda moment: moment.second,
}


def part(name: str) -> Callable[..., int]:
    """``timestamp.getHours()``, ``timestamp.getHours('Europe/Berlin')``, ``duration.getHours()``"""
    take, unit = _PARTS.get(name), DURATION_FIELDS.get(name, 0)

    def function(value: Any, zone: str = "UTC") -> int:
        if type(value) is Duration and unit:
            whole = abs(value.nanoseconds) // unit
            return -whole if value.nanoseconds < 0 else whole
        if type(value) is not Timestamp or type(zone) is not str:
            raise no_such_overload()
        seconds, rest = divmod(value.nanoseconds, _SECOND)
        if take is None:
            return rest // 10**6
        try:
            return take((_EPOCH + timedelta(seconds=seconds)).astimezone(_zone(zone)))
        except OverflowError:
            raise EvaluationError("timestamp overflow") from None

    return function
