"""What can go wrong with an expression, in the words that Kubernetes answers with.

Enters: the text, offsets into it, messages of the lexer, the parser, the checker and the functions.
Leaves: CompileError (the author's fault, with the line it is in), EvaluationError (the data's), CostExceeded.
Holds: the text of a CompileError is what cel-go prints: ERROR: <input>:line:column, the line, and an arrow under the place.
Source: cel-go common/error.go and common/errors.go (form of the report).
Next: api.cel.parser, api.cel.checker, api.cel.plan.
"""

from __future__ import annotations

import unicodedata
from typing import Final, NamedTuple

_REPORTED_MAX: Final = 100


class Issue(NamedTuple):
    offset: int
    message: str


class CelError(Exception):
    """Any fault that an expression can have."""


class CompileError(CelError):
    """The expression is wrong. ``str()`` is the whole report, an issue per paragraph; ``issues`` are its parts."""

    def __init__(self, text: str, issues: list[Issue]) -> None:
        self.issues: Final = tuple(sorted(issues, key=lambda issue: issue.offset)[:_REPORTED_MAX])
        lines = [_report(text, issue) for issue in self.issues]
        if len(issues) > _REPORTED_MAX:
            lines.append(f"{len(issues) - _REPORTED_MAX} more errors were truncated")
        super().__init__("\n".join(lines))


class InstantiationError(CompileError):
    """A constant of the expression cannot be what it is converted to. ``str()`` is that error alone."""

    def __init__(self, text: str, message: str) -> None:
        super().__init__(text, [Issue(0, message)])
        self.args = (message,)


class EvaluationError(CelError):
    """The expression met data that it cannot deal with: no such key, an overflow. ``str()`` is cel-go's message."""


class NoSuchOverload(EvaluationError):
    """Values of types that a function does not take; whoever calls it adds its name."""


class CostExceeded(CelError):
    """Evaluation was ended. ``scope`` says whose limit it was: "call" (one evaluation) or "budget" (the caller's for several)."""

    def __init__(self, scope: str = "call") -> None:
        super().__init__("operation cancelled: actual cost limit exceeded")
        self.scope: Final = scope


def no_such_overload() -> NoSuchOverload:
    return NoSuchOverload("no such overload")


def conversion_error(value: object, wanted: str) -> EvaluationError:
    """A text that is no number, no time, no duration."""
    return EvaluationError(f"type conversion error from 'string' to '{wanted}'")


def _report(text: str, issue: Issue) -> str:
    offset = max(issue.offset, 0)
    start = text.rfind("\n", 0, offset) + 1
    end = text.find("\n", start)
    source = text[start : end if end >= 0 else len(text)]
    row, column = text.count("\n", 0, start) + 1, offset - start
    pointer = "".join("\uff0e" if _is_wide(character) else "." for character in source[:column])
    arrow = "\uff3e" if column < len(source) and _is_wide(source[column]) else "^"
    head = f"ERROR: <input>:{row}:{column + 1}: {issue.message}"
    return f"{head}\n | {source.replace(chr(9), ' ')}\n | {pointer}{arrow}"


def _is_wide(character: str) -> bool:
    return len(character.encode("utf-8", "surrogatepass")) > 1 and unicodedata.east_asian_width(character) in "FWAN"
