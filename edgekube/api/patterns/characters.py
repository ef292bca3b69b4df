"""Sets of characters as sorted ranges: the named classes, their folding and negation.

Enters: names of classes, ranges.
Leaves: ranges.
Source: https://github.com/google/re2/wiki/Syntax (classes).
Next: api.patterns.syntax.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from functools import lru_cache
from itertools import chain
from typing import Final

Ranges = tuple[tuple[int, int], ...]
#: Letters whose other case lies beyond ASCII: the Kelvin sign and the long s.
_BEYOND_ASCII: Final = ((0x4B, 0x212A), (0x6B, 0x212A), (0x53, 0x17F), (0x73, 0x17F))
_LAST: Final = 0x10FFFF
#: Beyond this no letter has another case but a few scripts; folding looks at no more characters than these.
_FOLDED_LAST: Final = 0x1E943


def merged(ranges: list[tuple[int, int]]) -> Ranges:
    found: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if found and low <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(high, found[-1][1]))
        else:
            found.append((low, high))
    return tuple(found)


def negated(ranges: Ranges) -> Ranges:
    found, start = [], 0
    for low, high in ranges:
        if low > start:
            found.append((start, low - 1))
        start = high + 1
    if start <= _LAST:
        found.append((start, _LAST))
    return tuple(found)


@lru_cache(maxsize=1)
def _cases() -> dict[int, tuple[int, ...]]:
    """Each character that has other cases, with those."""
    groups: dict[str, set[int]] = {}
    for code in range(_FOLDED_LAST + 1):
        character = chr(code)
        if character.lower() != character or character.upper() != character:
            for one in (character, character.lower(), character.upper()):
                if len(one) == 1:
                    fold = character.casefold()
                    groups.setdefault(fold if len(fold) == 1 else character.lower(), set()).add(ord(one))
    return {code: tuple(group) for group in groups.values() for code in group}


def folded(ranges: Ranges) -> Ranges:
    """With the other cases of every letter."""
    if all(high < 0x80 for _, high in ranges):
        found = list(ranges)
        for low, high in ranges:
            for first, last, shift in ((0x41, 0x5A, 32), (0x61, 0x7A, -32)):
                a, b = max(low, first), min(high, last)
                if a <= b:
                    found.append((a + shift, b + shift))
            found.extend((other, other) for code, other in _BEYOND_ASCII if low <= code <= high)
        return merged(found)
    cases = _cases()
    found = list(ranges)
    for low, high in ranges:
        if high - low > 0x10000:
            continue
        for code in range(low, min(high, _FOLDED_LAST) + 1):
            found.extend((one, one) for one in cases.get(code, ()))
    return merged(found)


_DIGITS: Final = ((0x30, 0x39),)
_WORDS: Final = ((0x30, 0x39), (0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A))
_SPACES: Final = ((9, 10), (12, 13), (32, 32))
PERL: Final[dict[str, Ranges]] = {
    "d": _DIGITS,
    "D": negated(_DIGITS),
    "w": _WORDS,
    "W": negated(_WORDS),
    "s": _SPACES,
    "S": negated(_SPACES),
}
_POSIX: Final[dict[str, Ranges]] = {
    "alnum": ((0x30, 0x39), (0x41, 0x5A), (0x61, 0x7A)),
    "alpha": ((0x41, 0x5A), (0x61, 0x7A)),
    "ascii": ((0, 0x7F),),
    "blank": ((9, 9), (32, 32)),
    "cntrl": ((0, 0x1F), (0x7F, 0x7F)),
    "digit": _DIGITS,
    "graph": ((0x21, 0x7E),),
    "lower": ((0x61, 0x7A),),
    "print": ((0x20, 0x7E),),
    "punct": ((0x21, 0x2F), (0x3A, 0x40), (0x5B, 0x60), (0x7B, 0x7E)),
    "space": ((9, 13), (32, 32)),
    "upper": ((0x41, 0x5A),),
    "word": _WORDS,
    "xdigit": ((0x30, 0x39), (0x41, 0x46), (0x61, 0x66)),
}
NAMED: Final[dict[str, Ranges]] = {
    **{f"[:{name}:]": ranges for name, ranges in _POSIX.items()},
    **{f"[:^{name}:]": negated(ranges) for name, ranges in _POSIX.items()},
}
_CATEGORIES: Final = frozenset(
    re.findall(r"\w+", "L Lu Ll Lt Lm Lo M Mn Mc Me N Nd Nl No P Pc Pd Ps Pe Pi Pf Po S Sm Sc Sk So Z Zs Zl Zp C Cc Cf Co Cs")
)
_SCRIPTS: Final = {
    "Latin": "LATIN",
    "Greek": "GREEK",
    "Cyrillic": "CYRILLIC",
    "Han": "CJK",
    "Hiragana": "HIRAGANA",
    "Katakana": "KATAKANA",
    "Hangul": "HANGUL",
    "Arabic": "ARABIC",
    "Hebrew": "HEBREW",
    "Thai": "THAI",
    "Devanagari": "DEVANAGARI",
    "Armenian": "ARMENIAN",
    "Georgian": "GEORGIAN",
}


@lru_cache(maxsize=16)
def unicode_class(name: str) -> Ranges | None:
    """A general category (L, Lu) or one of the larger scripts; None for what is unknown."""
    if name == "Any":
        return ((0, _LAST),)
    if name in _CATEGORIES:
        found = _where(lambda character: unicodedata.category(character).startswith(name))
        return (*found, *_PRIVATE) if name in ("C", "Co") else found
    word = _SCRIPTS.get(name)
    if word is None:
        return None
    return _where(lambda character: character.isalpha() and unicodedata.name(character, "").startswith(word + " "))


_PRIVATE: Final = ((0xF0000, 0xFFFFD), (0x100000, 0x10FFFD))
#: Where characters are: planes 4 to 13 are empty (category Cn), 15 and 16 are private: Co.
_ASSIGNED: Final = (range(0x32400), range(0xE0000, 0xE0200))


def _where(belongs: Callable[[str], bool]) -> Ranges:
    found: list[tuple[int, int]] = []
    for code in chain(*_ASSIGNED):
        if belongs(chr(code)):
            if found and found[-1][1] == code - 1:
                found[-1] = (found[-1][0], code)
            else:
                found.append((code, code))
    return tuple(found)
