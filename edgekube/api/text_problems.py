"""Why a text is no time, or no base64, in the words of the parser that upstream's objects are read with.

Enters: text that is not what api.strict writes.
Leaves: a message; "" when Go would read it.
Holds: the first thing that is wrong is named, as Go's parser reads: from left to right, one part of the layout after another.
Source: Go's time.Parse and encoding/base64; metav1.Time (RFC 3339), metav1.MicroTime (six digits of a second).
Next: api.strict.
"""

from __future__ import annotations

import calendar
import re
from typing import Final

_ZONE: Final = ("Z07:00", r"Z|[+-]\d\d:\d\d", "", 0, 0)
#: Text between the parts, and each part: as the layout has it, what it looks like, what it is, and its bounds.
_PARTS: Final = (
    ("", ("2006", r"\d{4}", "", 0, 0)),
    ("-", ("01", r"\d\d", "month", 1, 12)),
    ("-", ("02", r"\d\d", "", 0, 0)),
    ("T", ("15", r"\d\d?", "hour", 0, 23)),
    (":", ("04", r"\d\d", "minute", 0, 59)),
    (":", ("05", r"\d\d", "second", 0, 59)),
)
_SECONDS: Final = (*_PARTS, ("", _ZONE))
_MICROSECONDS: Final = (*_PARTS, ("", (".000000", r"[.,]\d{6}", "", 0, 0)), ("", _ZONE))
_FRACTION: Final = re.compile(r"[.,]\d+", re.ASCII)


def problem_of_time(text: str, *, micro: bool) -> str:
    """``micro``: of a MicroTime."""
    layout = "2006-01-02T15:04:05.000000Z07:00" if micro else "2006-01-02T15:04:05Z07:00"
    rest, numbers = text, []
    for between, (part, form, what, low, high) in _MICROSECONDS if micro else _SECONDS:
        if not rest.startswith(between):
            return _unreadable(text, layout, rest, between)
        rest = rest.removeprefix(between)
        match = re.match(form, rest, re.ASCII)
        if match is None:
            return _unreadable(text, layout, rest, part)
        rest = rest[match.end() :]
        if what and not low <= int(match[0]) <= high:
            return f"parsing time {_quoted(text)}: {what} out of range"
        if part == "05" and not micro and (fraction := _FRACTION.match(rest)):
            rest = rest[fraction.end() :]
        numbers.append(match[0])
    if rest:
        return f"parsing time {_quoted(text)}: extra text: {_quoted(rest)}"
    year, month, day = (int(number) for number in numbers[:3])
    last = calendar.monthrange(year or 4, month)[1]  # year 0 is a leap year, and none of Python's
    return "" if 1 <= day <= last else f"parsing time {_quoted(text)}: day out of range"


def _unreadable(text: str, layout: str, rest: str, part: str) -> str:
    return f"parsing time {_quoted(text)} as {_quoted(layout)}: cannot parse {_quoted(rest)} as {_quoted(part)}"


def _quoted(text: str) -> str:
    """With what is not ASCII as the bytes that it is made of."""
    shown = "".join(
        f"\\{each}"
        if each in '"\\'
        else each
        if " " <= each <= "~"
        else "".join(f"\\x{byte:02x}" for byte in each.encode("utf-8", "surrogatepass"))
        for each in text
    )
    return f'"{shown}"'


_BASE64: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")


def problem_of_base64(text: str) -> str:
    return f"illegal base64 data at input byte {_where(text.encode('utf-8', 'surrogatepass'))}"


def _where(value: bytes) -> int:
    """Where Go's decoder gives up: at the first byte that does not belong, or where the four begin that are not complete."""
    taken = 0  # of the four that make three bytes
    for at, byte in enumerate(value):
        if byte in b"\r\n":
            continue
        if byte in _BASE64:
            taken = (taken + 1) % 4
            continue
        if byte != ord("=") or taken < 2:
            return at
        after = value[at + 1 :].lstrip(b"\r\n")
        if taken == 2 and not after.startswith(b"="):
            return at if after else len(value)
        return len(value) - len(after[1:].lstrip(b"\r\n") if taken == 2 else after)
    return len(value) - taken
