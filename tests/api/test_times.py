import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekube.api import times


def test_seconds_become_rfc3339() -> None:
    assert times.rfc3339(-62135596800) == "0001-01-01T00:00:00Z"
    assert times.rfc3339(1767323045.9) == "2026-01-02T03:04:05Z"
    assert times.rfc3339_micro(1767323045.000006) == "2026-01-02T03:04:05.000006Z"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2026-01-02T03:04:05Z", 1767323045.0),
        ("2026-01-02T03:04:05.5Z", 1767323045.5),
        ("2026-01-02T04:04:05+01:00", 1767323045.0),
        ("2026-01-02T01:34:05-01:30", 1767323045.0),
        ("1969-12-31T23:59:59Z", -1.0),
        ("2026-01-02T03:04:05.9999999999Z", 1767323045.999999),
    ],
)
def test_rfc3339_becomes_seconds(text: str, seconds: float) -> None:
    assert times.parse(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-01-02",
        "2026-01-02 03:04:05Z",
        "2026-13-02T03:04:05Z",
        "20260102T030405Z",
        "yesterday",
        "2026-01-02T03:04:05+24:00",
    ],
)
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="parsing time"):
        times.parse(text)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (-5, "<invalid>"), (-1.5, "0s"), (0, "0s"), (59, "59s"), (119, "119s"), (120, "2m"), (330, "5m30s"), (600, "10m"),
        (10799, "179m"), (10800, "3h"), (11520, "3h12m"), (28800, "8h"), (172799, "47h"), (172800, "2d"), (183600, "2d3h"),
        (8 * 86400, "8d"), (45 * 86400, "45d"), (729 * 86400, "729d"), (730 * 86400, "2y"), (800 * 86400, "2y70d"),
        (8 * 365 * 86400, "8y"),
    ],
)  # fmt: skip
def test_ages_grow_coarser(seconds: float, shown: str) -> None:
    assert times.age(seconds) == shown


def test_an_object_without_a_time_has_an_unknown_age() -> None:
    assert times.age_since(None, 0.0) == "<unknown>"
    assert times.age_since("nonsense", 0.0) == "<unknown>"
    assert times.age_since("1970-01-01T00:00:00Z", 61.0) == "61s"


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 4_000_000_000))
def test_text_and_seconds_agree(seconds: int) -> None:
    assert times.parse(times.rfc3339(seconds)) == seconds


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 4_000_000_000), st.integers(0, 999_999))
def test_microseconds_survive(seconds: int, micro: int) -> None:
    text = f"{times.rfc3339(seconds)[:-1]}.{micro:06}Z"
    assert times.rfc3339_micro(times.parse(text)) == text
