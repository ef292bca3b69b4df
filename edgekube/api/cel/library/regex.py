"""find and findAll.

Enters: text, a pattern.
Leaves: the first match or "", a list of matches.
Source: Kubernetes' CEL regex library.
Next: api.patterns.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from edgekube.api import patterns
from edgekube.api.cel.errors import EvaluationError, no_such_overload

DECLARATIONS: Final = """
string_find_string string.find(string) -> string
string_find_all_string string.findAll(string) -> list(string)
string_find_all_string_int string.findAll(string, int) -> list(string)
"""


def _pattern(text: Any, pattern: Any) -> patterns.Pattern:
    if type(text) is not str or type(pattern) is not str:
        raise no_such_overload()
    try:
        return patterns.compile_pattern(pattern)
    except patterns.PatternError as error:
        raise EvaluationError(str(error)) from None


def _find(text: Any, pattern: Any) -> str:
    return _pattern(text, pattern).find(text) or ""


def _find_all(text: Any, pattern: Any, most: Any = -1) -> list[str]:
    if type(most) is not int:
        raise no_such_overload()
    return _pattern(text, pattern).find_all(text, most)


IMPLEMENTATIONS: Final[dict[str, Callable[..., Any]]] = {"find": _find, "findAll": _find_all}
