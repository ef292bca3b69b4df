"""Times as text: RFC 3339 in objects, short ages in tables.

Enters: seconds since the epoch, and text from objects.
Leaves: text, seconds, ages.
Holds: no clock here; now is always passed in.
Source: RFC 3339; metav1.Time, metav1.MicroTime; apimachinery duration.HumanDuration.
Next: registry (timestamps), api.tables (ages), controllers.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_RFC3339: Final = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)T(\d\d?):(\d\d):(\d\d)(?:[.,](\d+))?(?:Z|([+-])([01]\d|2[0-3]):([0-5]\d))", re.ASCII
)


def _moment(seconds: float) -> datetime:
    return _EPOCH + timedelta(seconds=seconds)


def rfc3339(seconds: float) -> str:
    """``2026-01-02T03:04:05Z``: whole seconds, cut off, as metav1.Time has them."""
    return _moment(seconds // 1).isoformat()[:19] + "Z"


def rfc3339_micro(seconds: float) -> str:
    """``2026-01-02T03:04:05.000006Z``: metav1.MicroTime."""
    return _moment(seconds).isoformat(timespec="microseconds")[:26] + "Z"


def parse(text: str) -> float:
    """Seconds since the epoch. ValueError when the text is no RFC 3339 time."""
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise ValueError(f'parsing time "{text}" as "2006-01-02T15:04:05Z07:00": cannot parse "{text}" as RFC 3339')
    year, month, day, hour, minute, second, fraction, sign, off_hours, off_minutes = match.groups()
    try:
        moment = datetime(int(year), int(month), int(day), int(hour), int(minute), int(second), tzinfo=UTC)
    except ValueError as error:
        raise ValueError(f'parsing time "{text}": {error}') from None
    seconds = float((moment - _EPOCH) // timedelta(seconds=1))
    if sign:
        offset = int(off_hours) * 3600 + int(off_minutes) * 60
        seconds += offset if sign == "-" else -offset
    if fraction:
        seconds += float("0." + fraction[:6])  # more than a float of this size can hold would round up
    return seconds


def age(seconds: float) -> str:
    """A duration the way tables show it: at most two units, coarser as it grows; "<invalid>" below -1 s."""
    whole = int(seconds)
    if whole < -1:
        return "<invalid>"
    if whole < 0:
        return "0s"
    if whole < 120:
        return f"{whole}s"
    minutes, rest_seconds = divmod(whole, 60)
    if minutes < 10:
        return f"{minutes}m{rest_seconds}s" if rest_seconds else f"{minutes}m"
    if minutes < 180:
        return f"{minutes}m"
    hours, rest_minutes = divmod(minutes, 60)
    if hours < 8:
        return f"{hours}h{rest_minutes}m" if rest_minutes else f"{hours}h"
    if hours < 48:
        return f"{hours}h"
    days, rest_hours = divmod(hours, 24)
    if hours < 24 * 8:
        return f"{days}d{rest_hours}h" if rest_hours else f"{days}d"
    if hours < 24 * 365 * 2:
        return f"{days}d"
    years, rest_days = divmod(days, 365)
    if hours < 24 * 365 * 8:
        return f"{years}y{rest_days}d" if rest_days else f"{years}y"
    return f"{years}y"


def age_since(timestamp: str | None, now: float) -> str:
    """The age of a timestamp in an object; "<unknown>" when there is none."""
    if not timestamp:
        return "<unknown>"
    try:
        return age(now - parse(timestamp))
    except ValueError:
        return "<unknown>"
