"""Regular expressions as Go and RE2 read them: for ``pattern`` in schemas and for matches(), find() in CEL.

Enters: a pattern from a client; text from another.
Leaves: whether and where it matches. PatternError, in the words of Go's regexp, for what RE2 refuses.
Holds: pure.
Bound: limits.PATTERN_CHARACTERS_MAX, limits.PATTERNS_KEPT_MAX compiled ones.
Next: api.cel.library.standard, validation of custom resources.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

from edgekube import limits
from edgekube.api.patterns.automaton import Automaton
from edgekube.api.patterns.program import build
from edgekube.api.patterns.syntax import PatternError, parse


class Pattern:
    """``matches``: anywhere in the text. ``find``: the leftmost match or None. ``find_all``: up to ``most`` of them (below 0:
    all).
    """

    __slots__ = ("_backward", "_forward", "_tree", "text")

    def __init__(self, text: str) -> None:
        self.text: Final = text
        self._tree: Final[Any] = parse(text)
        self._forward: Final = Automaton(build(self._tree), anchored=False, longest=False)
        self._backward: Automaton | None = None

    def matches(self, text: str) -> bool:
        return self._forward.matches(text)

    def find(self, text: str) -> str | None:
        place = self._place(text, 0)
        return text[place[0] : place[1]] if place is not None else None

    def find_all(self, text: str, most: int = -1) -> list[str]:
        """Without overlap; an empty match right after another one does not count, as in Go."""
        found: list[str] = []
        start, last_end = 0, -1
        while start <= len(text) and (most < 0 or len(found) < most):
            place = self._place(text, start)
            if place is None:
                break
            begin, end = place
            if begin == end == last_end:
                start = end + 1
                continue
            found.append(text[begin:end])
            last_end = end
            start = end if end > begin else end + 1
        return found

    def _place(self, text: str, start: int) -> tuple[int, int] | None:
        """Begin and end of the leftmost match from a place on: the end forwards, then its begin backwards from there."""
        end = self._forward.end(text, start)
        if end < 0:
            return None
        if self._backward is None:
            self._backward = Automaton(build(self._tree, backwards=True), anchored=True, longest=True)
        return self._backward.begin(text, start, end), end


@lru_cache(maxsize=limits.PATTERNS_KEPT_MAX)
def compile_pattern(text: str) -> Pattern:
    """The pattern, ready. PatternError when it is none."""
    return Pattern(text)


__all__ = ["Pattern", "PatternError", "compile_pattern"]
