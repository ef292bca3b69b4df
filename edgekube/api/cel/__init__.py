"""CEL, the language of validation rules, match conditions and admission policies, as Kubernetes v1.36 speaks it.

Enters: expressions as text; declared variables; JSON values.
Leaves: programs, values, costs; CompileError, EvaluationError, CostExceeded.
Holds: pure: no clock, no store. Nothing of it is loaded before the first name is taken from this package.
Source: the CEL language definition; cel-go v0.26 and k8s.io/apiserver v0.36 for messages, costs and libraries (facts only).

How to use it (import inside the function that needs it, so that an idle server does not pay)::

    from edgekube.api import cel

    environment = cel.Environment({"self": cel.type_of_schema(schema), "oldSelf": ..., "request": cel.DYN})
    program = environment.compile("self.replicas <= 10", expected=cel.BOOL)   # CompileError: str() is cel-go's report
    low, high = program.estimate()                                            # static cost, from maxLength, maxItems ...
    budget = cel.Budget(limits.CEL_BUDGET_COST_MAX)                           # shared by several evaluations
    value = program.evaluate({"self": obj}, budget)                           # EvaluationError, CostExceeded(scope call|budget)
    cel.to_json(value)                                                        # back to JSON values

- Types: ``DYN BOOL INT UINT DOUBLE STRING BYTES NULL TIMESTAMP DURATION``, ``list_of(t)``, ``map_of(k, v)``, ``optional_of(t)``,
  ``object_type(name, {field: type})``, ``type_of_schema(structural schema)``, ``type_of_node(schemas.Node)``, ``AUTHORIZER``.
- ``expected`` may be several types; a wrong result type raises WrongResult (a CompileError with ``wanted`` and ``found``).
  ``program.type``
  is the type found, ``program.variables`` the names read (``"oldSelf" in program.variables``: a transition rule).
- optionalOldSelf: declare ``optional_of(t)`` and give ``Optional(True, value)`` or ``NONE``.
- Lazy variables (``variables.foo``): declare ``variables`` with ``object_type("kubernetes.variables", {...})`` and give
  ``LazyFields({name: function without arguments})``: each is called when it is first read.
- ``authorizer``: declare ``AUTHORIZER``, give ``Authorizer(ask)``; ``ask(Question) -> Answer(allowed, reason, error)`` is
  called by check(),
  and must not block. ``requestResource`` of it: ``ResourceCheck(ask, Question(group=..., resource=...))``.
- A constant that cannot be converted (``int('x')``, a bad pattern) is InstantiationError: upstream's "program instantiation
  failed: ...".
- Bounds for callers: limits.CEL_MATCH_CONDITIONS_COST_MAX (one webhook's conditions), CEL_RULE_ESTIMATE_MAX and
  CEL_CRD_ESTIMATE_MAX
  (estimates of a CRD's rules), CEL_MESSAGE_BYTES_MAX (a messageExpression).
- ``Object{}``, ``JSONPatch{}``: ``Environment(variables, MUTATION_LIBRARIES, objects=api.policy.patch_types.PatchTypes())``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgekube.api.cel.environment import KUBERNETES_LIBRARIES, MUTATION_LIBRARIES, Budget, Environment, Program, WrongResult
    from edgekube.api.cel.errors import CelError, CompileError, CostExceeded, EvaluationError, InstantiationError
    from edgekube.api.cel.json_values import to_json
    from edgekube.api.cel.lazy import LazyFields
    from edgekube.api.cel.library.authz import AUTHORIZER, RESOURCE_CHECK, Answer, Authorizer, Question, ResourceCheck
    from edgekube.api.cel.schema_types import object_type, type_of_node, type_of_schema
    from edgekube.api.cel.types import (
        BOOL,
        BYTES,
        DOUBLE,
        DURATION,
        DYN,
        INT,
        NULL,
        STRING,
        TIMESTAMP,
        UINT,
        Type,
        list_of,
        map_of,
        optional_of,
    )
    from edgekube.api.cel.values import NONE, Duration, Optional, Timestamp, Uint

_WHERE = {
    "environment": ("KUBERNETES_LIBRARIES", "MUTATION_LIBRARIES", "Budget", "Environment", "Program", "WrongResult"),
    "errors": ("CelError", "CompileError", "CostExceeded", "EvaluationError", "InstantiationError"),
    "lazy": ("LazyFields",),
    "library.authz": ("AUTHORIZER", "RESOURCE_CHECK", "Answer", "Authorizer", "Question", "ResourceCheck"),
    "schema_types": ("object_type", "type_of_node", "type_of_schema"),
    "json_values": ("to_json",),
    "types": (
        *("BOOL", "BYTES", "DOUBLE", "DURATION", "DYN", "INT", "NULL", "STRING", "TIMESTAMP", "UINT"),
        *("Type", "list_of", "map_of", "optional_of"),
    ),
    "values": ("NONE", "Duration", "Optional", "Timestamp", "Uint"),
}


def __getattr__(name: str) -> Any:
    for module, names in _WHERE.items():
        if name in names:
            return getattr(import_module(f"edgekube.api.cel.{module}"), name)
    raise AttributeError(f"edgekube.api.cel has no {name}")


__all__ = [
    "AUTHORIZER",
    "BOOL",
    "BYTES",
    "DOUBLE",
    "DURATION",
    "DYN",
    "INT",
    "KUBERNETES_LIBRARIES",
    "MUTATION_LIBRARIES",
    "NONE",
    "NULL",
    "RESOURCE_CHECK",
    "STRING",
    "TIMESTAMP",
    "UINT",
    "Answer",
    "Authorizer",
    "Budget",
    "CelError",
    "CompileError",
    "CostExceeded",
    "Duration",
    "Environment",
    "EvaluationError",
    "InstantiationError",
    "LazyFields",
    "Optional",
    "Program",
    "Question",
    "ResourceCheck",
    "Timestamp",
    "Type",
    "Uint",
    "WrongResult",
    "list_of",
    "map_of",
    "object_type",
    "optional_of",
    "to_json",
    "type_of_node",
    "type_of_schema",
]
