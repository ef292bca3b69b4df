"""``'%s has %d'.format([name, count])``

Enters: a format and a list of values.
Leaves: text.
Holds: %s %d %f %e %b %x %X %o %%; precision 6 unless given, at most 100 digits.
Source: cel-go ext/formatting.go (its documentation), as version 2 of the string library has it.
Next: api.cel.library.strings.
"""

from __future__ import annotations

import math
import re
from typing import Any, Final

from edgekube import limits
from edgekube.api.cel.errors import CostExceeded, EvaluationError, no_such_overload
from edgekube.api.cel.library.numbers import double_text
from edgekube.api.cel.library.times import duration_text, timestamp_text
from edgekube.api.cel.values import Duration, Struct, Timestamp, TypeValue, Uint, of_key, type_name

CLAUSE: Final = re.compile(r"%(?:(%)|(?:\.([0-9]+))?(.)|)", re.DOTALL)
_DIGITS_MAX: Final = 100
_SUPERSCRIPT: Final = str.maketrans("0123456789-", "\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079\u207b")
_SPECIAL: Final = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def format_text(template: Any, arguments: Any) -> str:
    if type(template) is not str or not isinstance(arguments, list):
        raise no_such_overload()
    remaining = iter(enumerate(arguments))
    length = 0

    def one(match: re.Match[str]) -> str:
        percent, precision, letter = match.groups()
        if percent:
            return "%"
        if not letter:
            raise EvaluationError("unexpected end of string")
        if letter not in "sdfebxXo":
            raise EvaluationError(f'could not parse formatting clause: unrecognized formatting clause "{letter}"')
        if precision is not None and (len(precision) > 3 or int(precision) > _DIGITS_MAX):
            raise EvaluationError("precision out of range")
        index, value = next(remaining, (len(arguments), None))
        if index == len(arguments):
            raise EvaluationError(f"index {index} out of range")
        try:
            text = _formatted(letter, value, 6 if precision is None else int(precision))
        except EvaluationError as error:
            raise EvaluationError(f"error during formatting: {error}") from None
        nonlocal length
        length += len(text)
        if length > limits.CEL_MADE_ELEMENTS_MAX:
            raise CostExceeded
        return text

    return CLAUSE.sub(one, template)


def _formatted(letter: str, value: Any, precision: int) -> str:
    if letter == "s":
        return as_text(value)
    if letter == "d":
        if type(value) in (int, Uint):
            return str(int(value))
        raise _wrong("decimal clause can only be used on integers", value)
    if letter in "fe":
        number = _SPECIAL.get(value) if isinstance(value, str) else value
        if type(number) is not float:
            kind = "fixed-point" if letter == "f" else "scientific"
            raise _wrong(f"{kind} clause can only be used on doubles", value)
        if math.isnan(number) or math.isinf(number):
            return "NaN" if math.isnan(number) else "\u221e" if number > 0 else "-\u221e"
        if letter == "f":
            return f"{number:.{precision}f}"
        mantissa, _, exponent = f"{number:.6e}".partition("e")
        return f"{mantissa}\u00d710{exponent.lstrip('+').translate(_SUPERSCRIPT)}"
    if letter == "b":
        if type(value) in (int, Uint, bool):
            return f"{int(value):b}"
        raise _wrong("only integers and bools can be formatted as binary", value)
    if letter == "o":
        if type(value) in (int, Uint):
            return f"{int(value):o}"
        raise _wrong("octal clause can only be used on integers", value)
    return _hexadecimal(value, letter)


def _hexadecimal(value: Any, letter: str) -> str:
    if type(value) in (int, Uint):
        return f"{int(value):{letter}}"
    if isinstance(value, (str, bytes)):
        text = (value.encode() if isinstance(value, str) else value).hex()
        return text if letter == "x" else text.upper()
    raise _wrong("only integers, byte buffers, and strings can be formatted as hex", value)


def _wrong(message: str, value: Any) -> EvaluationError:
    return EvaluationError(f"{message}, was given {type_name(value)}")


def as_text(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(int(value))
    if isinstance(value, float):
        return double_text(value)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, Timestamp):
        return timestamp_text(value)
    if isinstance(value, Duration):
        return duration_text(value)
    if isinstance(value, TypeValue):
        return value.name
    if isinstance(value, list):
        return "[" + ", ".join(map(_within, value)) + "]"
    if isinstance(value, (dict, Struct)):
        entries = sorted((_within(of_key(key)), _within(value.get(key))) for key in value)
        return "{" + ", ".join(f"{key}:{one}" for key, one in entries) + "}"
    raise EvaluationError(
        "string clause can only be used on strings, bools, bytes, ints, doubles, maps, lists, types, durations, and timestamps, "
        f"was given {type_name(value)}"
    )


def _within(value: Any) -> str:
    """A value inside a list or a map."""
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, bytes):
        return "b" + _quoted(value.decode("utf-8", "replace"))
    if isinstance(value, float):
        return f'"{as_text(value)}"' if math.isnan(value) or math.isinf(value) else f"{value:.6f}"
    if isinstance(value, Timestamp):
        return f'timestamp("{timestamp_text(value)}")'
    if isinstance(value, Duration):
        return f'duration("{duration_text(value)}")'
    return as_text(value)


def _quoted(text: str) -> str:
    """As Go's %q writes it."""
    parts = []
    for character in text:
        if character in _ESCAPES:
            parts.append(_ESCAPES[character])
        elif character.isprintable():
            parts.append(character)
        else:
            code = ord(character)
            parts.append(f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}")
    return '"' + "".join(parts) + '"'


_ESCAPES: Final = {
    "\a": "\\a",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\v": "\\v",
    "\\": "\\\\",
    '"': '\\"',
}
