"""What expressions may speak of, and expressions made ready to run.

Enters: names and types of variables, names of libraries, types that expressions may make.
Leaves: programs; a program evaluates with values, within a budget.
Holds: an environment never changes. Values that have a schema are seen through it (api.cel.schema_types).
Bound: limits.CEL_CALL_COST_MAX for one evaluation, the caller's Budget for several; limits.CEL_FUNCTION_TABLES_MAX tables of
    functions.
Next: api.cel.parser, api.cel.checker, api.cel.plan.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from importlib import import_module
from typing import Any, Final

from edgekube import limits
from edgekube.api.cel.ast import Node
from edgekube.api.cel.checker import check
from edgekube.api.cel.declarations import Function, declare
from edgekube.api.cel.errors import CompileError, CostExceeded, EvaluationError, InstantiationError, Issue
from edgekube.api.cel.parser import parse
from edgekube.api.cel.plan import Frame, Planner, Step
from edgekube.api.cel.types import DYN, Type, is_dyn
from edgekube.api.cel.values import Optional

#: All that Kubernetes v1.36 offers in every expression.
KUBERNETES_LIBRARIES: Final = (
    "standard",
    "strings",
    "optionals",
    "lists",
    "sets",
    "regex",
    "urls",
    "quantities",
    "semver",
    "addresses",
    "formats",
    "authz",
)
#: What a MutatingAdmissionPolicy has besides.
MUTATION_LIBRARIES: Final = (*KUBERNETES_LIBRARIES, "jsonpatch")


class Budget:
    """What several evaluations may cost together; ``remaining`` sinks with each, and ends below zero when it was too much."""

    __slots__ = ("remaining",)

    def __init__(self, remaining: int = limits.CEL_BUDGET_COST_MAX) -> None:
        self.remaining = remaining


class Program:
    """A compiled expression. ``type`` is what it gives; ``variables`` are the names that it reads."""

    __slots__ = ("_slot_count", "_slots", "_step", "environment", "text", "type")

    def __init__(self, environment: Environment, text: str, given: Type, step: Step, planner: Planner) -> None:
        self.environment: Final = environment
        self.text: Final = text
        self.type: Final = given
        self._step: Final = step
        self._slots: Final = tuple(planner.variables.items())
        self._slot_count: Final = planner.slot_count

    @property
    def variables(self) -> frozenset[str]:
        return frozenset(name for name, _ in self._slots)

    def evaluate(self, values: Mapping[str, Any], budget: Budget | None = None) -> Any:
        """The result. EvaluationError when the data does not allow one, CostExceeded when it cost too much."""
        return self.evaluate_costing(values, budget)[0]

    def evaluate_costing(self, values: Mapping[str, Any], budget: Budget | None = None) -> tuple[Any, int]:
        """The result and what it cost. The budget pays also for what fails."""
        slots: list[Any] = [None] * self._slot_count
        types = self.environment.variables
        for name, slot in self._slots:
            try:
                value = values[name]
            except KeyError:
                raise EvaluationError(f"no such attribute(s): {name}") from None
            slots[slot] = seen_as(types.get(name, DYN), value)
        limit, scope = limits.CEL_CALL_COST_MAX, "call"
        if budget is not None and budget.remaining < limit:  # what cannot be paid need not be computed
            limit, scope = max(budget.remaining, 0), "budget"
        frame = Frame(slots, limit)
        try:
            result = self._step(frame)
        except CostExceeded:
            raise CostExceeded(scope) from None
        finally:
            if budget is not None:
                budget.remaining -= frame.cost
        if frame.cost > frame.limit:
            raise CostExceeded(scope)
        if budget is not None and budget.remaining < 0:
            raise CostExceeded("budget")
        return result, frame.cost

    def estimate(self) -> tuple[int, int]:
        """The least and the most that it can cost, from the sizes that the schemas allow. Asked once, if ever: the tree is not
        kept.
        """
        from edgekube.api.cel.cost import estimate

        return estimate(self.environment.checked(self.text), self.environment.variables)


class Environment:
    """``variables`` by name; ``objects``: types that an expression may make (``Object{}``); ``libraries``: files of
    api.cel.library.
    """

    def __init__(
        self,
        variables: Mapping[str, Type],
        libraries: Iterable[str] = KUBERNETES_LIBRARIES,
        objects: Mapping[str, Type] | None = None,
    ) -> None:
        self.variables: Final = dict(variables)
        #: Asked by ``get``: names that are made up as they come (``Object.spec.template``) need no list.
        self.objects: Final[Mapping[str, Type]] = objects if objects is not None else {}
        self.libraries: Final = tuple(libraries)

    def extended(self, variables: Mapping[str, Type]) -> Environment:
        """The same with further variables."""
        return Environment({**self.variables, **variables}, self.libraries, self.objects)

    def compile(self, text: str, expected: Type | Iterable[Type] | None = None) -> Program:
        """A program. CompileError when the expression is wrong, or gives another type than one of those expected."""
        functions = _functions(self.libraries)
        tree = self.checked(text)
        wanted = (expected,) if isinstance(expected, Type) else tuple(expected or ())
        if wanted and not is_dyn(tree.type) and tree.type not in wanted:
            names = str(wanted[0]) if len(wanted) == 1 else f"one of [{' '.join(map(str, wanted))}]"
            raise WrongResult(text, names, tree.type)
        planner = Planner(functions)
        try:
            step = planner.plan(tree)
        except EvaluationError as error:
            raise InstantiationError(text, str(error)) from None
        return Program(self, text, tree.type, step, planner)

    def checked(self, text: str) -> Node:
        """The tree of an expression, with its types."""
        return check(text, parse(text), self.variables, _functions(self.libraries), self.objects)


class WrongResult(CompileError):
    """The expression is right and gives the wrong type; callers have their own words for it."""

    def __init__(self, text: str, wanted: str, found: Type) -> None:
        super().__init__(text, [Issue(0, f"must evaluate to {wanted}")])
        self.wanted: Final = wanted
        self.found: Final = found
        self.args = (f"must evaluate to {wanted}",)


def seen_as(declared: Type, value: Any) -> Any:
    """A JSON value through its type: times become times, objects get the names of their fields in CEL."""
    if declared.declared is not None:
        return declared.declared.wrap(value)
    if isinstance(value, Optional) and value.present and declared.params:
        return Optional(True, seen_as(declared.params[0], value.value))
    return value


@lru_cache(maxsize=limits.CEL_FUNCTION_TABLES_MAX)
def _functions(libraries: tuple[str, ...]) -> dict[str, Function]:
    functions: dict[str, Function] = {}
    for name in libraries:
        module = import_module(f"edgekube.api.cel.library.{name}")
        declare(functions, module.DECLARATIONS, module.IMPLEMENTATIONS)
    return functions
