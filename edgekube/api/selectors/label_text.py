"""Label selectors in a query's words: ``a=b,c in (d,e),!f,g>3``.

Enters: the text.
Leaves: a LabelSelector, or a BadRequest in upstream's words.
Holds: whatever is accepted can be said again, str(selector), and means the same.
Bound: _CACHED_SELECTORS_MAX selectors are remembered, of short texts.
Next: api.selectors.labels.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from edgekube.api import names
from edgekube.api.errors import bad_request
from edgekube.api.selectors.labels import (
    EQUALS,
    EVERYTHING,
    EXISTS,
    GREATER,
    IN,
    LESS,
    NOT_EQUALS,
    NOT_EXISTS,
    NOT_IN,
    LabelSelector,
    Requirement,
    invalid_text,
    make_requirement,
)

_TOKEN: Final = re.compile(r"[ \t\r\n]*(?:([=!(),><]+)|([^=!(),>< \t\r\n]+))")
_OPERATORS: Final = ("!=", "==", "=", "!", "(", ")", ",", ">", "<")
_OPERATOR_OF: Final = {
    "in": IN, "=": EQUALS, "==": EQUALS, ">": GREATER, "<": LESS, "notin": NOT_IN, "!=": NOT_EQUALS,
}  # fmt: skip
_EXPECTED_OPERATOR: Final = "in, notin, =, ==, !=, gt, lt"
_WORD: Final = "word"
_END: Final = ""


def _tokens(text: str) -> list[tuple[str, str]]:
    """(type, literal): words have the type "word", the end is ("", "")."""
    tokens: list[tuple[str, str]] = []
    text = text.rstrip(" \t\r\n")
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        assert match is not None, "every character is a symbol, a space or part of a word"
        symbols, word = match.groups()
        position = match.end()
        if word is not None:
            tokens.append((_WORD, word))
            continue
        while symbols:
            symbol = next(operator for operator in _OPERATORS if symbols.startswith(operator))
            tokens.append((symbol, symbol))
            symbols = symbols[len(symbol) :]
    tokens.append((_END, ""))
    return tokens


class _LabelParser:
    def __init__(self, text: str) -> None:
        self._tokens = _tokens(text)
        self._at = 0

    def _next(self) -> tuple[str, str]:
        token = self._tokens[self._at]
        self._at = min(self._at + 1, len(self._tokens) - 1)
        return token

    def _peek(self) -> tuple[str, str]:
        return self._tokens[self._at]

    def parse(self) -> list[Requirement]:
        requirements: list[Requirement] = []
        while True:
            type_, literal = self._peek()
            if type_ == _END:
                return requirements
            if type_ not in (_WORD, "!"):
                raise ValueError(f"found '{literal}', expected: !, identifier, or 'end of string'")
            try:
                requirements.append(self._requirement())
            except ValueError as error:
                raise ValueError(f"unable to parse requirement: {error}") from None
            type_, literal = self._next()
            if type_ == _END:
                return requirements
            if type_ != ",":
                raise ValueError(f"found '{literal}', expected: ',' or 'end of string'")
            type_, literal = self._peek()
            if type_ not in (_WORD, "!"):
                raise ValueError(f"found '{literal}', expected: identifier after ','")

    def _requirement(self) -> Requirement:
        type_, key = self._next()
        negated = type_ == "!"
        if negated:
            type_, key = self._next()
        if type_ != _WORD:
            raise ValueError(f"found '{key}', expected: identifier")
        messages = names.qualified_name(key)
        if messages:
            raise ValueError(invalid_text("<nil>", key, messages))
        if self._peek()[0] in (_END, ","):
            return Requirement(key, NOT_EXISTS if negated else EXISTS)
        if negated:
            raise ValueError(f"found '{self._peek()[1]}', expected: ',' or 'end of string'")
        type_, literal = self._next()
        operator = _OPERATOR_OF.get(literal)
        if operator is None:
            raise ValueError(f"found '{literal}', expected: {_EXPECTED_OPERATOR}")
        values = self._values() if operator in (IN, NOT_IN) else {self._exact_value()}
        return make_requirement(key, operator, values)

    def _values(self) -> set[str]:
        type_, literal = self._next()
        if type_ != "(":
            raise ValueError(f"found '{literal}' expected: '('")
        values: set[str] = set()
        expect_value = True
        while True:
            type_, literal = self._next()
            if type_ == _WORD and expect_value:
                values.add(literal)
                expect_value = False
            elif type_ in (",", ")"):
                if expect_value:
                    values.add("")
                if type_ == ")":
                    return values
                expect_value = True
            else:
                expected = "',', ')' or identifier" if expect_value else "',' or ')'"
                raise ValueError(f"found '{literal}', expected: {expected}")

    def _exact_value(self) -> str:
        if self._peek()[0] in (_END, ","):
            return ""
        type_, literal = self._next()
        if type_ != _WORD:
            raise ValueError(f"found '{literal}', expected: identifier")
        return literal


def parse_label_selector(text: str) -> LabelSelector:
    """The selector of a query (``a=b,c in (d,e),!f,g>3``). StatusError BadRequest on bad text."""
    if not text:
        return EVERYTHING
    return _parse_cached(text) if len(text) <= _CACHED_CHARACTERS_MAX else _parse(text)


def _parse(text: str) -> LabelSelector:
    try:
        requirements = _LabelParser(text).parse()
    except ValueError as error:
        raise bad_request(str(error)) from None
    return LabelSelector(tuple(sorted(requirements, key=lambda requirement: requirement.key)))


#: Clients list and watch with few selectors, again and again; what is remembered stays below 0.2 MB.
_CACHED_CHARACTERS_MAX: Final = 256
_CACHED_SELECTORS_MAX: Final = 128
_parse_cached: Final = lru_cache(maxsize=_CACHED_SELECTORS_MAX)(_parse)
