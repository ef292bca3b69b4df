"""Numbers against a schema: bounds, multiples, and what the named formats can hold.

Enters: a number and its schema.
Leaves: pairs of a path and a message; None as path where upstream names none.
Holds: integers are compared as integers, so that large ones keep their last digits.
Source: kube-openapi pkg/validation/validate (values.go).
Next: api.custom.checking.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from edgekube.api.custom.schema import Schema

_RANGES: Final = {"int32": 1 << 31, "int64": 1 << 63, "": 1 << 63}
_FLOAT32_MAX: Final = 3.4028234663852886e38


def shown(number: float) -> str:
    """As Go's %v."""
    if isinstance(number, float) and number.is_integer() and abs(number) < 1e21:
        return str(int(number))
    return str(number)


def check_number(schema: Schema, value: float, path: str) -> Iterator[tuple[str | None, str]]:
    kind = schema.types[0] if len(schema.types) == 1 else ""
    if kind == "integer" and schema.format in _RANGES:
        bound = _RANGES[schema.format]
        if not -bound <= value < bound:
            form = f"format {schema.format}" if schema.format else "(default format)"
            how = f"with {form}" if schema.format else form
            yield None, f'Invalid value: "": Checked value must be of type integer {how} in {path}'
    elif kind == "number" and schema.format == "float" and abs(value) > _FLOAT32_MAX:
        yield None, f'Invalid value: "": Checked value must be of type number with format float in {path}'
    keywords = schema.keywords
    if keywords is None:
        return
    factor = keywords.get("multipleOf")
    if factor is not None and factor > 0 and not _is_multiple(value, factor):
        yield path, f"Invalid value: {shown(value)}: {path} in body should be a multiple of {shown(factor)}"
    most = keywords.get("maximum")
    if most is not None:
        exclusive = keywords.get("exclusiveMaximum")
        if value > most or (exclusive and value == most):
            how = "less than" if exclusive else "less than or equal to"
            yield path, f"Invalid value: {shown(value)}: {path} in body should be {how} {shown(most)}"
    least = keywords.get("minimum")
    if least is not None:
        exclusive = keywords.get("exclusiveMinimum")
        if value < least or (exclusive and value == least):
            how = "greater than" if exclusive else "greater than or equal to"
            yield path, f"Invalid value: {shown(value)}: {path} in body should be {how} {shown(least)}"


def _is_multiple(value: float, factor: float) -> bool:
    if isinstance(value, int) and float(factor).is_integer():
        return value % int(factor) == 0
    quotient = value / factor
    return quotient == int(quotient) if abs(quotient) < 2**63 else False
