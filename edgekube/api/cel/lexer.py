"""Text into tokens: CEL's literals with all their prefixes, quotes and escapes.

Enters: the text of an expression.
Leaves: tokens with their offset; constants already decoded.
Holds: linear in the text; a token's value is a Python value (Uint for 1u) or the text itself.
Source: the CEL language definition, section Syntax (grammar and escapes).
Next: api.cel.parser.
"""

from __future__ import annotations

import re
from typing import Any, Final, NamedTuple

from edgekube.api.cel.errors import Issue
from edgekube.api.cel.values import INT_MAX, INT_MIN, UINT_MAX, Uint

END: Final = "<EOF>"
IDENTIFIER: Final = "IDENTIFIER"
INT: Final = "NUM_INT"
UINT: Final = "NUM_UINT"
FLOAT: Final = "NUM_FLOAT"
STRING: Final = "STRING"
BYTES: Final = "BYTES"
#: Constants that are no numbers: true, false, null.
WORD: Final = "WORD"

_BACK: Final = r"""\\(?:[abfnrtv\\?"'`]|[xX][0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[0-3][0-7]{2})"""
_QUOTED: Final = (
    rf"""\"\"\"(?:[^\\]|{_BACK})*?\"\"\"|'''(?:[^\\]|{_BACK})*?'''|"(?:[^\\"\n\r]|{_BACK})*"|'(?:[^\\'\n\r]|{_BACK})*'"""
)
_RAW: Final = r"""\"\"\".*?\"\"\"|'''.*?'''|"[^"\n\r]*"|'[^'\n\r]*'"""
_TOKEN: Final = re.compile(
    rf"""(?P<space>[ \t\r\n\f]+|//[^\n]*)
    |(?P<raw>(?:[rR][bB]?|[bB][rR])(?:{_RAW}))
    |(?P<quoted>[bB]?(?:{_QUOTED}))
    |(?P<float>[0-9]+\.[0-9]+(?:[eE][+-]?[0-9]+)?|[0-9]+[eE][+-]?[0-9]+|\.[0-9]+(?:[eE][+-]?[0-9]+)?)
    |(?P<uint>(?:0x[0-9a-fA-F]+|[0-9]+)[uU])
    |(?P<int>0x[0-9a-fA-F]+|[0-9]+)
    |(?P<word>[A-Za-z_][A-Za-z0-9_]*)
    |(?P<symbol>==|!=|<=|>=|&&|\|\||[\[\]{{}}()<>.,\-!?:+*/%])""",
    re.VERBOSE | re.DOTALL | re.ASCII,
)
_ESCAPE: Final = re.compile(
    r"\\(?:([abfnrtv\\?\"'`])|[xX]([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-3][0-7]{2})|(.?))",
    re.DOTALL,
)
_SIMPLE: Final = dict(zip("abfnrtv\\?\"'`", "\a\b\f\n\r\t\v\\?\"'`", strict=True))
_CONSTANTS: Final = {"true": True, "false": False, "null": None}


class Token(NamedTuple):
    kind: str
    text: str
    offset: int
    value: Any = None


def tokens_of(text: str) -> tuple[list[Token], list[Issue]]:
    """All tokens and END; what is no token is an issue and is skipped, so that the parser may go on."""
    tokens: list[Token] = []
    issues: list[Issue] = []
    position, length = 0, len(text)
    while position < length:
        match = _TOKEN.match(text, position)
        if match is None:
            piece = _unreadable(text, position)
            issues.append(Issue(position, f"Syntax error: token recognition error at: '{_shown(piece)}'"))
            position += len(piece)
            continue
        kind, found = str(match.lastgroup), match.group()
        if kind != "space":
            try:
                tokens.append(_token(kind, found, position))
            except ValueError as error:
                issues.append(Issue(position, str(error)))
                tokens.append(Token(INT, found, position, 0))
        position = match.end()
    tokens.append(Token(END, END, length))
    return tokens, issues


def _unreadable(text: str, position: int) -> str:
    """What the reader gives up at: one character, half an operator, or a string as far as it could be read."""
    quote = text[position]
    if quote in "&|=":
        return text[position : position + 2]
    if quote not in "\"'":
        return quote
    end = position + 1
    while end < len(text) and text[end] not in "\n\r":
        if text[end] == "\\":
            escape = _ESCAPE.match(text, end)
            if escape is None or not any(escape.groups()[:5]):
                return text[position : end + 2]
            end = escape.end()
        else:
            end += 1
    return text[position:end]


def _shown(piece: str) -> str:
    return piece.replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t")


def _token(kind: str, found: str, offset: int) -> Token:
    if kind == "symbol":
        return Token(found, found, offset)
    if kind == "word":
        if found in _CONSTANTS:
            return Token(WORD, found, offset, _CONSTANTS[found])
        return Token("in" if found == "in" else IDENTIFIER, found, offset)
    if kind == "int":
        return Token(INT, found, offset, integer(found))
    if kind == "uint":
        return Token(UINT, found, offset, unsigned(found[:-1]))
    if kind == "float":
        return Token(FLOAT, found, offset, float(found))
    prefix_length = len(found) - len(found.lstrip("rRbB"))
    prefix, body = found[:prefix_length].lower(), found[prefix_length:]
    quotes = 3 if body[:3] in ('"""', "'''") and len(body) >= 6 else 1
    body = body[quotes:-quotes]
    if quotes == 3 or "\r" in body:
        body = body.replace("\r\n", "\n").replace("\r", "\n")
    if "b" in prefix:
        return Token(BYTES, found, offset, body.encode() if "r" in prefix else _unescaped_bytes(body))
    return Token(STRING, found, offset, body if "r" in prefix else _unescaped_text(body))


def integer(text: str) -> int:
    """The value of an int literal, with a sign perhaps. ValueError outside int64."""
    value = int(text, 16 if "0x" in text else 10)
    if not INT_MIN <= value <= INT_MAX + (text[0] != "-"):  # 2**63 may still get its sign
        raise ValueError("invalid int literal")
    return value


def unsigned(text: str) -> Uint:
    value = int(text, 16 if "0x" in text else 10)
    if value > UINT_MAX:
        raise ValueError("invalid uint literal")
    return Uint(value)


def _unescaped_text(body: str) -> str:
    def one(match: re.Match[str]) -> str:
        simple, hexadecimal, short, long, octal, _bad = match.groups()
        if simple:
            return _SIMPLE[simple]
        if octal:
            return chr(int(octal, 8))
        digits = hexadecimal or short or long
        if not digits:
            raise ValueError(f"invalid string literal: {match.group()}")
        code = int(digits, 16)
        if code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:
            raise ValueError("invalid unicode code point")
        return chr(code)

    return _ESCAPE.sub(one, body) if "\\" in body else body


def _unescaped_bytes(body: str) -> bytes:
    parts: list[bytes] = []
    position = 0
    for match in _ESCAPE.finditer(body):
        parts.append(body[position : match.start()].encode())
        simple, hexadecimal, _short, _long, octal, _bad = match.groups()
        if simple:
            parts.append(_SIMPLE[simple].encode())
        elif hexadecimal or octal:
            parts.append(bytes([int(hexadecimal, 16) if hexadecimal else int(octal, 8)]))
        else:  # \\u and \\U are characters, which bytes have none of
            raise ValueError("unable to unescape string")
        position = match.end()
    parts.append(body[position:].encode())
    return b"".join(parts)
