"""kubectl's JSONPath, as far as printer columns go: fields, indices, slices, wildcards, recursion, unions and filters.

Enters: a path such as ``.status.conditions[?(@.type=="Ready")].status``.
Leaves: a JsonPath that finds values in a decoded object; ValueError for text that is none.
Holds: a missing key finds nothing; what is found comes in the object's order.
Bound: limits.JSONPATH_VALUES_MAX values are looked at, for recursion and wildcards can go through an object many times.
Source: kubernetes.io, "JSONPath Support"; k8s.io/client-go util/jsonpath.
Next: api.custom.columns.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, Final, TypeAlias

from edgekube import limits

Step: TypeAlias = Callable[[Any], Iterator[Any]]

_NAME: Final = re.compile(r"(?:[^\s.\[\]{}()'\"@?,:*\\=<>!|]|\\.)+")
_INDEX: Final = re.compile(r"\s*(-?\d+)?\s*(:)?\s*(-?\d+)?\s*(:)?\s*(-?\d+)?\s*")
_FILTER: Final = re.compile(r"\s*(.+?)\s*(?:(==|!=|<=|>=|<|>)\s*(.+?)\s*)?", re.DOTALL)
_QUOTED: Final = re.compile(r"'((?:[^'\\]|\\.)*)'|\"((?:[^\"\\]|\\.)*)\"")


class JsonPath:
    def __init__(self, text: str) -> None:
        """``text`` as a definition has it, without braces."""
        self._steps = _parse(text)

    def find(self, obj: Any) -> list[Any]:
        values = [obj]
        looked_at = 0
        for step in self._steps:
            found: list[Any] = []
            for value in values:
                for each in step(value):
                    found.append(each)
                    looked_at += 1
                    if looked_at > limits.JSONPATH_VALUES_MAX:
                        return []
            values = found
        return values


def _parse(text: str) -> list[Step]:
    steps: list[Step] = []
    text = text.strip()
    at = 1 if text.startswith(("$", "@")) else 0
    while at < len(text):
        if text.startswith("..", at):
            steps.append(_everything)
            at += 2
            if text.startswith("[", at):
                continue
            at = _name(text, at, steps)
        elif text[at] == ".":
            at += 1
            if at < len(text) and text[at] == "[":
                continue
            at = _name(text, at, steps)
        elif text[at] == "[":
            end = _closing(text, at)
            steps.append(_bracket(text[at + 1 : end].strip()))
            at = end + 1
        else:
            raise ValueError(f"unexpected {text[at:]!r}")
    return steps


def _name(text: str, at: int, steps: list[Step]) -> int:
    if text.startswith("*", at):
        steps.append(_children)
        return at + 1
    match = _NAME.match(text, at)
    if match is None:
        if at == len(text):
            return at
        raise ValueError(f"a name is missing at {text[at:]!r}")
    steps.append(_field(re.sub(r"\\(.)", r"\1", match.group())))
    return match.end()


def _closing(text: str, at: int) -> int:
    """The bracket that closes the one at ``at``."""
    depth, quote, index = 0, "", at
    while index < len(text):
        character = text[index]
        if quote:
            if character == "\\":
                index += 1
            elif character == quote:
                quote = ""
        elif character in "'\"":
            quote = character
        elif character == "[":
            depth += 1
        elif character == "]":
            depth -= 1
            if depth == 0:
                return index
        index += 1
    raise ValueError("unterminated array")


def _bracket(inside: str) -> Step:
    if inside.startswith("?(") and inside.endswith(")"):
        return _filter(inside[2:-1])
    parts = _union(inside)
    if len(parts) > 1:
        steps = [_bracket(part) for part in parts]
        return lambda value: (each for step in steps for each in step(value))
    if inside == "*":
        return _children
    quoted = _QUOTED.fullmatch(inside)
    if quoted is not None:
        return _field(re.sub(r"\\(.)", r"\1", quoted.group(1) or quoted.group(2) or ""))
    index = _INDEX.fullmatch(inside)
    if index is None or not inside:
        raise ValueError(f"invalid array index {inside}")
    start, is_slice, stop, _, step = index.groups()
    if not is_slice:
        return _at(int(start))
    if step is not None and int(step) <= 0:
        raise ValueError("step must be > 0")
    return _slice(slice(*(None if part is None else int(part) for part in (start, stop, step))))


def _union(inside: str) -> list[str]:
    parts, quote, begin = [], "", 0
    for index, character in enumerate(inside):
        if quote:
            quote = "" if character == quote and inside[index - 1] != "\\" else quote
        elif character in "'\"":
            quote = character
        elif character == ",":
            parts.append(inside[begin:index].strip())
            begin = index + 1
    return [*parts, inside[begin:].strip()]


def _field(name: str) -> Step:
    def step(value: Any) -> Iterator[Any]:
        if isinstance(value, dict) and name in value:
            yield value[name]

    return step


def _at(index: int) -> Step:
    def step(value: Any) -> Iterator[Any]:
        if isinstance(value, list) and -len(value) <= index < len(value):
            yield value[index]

    return step


def _slice(part: slice) -> Step:
    def step(value: Any) -> Iterator[Any]:
        if isinstance(value, list):
            yield from value[part]

    return step


def _children(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, list):
        yield from value


def _everything(value: Any) -> Iterator[Any]:
    yield value
    for child in _children(value):
        yield from _everything(child)


_COMPARISONS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "==": lambda a, b: bool(a == b),
    "!=": lambda a, b: bool(a != b),
    "<": lambda a, b: bool(a < b),
    "<=": lambda a, b: bool(a <= b),
    ">": lambda a, b: bool(a > b),
    ">=": lambda a, b: bool(a >= b),
}


def _filter(text: str) -> Step:
    match = _FILTER.fullmatch(text)
    if match is None:
        raise ValueError("an empty filter")
    left, operator, right = match.groups()
    left_of = _operand(left)
    if operator is None:
        return lambda value: (each for each in _children(value) if left_of(each))
    right_of, compare = _operand(right), _COMPARISONS[operator]

    def holds(item: Any) -> bool:
        a, b = left_of(item), right_of(item)
        if len(a) != 1 or len(b) != 1:
            return False
        one, other = a[0], b[0]
        numbers = all(type(each) in (int, float) for each in (one, other))
        return (numbers or type(one) is type(other)) and type(one) not in (dict, list, type(None)) and compare(one, other)

    return lambda value: (each for each in _children(value) if holds(each))


def _operand(text: str) -> Callable[[Any], list[Any]]:
    if text.startswith(("@", "$", ".")):
        return JsonPath(text).find
    quoted = _QUOTED.fullmatch(text)
    if quoted is not None:
        constant: Any = re.sub(r"\\(.)", r"\1", quoted.group(1) or quoted.group(2) or "")
    elif text in ("true", "false"):
        constant = text == "true"
    else:
        try:
            constant = int(text) if re.fullmatch(r"-?\d+", text) else float(text)
        except ValueError:
            raise ValueError(f"unrecognized identifier {text}") from None
    return lambda _: [constant]
