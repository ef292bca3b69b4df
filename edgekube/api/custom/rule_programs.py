"""The rules of one place in a schema, as programs.

Enters: a place in a schema, as it was written.
Leaves: compiled rules with what they can cost; a rule that does not compile carries the reason instead.
Holds: CEL is loaded when the first rule is compiled.
Source: apiextensions-apiserver pkg/apiserver/schema/cel (compilation.go).
Next: api.custom.rules at the definition's writing, api.custom.keeping at an object's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from edgekube.api.custom.paths import BadPath, field_path
from edgekube.api.custom.structural import each
from edgekube.api.objects import Object

if TYPE_CHECKING:
    from edgekube.api.cel import Program, Type

#: A request of this size is the largest that objects come in; it bounds how often anything can be in one.
_REQUEST_BYTES_MAX: Final = 3 * 1024 * 1024


class CompiledRule(Struct):
    rule: Object
    program: Program | None = None
    fault: str = ""
    cost_max: int = 0
    message_program: Program | None = None
    message_fault: str = ""
    message_cost_max: int = 0
    #: fieldPath as causes write it.
    path: str = ""

    @property
    def uses_old_self(self) -> bool:
        return self.program is not None and "oldSelf" in self.program.variables

    @property
    def optional(self) -> bool:
        return bool(self.rule.get("optionalOldSelf"))


def type_of(schema: Object, *, is_root: bool) -> Type:
    from edgekube.api import cel

    return cel.type_of_schema(schema, is_root=is_root)


def cardinality_max(schema: Object, *, is_root: bool) -> int:
    """How often a value of this schema fits into the largest request."""
    declared: Any = type_of(schema, is_root=is_root).declared
    return int(_REQUEST_BYTES_MAX // ((declared.bytes_min if declared is not None else 0) + 1))


def compile_rules(schema: Object, *, is_root: bool) -> list[CompiledRule]:
    """As many as the schema has rules, in their order."""
    from edgekube.api import cel

    type_ = type_of(schema, is_root=is_root)
    environment = cel.Environment({"self": type_, "oldSelf": type_})
    optional = cel.Environment({"self": type_, "oldSelf": cel.optional_of(type_)})
    return [
        _compile(schema, rule, optional if rule.get("optionalOldSelf") else environment)
        for rule in each(schema, "x-kubernetes-validations")
    ]


def _compile(schema: Object, rule: Object, environment: Any) -> CompiledRule:
    from edgekube.api import cel

    made = CompiledRule(rule)
    text, message = rule.get("rule") or "", rule.get("messageExpression") or ""
    if not text.strip():
        return made
    try:
        made.program = environment.compile(text, cel.BOOL)
        made.cost_max = made.program.estimate()[1]
    except cel.WrongResult:
        made.fault = "cel expression must evaluate to a bool"
        return made
    except cel.CompileError as error:
        made.fault = f"compilation failed: {error}"
        return made
    if message:
        try:
            made.message_program = environment.compile(message, cel.STRING)
            made.message_cost_max = made.message_program.estimate()[1]
        except cel.WrongResult:
            made.message_fault = "messageExpression must evaluate to a string"
        except cel.CompileError as error:
            made.message_fault = f"messageExpression compilation failed: {error}"
    if rule.get("fieldPath"):
        try:
            made.path = field_path(rule["fieldPath"], schema)[0]
        except BadPath:
            made.path = ""
    return made
