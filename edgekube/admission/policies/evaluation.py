"""A policy's expressions, compiled when it is first asked, run with what a request brings.

Enters: a policy; values of its variables (admission.policies.inputs); budgets.
Leaves: results; the Verdict of a validating policy.
Holds: pure. A variable of the policy is computed when it is first read, once for each group of expressions, and pays out of the
group's budget. What does not compile is an error where it is asked, as everything that cannot be evaluated.
Bound: limits.CEL_AT_ONCE_COST_MAX ``at_once``, else limits.CEL_BUDGET_COST_MAX for a policy with one param and
limits.CEL_MATCH_CONDITIONS_COST_MAX for its matchConditions.
Source: k8s.io/apiserver pkg/admission/plugin/cel (activation.go), policy/validating/validator.go.
Next: api.policy.compiler, admission.policies.decisions; admission.policies.mutation does it for mutating policies.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from edgekube import limits
from edgekube.admission.policies.decisions import (
    Decision,
    Matched,
    Result,
    Verdict,
    failure,
    judge_annotation,
    judge_conditions,
    judge_validation,
)
from edgekube.api.cel.environment import Budget
from edgekube.api.cel.errors import CostExceeded, EvaluationError
from edgekube.api.cel.lazy import LazyFields
from edgekube.api.cel.values import type_name
from edgekube.api.objects import Object
from edgekube.api.policy.compiler import Compiler, Expression
from edgekube.api.policy.declarations import NAMESPACE, VARIABLES

Values = Mapping[str, Any]
_SPENT: Final = "validation failed due to running out of cost budget, no further validation rules will be run"


class OutOfBudget(Exception):
    def __init__(self) -> None:
        super().__init__(_SPENT)


class Heavy(Exception):
    """It costs more than the caller lets it cost here; all of it may be asked again with more patience."""


class _Group:
    """Expressions that share a budget and the policy's variables."""

    def __init__(
        self, variables: Sequence[tuple[str, Expression]], values: Values, budget: Budget, spent: type[Exception]
    ) -> None:
        self._budget = budget
        self._spent = spent
        self._values: dict[str, Any] = dict(values)
        self._values[VARIABLES] = LazyFields({name: self._maker(name, expression) for name, expression in variables})

    def _maker(self, name: str, expression: Expression) -> Callable[[], Any]:
        def make() -> Any:
            if expression.program is None:
                raise EvaluationError(f'composited variable "{name}" fails to compile: {expression.fault}')
            try:
                return expression.program.evaluate(self._values, self._budget)
            except (EvaluationError, CostExceeded) as error:
                raise EvaluationError(f'composited variable "{name}" fails to evaluate: {error}') from None

        return make

    def run(self, expression: Expression) -> Result:
        if expression.program is None:
            return Result(error=f"compilation error: {expression.fault}")
        try:
            value = expression.program.evaluate(self._values, self._budget)
        except (EvaluationError, CostExceeded) as error:
            if self._budget.remaining < 0:
                raise self._spent from None
            return Result(error=f"expression '{expression.text}' resulted in error: {error}")
        if self._budget.remaining < 0:
            raise self._spent
        return Result(value)


class Policy:
    def __init__(self, policy: Object) -> None:
        spec = policy["spec"]
        self.spec: Object = spec
        self.fails_open = spec.get("failurePolicy") == "Ignore"
        self.compiler = Compiler(params=spec.get("paramKind") is not None, composed=True)
        self._variables = [
            (variable["name"], self.compiler.variable(variable["name"], variable["expression"]))
            for variable in spec.get("variables") or ()
        ]
        self._conditions = [self.compiler.condition(condition["expression"]) for condition in spec.get("matchConditions") or ()]

    def group(self, values: Values, at_once: bool, cost_max: int = limits.CEL_BUDGET_COST_MAX) -> tuple[_Group, Budget]:
        """``at_once``: Heavy when it costs more than what may be computed while everybody waits."""
        budget = Budget(min(cost_max, limits.CEL_AT_ONCE_COST_MAX) if at_once else cost_max)
        return _Group(self._variables, values, budget, Heavy if at_once else OutOfBudget), budget

    def matches(self, values: Values, at_once: bool = False) -> Matched:
        """What its matchConditions say. They see no namespaceObject."""
        if not self._conditions:
            return Matched(True)
        group, _ = self.group({**values, NAMESPACE: None}, at_once, limits.CEL_MATCH_CONDITIONS_COST_MAX)
        try:
            results = [group.run(condition) for condition in self._conditions]
        except OutOfBudget as error:
            return Matched(False, "" if self.fails_open else str(error))
        return judge_conditions(results, self.fails_open)


class ValidatingPolicy(Policy):
    def __init__(self, policy: Object) -> None:
        super().__init__(policy)
        compiler, spec = self.compiler, self.spec
        self._validations = [
            (
                validation,
                compiler.condition(validation["expression"]),
                compiler.message(validation["messageExpression"]) if validation.get("messageExpression") else None,
            )
            for validation in spec.get("validations") or ()
        ]
        self._annotations = [
            (annotation, compiler.audit_value(annotation["valueExpression"])) for annotation in spec.get("auditAnnotations") or ()
        ]

    def verdict(self, values: Values, at_once: bool = False) -> Verdict:
        matched = self.matches(values, at_once)
        if matched.error:
            return Verdict([failure(self.fails_open, matched.error)])
        if not matched.matches:
            return Verdict()
        try:
            decisions = self._decide(values, at_once)
            group, _ = self.group(values, at_once)
            annotations = []
            for annotation, expression in self._annotations:
                result = group.run(expression)
                annotations.append(judge_annotation(annotation, result, self.fails_open, type_name(result.value)))
        except OutOfBudget as error:
            return Verdict([failure(self.fails_open, str(error))])
        return Verdict(decisions, annotations)

    def _decide(self, values: Values, at_once: bool) -> list[Decision]:
        group, budget = self.group(values, at_once)
        results = [group.run(expression) for _, expression, _ in self._validations]
        # Messages pay out of what the validations left; they compute the variables anew.
        worded, _ = self.group(values, at_once, budget.remaining)
        decisions: list[Decision] = []
        spent = ""
        for (validation, _, message), result in zip(self._validations, results, strict=True):
            text: Result | None = None
            if message is not None and not spent and not result.error and result.value is not True:
                try:
                    text = worded.run(message)
                except OutOfBudget as error:
                    spent = str(error)
            decisions.append(judge_validation(validation, result, text, self.fails_open, spent=spent))
        return decisions
