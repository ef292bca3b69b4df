"""Tokens into a tree, macros expanded.

Enters: the text of an expression.
Leaves: its tree; CompileError with the first fault of the grammar, in the words of cel-go's generated parser where that is
    feasible.
Holds: one pass, no backtracking. ``&&`` and ``||`` chains become balanced trees, as cel-go makes them.
Bound: limits.CEL_EXPRESSION_CHARACTERS_MAX, limits.CEL_NESTING_MAX.
Source: the CEL language definition, section Syntax.
Next: api.cel.checker.
"""

from __future__ import annotations

import re
from typing import Final

from edgekube import limits
from edgekube.api.cel import lexer
from edgekube.api.cel.ast import Call, Const, Entry, Ident, ListLiteral, MapLiteral, Node, Select, StructField, StructLiteral
from edgekube.api.cel.errors import CompileError, Issue
from edgekube.api.cel.lexer import BYTES, END, FLOAT, IDENTIFIER, INT, STRING, UINT, WORD, Token
from edgekube.api.cel.macros import MacroError, expand
from edgekube.api.cel.values import INT_MAX

_BEGINNINGS: Final = (
    "'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER"
)
_RESERVED: Final = frozenset(
    re.findall(
        r"\w+",
        "as break const continue else false for function if import in let loop package namespace null return true var void while",
    )
)
#: Binary operators by how tightly they bind; chains of && and || are dealt with apart.
_STARTS: Final = frozenset({"[", "{", "(", ".", "-", "!", INT, UINT, FLOAT, STRING, BYTES, WORD, IDENTIFIER})
_RELATIONS: Final = {"<": "_<_", "<=": "_<=_", ">=": "_>=_", ">": "_>_", "==": "_==_", "!=": "_!=_", "in": "@in"}
_SUMS: Final = {"+": "_+_", "-": "_-_"}
_PRODUCTS: Final = {"*": "_*_", "/": "_/_", "%": "_%_"}
_LEVELS: Final = (_RELATIONS, _SUMS, _PRODUCTS)


class _SyntaxFault(Exception):
    def __init__(self, offset: int, message: str) -> None:
        super().__init__(message)
        self.issue: Final = Issue(offset, message)


def parse(text: str) -> Node:
    """The tree of an expression. CompileError when it is not one."""
    if len(text) > limits.CEL_EXPRESSION_CHARACTERS_MAX:
        message = f"expression code point size exceeds limit: size: {len(text)}, limit {limits.CEL_EXPRESSION_CHARACTERS_MAX}"
        raise CompileError(text[:80], [Issue(0, message)])
    tokens, issues = lexer.tokens_of(text)
    parser = _Parser(tokens, issues)
    try:
        tree = parser.whole()
    except _SyntaxFault as fault:
        raise CompileError(text, [*issues, fault.issue]) from None
    if issues:
        raise CompileError(text, issues)
    return tree


