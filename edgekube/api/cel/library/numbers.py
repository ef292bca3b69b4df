"""Numbers as text, the way Go's strconv writes them.

Enters: floats.
Leaves: the shortest text that reads back the same: 1, 0.1, 1e+06.
Source: Go's strconv.FormatFloat documentation (format 'g', shortest).
Next: api.cel.library.standard, api.cel.library.formatting.
"""

from __future__ import annotations

import math
from decimal import Decimal


def double_text(value: float, exponent_from: int = 6) -> str:
    """With an exponent below 1e-4 and from 10**exponent_from on."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    if not value:
        return "-0" if math.copysign(1.0, value) < 0 else "0"
    sign, numbers, power = Decimal(repr(value)).as_tuple()
    assert isinstance(power, int), "it is finite"
    digits = "".join(map(str, numbers))
    point = len(digits) + power - 1  # the decimal exponent of the first digit
    digits = digits.rstrip("0")
    text = "-" if sign else ""
    if point < -4 or point >= exponent_from:
        rest = f".{digits[1:]}" if len(digits) > 1 else ""
        return f"{text}{digits[0]}{rest}e{'-' if point < 0 else '+'}{abs(point):02d}"
    if point < 0:
        return f"{text}0.{'0' * (-point - 1)}{digits}"
    if len(digits) <= point + 1:
        return text + digits + "0" * (point + 1 - len(digits))
    return f"{text}{digits[: point + 1]}.{digits[point + 1 :]}"
