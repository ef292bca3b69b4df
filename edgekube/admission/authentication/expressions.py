"""Expressions over the claims of a token, and over the user that they name.

Enters: texts.
Leaves: programs; what is wrong with a text is a cause, in upstream's words.
Holds: what must be a bool must be known to be one: dyn is refused, as upstream refuses it.
Source: k8s.io/apiserver pkg/authentication/cel.
Next: api.cel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edgekube.api.validation import causes
from edgekube.api.validation.fields import Out

if TYPE_CHECKING:
    from edgekube.api.cel import Environment, Program

_CLAIMS: Final = "claims"
_USER: Final = "user"
_FAILED: Final = "compilation failed: "


class Expressions:
    """CEL is loaded with the first one."""

    def __init__(self) -> None:
        self._environments: dict[str, Environment] = {}

    def of_claims(self, out: Out, expression: str, path: str) -> Program | None:
        return self._compile(out, expression, path, _CLAIMS, boolean=False)

    def condition(self, out: Out, expression: str, path: str) -> Program | None:
        return self._compile(out, expression, path, _CLAIMS, boolean=True)

    def of_user(self, out: Out, expression: str, path: str) -> Program | None:
        return self._compile(out, expression, path, _USER, boolean=True)

    def _environment(self, variable: str) -> Environment:
        from edgekube.api import cel

        if variable not in self._environments:
            given = cel.map_of(cel.STRING, cel.DYN)
            if variable == _USER:
                texts = cel.list_of(cel.STRING)
                fields = {"username": cel.STRING, "uid": cel.STRING, "groups": texts, "extra": cel.map_of(cel.STRING, texts)}
                given = cel.object_type("kubernetes.UserInfo", fields)
            self._environments[variable] = cel.Environment({variable: given})
        return self._environments[variable]

    def _compile(self, out: Out, expression: str, path: str, variable: str, *, boolean: bool) -> Program | None:
        from edgekube.api import cel

        try:
            program = self._environment(variable).compile(expression)
        except cel.CompileError as error:
            out.append(causes.invalid(path, expression, f"{_FAILED}{error}"))
            return None
        if boolean and program.type != cel.BOOL:
            out.append(causes.invalid(path, expression, "must evaluate to bool"))
            return None
        return program


def reads_claim(program: Program, name: str) -> bool:
    """Whether it says ``claims.<name>``, or ``claims.?<name>``, anywhere."""
    from edgekube.api.cel.ast import Call, Const, Ident, Node, Select, children

    def walk(node: Node) -> bool:
        if isinstance(node, Select) and node.name == name and isinstance(node.operand, Ident) and node.operand.name == _CLAIMS:
            return True
        if isinstance(node, Call) and len(node.args) == 2 and node.target is None:
            of, field = node.args
            if isinstance(of, Ident) and of.name == _CLAIMS and isinstance(field, Const) and field.value == name:
                return True
        return any(map(walk, children(node)))

    return walk(program.environment.checked(program.text))
