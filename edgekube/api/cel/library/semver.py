"""Semantic versions, and what they share by name with quantities: comparisons.

Enters: text, versions.
Leaves: versions, numbers.
Source: Kubernetes' CEL semver library; https://semver.org.
Next: api.cel.environment (after quantities: isGreaterThan serves both).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from edgekube.api.cel.errors import EvaluationError, no_such_overload
from edgekube.api.cel.library import quantities

_V: Final = "kubernetes.Semver"
DECLARATIONS: Final = f"""
string_to_semver semver(string) -> {_V}
string_bool_to_semver semver(string, bool) -> {_V}
is_semver_string isSemver(string) -> bool
is_semver_string_bool isSemver(string, bool) -> bool
semver_is_greater_than {_V}.isGreaterThan({_V}) -> bool
semver_is_less_than {_V}.isLessThan({_V}) -> bool
semver_compare_to {_V}.compareTo({_V}) -> int
semver_major {_V}.major() -> int
semver_minor {_V}.minor() -> int
semver_patch {_V}.patch() -> int
"""
_NUMBER: Final = r"(0|[1-9][0-9]*)"
_PRERELEASE: Final = r"(?:0|[1-9][0-9]*|[0-9]*[A-Za-z-][0-9A-Za-z-]*)"
_VERSION: Final = re.compile(
    rf"{_NUMBER}\.{_NUMBER}\.{_NUMBER}(?:-({_PRERELEASE}(?:\.{_PRERELEASE})*))?(?:\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?"
)
_UINT_MAX: Final = 2**64 - 1


class Semver:
    __slots__ = ("numbers", "prerelease")
    type_name: Final = _V
    equality_cost_is_one: Final = True

    def __init__(self, numbers: tuple[int, int, int], prerelease: tuple[str, ...]) -> None:
        self.numbers: Final = numbers
        self.prerelease: Final = prerelease

    def key(self) -> tuple[Any, ...]:
        parts = tuple((0, int(one), "") if one.isdigit() else (1, 0, one) for one in self.prerelease)
        return (self.numbers, not self.prerelease, parts)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Semver) and other.key() == self.key()

    def __hash__(self) -> int:
        return hash(self.key())


def _parsed(text: Any, normalize: Any) -> Semver:
    if type(text) is not str or type(normalize) is not bool:
        raise no_such_overload()
    given = _normalized(text) if normalize else text
    match = _VERSION.fullmatch(given)
    if match is None or any(int(match.group(index)) > _UINT_MAX for index in (1, 2, 3)):
        raise EvaluationError(_why_not(given))
    major, minor, patch, prerelease = match.groups()
    return Semver((int(major), int(minor), int(patch)), tuple(prerelease.split(".")) if prerelease else ())


def _why_not(text: str) -> str:
    numbers = text.split(".", 2)
    if len(numbers) < 3:
        return "No Major.Minor.Patch elements found"
    numbers[2] = re.split("[-+]", numbers[2], maxsplit=1)[0]
    for name, number in zip(("major", "minor", "patch"), numbers, strict=True):
        if not (number.isascii() and number.isdigit()):
            return f'Invalid character(s) found in {name} number "{number}"'
        if len(number) > 1 and number[0] == "0":
            return f'{name.capitalize()} number must not contain leading zeroes "{number}"'
    return f'Invalid version "{text}"'


def _normalized(text: str) -> str:
    """Without a v in front, with three numbers, none with leading zeros."""
    head, rest = re.fullmatch(r"v?([0-9.]*)(.*)", text, re.DOTALL).groups()  # type: ignore[union-attr]  # always matches
    numbers = [one.lstrip("0") or "0" if one else one for one in head.split(".")]
    if len(numbers) < 3 and rest:
        return text
    numbers += ["0"] * (3 - len(numbers))
    return ".".join(numbers) + rest


def _is_semver(text: Any, normalize: Any = False) -> bool:
    if type(text) is not str:
        raise no_such_overload()
    try:
        _parsed(text, normalize)
    except EvaluationError:
        return False
    return True


def _order(left: Any, right: Any) -> int:
    if isinstance(left, Semver) and isinstance(right, Semver):
        a, b = left.key(), right.key()
        return (a > b) - (a < b)
    return quantities.order(left, right)


def _number(index: int) -> Callable[[Any], int]:
    def function(value: Any) -> int:
        if not isinstance(value, Semver):
            raise no_such_overload()
        return value.numbers[index]

    return function


IMPLEMENTATIONS: Final[dict[str, Callable[..., Any]]] = {
    "semver": lambda text, normalize=False: _parsed(text, normalize),
    "isSemver": _is_semver,
    "isGreaterThan": lambda left, right: _order(left, right) > 0,
    "isLessThan": lambda left, right: _order(left, right) < 0,
    "compareTo": _order,
    "major": _number(0),
    "minor": _number(1),
    "patch": _number(2),
}
