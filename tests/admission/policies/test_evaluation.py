"""Policies run on values: variables, budgets, what is too heavy to be done at once."""

from __future__ import annotations

from typing import Any

import pytest

from edgekube.admission.policies.decisions import Decision, Matched
from edgekube.admission.policies.evaluation import Heavy, Policy, ValidatingPolicy
from edgekube.admission.policies.mutation import MutatingPolicy
from edgekube.admission.policies.patching import PatchFault
from edgekube.api import schemas
from edgekube.api.kinds import DEPLOYMENT
from edgekube.api.objects import Object

PAIRS = "object.items.all(x, object.items.all(y, x + y >= 0))"
SPENT = "validation failed due to running out of cost budget, no further validation rules will be run"


def values(**given: Any) -> dict[str, Any]:
    names = ("object", "oldObject", "request", "namespaceObject", "params", "authorizer", "authorizer.requestResource")
    return {**dict.fromkeys(names), **given}


def validating(*validations: Object | str, **spec: Any) -> ValidatingPolicy:
    said = [{"expression": one} if isinstance(one, str) else one for one in validations]
    return ValidatingPolicy({"spec": {"failurePolicy": "Fail", "validations": said, **spec}})


def items(count: int) -> dict[str, Any]:
    return values(object={"items": list(range(count))})


def test_what_is_light_is_done_at_once() -> None:
    policy = validating(PAIRS)
    assert policy.verdict(items(20), at_once=True) == policy.verdict(items(20))
    assert [decision.denies for decision in policy.verdict(items(20)).decisions] == [False]


def test_what_is_heavy_is_given_up_and_can_be_asked_again() -> None:
    policy = validating(PAIRS)
    with pytest.raises(Heavy):
        policy.verdict(items(300), at_once=True)
    assert [decision.denies for decision in policy.verdict(items(300)).decisions] == [False]


def test_one_expression_may_cost_so_much() -> None:
    (decision,) = validating(PAIRS).verdict(items(500)).decisions
    assert decision == Decision(
        True, f"expression '{PAIRS}' resulted in error: operation cancelled: actual cost limit exceeded", failed=True
    )


def test_and_all_of_a_policy_so_much() -> None:
    policy = validating(*[PAIRS] * 20)
    assert policy.verdict(items(300)).decisions == [Decision(True, SPENT, failed=True)]


def test_match_conditions_have_less() -> None:
    conditions = [{"name": str(i), "expression": PAIRS} for i in range(5)]
    policy = Policy({"spec": {"failurePolicy": "Fail", "matchConditions": conditions}})
    assert policy.matches(items(300)) == Matched(False, SPENT)
    open_ = Policy({"spec": {"failurePolicy": "Ignore", "matchConditions": conditions}})
    assert open_.matches(items(300)) == Matched(False)
    assert policy.matches(items(3)) == Matched(True)


def test_a_variable_is_paid_for_when_it_is_read_and_once() -> None:
    variables = [{"name": "pairs", "expression": PAIRS}, {"name": "never", "expression": "object.nothing"}]
    policy = validating("variables.pairs || variables.pairs", variables=variables)
    assert [decision.denies for decision in policy.verdict(items(300)).decisions] == [False]
    twenty = [{"name": f"v{i}", "expression": PAIRS} for i in range(20)]
    all_of_them = validating(" && ".join(f"variables.v{i}" for i in range(20)), variables=twenty)
    assert all_of_them.verdict(items(300)).decisions == [Decision(True, SPENT, failed=True)]


def test_a_variable_that_fails_says_so() -> None:
    variables = [{"name": "a", "expression": "object.nothing"}, {"name": "b", "expression": "variables.a"}]
    (decision,) = validating("variables.b == 1", variables=variables).verdict(items(1)).decisions
    assert decision.message == (
        "expression 'variables.b == 1' resulted in error: composited variable \"b\" fails to evaluate: composited variable "
        '"a" fails to evaluate: no such key: nothing'
    )


def test_what_does_not_compile_any_more_is_an_error_where_it_is_asked() -> None:
    decisions = validating("object.items.size() >", "true").verdict(items(1)).decisions
    assert decisions[0].message.startswith("compilation error: compilation failed: ERROR: <input>:1:22: Syntax error")
    assert not decisions[1].denies


def test_match_conditions_see_no_namespace() -> None:
    given = values(object={}, namespaceObject={"metadata": {"name": "shop"}})
    spec: Object = {"matchConditions": [{"name": "n", "expression": "namespaceObject == null"}]}
    assert validating("namespaceObject.metadata.name == 'shop'", **spec).verdict(given).decisions == [Decision(False)]


def configured(expression: str) -> Object:
    return {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}}


def patched(expression: str) -> Object:
    return {"patchType": "JSONPatch", "jsonPatch": {"expression": expression}}


def mutated(obj: Object, *mutations: Object, at_once: bool = False) -> Object:
    policy = MutatingPolicy({"spec": {"failurePolicy": "Fail", "mutations": [*mutations]}})
    shape = schemas.definition_of(DEPLOYMENT)
    for index in range(policy.mutation_count):
        obj = policy.mutate(index, values(object=obj), DEPLOYMENT, shape, obj, at_once)
    return obj


def test_a_mutation_leaves_the_object_as_it_was() -> None:
    obj: Object = {"kind": "Deployment", "apiVersion": "apps/v1", "metadata": {"name": "web"}, "spec": {"replicas": 1}}
    twice = configured("Object{spec: Object.spec{replicas: object.spec.replicas * 2}}")
    patch = patched('[JSONPatch{op: "add", path: "/metadata/labels", value: {"a": "b"}}]')
    made = mutated(obj, twice, twice, patch)
    assert made["spec"] == {"replicas": 4} and made["metadata"] == {"name": "web", "labels": {"a": "b"}}
    assert obj["spec"] == {"replicas": 1} and "labels" not in obj["metadata"]


def test_a_map_needs_texts_for_keys() -> None:
    obj: Object = {"kind": "Deployment", "apiVersion": "apps/v1", "metadata": {}}
    with pytest.raises(PatchFault, match='map key "1" is of type int, not string'):
        mutated(obj, patched('[JSONPatch{op: "add", path: "/x", value: {1: "b"}}]'))


def test_an_empty_configuration_changes_nothing() -> None:
    obj: Object = {"kind": "Deployment", "apiVersion": "apps/v1", "metadata": {"name": "web"}}
    assert mutated(obj, configured("Object{}")) == obj
