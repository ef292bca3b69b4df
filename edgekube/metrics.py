"""Counters, gauges and histograms, and the text in which Prometheus reads them.

Enters: numbers, with the values of a family's labels.
Leaves: the exposition text, families in the order in which they were made.
Holds: counting is a look-up and an addition; no lock, for all of it happens in one event loop. Nothing is formatted before it is
asked for.
Bound: limits.METRICS_SERIES_MAX series a family; what comes later is counted under labels that say so.
Source: prometheus.io, "Exposition formats".
Next: server.figures.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, TypeVar

from edgekube import limits

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
#: Stands in each label of what a family has no room for.
OVERFLOW: Final = "other"

Labels = tuple[str, ...]
F = TypeVar("F", bound="Family")


def escaped(value: str) -> str:
    if '"' in value or "\\" in value or "\n" in value:
        value = value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
    return value


def number(value: float) -> str:
    """Whole numbers without a point, others with as many digits as they need."""
    if isinstance(value, int) or (value == value and abs(value) < 1e15 and value == int(value)):
        return str(int(value))
    return repr(value)


class Family:
    """What has one name: its series are told apart by the values of its labels."""

    type = "untyped"

    def __init__(self, name: str, help_: str, labels: Sequence[str] = ()) -> None:
        self.name = name
        self.help = help_
        self.labels = tuple(labels)

    def head(self) -> Iterator[str]:
        yield f"# HELP {self.name} {self.help}"
        yield f"# TYPE {self.name} {self.type}"

    def lines(self) -> Iterator[str]:
        raise NotImplementedError

    def _pairs(self, values: Labels) -> str:
        return ",".join(f'{label}="{escaped(value)}"' for label, value in zip(self.labels, values, strict=True))

    def _overflow(self) -> Labels:
        return (OVERFLOW,) * len(self.labels)


class _Numbers(Family):
    def __init__(self, name: str, help_: str, labels: Sequence[str] = ()) -> None:
        super().__init__(name, help_, labels)
        self._values: dict[Labels, float] = {}

    def add(self, values: Labels = (), amount: float = 1) -> None:
        found = self._values.get(values)
        if found is None:
            if len(self._values) >= limits.METRICS_SERIES_MAX:
                values = self._overflow()
            found = self._values.get(values, 0)
        self._values[values] = found + amount

    def value(self, values: Labels = ()) -> float:
        return self._values.get(values, 0)

    def set(self, values: Labels, value: float) -> None:
        if values not in self._values and len(self._values) >= limits.METRICS_SERIES_MAX:
            values = self._overflow()
        self._values[values] = value

    def clear(self) -> None:
        self._values.clear()

    def lines(self) -> Iterator[str]:
        for values, value in self._values.items():
            pairs = self._pairs(values)
            yield f"{self.name}{{{pairs}}} {number(value)}" if pairs else f"{self.name} {number(value)}"


class Counter(_Numbers):
    type = "counter"


class Gauge(_Numbers):
    type = "gauge"


class Histogram(Family):
    type = "histogram"

    def __init__(self, name: str, help_: str, labels: Sequence[str], buckets: Sequence[float]) -> None:
        super().__init__(name, help_, labels)
        self.buckets = tuple(buckets)
        #: For each series: a count for each bucket and one beyond, then the sum.
        self._series: dict[Labels, tuple[list[int], list[float]]] = {}

    def observe(self, values: Labels, value: float) -> None:
        found = self._series.get(values)
        if found is None:
            if len(self._series) >= limits.METRICS_SERIES_MAX:
                values = self._overflow()
            found = self._series.setdefault(values, ([0] * (len(self.buckets) + 1), [0.0]))
        counts, total = found
        counts[bisect_left(self.buckets, value)] += 1
        total[0] += value

    def series(self) -> Iterable[Labels]:
        return self._series.keys()

    def count(self, values: Labels = ()) -> int:
        found = self._series.get(values)
        return sum(found[0]) if found else 0

    def lines(self) -> Iterator[str]:
        return self.lines_as(self.name)

    def lines_as(self, name: str) -> Iterator[str]:
        bounds = [number(bound) for bound in self.buckets]
        for values, (counts, total) in self._series.items():
            pairs = self._pairs(values)
            before = f"{pairs}," if pairs else ""
            reached = 0
            for bound, count in zip(bounds, counts, strict=False):
                reached += count
                yield f'{name}_bucket{{{before}le="{bound}"}} {reached}'
            reached += counts[-1]
            yield f'{name}_bucket{{{before}le="+Inf"}} {reached}'
            within = f"{{{pairs}}}" if pairs else ""
            yield f"{name}_sum{within} {number(total[0])}"
            yield f"{name}_count{within} {reached}"


class Metrics:
    """All families of one server."""

    def __init__(self) -> None:
        self._families: dict[str, Family] = {}
        self._before: list[Callable[[], None]] = []

    def counter(self, name: str, help_: str, *labels: str) -> Counter:
        return self._family(Counter(name, help_, labels))

    def gauge(self, name: str, help_: str, *labels: str) -> Gauge:
        return self._family(Gauge(name, help_, labels))

    def histogram(self, name: str, help_: str, *labels: str, buckets: Sequence[float]) -> Histogram:
        return self._family(Histogram(name, help_, labels, buckets))

    def _family(self, family: F) -> F:
        """The family of that name: two parts may count the same thing."""
        found = self._families.setdefault(family.name, family)
        if type(found) is not type(family) or found.labels != family.labels:
            raise ValueError(f"{family.name} is a {found.type} with the labels {found.labels}")
        return found

    def before_reading(self, fill: Callable[[], None]) -> None:
        """``fill`` sets gauges that nobody keeps."""
        self._before.append(fill)

    def text(self, further: Iterable[str] = ()) -> str:
        for fill in self._before:
            fill()
        lines: list[str] = []
        for family in self._families.values():
            body = list(family.lines())
            if body:
                lines += family.head()
                lines += body
        lines += further
        return "\n".join([*lines, ""])
