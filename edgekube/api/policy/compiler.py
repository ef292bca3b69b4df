"""The expressions of one policy, compiled together: a variable may use those before it, everything else may use them all.

Enters: texts, in the order in which the policy has them; for type checking, the types of object and params.
Leaves: Expressions: a program each, or what is wrong with the text, in upstream's words.
Holds: nothing raises; a policy with one wrong expression is still asked about the others. What must be a bool must be known to be
one: dyn is refused, as upstream refuses it.
Source: k8s.io/apiserver pkg/admission/plugin/cel (compile.go, composition.go).
Next: api.cel; admission.policies.evaluation runs them, api.validation.expressions asks for faults.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from edgekube.api.cel.environment import KUBERNETES_LIBRARIES, MUTATION_LIBRARIES, Environment, Program
from edgekube.api.cel.errors import CompileError
from edgekube.api.cel.schema_types import object_type as struct_type
from edgekube.api.cel.types import BOOL, DYN, NULL, STRING, Type
from edgekube.api.policy.declarations import VARIABLES, variables
from edgekube.api.policy.patch_types import CONFIGURATION, OPERATIONS, PatchTypes

COMPILATION_FAILED: Final = "compilation failed: "
#: How cel-go names a type where it prints it outside of its own reports.
_NAMES: Final = {"null": "null_type", "timestamp": "google.protobuf.Timestamp", "duration": "google.protobuf.Duration"}


class Expression(Struct, frozen=True):
    text: str
    program: Program | None = None
    #: Why there is no program.
    fault: str = ""


class Compiler:
    """``composed``: ``variables`` is declared, though there may be none."""

    def __init__(self, *, params: bool, composed: bool, object_type: Type = DYN, params_type: Type = DYN) -> None:
        self._composed = composed
        self._declared = {
            authorizer: variables(params=params, authorizer=authorizer, object_type=object_type, params_type=params_type)
            for authorizer in (False, True)
        }
        #: The types of the policy's variables so far.
        self._fields: dict[str, Type] = {}
        self._environments: dict[tuple[bool, bool], Environment] = {}

    def variable(self, name: str, text: str) -> Expression:
        made = self._compile(text, ())
        self._fields[name] = _as_field(made.program.type) if made.program is not None else DYN
        self._environments.clear()
        return made

    def condition(self, text: str) -> Expression:
        return self._compile(text, (BOOL,))

    def message(self, text: str) -> Expression:
        return self._compile(text, (STRING,), authorizer=False)

    def audit_value(self, text: str) -> Expression:
        return self._compile(text, (STRING, NULL))

    def configuration(self, text: str) -> Expression:
        return self._compile(text, (CONFIGURATION,), patches=True)

    def operations(self, text: str) -> Expression:
        return self._compile(text, (OPERATIONS,), patches=True)

    def anything(self, text: str) -> Expression:
        """For type checking, which asks for no type."""
        return self._compile(text, ())

    def _environment(self, authorizer: bool, patches: bool) -> Environment:
        key = authorizer, patches
        environment = self._environments.get(key)
        if environment is None:
            declared: Mapping[str, Type] = self._declared[authorizer]
            if self._composed:
                declared = {**declared, VARIABLES: struct_type("kubernetes.variables", self._fields)}
            libraries = MUTATION_LIBRARIES if patches else KUBERNETES_LIBRARIES
            environment = Environment(declared, libraries, PatchTypes() if patches else None)
            self._environments[key] = environment
        return environment

    def _compile(self, text: str, wanted: tuple[Type, ...], *, authorizer: bool = True, patches: bool = False) -> Expression:
        try:
            program = self._environment(authorizer, patches).compile(text)
        except CompileError as error:
            return Expression(text, fault=f"{COMPILATION_FAILED}{error}")
        if wanted and program.type not in wanted:
            found = _named(program.type)
            if len(wanted) == 1:
                return Expression(text, fault=f"must evaluate to {_named(wanted[0])} but got {found}")
            names = " ".join(map(_named, wanted))
            return Expression(text, fault=f"must evaluate to one of [{names}] but got {found}")
        return Expression(text, program)


def _named(given: Type) -> str:
    return _NAMES.get(given.kind) or str(given)


def _as_field(given: Type) -> Type:
    """As what a variable is declared to the expressions after it: a struct is dyn there."""
    if given.kind in ("list", "map"):
        return Type(given.kind, params=tuple(map(_as_field, given.params)))
    return DYN if given.kind in ("struct", "opaque", "type", "error") else given
