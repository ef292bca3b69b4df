"""Why a text is no JSON, in the words of upstream's decoder.

Enters: bytes that a JSON parser has refused.
Leaves: one line; "" when the grammar holds and something else is wrong with the text (its encoding, say).
Holds: pure, without recursion; the first fault is told. It runs on refused text only.
Source: RFC 8259; the messages are those of Go's encoding/json scanner.
Next: api.decode.
"""

from __future__ import annotations

import re
from typing import Final

_END: Final = "unexpected end of JSON input"
_SPACE: Final = re.compile(rb"[ \t\r\n]*")
_PLAIN: Final = re.compile(rb'[^"\\\x00-\x1f]*')
_DIGITS: Final = re.compile(rb"[0-9]*")
_LITERALS: Final = {ord("t"): b"true", ord("f"): b"false", ord("n"): b"null"}
_ESCAPES: Final = b'"\\/bfnrt'
_HEX: Final = b"0123456789abcdefABCDEF"
_OPEN: Final = {ord("{"): ord("}"), ord("["): ord("]")}


class _Fault(Exception):
    """The message."""


def told(text: bytes) -> str:
    try:
        _walk(text)
    except _Fault as fault:
        return str(fault)
    return ""


def _at(text: bytes, place: int) -> int:
    if place >= len(text):
        raise _Fault(_END)
    return text[place]


def _next(text: bytes, place: int) -> int:
    """Within a word: where the text ends, upstream's scanner takes a space to follow."""
    return text[place] if place < len(text) else ord(" ")


def _unexpected(character: int, where: str) -> _Fault:
    shown = {ord("'"): r"\'", ord('"'): '"'}.get(character) or _quoted(chr(character))
    return _Fault(f"invalid character '{shown}' {where}")


def _quoted(character: str) -> str:
    known = {"\a": r"\a", "\b": r"\b", "\f": r"\f", "\n": r"\n", "\r": r"\r", "\t": r"\t", "\v": r"\v", "\\": r"\\"}
    if character in known:
        return known[character]
    if character.isprintable():
        return character
    return f"\\x{ord(character):02x}" if ord(character) < 0x80 else f"\\u{ord(character):04x}"


def _skip(text: bytes, place: int) -> int:
    found = _SPACE.match(text, place)
    return found.end() if found is not None else place


def _walk(text: bytes) -> None:
    """Each pass reads one value, or opens one that holds others, and then closes what ends."""
    ends: list[int] = []  # the brackets that are to come
    place = _skip(text, 0)
    while True:
        character = _at(text, place)
        if character in _OPEN:
            ends.append(_OPEN[character])
            place = _skip(text, place + 1)
            if _at(text, place) != ends[-1]:
                place = _key(text, place) if ends[-1] == ord("}") else place
                continue
        else:
            place = _scalar(text, place)
        while ends:
            place = _skip(text, place)
            character = _at(text, place)
            if character == ord(","):
                place = _skip(text, place + 1)
                if ends[-1] == ord("}"):
                    place = _key(text, place)
                break
            if character != ends[-1]:
                where = "after object key:value pair" if ends[-1] == ord("}") else "after array element"
                raise _unexpected(character, where)
            ends.pop()
            place += 1
        else:
            place = _skip(text, place)
            if place < len(text):
                raise _unexpected(text[place], "after top-level value")
            return


def _key(text: bytes, place: int) -> int:
    """Past a key and its colon."""
    character = _at(text, place)
    if character != ord('"'):
        raise _unexpected(character, "looking for beginning of object key string")
    place = _skip(text, _string(text, place))
    character = _at(text, place)
    if character != ord(":"):
        raise _unexpected(character, "after object key")
    return _skip(text, place + 1)


def _scalar(text: bytes, place: int) -> int:
    character = text[place]
    if character == ord('"'):
        return _string(text, place)
    if character in _LITERALS:
        return _literal(text, place, _LITERALS[character])
    if character == ord("-") or character in b"0123456789":
        return _number(text, place)
    raise _unexpected(character, "looking for beginning of value")


def _literal(text: bytes, place: int, word: bytes) -> int:
    for expected in word[1:]:
        place += 1
        character = _next(text, place)
        if character != expected:
            raise _unexpected(character, f"in literal {word.decode()} (expecting '{chr(expected)}')")
    return place + 1


def _string(text: bytes, place: int) -> int:
    place += 1
    while True:
        found = _PLAIN.match(text, place)
        place = found.end() if found is not None else place
        character = _at(text, place)
        place += 1
        if character == ord('"'):
            return place
        if character != ord("\\"):
            raise _unexpected(character, "in string literal")
        character = _next(text, place)
        place += 1
        if character == ord("u"):
            for _ in range(4):
                character = _next(text, place)
                if character not in _HEX:
                    raise _unexpected(character, "in \\u hexadecimal character escape")
                place += 1
        elif character not in _ESCAPES:
            raise _unexpected(character, "in string escape code")


def _number(text: bytes, place: int) -> int:
    if text[place] == ord("-"):
        place += 1
        character = _next(text, place)
        if character not in b"0123456789":
            raise _unexpected(character, "in numeric literal")
    place = place + 1 if text[place] == ord("0") else _digits(text, place, "")
    if text[place : place + 1] == b".":
        place = _digits(text, place + 1, "after decimal point in numeric literal")
    if text[place : place + 1] in (b"e", b"E"):
        place += 1
        if _next(text, place) in b"+-":
            place += 1
        place = _digits(text, place, "in exponent of numeric literal")
    return place


def _digits(text: bytes, place: int, where: str) -> int:
    found = _DIGITS.match(text, place)
    end = found.end() if found is not None else place
    if end == place:
        raise _unexpected(_next(text, place), where)
    return end
