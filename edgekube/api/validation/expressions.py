"""CEL expressions of policies and webhooks, compiled as the admission chain will compile them.

Enters: the text of an expression, and what stands around it: params, variables before it, what it must give.
Leaves: causes appended to ``out``.
Holds: variables are declared in the order in which they are checked, so that one may use those before it. CEL is loaded with the
first expression.
Source: admissionregistration/validation (validateCELCondition and its like).
Next: api.policy.compiler; api.validation.policies and api.validation.admissionregistration ask.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgekube.api.validation import causes
from edgekube.api.validation.fields import Out

if TYPE_CHECKING:
    from edgekube.api.policy.compiler import Compiler, Expression


class Expressions:
    """Of one policy. ``composed``: there is a ``variables``."""

    def __init__(self, *, params: bool, composed: bool) -> None:
        self._params = params
        self._composed = composed
        self._made: Compiler | None = None

    def alone(self) -> Expressions:
        """For match conditions, to which no variables are declared."""
        return Expressions(params=self._params, composed=False)

    @property
    def _compiler(self) -> Compiler:
        if self._made is None:
            from edgekube.api.policy.compiler import Compiler

            self._made = Compiler(params=self._params, composed=self._composed)
        return self._made

    def check_variable(self, out: Out, name: str, expression: str, field: str) -> None:
        _say(out, self._compiler.variable(name, expression), field)

    def check_condition(self, out: Out, expression: str, field: str) -> None:
        _say(out, self._compiler.condition(expression), field)

    def check_message(self, out: Out, expression: str, field: str) -> None:
        _say(out, self._compiler.message(expression), field)

    def check_audit_value(self, out: Out, expression: str, field: str) -> None:
        _say(out, self._compiler.audit_value(expression), field)

    def check_apply_configuration(self, out: Out, expression: str, field: str) -> None:
        _say(out, self._compiler.configuration(expression), field)

    def check_json_patch(self, out: Out, expression: str, field: str) -> None:
        _say(out, self._compiler.operations(expression), field)


def _say(out: Out, made: Expression, field: str) -> None:
    if made.fault:
        out.append(causes.invalid(field, made.text, made.fault))
