"""Instructions run over text in one pass, states made when they are first met.

Enters: a program; text.
Leaves: whether it matches, and where the leftmost match ends (or, backwards, where the longest begins).
Holds: time is linear in the text for any pattern. A state is the ordered set of instructions that wait for a character, so a
    choice prefers
    what is written first, as RE2 and Perl do.
Bound: limits.PATTERN_STATES_MAX states and limits.PATTERN_TRANSITIONS_MAX transitions, then all are forgotten and made anew;
    limits.PATTERN_STEPS_MAX for one text, then PatternTooSlow.
Source: https://swtch.com/~rsc/regexp/regexp3.html (lazy states).
Next: api.patterns.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Final

from edgekube import limits
from edgekube.api.patterns.program import Assert, Fork, Match, Program, Take
from edgekube.api.patterns.syntax import LINE_END, LINE_START, NOT_WORD, TEXT_END, TEXT_START, WORD, PatternError

#: What stands before a place: the text's start, a line's end, a word's character, anything else.
_START, _NEWLINE, _WORD, _OTHER = range(4)


def _kind(character: str) -> int:
    if character == "\n":
        return _NEWLINE
    return _WORD if character == "_" or (character.isascii() and character.isalnum()) else _OTHER


class PatternTooSlow(PatternError):
    """The bound on work was met: a pattern of many states on a long text."""


class _State:
    __slots__ = ("at_end", "before", "follow", "waiting")

    def __init__(self, waiting: tuple[int, ...], before: int) -> None:
        #: Instructions not yet followed through forks and assertions: these depend on what comes next.
        self.waiting: Final = waiting
        self.before: Final = before
        #: Character, or number of a group of alike ones -> (the state after it, whether a match ended before it).
        self.follow: Final[dict[str | int, tuple[_State | None, bool]]] = {}
        self.at_end: bool | None = None


class Automaton:
    """``anchored``: only from the place where it begins; else from any, earlier ones first. ``longest``: all ways are followed
    to the end.
    """

    __slots__ = ("_anchored", "_bounds", "_longest", "_program", "_simple", "_states", "_transitions", "_work")

    def __init__(self, program: Program, anchored: bool, longest: bool) -> None:
        self._program: Final = program
        self._anchored: Final = anchored
        self._longest: Final = longest
        self._states: Final[dict[tuple[tuple[int, ...], int], _State]] = {}
        self._transitions = 0
        self._work = 0
        #: Where characters begin that no instruction tells apart from their neighbours.
        self._bounds: Final = _bounds_of(program)
        self._simple: Final = not any(isinstance(one, Assert) for one in program.instructions)

    def matches(self, text: str) -> bool:
        """Whether there is a match at all."""
        self._work = 0
        state: _State | None = self._state((self._program.start,), _START)
        for character in text:
            assert state is not None
            step = state.follow.get(character)
            state, matched = step if step is not None else self._follow(state, character)
            if matched:
                return True
            if state is None:
                return False
        assert state is not None
        return self._ends(state)

    def end(self, text: str, start: int = 0) -> int:
        """Where the match ends that begins at or after ``start`` (at it, if anchored); -1 for none."""
        self._work = 0
        before = _START if not start else _kind(text[start - 1])
        state: _State | None = self._state((self._program.start,), before)
        found = -1
        for position in range(start, len(text)):
            assert state is not None
            character = text[position]
            step = state.follow.get(character)
            state, matched = step if step is not None else self._follow(state, character)
            if matched:
                found = position
            if state is None:
                return found
        assert state is not None
        return len(text) if self._ends(state) else found

    def begin(self, text: str, start: int, end: int) -> int:
        """For a program that runs backwards: where the match begins that ends there, not before ``start``."""
        self._work = 0
        state: _State | None = self._state((self._program.start,), _START if end == len(text) else _kind(text[end]))
        found = end
        for position in range(end, start, -1):
            assert state is not None
            state, matched = self._step(state, text[position - 1])
            if matched:
                found = position
            if state is None:
                return found
        assert state is not None
        after = _START if not start else _kind(text[start - 1])
        return start if self._reached(state, after)[1] else found

    def _step(self, state: _State, character: str) -> tuple[_State | None, bool]:
        step = state.follow.get(character)
        return step if step is not None else self._follow(state, character)

    def _state(self, waiting: tuple[int, ...], before: int) -> _State:
        key = (waiting, 0 if self._simple else before)
        state = self._states.get(key)
        if state is None:
            if len(self._states) >= limits.PATTERN_STATES_MAX or self._transitions >= limits.PATTERN_TRANSITIONS_MAX:
                self._forget()
            state = self._states[key] = _State(waiting, key[1])
        return state

    def _forget(self) -> None:
        for state in list(self._states.values()):  # a copy: another thread may run the same pattern
            state.follow.clear()
        self._states.clear()
        self._transitions = 0

    def _reached(self, state: _State, after: int) -> tuple[list[Take], bool]:
        """The characters that are waited for, best way first, and whether it matches here."""
        takes: list[Take] = []
        seen: set[int] = set()
        pending = [number for number in reversed(state.waiting) if number >= 0]
        matched = False
        instructions = self._program.instructions
        while pending:
            number = pending.pop()
            if number in seen:
                continue
            seen.add(number)
            self._work += 1
            instruction = instructions[number]
            if isinstance(instruction, Take):
                takes.append(instruction)
            elif isinstance(instruction, Fork):
                pending.append(instruction.second)
                pending.append(instruction.first)
            elif isinstance(instruction, Assert):
                if _holds(instruction.kind, state.before, after):
                    pending.append(instruction.to)
            elif isinstance(instruction, Match):
                matched = True
                if not self._longest:
                    break  # what comes after is worse
        if self._work > limits.PATTERN_STEPS_MAX:
            raise PatternTooSlow("regular expression needs too many steps for this text")
        return takes, matched

    def _follow(self, state: _State, character: str) -> tuple[_State | None, bool]:
        code = ord(character)
        alike = bisect_right(self._bounds, code)
        known = state.follow.get(alike)
        if known is not None:
            return known
        after = _kind(character)
        takes, matched = self._reached(state, after)
        waiting: dict[int, None] = {}
        inside: dict[int, bool] = {}  # copies of a repeated part share their ranges
        for take in takes:
            known_inside = inside.get(id(take.ranges))
            if known_inside is None:
                known_inside = inside[id(take.ranges)] = _within(code, take)
            if known_inside:
                waiting[take.to] = None
        start = self._program.start
        if not self._anchored and not matched and not self._has_matched(state):
            waiting[start] = None
        following: _State | None = None
        if waiting:
            marked = tuple(waiting) if not (matched or self._has_matched(state)) else (-1, *waiting)
            following = self._state(marked, after)
        step = (following, matched)
        state.follow[alike] = step
        if code < 0x80:
            state.follow[character] = step
        self._transitions += 1
        return step

    def _has_matched(self, state: _State) -> bool:
        """Whether a match ended before: then no new one is begun."""
        return bool(state.waiting) and state.waiting[0] == -1

    def _ends(self, state: _State) -> bool:
        if state.at_end is None:
            state.at_end = self._reached(state, _START)[1]
        return state.at_end


def _bounds_of(program: Program) -> list[int]:
    bounds = {0, 0x0A, 0x0B, 0x30, 0x3A, 0x41, 0x5B, 0x5F, 0x60, 0x61, 0x7B}  # lines and words, for assertions
    for instruction in program.instructions:
        if isinstance(instruction, Take):
            for low, high in instruction.ranges:
                bounds.add(low)
                bounds.add(high + 1)
    return sorted(bounds)


def _within(code: int, take: Take) -> bool:
    return any(low <= code <= high for low, high in take.ranges)


def _holds(kind: int, before: int, after: int) -> bool:
    """Whether an assertion holds between two places; at the text's end ``after`` is _START."""
    if kind == TEXT_START:
        return before == _START
    if kind == TEXT_END:
        return after == _START
    if kind == LINE_START:
        return before in (_START, _NEWLINE)
    if kind == LINE_END:
        return after in (_START, _NEWLINE)
    boundary = (before == _WORD) != (after == _WORD)
    return boundary if kind == WORD else not boundary if kind == NOT_WORD else False
