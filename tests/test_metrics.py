"""Families of metrics: what is counted is what is read, and nobody grows them without end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekube import limits
from edgekube.metrics import OVERFLOW, Metrics, number


def test_the_text_is_what_prometheus_reads() -> None:
    metrics = Metrics()
    requests = metrics.counter("requests_total", "Requests.", "verb", "code")
    requests.add(("GET", "200"))
    requests.add(("GET", "200"))
    requests.add(('a"b\\c\nd', "404"), 0.5)
    metrics.gauge("never_set", "Nothing.")
    seconds = metrics.histogram("took_seconds", "Seconds.", buckets=(0.1, 1.0))
    for value in 0.05, 0.1, 0.5, 7:
        seconds.observe((), value)
    assert metrics.text(["last 1"]) == (
        "# HELP requests_total Requests.\n"
        "# TYPE requests_total counter\n"
        'requests_total{verb="GET",code="200"} 2\n'
        'requests_total{verb="a\\"b\\\\c\\nd",code="404"} 0.5\n'
        "# HELP took_seconds Seconds.\n"
        "# TYPE took_seconds histogram\n"
        'took_seconds_bucket{le="0.1"} 2\n'
        'took_seconds_bucket{le="1"} 3\n'
        'took_seconds_bucket{le="+Inf"} 4\n'
        "took_seconds_sum 7.65\n"
        "took_seconds_count 4\n"
        "last 1\n"
    )


def test_a_gauge_is_set_when_it_is_read() -> None:
    metrics = Metrics()
    gauge = metrics.gauge("rooms", "Rooms.", "floor")
    metrics.before_reading(lambda: gauge.set(("1",), 3))
    assert 'rooms{floor="1"} 3' in metrics.text()


def test_two_parts_may_count_the_same_and_must_agree_on_it() -> None:
    metrics = Metrics()
    assert metrics.counter("seen", "Seen.", "who") is metrics.counter("seen", "Seen.", "who")
    with pytest.raises(ValueError, match="seen is a counter"):
        metrics.gauge("seen", "Seen.", "who")
    with pytest.raises(ValueError, match="seen is a counter"):
        metrics.counter("seen", "Seen.", "whom")


def test_a_family_has_an_end() -> None:
    metrics = Metrics()
    counter = metrics.counter("c", "C.", "a", "b")
    histogram = metrics.histogram("h", "H.", "a", "b", buckets=(1,))
    for n in range(limits.METRICS_SERIES_MAX + 10):
        counter.add((str(n), ""))
        histogram.observe((str(n), ""), 1)
    assert counter.value((OVERFLOW, OVERFLOW)) == 10
    assert histogram.count((OVERFLOW, OVERFLOW)) == 10
    assert len(list(counter.lines())) == limits.METRICS_SERIES_MAX + 1


@given(st.floats(allow_nan=False) | st.integers(-(10**12), 10**12))
def test_numbers_are_what_they_were(value: float) -> None:
    assert float(number(value)) == value
