"""Constants that cannot be what they are given for: a duration, a time or a regular expression that does not parse.

Enters: a checked tree.
Leaves: an issue for each wrong constant, in cel-go's words.
Source: cel-go cel/validator.go.
Next: api.cel.checker.
"""

from __future__ import annotations

from typing import Final

from edgekube.api.cel.ast import Call, Const, ListLiteral, MapLiteral, Node, children
from edgekube.api.cel.errors import EvaluationError, Issue
from edgekube.api.cel.library.formatting import CLAUSE
from edgekube.api.cel.library.times import duration_of, timestamp_of
from edgekube.api.cel.types import Type, is_dyn, is_optional

_PARSERS: Final = {"duration": duration_of, "timestamp": timestamp_of}


def literal_issues(tree: Node) -> list[Issue]:
    issues: list[Issue] = []
    pending = [(tree, False)]
    while pending:
        node, mixed = pending.pop()
        if isinstance(node, Call):
            _call(node, issues)
            mixed = mixed or node.function == "format"
        elif isinstance(node, ListLiteral) and not mixed:
            _same_type([(one, index in node.optional) for index, one in enumerate(node.elements)], issues)
        elif isinstance(node, MapLiteral) and not mixed:
            _same_type([(entry.key, False) for entry in node.entries], issues)
            _same_type([(entry.value, entry.optional) for entry in node.entries], issues)
        pending.extend((below, mixed) for below in children(node))
    return issues


def _call(node: Call, issues: list[Issue]) -> None:
    if node.function in _PARSERS and len(node.args) == 1:
        arg = node.args[0]
        if isinstance(arg, Const) and isinstance(arg.value, str):
            try:
                _PARSERS[node.function](arg.value)
            except EvaluationError:
                issues.append(Issue(arg.offset, f"invalid {node.function} argument"))
    elif node.function == "format" and node.target is not None:
        template, args = node.target, node.args[0]
        if isinstance(template, Const) and isinstance(args, ListLiteral) and not args.optional:
            issues.extend(_format(template.value, node, args))
    elif node.function == "matches":
        arg = node.args[-1]
        if isinstance(arg, Const) and isinstance(arg.value, str):
            from edgekube.api import patterns

            try:
                patterns.compile_pattern(arg.value)
            except patterns.PatternError:
                issues.append(Issue(arg.offset, "invalid matches argument"))


_FORMATTED: Final = {
    "d": ("decimal clause can only be used on integers", ("int", "uint")),
    "f": ("fixed-point clause can only be used on doubles", ("double", "string")),
    "e": ("scientific clause can only be used on doubles", ("double", "string")),
    "b": ("only integers and bools can be formatted as binary", ("int", "uint", "bool")),
    "o": ("octal clause can only be used on integers", ("int", "uint")),
    "x": ("only integers, byte buffers, and strings can be formatted as hex", ("int", "uint", "bytes", "string")),
}


def _format(template: str, node: Call, args: ListLiteral) -> list[Issue]:
    """A format that does not fit its arguments."""
    position = 0
    for percent, precision, letter in CLAUSE.findall(template):
        if percent:
            continue
        if not letter or letter not in "sdfebxXo":
            wrong = f'could not parse formatting clause: unrecognized formatting clause "{letter}"'
            return [Issue(node.offset, wrong if letter else "unexpected end of string")]
        if len(precision) > 3:
            return [Issue(node.offset, "precision out of range")]
        if position == len(args.elements):
            return [Issue(node.offset, f"index {position} out of range")]
        given = args.elements[position]
        message, kinds = _FORMATTED.get(letter.lower(), ("", ()))
        if message and not is_dyn(given.type) and given.type.kind not in kinds:
            return [Issue(given.offset, f"error during formatting: {message}, was given {given.type}")]
        position += 1
    return []


def _same_type(elements: list[tuple[Node, bool]], issues: list[Issue]) -> None:
    known: Type | None = None
    for node, optional in elements:
        given = node.type
        if optional and is_optional(given):
            given = given.params[0]
        if known is None:
            known = given
        elif not (known == given or (is_dyn(known) and is_dyn(given))) and known.kind != "param" and given.kind != "param":
            issues.append(Issue(node.offset, f"expected type '{known}' but found '{given}'"))
