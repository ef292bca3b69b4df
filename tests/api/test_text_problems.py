"""What is wrong with a text, as Go's parsers say it."""

from __future__ import annotations

import pytest

from edgekube.api.text_problems import problem_of_base64, problem_of_time

_LAYOUT = "2006-01-02T15:04:05Z07:00"
_MICRO = "2006-01-02T15:04:05.000000Z07:00"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("2026-02-28T23:59:59Z", ""),
        ("2026-02-28T3:59:59.123+05:30", ""),
        ("", f'parsing time "" as "{_LAYOUT}": cannot parse "" as "2006"'),
        ("now", f'parsing time "now" as "{_LAYOUT}": cannot parse "now" as "2006"'),
        ("2026/01", f'parsing time "2026/01" as "{_LAYOUT}": cannot parse "/01" as "-"'),
        ("2026-1-02", f'parsing time "2026-1-02" as "{_LAYOUT}": cannot parse "1-02" as "01"'),
        ("2026-01-02", f'parsing time "2026-01-02" as "{_LAYOUT}": cannot parse "" as "T"'),
        ("2026-01-02T03:04:05", f'parsing time "2026-01-02T03:04:05" as "{_LAYOUT}": cannot parse "" as "Z07:00"'),
        ("2026-13-02T03:04:05Z", 'parsing time "2026-13-02T03:04:05Z": month out of range'),
        ("2026-02-29T03:04:05Z", 'parsing time "2026-02-29T03:04:05Z": day out of range'),
        ("2026-02-28T24:04:05Z", 'parsing time "2026-02-28T24:04:05Z": hour out of range'),
        ("2026-02-28T03:04:05Zx", 'parsing time "2026-02-28T03:04:05Zx": extra text: "x"'),
        ('é"', f'parsing time "\\xc3\\xa9\\"" as "{_LAYOUT}": cannot parse "\\xc3\\xa9\\"" as "2006"'),
    ],
)
def test_a_time_is_read_from_left_to_right(text: str, problem: str) -> None:
    assert problem_of_time(text, micro=False) == problem


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("2026-02-28T23:59:59.000001Z", ""),
        ("2026-02-28T23:59:59Z", f'parsing time "2026-02-28T23:59:59Z" as "{_MICRO}": cannot parse "Z" as ".000000"'),
        ("2026-02-28T23:59:59.1Z", f'parsing time "2026-02-28T23:59:59.1Z" as "{_MICRO}": cannot parse ".1Z" as ".000000"'),
    ],
)
def test_a_time_of_microseconds_has_all_six_digits(text: str, problem: str) -> None:
    assert problem_of_time(text, micro=True) == problem


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("b.c/d", 1), ("10.0.0.1", 2), ("YWJj%", 4), ("-", 0), ("a", 0), ("YWJja", 4), ("YWJjab", 4), ("YW=", 3), ("YW=a", 2),
        ("YW==a", 4), ("YWI=a", 4), ("Y===", 1), ("YWJj\nab", 5), ("é", 0),
    ],
)  # fmt: skip
def test_base64_is_wrong_at_a_place(text: str, at: int) -> None:
    assert problem_of_base64(text) == f"illegal base64 data at input byte {at}"
