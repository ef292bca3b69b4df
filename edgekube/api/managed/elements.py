"""One step of a path in an object, written as fieldsV1 writes it: ``f:spec``, ``k:{"name":"web"}``, ``v:"x"``, ``i:0``.

Enters: field names, list items, or texts that somebody else wrote.
Leaves: canonical texts: two steps are the same when their texts are; the order in which upstream lists them; text for people.
Holds: pure. Keys of an item are sorted by name; ``<``, ``>`` and ``&`` are escaped, as Go's encoder does.
Next: api.managed.fieldsets.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

import orjson

from edgekube import limits

FIELD: Final = "f:"
KEY: Final = "k:"
VALUE: Final = "v:"
INDEX: Final = "i:"
#: Marks, inside a step's own set, that the step itself is a member.
SELF: Final = "."

_GO_ESCAPES: Final = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
_RANKS: Final = {FIELD: 0, KEY: 1, VALUE: 2, INDEX: 3}
_QUOTED: Final = {
    '"': '\\"', "\\": "\\\\", "\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v",
}  # fmt: skip


def _json(value: Any) -> str:
    text = orjson.dumps(value).decode()
    for character, escaped in _GO_ESCAPES.items():
        if character in text:
            text = text.replace(character, escaped)
    return text


def of_value(value: Any) -> str:
    """The step to an item of a set."""
    return VALUE + _json(value)


def of_keys(keys: dict[str, Any]) -> str:
    """The step to a list's item by the values of its keys; ``keys`` are sorted by name."""
    return KEY + _json(keys)


def canonical(text: str) -> str | None:
    """A step that somebody else wrote. None for a type of step that is not known; ValueError for what makes no sense."""
    kind, rest = text[:2], text[2:]
    if kind == FIELD:
        return text
    if len(text) < 2 or text[1] != ":":
        raise ValueError(f"missing colon: {text}" if len(text) >= 2 else "key must be 2 characters long:")
    if kind == VALUE:
        return of_value(orjson.loads(rest))
    if kind == KEY:
        keys = orjson.loads(rest)
        if type(keys) is not dict:
            raise ValueError(f"no keys: {text}")
        return of_keys(dict(sorted(keys.items())))
    if kind == INDEX:
        return INDEX + str(int(rest))
    return None


def _value_rank(value: Any) -> tuple[int, Any]:
    """Numbers, then texts, booleans, lists, maps, null."""
    match value:
        case bool():
            return 2, value
        case int() | float():
            return 0, value
        case str():
            return 1, value
        case list():
            return 3, [_value_rank(item) for item in value]
        case dict():
            return 4, [(key, _value_rank(value[key])) for key in sorted(value)]
    return 5, 0


@lru_cache(maxsize=limits.MANAGED_ELEMENTS_REMEMBERED_MAX)
def rank(text: str) -> tuple[int, Any]:
    """What upstream's order of steps compares."""
    if text == SELF:
        return -1, ""
    kind, rest = text[:2], text[2:]
    if kind == FIELD:
        return 0, rest
    if kind == KEY:
        return 1, [(name, _value_rank(value)) for name, value in orjson.loads(rest).items()]
    if kind == VALUE:
        return 2, _value_rank(orjson.loads(rest))
    return 3, int(rest)


def shown(text: str) -> str:
    """As messages name it: ``.spec``, ``[name="web"]``, ``[="x"]``, ``[0]``."""
    kind, rest = text[:2], text[2:]
    if kind == FIELD:
        return f".{rest}"
    if kind == KEY:
        return "[" + ",".join(f"{name}={_shown_value(value)}" for name, value in orjson.loads(rest).items()) + "]"
    if kind == VALUE:
        return f"[={_shown_value(orjson.loads(rest))}]"
    return f"[{rest}]"


def _shown_value(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case str():
            return quoted(value)
        case list():
            return "[" + ",".join(map(_shown_value, value)) + "]"
        case dict():
            return "".join(f"{key}={_shown_value(each)}" for key, each in value.items())
    return str(value)


def quoted(text: str) -> str:
    """A text as Go's %q writes it."""
    if text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    return '"' + "".join(map(_quoted_character, text)) + '"'


def _quoted_character(character: str) -> str:
    if character in _QUOTED:
        return _QUOTED[character]
    if character.isprintable():
        return character
    code = ord(character)
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
