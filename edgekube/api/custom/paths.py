"""Paths that a definition names fields by: ``.spec.color``, ``.spec['my-field']``.

Enters: a path and the schema it is to lead through.
Leaves: the path as causes write it and the schema at its end; BadPath in upstream's words.
Holds: only declared fields and keys of maps are led to, never items of lists.
Source: apiextensions-apiserver pkg/apiserver/schema/cel (ValidFieldPath).
Next: api.custom.openapi, api.custom.definition_rules, api.custom.rules.
"""

from __future__ import annotations

import re
from typing import Final

from edgekube.api.objects import Object

_TOKEN: Final = re.compile(r"'(?:[^'\\]|\\.)*'|[.\[\]]|[^.\[\]]+", re.DOTALL)
_ESCAPES: Final = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "'": "'", '"': '"', "\\": "\\"}
_ESCAPED: Final = re.compile(r"\\(.)", re.DOTALL)


class BadPath(ValueError):
    """The path does not lead anywhere."""


def field_path(text: str, schema: Object, *, allow_brackets: bool = True) -> tuple[str, Object]:
    tokens = iter(_TOKEN.findall(text))
    path = ""
    for token in tokens:
        if token == "[":
            if not allow_brackets:
                raise BadPath("array notation is not allowed")
            quoted = _next(tokens)
            if len(quoted) < 2 or quoted[0] != "'" or quoted[-1] != "'":
                raise BadPath(f"expected single quoted string but got {quoted}")
            path, schema = _step(path, _unescaped(quoted[1:-1]), schema)
            closing = _next(tokens)
            if closing != "]":
                raise BadPath(f"expected ] but got {closing}")
        elif token == ".":
            path, schema = _step(path, _next(tokens), schema)
        else:
            raise BadPath(f"expected [ or . but got: {token}")
    return path, schema


def _next(tokens: object) -> str:
    for token in tokens:  # type: ignore[attr-defined]
        return str(token)
    raise BadPath("unexpected end of JSON path")


def _unescaped(text: str) -> str:
    def one(match: re.Match[str]) -> str:
        try:
            return _ESCAPES[match.group(1)]
        except KeyError:
            raise BadPath(f"invalid string literal: invalid escape sequence: {match.group()}") from None

    return _ESCAPED.sub(one, text)


def _step(path: str, name: str, schema: Object) -> tuple[str, Object]:
    properties, additional = schema.get("properties"), schema.get("additionalProperties")
    if properties:
        below = properties.get(name)
        if not isinstance(below, dict):
            raise BadPath("does not refer to a valid field")
        return f"{path}.{name}" if path else name, below
    if isinstance(additional, dict):
        return f"{path}[{name}]", additional
    raise BadPath("does not refer to a valid field")
