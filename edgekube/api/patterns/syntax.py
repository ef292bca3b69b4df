"""The grammar of RE2, as Go's regexp reads it: text into a small tree, or the error that Go gives.

Enters: a pattern.
Leaves: a tree of tuples: ranges of characters, sequences, alternatives, repetitions, empty assertions.
Holds: no look-around, no back-references: RE2 has none. Repetitions end at 1000, and at 1000 copies together when they are
    nested.
Bound: limits.PATTERN_CHARACTERS_MAX, limits.PATTERN_NESTING_MAX.
Source: https://github.com/google/re2/wiki/Syntax; Go's regexp/syntax documentation (error texts).
Next: api.patterns.program.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from edgekube import limits
from edgekube.api.patterns.characters import NAMED, PERL, Ranges, folded, merged, negated, unicode_class

LAST: Final = 0x10FFFF
#: Assertions.
TEXT_START, TEXT_END, LINE_START, LINE_END, WORD, NOT_WORD = range(6)


class PatternError(ValueError):
    """``error parsing regexp: missing closing ): `(` ``"""


class Chars(NamedTuple):
    ranges: Ranges


class Empty(NamedTuple):
    """Nothing, if the assertion holds (None: always)."""

    assertion: int | None = None


class Sequence(NamedTuple):
    parts: list[Any]


class Choice(NamedTuple):
    options: list[Any]


class Repeat(NamedTuple):
    inner: Any
    least: int
    #: -1: without end.
    most: int
    greedy: bool


class Flags(NamedTuple):
    fold: bool = False
    lines: bool = False
    dot_all: bool = False
    ungreedy: bool = False


def wrong(message: str, part: str) -> PatternError:
    return PatternError(f"error parsing regexp: {message}: `{part}`")


_ESCAPES: Final = {"a": 7, "f": 12, "n": 10, "r": 13, "t": 9, "v": 11}
_PUNCTUATION: Final = frozenset("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")


def parse(text: str) -> Any:
    if len(text) > limits.PATTERN_CHARACTERS_MAX:
        raise wrong("expression too large", text[:40])
    return _Parser(text).whole()


class _Parser:
    def __init__(self, text: str) -> None:
        self.text: Final = text
        self.at = 0
        self.depth = 0
        self.flags = Flags()

    def whole(self) -> Any:
        tree = self.choice()
        if self.at < len(self.text):
            raise wrong("unexpected )", self.text)
        return tree

    def more(self) -> bool:
        return self.at < len(self.text)

    def peek(self, text: str) -> bool:
        return self.text.startswith(text, self.at)

    def choice(self) -> Any:
        options = [self.sequence()]
        while self.peek("|"):
            self.at += 1
            options.append(self.sequence())
        return Choice(options) if len(options) > 1 else options[0]

    def sequence(self) -> Any:
        parts: list[Any] = []
        while self.more() and not self.peek("|") and not self.peek(")"):
            start = self.at
            part = self.atom()
            if part is not None:
                parts.append(self.repeated(part, start))
            elif parts:  # what follows flags repeats what stands before them
                parts.append(self.repeated(parts.pop(), start))
        return Sequence(parts)

    def repeated(self, part: Any, start: int) -> Any:
        before = ""
        while self.more():
            begin = self.at
            bounds = self.bounds()
            if bounds is None:
                return part
            greedy = not self.flags.ungreedy
            if self.peek("?"):
                self.at += 1
                greedy = not greedy
            operator = self.text[begin : self.at]
            if before:
                raise wrong("invalid nested repetition operator", before + operator)
            least, most = bounds
            if least > 1000 or most > 1000 or (most >= 0 and least > most):
                raise wrong("invalid repeat count", operator)
            part, before = Repeat(part, least, most, greedy), operator
            if max(least, most) > 1 and _copies(part) > 1000:
                raise wrong("invalid repeat count", operator)
        return part

    def bounds(self) -> tuple[int, int] | None:
        """The repetition that begins here, if one does; a brace that is none is a character."""
        sign = self.text[self.at]
        if sign in "*+?":
            self.at += 1
            return {"*": (0, -1), "+": (1, -1), "?": (0, 1)}[sign]
        if sign != "{":
            return None
        end = self.text.find("}", self.at, self.at + 24)
        if end < 0:
            return None
        least, comma, most = self.text[self.at + 1 : end].partition(",")
        if not (least.isascii() and least.isdigit()) or (most and not (most.isascii() and most.isdigit())):
            return None
        if any(len(one) > 1 and one[0] == "0" for one in (least, most)):
            return None
        self.at = end + 1
        return int(least), int(most) if most else (-1 if comma else int(least))

    def atom(self) -> Any:
        character = self.text[self.at]
        self.at += 1
        if character == "(":
            return self.group()
        if character == "[":
            return Chars(self.bracket())
        if character == ".":
            return Chars(((0, LAST),) if self.flags.dot_all else ((0, 9), (11, LAST)))
        if character == "^":
            return Empty(LINE_START if self.flags.lines else TEXT_START)
        if character == "$":
            return Empty(LINE_END if self.flags.lines else TEXT_END)
        if character == "\\":
            return self.escape()
        if character in "*+?":
            self.at -= 1
            raise self.nothing_to_repeat()
        if character == "{":
            self.at -= 1
            begin = self.at
            if self.bounds() is not None:
                self.at = begin
                raise self.nothing_to_repeat()
            self.at = begin + 1
        return self.literal(ord(character))

    def nothing_to_repeat(self) -> PatternError:
        begin = self.at
        self.bounds()
        self.at += self.peek("?")
        return wrong("missing argument to repetition operator", self.text[begin : self.at])

    def literal(self, code: int) -> Chars:
        return Chars(folded(((code, code),)) if self.flags.fold else ((code, code),))

    def group(self) -> Any:
        self.depth += 1
        if self.depth > limits.PATTERN_NESTING_MAX:
            raise PatternError("error parsing regexp: expression nests too deeply: `" + self.text[:40] + "`")
        flags = self.flags
        if self.peek("?") and self.flag_group():
            self.depth -= 1
            return None
        inner = self.choice()
        if not self.peek(")"):
            raise wrong("missing closing )", self.text)
        self.at += 1
        self.flags = flags
        self.depth -= 1
        return inner

    def flag_group(self) -> bool:
        """Reads ``?:``, ``?P<name>``, ``?i:`` and ``?i)``. True when the group has ended (flags for what follows)."""
        begin = self.at - 1
        rest = self.text[self.at + 1 :]
        for prefix in ("P<", "<"):
            if rest.startswith(prefix):
                end = self.text.find(">", self.at)
                name = self.text[self.at + 1 + len(prefix) : end] if end >= 0 else ""
                if end < 0:
                    raise wrong("invalid named capture", self.text[begin:])
                if not name or not all(one == "_" or one.isalnum() for one in name):
                    raise wrong("invalid named capture", self.text[begin : end + 1])
                self.at = end + 1
                return False
        position, sign, seen = self.at + 1, True, False
        values = self.flags._asdict()
        letters = {"i": "fold", "m": "lines", "s": "dot_all", "U": "ungreedy"}
        while position < len(self.text):
            letter = self.text[position]
            position += 1
            if letter in letters:
                values[letters[letter]] = sign
                seen = True
            elif letter == "-" and sign:
                sign, seen = False, False
            elif letter in ":)" and (sign or seen):
                self.at, self.flags = position, Flags(**values)
                return letter == ")"
            else:
                break
        raise wrong("invalid or unsupported Perl syntax", self.text[begin:position])

    def escape(self) -> Any:
        if not self.more():
            raise PatternError("error parsing regexp: trailing backslash at end of expression: ``")
        letter = self.text[self.at]
        assertion = {"A": TEXT_START, "z": TEXT_END, "b": WORD, "B": NOT_WORD}.get(letter)
        if assertion is not None:
            self.at += 1
            return Empty(assertion)
        if letter == "Q":
            end = self.text.find("\\E", self.at + 1)
            quoted = self.text[self.at + 1 : end if end >= 0 else len(self.text)]
            self.at = end + 2 if end >= 0 else len(self.text)
            return Sequence([self.literal(ord(one)) for one in quoted])
        if letter == "C":
            raise wrong("invalid escape sequence", "\\C")
        ranges = self.class_escape()
        if ranges is not None:
            return Chars(ranges)
        return self.literal(self.code())

    def class_escape(self) -> Ranges | None:
        """``\\d``, ``\\pL`` and the like, after the backslash."""
        letter = self.text[self.at]
        if letter in PERL:
            self.at += 1
            return PERL[letter]
        if letter not in "pP":
            return None
        begin = self.at - 1
        self.at += 1
        name, negative = self.text[self.at : self.at + 1], letter == "P"
        if name == "{":
            end = self.text.find("}", self.at)
            if end < 0:
                raise wrong("invalid character class range", self.text[begin:])
            name = self.text[self.at + 1 : end]
            self.at = end + 1
        else:
            self.at += 1
        if name.startswith("^"):
            name, negative = name[1:], not negative
        found = unicode_class(name)
        if found is None:
            raise wrong("invalid character class range", self.text[begin : self.at])
        ranges = folded(found) if self.flags.fold else found
        return negated(ranges) if negative else ranges

    def code(self) -> int:
        """The character that an escape stands for, after the backslash."""
        begin = self.at - 1
        letter = self.text[self.at]
        self.at += 1
        if letter in _ESCAPES:
            return _ESCAPES[letter]
        if letter in _PUNCTUATION:
            return ord(letter)
        if letter == "x":
            return self.hexadecimal(begin)
        if letter in "01234567":
            following = self.text[self.at : self.at + 1]
            if letter != "0" and (not following or following not in "01234567"):
                raise wrong("invalid escape sequence", self.text[begin : self.at])
            digits = letter
            while len(digits) < 3 and self.more() and self.text[self.at] in "01234567":
                digits += self.text[self.at]
                self.at += 1
            return int(digits, 8)
        raise wrong("invalid escape sequence", self.text[begin : self.at])

    def hexadecimal(self, begin: int) -> int:
        digits = self.text[self.at : self.at + 2]
        self.at += 2
        if digits.startswith("{"):
            end = self.text.find("}", begin)
            digits = self.text[begin + 3 : end] if end >= 0 else ""
            self.at = end + 1 if end >= 0 else len(self.text)
        elif len(digits) != 2:
            digits = ""
        try:
            code = int(digits, 16) if digits.isalnum() else -1
        except ValueError:
            code = -1
        if not 0 <= code <= LAST:
            raise wrong("invalid escape sequence", self.text[begin : self.at])
        return code

    def bracket(self) -> Ranges:
        begin = self.at - 1
        negative = self.peek("^")
        self.at += negative
        found: list[tuple[int, int]] = []
        first = True
        while first or not self.peek("]"):
            if not self.more():
                raise wrong("missing closing ]", self.text[begin:])
            first = False
            if self.peek("[:"):
                end = self.text.find(":]", self.at + 2)
                if end >= 0:
                    name = self.text[self.at : end + 2]
                    if name not in NAMED:
                        raise wrong("invalid character class range", name)
                    found.extend(NAMED[name])
                    self.at = end + 2
                    continue
            start = self.at
            low = self.single(begin)
            if not isinstance(low, int):
                found.extend(low)
                continue
            high = low
            if self.peek("-") and not self.peek("-]"):
                self.at += 1
                high = self.last_of_range(begin)
                if high < low:
                    raise wrong("invalid character class range", self.text[start : self.at])
            found.append((low, high))
        self.at += 1
        ranges = merged(found)
        ranges = folded(ranges) if self.flags.fold else ranges
        return negated(ranges) if negative else ranges

    def last_of_range(self, begin: int) -> int:
        if not self.more():
            raise wrong("missing closing ]", self.text[begin:])
        self.at += 1
        if self.text[self.at - 1] != "\\":
            return ord(self.text[self.at - 1])
        if not self.more():
            raise PatternError("error parsing regexp: trailing backslash at end of expression: ``")
        return self.code()

    def single(self, begin: int) -> int | Ranges:
        if not self.more():
            raise wrong("missing closing ]", self.text[begin:])
        if not self.peek("\\"):
            self.at += 1
            return ord(self.text[self.at - 1])
        self.at += 1
        if not self.more():
            raise PatternError("error parsing regexp: trailing backslash at end of expression: ``")
        ranges = self.class_escape()
        return ranges if ranges is not None else self.code()


def _copies(tree: Any) -> int:
    """How often the most repeated part of a tree stands there, once repetitions are written out."""
    most = 1
    pending = [(tree, 1)]
    while pending:
        node, copies = pending.pop()
        if isinstance(node, Repeat):
            copies *= max(node.least, node.most, 1)
            pending.append((node.inner, copies))
        elif isinstance(node, Sequence):
            pending.extend((one, copies) for one in node.parts)
        elif isinstance(node, Choice):
            pending.extend((one, copies) for one in node.options)
        most = max(most, copies)
    return most
