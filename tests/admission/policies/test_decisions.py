"""What results of expressions come to: decisions, messages, annotations and the Status."""

from __future__ import annotations

import orjson
import pytest

from edgekube import limits
from edgekube.admission.policies.decisions import (
    ADMITTED,
    AuditAnnotation,
    Collected,
    Decision,
    Denial,
    Matched,
    Result,
    failure_annotation,
    judge_annotation,
    judge_conditions,
    judge_validation,
    mutation_refusal,
    refusal,
    warning,
)
from edgekube.api.kinds import DEPLOYMENT, POD
from edgekube.api.objects import Object

YES, NO = Result(True), Result(False)


def broken(text: str) -> Result:
    return Result(error=text)


@pytest.mark.parametrize(
    ("results", "fails_open", "matched"),
    [
        ([], False, Matched(True)),
        ([YES, YES], False, Matched(True)),
        ([YES, NO], False, Matched(False)),
        ([broken("a"), NO], False, Matched(False)),
        ([YES, broken("a")], False, Matched(False, "a")),
        ([broken("a"), broken("b"), broken("a")], False, Matched(False, "[a, b]")),
        ([YES, broken("a")], True, Matched(False)),
    ],
)
def test_conditions(results: list[Result], fails_open: bool, matched: Matched) -> None:
    assert judge_conditions(results, fails_open) == matched


VALIDATION: Object = {"expression": " object.spec.replicas > 1 ", "message": " more than one "}


@pytest.mark.parametrize(
    ("validation", "result", "worded", "fails_open", "decision"),
    [
        (VALIDATION, YES, None, False, ADMITTED),
        (VALIDATION, NO, None, False, Decision(True, "more than one", "Invalid")),
        (VALIDATION, NO, None, True, Decision(True, "more than one", "Invalid")),
        ({"expression": " a > b "}, NO, None, False, Decision(True, "failed expression: a > b", "Invalid")),
        ({**VALIDATION, "reason": "Forbidden"}, NO, None, False, Decision(True, "more than one", "Forbidden")),
        (VALIDATION, NO, Result(" got 1 "), False, Decision(True, "got 1", "Invalid")),
        (VALIDATION, NO, Result("  "), False, Decision(True, "more than one", "Invalid")),
        (VALIDATION, NO, Result("two\nlines"), False, Decision(True, "more than one", "Invalid")),
        (VALIDATION, NO, Result("x" * (limits.POLICY_MESSAGE_BYTES_MAX + 1)), False, Decision(True, "more than one", "Invalid")),
        (VALIDATION, NO, Result(7), False, Decision(True, "more than one", "Invalid")),
        (VALIDATION, NO, broken("no such key"), False, Decision(True, "more than one", "Invalid")),
        (VALIDATION, broken("no such key: spec"), None, False, Decision(True, "no such key: spec", failed=True)),
        (VALIDATION, broken("no such key: spec"), None, True, Decision(False, "no such key: spec", failed=True)),
        (VALIDATION, Result("true"), None, False, Decision(True, "more than one", "Invalid")),
    ],
)
def test_a_validation(
    validation: Object, result: Result, worded: Result | None, fails_open: bool, decision: Decision
) -> None:  # fmt: skip
    assert judge_validation(validation, result, worded, fails_open) == decision


def test_messages_that_cost_too_much() -> None:
    decision = judge_validation(VALIDATION, YES, None, False, spent="out of budget")
    assert decision == Decision(True, "failed messageExpression: out of budget", failed=True)


@pytest.mark.parametrize(
    ("result", "fails_open", "type_name", "annotation"),
    [
        (Result(" high "), False, "", AuditAnnotation("k", "high")),
        (Result("  "), False, "", AuditAnnotation("k")),
        (Result(None), False, "", AuditAnnotation("k")),
        (broken("no such key"), False, "", AuditAnnotation("k", error="no such key")),
        (broken("no such key"), True, "", AuditAnnotation("k")),
        (
            Result(3),
            True,
            "int",
            AuditAnnotation(
                "k",
                error="valueExpression 'e' resulted in unsupported return type: int. Return type must be either string or null.",
            ),
        ),
    ],
)
def test_an_audit_annotation(result: Result, fails_open: bool, type_name: str, annotation: AuditAnnotation) -> None:
    assert judge_annotation({"key": "k", "valueExpression": "e"}, result, fails_open, type_name) == annotation


def test_a_long_annotation_is_cut() -> None:
    cut = judge_annotation({"key": "k"}, Result("é" * limits.POLICY_AUDIT_VALUE_BYTES_MAX), False)
    assert len(cut.value.encode()) == limits.POLICY_AUDIT_VALUE_BYTES_MAX


def test_values_of_several_params_go_into_one_text() -> None:
    collected = Collected()
    for value in ("a", "b", "a", ""):
        collected.add(AuditAnnotation("k", value))
    collected.add(AuditAnnotation("empty"))
    assert collected.published("limits.example.com") == {"limits.example.com/k": "a, b"}


def test_the_first_denial_is_told() -> None:
    error = refusal(DEPLOYMENT, "web", [Denial("replicas", "everywhere", "must be no more than 5"), Denial("other", "b", "no")])
    assert error.status() == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": "deployments.apps \"web\" is forbidden: ValidatingAdmissionPolicy 'replicas' with binding 'everywhere' denied "
        "request: must be no more than 5",
        "reason": "Invalid",
        "details": {
            "name": "web",
            "group": "apps",
            "kind": "deployments",
            "causes": [
                {
                    "message": "ValidatingAdmissionPolicy 'replicas' with binding 'everywhere' denied request: must be no more "
                    "than 5"
                }
            ],
        },
        "code": 422,
    }


@pytest.mark.parametrize(
    ("reason", "code"), [("", 422), ("Invalid", 422), ("Forbidden", 403), ("RequestEntityTooLarge", 413), ("Unauthorized", 401)]
)
def test_the_code_follows_the_reason(reason: str, code: int) -> None:
    assert refusal(POD, "x", [Denial("p", "", "no", reason)]).code == code


def test_a_policy_at_fault_has_no_binding() -> None:
    error = refusal(POD, "x", [Denial("p", "", "failed to configure policy: no such kind")])
    assert error.causes[0].message == "ValidatingAdmissionPolicy 'p' denied request: failed to configure policy: no such kind"


def test_mutations_that_fail_are_all_told() -> None:
    error = mutation_refusal(POD, "x", [Denial("p", "b", "first", "Invalid"), Denial("q", "", "second")])
    assert (error.code, error.reason) == (403, "Invalid")
    assert error.message == "policy 'p' with binding 'b' denied request: first"
    assert [cause.message for cause in error.causes] == [error.message, 'policy "q" denied request: second']


def test_what_is_warned_and_what_is_audited() -> None:
    decision = Decision(True, "too many", "Invalid")
    assert warning("p", "b", decision) == "Validation failed for ValidatingAdmissionPolicy 'p' with binding 'b': too many"
    binding = {"metadata": {"name": "b"}, "spec": {"policyName": "p", "validationActions": ["Warn", "Audit"]}}
    key, value = failure_annotation(binding, 2, decision)
    assert key == "validation.policy.admission.k8s.io/validation_failure"
    assert orjson.loads(value) == [
        {"message": "too many", "policy": "p", "binding": "b", "expressionIndex": 2, "validationActions": ["Warn", "Audit"]}
    ]
