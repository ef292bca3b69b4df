"""A least and a most, with the arithmetic of 64 bits that stops at the end instead of going round.

Enters: sizes and costs.
Leaves: their sums, products, unions.
Source: cel-go checker/cost.go.
Next: api.cel.cost.
"""

from __future__ import annotations

from math import ceil
from typing import Final, NamedTuple

MAX: Final = 2**64 - 1


class Range(NamedTuple):
    low: int
    high: int

    def plus(self, other: Range) -> Range:
        return Range(min(self.low + other.low, MAX), min(self.high + other.high, MAX))

    def times(self, other: Range) -> Range:
        return Range(min(self.low * other.low, MAX), min(self.high * other.high, MAX))

    def by(self, factor: float) -> Range:
        """Multiplied, and rounded up."""
        return Range(_by(self.low, factor), _by(self.high, factor))

    def union(self, other: Range) -> Range:
        return Range(min(self.low, other.low), max(self.high, other.high))


def _by(amount: int, factor: float) -> int:
    product = float(amount) * factor
    return MAX if product >= 2.0**64 else min(ceil(product), MAX)


def fixed(amount: int) -> Range:
    return Range(amount, amount)


ZERO: Final = fixed(0)
ONE: Final = fixed(1)
UNKNOWN: Final = Range(0, MAX)
