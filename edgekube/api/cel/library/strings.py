"""Strings: parts, search, replacement, case, quoting.

Enters: strings, offsets in characters.
Leaves: strings, numbers, lists of strings.
Source: cel-go ext/strings.go (version 2, which Kubernetes enables), its documentation.
Next: api.cel.environment.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from edgekube import limits
from edgekube.api.cel.errors import CostExceeded, EvaluationError, no_such_overload
from edgekube.api.cel.library.formatting import format_text

DECLARATIONS: Final = """
string_char_at_int string.charAt(int) -> string
string_index_of_string string.indexOf(string) -> int
string_index_of_string_int string.indexOf(string, int) -> int
string_last_index_of_string string.lastIndexOf(string) -> int
string_last_index_of_string_int string.lastIndexOf(string, int) -> int
string_lower_ascii string.lowerAscii() -> string
string_replace_string_string string.replace(string, string) -> string
string_replace_string_string_int string.replace(string, string, int) -> string
string_split_string string.split(string) -> list(string)
string_split_string_int string.split(string, int) -> list(string)
string_substring_int string.substring(int) -> string
string_substring_int_int string.substring(int, int) -> string
string_trim string.trim() -> string
string_upper_ascii string.upperAscii() -> string
string_format string.format(list(dyn)) -> string
strings_quote strings.quote(string) -> string
list_join list(string).join() -> string
list_join_string list(string).join(string) -> string
"""
_UPPER: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_TO_LOWER: Final = str.maketrans(_UPPER, _UPPER.lower())
_TO_UPPER: Final = str.maketrans(_UPPER.lower(), _UPPER)
_SPACE: Final = "\t\n\v\f\r \x85\xa0\u1680" + "".join(map(chr, range(0x2000, 0x200B))) + "\u2028\u2029\u202f\u205f\u3000"
_QUOTED: Final = str.maketrans(
    {"\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v", "\\": "\\\\", '"': '\\"'}
)


def _strings(*values: Any) -> None:
    for value in values:
        if type(value) is not str:
            raise no_such_overload()


def _bounded(characters: int) -> None:
    """Before a text is made that could be far larger than what it is made of."""
    if characters > limits.CEL_MADE_ELEMENTS_MAX:
        raise CostExceeded


def _ints(*values: Any) -> None:
    for value in values:
        if type(value) is not int:
            raise no_such_overload()


def _out_of_range(index: int) -> EvaluationError:
    return EvaluationError(f"index out of range: {index}")


def _char_at(text: Any, index: Any) -> str:
    _strings(text)
    _ints(index)
    if not 0 <= index <= len(text):
        raise _out_of_range(index)
    return str(text[index : index + 1])


def index_of(text: str, part: Any, offset: Any = 0) -> int:
    _strings(text, part)
    _ints(offset)
    if not part:
        return int(offset)
    if offset < 0:
        raise _out_of_range(offset)
    return text.find(part, offset)


def last_index_of(text: str, part: Any, offset: Any = None) -> int:
    _strings(text, part)
    if offset is None:
        return len(text) if not part else text.rfind(part)
    _ints(offset)
    if not part:
        return int(offset)
    if offset < 0:
        raise _out_of_range(offset)
    return text.rfind(part, 0, offset + len(part)) if offset < len(text) else -1


def _replace(text: Any, old: Any, new: Any, most: Any = -1) -> str:
    _strings(text, old, new)
    _ints(most)
    times = text.count(old) if most < 0 else min(text.count(old), most)
    _bounded(len(text) + times * (len(new) - len(old)))
    return str(text.replace(old, new, max(most, -1)))


def _split(text: Any, separator: Any, most: Any = -1) -> list[str]:
    _strings(text, separator)
    _ints(most)
    if most == 0:
        return []
    if separator:
        return list(text.split(separator, most - 1 if most > 0 else -1))
    if most < 0 or most >= len(text):
        return list(text)
    return [*text[: most - 1], text[most - 1 :]]


def _substring(text: Any, start: Any, end: Any = None) -> str:
    _strings(text)
    _ints(start)
    if end is not None:
        _ints(end)
        if start > end:
            raise EvaluationError(f"invalid substring range. start: {start}, end: {end}")
    for index in (start, end):
        if index is not None and not 0 <= index <= len(text):
            raise _out_of_range(index)
    return str(text[start:end])


def _join(elements: Any, separator: Any = "") -> str:
    if not isinstance(elements, list):
        raise no_such_overload()
    _strings(separator)
    for one in elements:
        if type(one) is not str:
            raise EvaluationError(f"join: invalid input: {one}")
    _bounded(sum(map(len, elements)) + len(separator) * len(elements))
    return str(separator).join(elements)


_join.cost_needs_result = True  # type: ignore[attr-defined]  # join is charged for what it makes


def quote(text: Any) -> str:
    _strings(text)
    return '"' + str(text).translate(_QUOTED) + '"'


def _of_text(change: Callable[[str], str]) -> Callable[[Any], str]:
    def function(text: Any) -> str:
        _strings(text)
        return change(text)

    return function


IMPLEMENTATIONS: Final[dict[str, Callable[..., Any]]] = {
    "charAt": _char_at,
    "indexOf": index_of,
    "lastIndexOf": last_index_of,
    "lowerAscii": _of_text(lambda text: text.translate(_TO_LOWER)),
    "replace": _replace,
    "split": _split,
    "substring": _substring,
    "trim": _of_text(lambda text: text.strip(_SPACE)),
    "upperAscii": _of_text(lambda text: text.translate(_TO_UPPER)),
    "format": format_text,
    "strings.quote": quote,
    "join": _join,
}