class _Parser:
    def __init__(self, tokens: list[Token], issues: list[Issue]) -> None:
        self.tokens: Final = tokens
        self.issues: Final = issues
        self.position = 0
        self.nesting = 0
        #: Right after the parenthesis of a call, where the arguments may end as well.
        self.may_close = False

    # --- tokens ---

    def peek(self) -> Token:
        return self.tokens[self.position]

    def next(self) -> Token:
        token = self.tokens[self.position]
        self.position += 1
        return token

    def take(self, kind: str) -> Token | None:
        return self.next() if self.tokens[self.position].kind == kind else None

    def expect(self, kind: str, expected: str = "") -> Token:
        """The next token, which must be this one. One too many is reported and passed over, as one that is missing is."""
        token = self.peek()
        if token.kind == kind:
            return self.next()
        if kind == IDENTIFIER:
            raise self.mismatch(expected)
        shown = expected or f"'{kind}'"
        if token.kind != END and self.tokens[self.position + 1].kind == kind:
            self.report(f"Syntax error: extraneous input '{token.text}' expecting {shown}")
            self.next()
            return self.next()
        if token.kind == END and kind != ":":
            raise _SyntaxFault(token.offset, f"Syntax error: missing '{kind}' at '{token.text}'")
        raise self.mismatch(shown)

    def report(self, message: str) -> None:
        self.issues.append(Issue(self.peek().offset, message))

    def mismatch(self, expected: str) -> _SyntaxFault:
        token = self.peek()
        return _SyntaxFault(token.offset, f"Syntax error: mismatched input '{token.text}' expecting {expected}")

    # --- grammar ---

    def whole(self) -> Node:
        tree = self.expression()
        token = self.peek()
        if token.kind != END:
            text = f"Syntax error: extraneous input '{token.text}' expecting <EOF>"
            following = self.tokens[self.position + 1].kind
            raise _SyntaxFault(token.offset, text if following == END else text.replace("extraneous", "mismatched"))
        return tree

    def expression(self) -> Node:
        self.nesting += 1
        if self.nesting > limits.CEL_NESTING_MAX:
            raise _SyntaxFault(self.peek().offset, f"expression recursion limit exceeded: {limits.CEL_NESTING_MAX}")
        condition = self.chain("||", "_||_")
        question = self.take("?")
        if question is not None:
            first = self.chain("||", "_||_")
            self.expect(":", "':'")
            condition = Call(question.offset, "_?_:_", None, [condition, first, self.expression()])
        self.nesting -= 1
        return condition

    def chain(self, symbol: str, function: str) -> Node:
        terms, offsets = [self.chain("&&", "_&&_") if symbol == "||" else self.binary(0)], []
        while (operator := self.take(symbol)) is not None:
            offsets.append(operator.offset)
            terms.append(self.chain("&&", "_&&_") if symbol == "||" else self.binary(0))
        return _balanced(function, terms, offsets, 0, len(offsets) - 1) if offsets else terms[0]

    def binary(self, level: int) -> Node:
        if level == len(_LEVELS):
            return self.unary()
        operators = _LEVELS[level]
        left = self.binary(level + 1)
        length = 0
        while (function := operators.get(self.peek().kind)) is not None:
            length += 1
            if length > limits.CEL_CHAIN_MAX:
                raise _SyntaxFault(self.peek().offset, f"expression recursion limit exceeded: {limits.CEL_CHAIN_MAX}")
            left = Call(self.next().offset, function, None, [left, self.binary(level + 1)])
        return left

    def unary(self) -> Node:
        token = self.peek()
        if token.kind == "!":
            count = self.count("!")
            operand = self.member(self.primary())
            return Call(token.offset, "!_", None, [operand]) if count % 2 else operand
        if token.kind == "-":
            following = self.tokens[self.position + 1]
            if following.kind in (INT, FLOAT):
                self.next()
                return self.member(self.constant(self.next(), token))
            count = self.count("-")
            operand = self.member(self.primary())
            return Call(token.offset, "-_", None, [operand]) if count % 2 else operand
        return self.member(self.primary())

    def count(self, symbol: str) -> int:
        count = 0
        while self.take(symbol) is not None:
            count += 1
        return count

    def member(self, left: Node) -> Node:
        length = 0
        while True:
            length += 1
            if length > limits.CEL_CHAIN_MAX:
                raise _SyntaxFault(self.peek().offset, f"expression recursion limit exceeded: {limits.CEL_CHAIN_MAX}")
            if (dot := self.take(".")) is not None:
                optional = self.take("?")
                name = self.field_name()
                if optional is not None:
                    left = Call(dot.offset, "_?._", None, [left, Const(name.offset, name.text)])
                elif (paren := self.take("(")) is not None:
                    left = self.call(name.text, left, self.arguments(")"), paren.offset)
                else:
                    left = Select(dot.offset, left, name.text)
            elif (bracket := self.take("[")) is not None:
                function = "_[?_]" if self.take("?") is not None else "_[_]"
                index = self.expression()
                self.expect("]")
                left = Call(bracket.offset, function, None, [left, index])
            elif self.peek().kind == "{" and (name_of := dotted_name(left)):
                brace = self.next()
                left = StructLiteral(brace.offset, name_of, self.struct_fields())
            else:
                return left

    def field_name(self) -> Token:
        token = self.peek()
        if token.kind == IDENTIFIER:
            return self.next()
        at = "." if token.kind == END else f".{token.text}"
        raise _SyntaxFault(token.offset, f"Syntax error: no viable alternative at input '{at}'")

    def primary(self) -> Node:
        token = self.next()
        closing, self.may_close = self.may_close, False
        kind = token.kind
        if kind == IDENTIFIER:
            return self.named(token, "")
        if kind == ".":
            return self.named(self.expect(IDENTIFIER, "IDENTIFIER"), ".")
        if kind == "(":
            inner = self.expression()
            self.expect(")")
            return inner
        if kind == "[":
            elements, optional = self.elements()
            return ListLiteral(token.offset, elements, frozenset(optional))
        if kind == "{":
            return MapLiteral(token.offset, self.entries())
        if kind in (INT, UINT, FLOAT, STRING, BYTES, WORD):
            return self.constant(token, None)
        self.position -= 1
        beginnings = _BEGINNINGS.replace("'.'", "')', '.'") if closing else _BEGINNINGS
        if kind != END and self.tokens[self.position + 1].kind in _STARTS:
            self.report(f"Syntax error: extraneous input '{token.text}' expecting {{{beginnings}}}")
            self.next()
            return self.primary()
        raise self.mismatch(f"{{{beginnings}}}")

    def named(self, token: Token, dot: str) -> Node:
        if token.text in _RESERVED:
            self.issues.append(Issue(token.offset, f"reserved identifier: {token.text}"))
        paren = self.take("(")
        if paren is None:
            return Ident(token.offset, dot + token.text)
        return self.call(dot + token.text, None, self.arguments(")"), paren.offset)

    def constant(self, token: Token, sign: Token | None) -> Node:
        value, offset = token.value, sign.offset if sign is not None else token.offset
        if token.kind == INT:
            value = -value if sign is not None else value
            if value > INT_MAX:
                self.issues.append(Issue(offset, "invalid int literal"))
        elif sign is not None:
            value = -value
        if token.kind == FLOAT and value in (float("inf"), float("-inf")):
            self.issues.append(Issue(offset, "invalid double literal"))
        return Const(offset, value)

    def call(self, name: str, target: Node | None, args: list[Node], offset: int) -> Node:
        try:
            return expand(name, target, args, offset) or Call(offset, name, target, args)
        except MacroError as error:
            raise _SyntaxFault(error.offset, str(error)) from None

    def arguments(self, end: str) -> list[Node]:
        args: list[Node] = []
        if self.take(end) is not None:
            return args
        self.may_close = True
        while True:
            args.append(self.expression())
            if self.take(",") is None:
                self.expect(end)
                return args

    def elements(self) -> tuple[list[Node], list[int]]:
        elements: list[Node] = []
        optional: list[int] = []
        while self.take("]") is None:
            if self.take("?") is not None:
                optional.append(len(elements))
            elements.append(self.expression())
            if self.take(",") is None:
                self.expect("]", "{']', ','}")
                break
            if self.peek().kind == END:
                self.expect("]")
        return elements, optional

    def entries(self) -> list[Entry]:
        entries: list[Entry] = []
        while self.take("}") is None:
            optional = self.take("?") is not None
            key = self.expression()
            colon = self.expect(":")
            entries.append(Entry(colon.offset, key, self.expression(), optional))
            if self.take(",") is None:
                self.expect("}")
                break
        return entries

    def struct_fields(self) -> list[StructField]:
        fields: list[StructField] = []
        while self.take("}") is None:
            optional = self.take("?") is not None
            name = self.expect(IDENTIFIER, "IDENTIFIER")
            colon = self.expect(":")
            fields.append(StructField(colon.offset, name.text, self.expression(), optional))
            if self.take(",") is None:
                self.expect("}")
                break
        return fields


def dotted_name(node: Node) -> str:
    """``a.b.C`` for a chain of plain names, "" for anything else."""
    parts: list[str] = []
    while isinstance(node, Select) and not node.test_only:
        parts.append(node.name)
        node = node.operand
    return ".".join([node.name, *reversed(parts)]) if isinstance(node, Ident) else ""


def _balanced(function: str, terms: list[Node], offsets: list[int], low: int, high: int) -> Node:
    middle = (low + high + 1) // 2
    left = terms[middle] if middle == low else _balanced(function, terms, offsets, low, middle - 1)
    right = terms[middle + 1] if middle == high else _balanced(function, terms, offsets, middle + 1, high)
    return Call(offsets[middle], function, None, [left, right])
