"""Quantities: 100m, 1.5, 64Mi, 1e3. Numbers with a suffix, exact.

Enters: text (or a JSON number) as manifests write it.
Leaves: exact decimals, whole milli-units and bytes rounded up, and the canonical text that the API shows.
Holds: no float arithmetic; a non-zero amount never becomes zero; finer than nano is rounded away from zero, as apimachinery does.
Source: apimachinery pkg/api/resource (the grammar is in the Quantity documentation).
Next: api.strict (canonical text), scheduler, agent, admission.quota.
"""

from __future__ import annotations

import re
from decimal import ROUND_UP, Context, Decimal
from functools import lru_cache
from typing import Final, NamedTuple

_GRAMMAR: Final = re.compile(r"([+-]?)([0-9]*)(?:\.([0-9]*))?([eEinumkKMGTP]*)([+-]?[0-9]*)", re.ASCII)
WRONG_FORM: Final = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
_WRONG_SUFFIX: Final = "unable to parse quantity's suffix"
_WRONG_NUMBER: Final = "unable to parse numeric part of quantity"

_BINARY: Final = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
_DECIMAL: Final = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_DECIMAL_SUFFIX: Final = {exponent: suffix for suffix, exponent in _DECIMAL.items()}
_BINARY_SUFFIX: Final = ("", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei")

_NANO: Final = Decimal("1e-9")
#: Upstream caps amounts at the largest int64; text longer than this cannot change the outcome and is not worth the arithmetic.
_AMOUNT_MAX: Final = Decimal(2**63 - 1)
_TEXT_CHARACTERS_MAX: Final = 512
_EXPONENT_DIGITS_MAX: Final = 9
_EXACT: Final = Context(prec=_TEXT_CHARACTERS_MAX + 64, Emax=2 * 10**9, Emin=-2 * 10**9)


class _Parsed(NamedTuple):
    amount: Decimal
    family: str  # "binary", "decimal", "exponent": canonical text keeps it


@lru_cache(maxsize=512)
def _parse_text(text: str) -> _Parsed:
    match = _GRAMMAR.fullmatch(text) if 0 < len(text) <= _TEXT_CHARACTERS_MAX else None
    if match is None:
        raise ValueError(WRONG_FORM)
    sign, whole, fraction, letters, exponent = match.groups()
    if not whole and not fraction:
        raise ValueError(WRONG_FORM if fraction is None and not letters else _WRONG_NUMBER)
    number = Decimal(f"{sign}{whole or '0'}.{fraction or '0'}")
    if letters in ("e", "E") and exponent:
        if not 0 < len(exponent.lstrip("+-")) <= _EXPONENT_DIGITS_MAX:
            raise ValueError(_WRONG_SUFFIX)
        family, amount = "exponent", number.scaleb(int(exponent), _EXACT)
    elif exponent:
        raise ValueError(_WRONG_SUFFIX if letters else WRONG_FORM)
    elif letters in _BINARY:
        family, amount = "binary", _EXACT.multiply(number, Decimal(1 << _BINARY[letters]))
    elif letters in _DECIMAL:
        family, amount = "decimal", number.scaleb(_DECIMAL[letters], _EXACT)
    else:
        raise ValueError(_WRONG_SUFFIX)
    if not -_AMOUNT_MAX <= amount <= _AMOUNT_MAX:  # not abs(): it rounds, and overflows
        amount = _AMOUNT_MAX.copy_sign(amount)
    elif amount.as_tuple().exponent < -9:  # type: ignore[operator]  # finite: the exponent is an int
        amount = amount.quantize(_NANO, ROUND_UP, _EXACT)
    return _Parsed(amount, family)


def _parsed(quantity: str | int | float | Decimal) -> _Parsed:
    if isinstance(quantity, str):
        return _parse_text(quantity)
    if isinstance(quantity, bool):
        raise ValueError(WRONG_FORM)
    if isinstance(quantity, Decimal):
        return _Parsed(quantity, "decimal")
    return _parse_text(repr(quantity))


def parse(text: str | int | float) -> Decimal:
    """The exact amount in base units: ``parse("100m") == Decimal("0.1")``. ValueError, in upstream's words, on bad text."""
    return _parsed(text).amount


def _rounded_up(amount: Decimal) -> int:
    return int(amount.to_integral_value(ROUND_UP, _EXACT))


def to_milli(text: str | int | float) -> int:
    """Thousandths, rounded up (away from zero): CPU as millicores."""
    return _rounded_up(_parsed(text).amount.scaleb(3, _EXACT))


def to_bytes(text: str | int | float) -> int:
    """Whole units, rounded up (away from zero): memory as bytes, counts as counts."""
    return _rounded_up(_parsed(text).amount)


def compare(left: str | int | float, right: str | int | float) -> int:
    """-1, 0 or 1, by amount: ``compare("1Gi", "1024Mi") == 0``."""
    a, b = _parsed(left).amount, _parsed(right).amount
    return (a > b) - (a < b)


def equal(left: str | int | float, right: str | int | float) -> bool:
    return compare(left, right) == 0


def is_zero(text: str | int | float) -> bool:
    return not _parsed(text).amount


def is_negative(text: str | int | float) -> bool:
    return _parsed(text).amount < 0


def is_whole(text: str | int | float) -> bool:
    """True when the amount has no fraction (extended resources and counts must not)."""
    amount = _parsed(text).amount
    return amount == amount.to_integral_value()


def _decimal_text(amount: Decimal, family: str) -> str:
    sign, digits, exponent = amount.normalize(_EXACT).as_tuple()
    assert isinstance(exponent, int), "quantities are finite"
    padding = exponent % 3
    mantissa = "".join(map(str, digits)) + "0" * padding
    exponent -= padding
    if family == "exponent":
        suffix = f"e{exponent}" if exponent else ""
    else:
        while exponent > 18:
            mantissa, exponent = mantissa + "000", exponent - 3
        suffix = _DECIMAL_SUFFIX[exponent]
    return f"{'-' if sign else ''}{mantissa}{suffix}"


def _binary_text(amount: int) -> str:
    power = 0
    while amount % 1024 == 0 and power < len(_BINARY_SUFFIX) - 1:
        amount //= 1024
        power += 1
    return f"{amount}{_BINARY_SUFFIX[power]}"


def text_of(amount: Decimal | int, family: str = "decimal") -> str:
    """Canonical text of an amount; ``family`` is "decimal" (m, k, M), "binary" (Ki, Mi) or "exponent" (1e3)."""
    amount = Decimal(amount)
    if not amount:
        return "0"
    if family == "binary" and abs(amount) >= 1024 and amount == amount.to_integral_value():
        return _binary_text(int(amount))
    return _decimal_text(amount, "decimal" if family == "binary" else family)


@lru_cache(maxsize=512)
def _canonical_text(text: str) -> str:
    amount, family = _parse_text(text)
    return text_of(amount, family)


def canonical(text: str | int | float) -> str:
    """The text as the API shows it: no fraction, the largest suffix, same family: ``1024Mi`` → ``1Gi``, ``0.5`` → ``500m``."""
    return _canonical_text(text if isinstance(text, str) else repr(_number(text)))


def _number(value: float) -> int | float:
    if isinstance(value, bool):
        raise ValueError(WRONG_FORM)
    return value


def family_of(text: str | int | float) -> str:
    """Which suffix family the text is in, for sums that should look like their parts."""
    return _parsed(text).family


def add(left: str | int | float, right: str | int | float) -> str:
    """The sum, in the left side's family (the right side's when the left is zero)."""
    a, b = _parsed(left), _parsed(right)
    return text_of(_EXACT.add(a.amount, b.amount), a.family if a.amount else b.family)


def subtract(left: str | int | float, right: str | int | float) -> str:
    """The difference, in the left side's family (the right side's when the left is zero)."""
    a, b = _parsed(left), _parsed(right)
    return text_of(_EXACT.subtract(a.amount, b.amount), a.family if a.amount else b.family)
