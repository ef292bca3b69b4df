"""A tree of a pattern into instructions, forwards or backwards.

Enters: a tree of api.patterns.syntax.
Leaves: a list of instructions: a set of characters, a fork (the first way is preferred), an assertion, the match.
Bound: limits.PATTERN_INSTRUCTIONS_MAX.
Source: https://swtch.com/~rsc/regexp/regexp2.html (construction).
Next: api.patterns.automaton.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from edgekube import limits
from edgekube.api.patterns.characters import Ranges
from edgekube.api.patterns.syntax import (
    LINE_END,
    LINE_START,
    TEXT_END,
    TEXT_START,
    Chars,
    Choice,
    Empty,
    PatternError,
    Repeat,
    Sequence,
)

_MIRRORED: Final = {TEXT_START: TEXT_END, TEXT_END: TEXT_START, LINE_START: LINE_END, LINE_END: LINE_START}


class Take(NamedTuple):
    ranges: Ranges
    to: int


class Fork(NamedTuple):
    first: int
    second: int


class Assert(NamedTuple):
    kind: int
    to: int


class Match(NamedTuple):
    pass


class Program(NamedTuple):
    instructions: list[Any]
    start: int


def build(tree: Any, backwards: bool = False) -> Program:
    builder = _Builder(backwards)
    end = builder.add(Match())
    return Program(builder.instructions, builder.before(tree, end))


class _Builder:
    """Built from the end: ``before(node, to)`` gives where to begin so that after the node one is at ``to``."""

    def __init__(self, backwards: bool) -> None:
        self.instructions: Final[list[Any]] = []
        self.backwards: Final = backwards

    def add(self, instruction: Any) -> int:
        if len(self.instructions) >= limits.PATTERN_INSTRUCTIONS_MAX:
            raise PatternError("error parsing regexp: expression too large")
        self.instructions.append(instruction)
        return len(self.instructions) - 1

    def before(self, node: Any, to: int) -> int:
        if isinstance(node, Chars):
            return self.add(Take(node.ranges, to))
        if isinstance(node, Empty):
            if node.assertion is None:
                return to
            kind = _MIRRORED.get(node.assertion, node.assertion) if self.backwards else node.assertion
            return self.add(Assert(kind, to))
        if isinstance(node, Sequence):
            for part in node.parts if self.backwards else reversed(node.parts):
                to = self.before(part, to)
            return to
        if isinstance(node, Choice):
            ways = [self.before(option, to) for option in node.options]
            found = ways[-1]
            for way in reversed(ways[:-1]):
                found = self.add(Fork(way, found))
            return found
        assert isinstance(node, Repeat)
        return self.repeat(node, to)

    def fork(self, into: int, past: int, greedy: bool) -> int:
        return self.add(self.way(into, past, greedy))

    def repeat(self, node: Repeat, to: int) -> int:
        least = node.least
        if node.most < 0:
            if least or _may_be_empty(node.inner):
                begin = self.once_or_more(node, to)
                to = begin if least else self.fork(begin, to, node.greedy)
                least = max(least - 1, 0)
            else:
                loop = self.add(Match())  # its place: the fork is known only when the body is
                self.instructions[loop] = self.way(self.before(node.inner, loop), to, node.greedy)
                to = loop
        else:
            end = to
            for _ in range(node.most - least):
                to = self.fork(self.before(node.inner, to), end, node.greedy)
        for _ in range(least):
            to = self.before(node.inner, to)
        return to

    def once_or_more(self, node: Repeat, to: int) -> int:
        loop = self.add(Match())
        begin = self.before(node.inner, loop)
        self.instructions[loop] = self.way(begin, to, node.greedy)
        return begin

    def way(self, into: int, past: int, greedy: bool) -> Fork:
        return Fork(into, past) if greedy else Fork(past, into)


def _may_be_empty(node: Any) -> bool:
    if isinstance(node, Empty):
        return True
    if isinstance(node, Sequence):
        return all(map(_may_be_empty, node.parts))
    if isinstance(node, Choice):
        return any(map(_may_be_empty, node.options))
    return isinstance(node, Repeat) and (node.least == 0 or _may_be_empty(node.inner))
