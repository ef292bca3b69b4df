"""A mutating policy's mutations, run with what a request brings.

Enters: a policy; values of its variables (admission.policies.inputs); the object as it is now.
Leaves: another object; PatchFault when a mutation cannot be made.
Holds: pure. Each mutation has a budget and variables of its own (source: k8s.io/apiserver pkg/admission/plugin/policy/mutating).
Next: admission.policies.evaluation, admission.policies.patching.
"""

from __future__ import annotations

from typing import Any

from edgekube.admission.policies.evaluation import OutOfBudget, Policy, Values
from edgekube.admission.policies.patching import PatchFault, apply_configuration, json_patched
from edgekube.api.cel.errors import EvaluationError
from edgekube.api.kinds import Kind
from edgekube.api.objects import Object
from edgekube.api.policy.compiler import Expression
from edgekube.api.policy.patch_types import misplaced, operation_of, to_json
from edgekube.api.schemas import Node


class MutatingPolicy(Policy):
    def __init__(self, policy: Object) -> None:
        super().__init__(policy)
        self.if_needed = self.spec.get("reinvocationPolicy") == "IfNeeded"
        self._mutations = [self._mutation(mutation) for mutation in self.spec.get("mutations") or ()]

    def _mutation(self, mutation: Object) -> tuple[bool, Expression]:
        """Whether it is a JSON patch, and its expression. Upstream compiles it without the space around it."""
        if mutation.get("patchType") == "JSONPatch":
            return True, self.compiler.operations(mutation["jsonPatch"]["expression"])
        return False, self.compiler.configuration(mutation["applyConfiguration"]["expression"])

    @property
    def mutation_count(self) -> int:
        return len(self._mutations)

    def mutate(self, index: int, values: Values, kind: Kind, shape: Node, obj: Object, at_once: bool = False) -> Object:
        """Another object, as the mutation makes it. PatchFault when it cannot."""
        is_json_patch, expression = self._mutations[index]
        if expression.program is None:
            raise PatchFault(expression.fault)
        group, _ = self.group(values, at_once)
        try:
            result = group.run(expression)
            if result.error:
                raise PatchFault(result.error)
            if is_json_patch:
                return json_patched(obj, [self._operation(one) for one in result.value])
            faults = "\n".join(misplaced(result.value))
            if faults:
                raise PatchFault(f"type mismatch: {faults}")
            return apply_configuration(kind, shape, obj, to_json(result.value))
        except (OutOfBudget, EvaluationError) as error:
            raise PatchFault(str(error)) from None

    @staticmethod
    def _operation(value: Any) -> Object:
        faults = "\n".join(misplaced(value.get("value"), ""))
        if faults:
            raise PatchFault(f"type mismatch: {faults}")
        try:
            return operation_of(value)
        except EvaluationError as error:
            why = f"JSONPath valueExpression evaluated to a type that could not marshal to JSON: {error}"
            raise PatchFault(why) from None
