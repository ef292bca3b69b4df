"""Admission policies and bindings: one good object each, and what of it is refused."""

# ruff: noqa: E501  # the words of a refusal stand on one line, as clients show them

from __future__ import annotations

from typing import Any

import pytest

from tests.api.refusals import GONE, changes_refused, edited, manifest, refusals

_RULES = "matchConstraints: {resourceRules: [{operations: [CREATE, UPDATE], apiGroups: [apps], apiVersions: [v1], resources: [deployments]}]}"
_META = "apiVersion: admissionregistration.k8s.io/v1, metadata: {name: p.example.com}"

GOOD = {
    name: manifest(text)
    for name, text in {
        "vap": f"{{{_META}, kind: ValidatingAdmissionPolicy, spec: {{{_RULES}, validations: [{{expression: object.spec.replicas > 1}}]}}}}",
        "map": f'{{{_META}, kind: MutatingAdmissionPolicy, spec: {{{_RULES}, reinvocationPolicy: Never, mutations: [{{patchType: JSONPatch, jsonPatch: {{expression: \'[JSONPatch{{op: "remove", path: "/spec/replicas"}}]\'}}}}]}}}}',
        "vapb": f"{{{_META}, kind: ValidatingAdmissionPolicyBinding, spec: {{policyName: p, validationActions: [Deny]}}}}",
        "mapb": f"{{{_META}, kind: MutatingAdmissionPolicyBinding, spec: {{policyName: p}}}}",
    }.items()
}
_EITHER = "validations or auditAnnotations must contain at least one item"
_RULE = "spec.matchConstraints.resourceRules[0]"
_PARAM: dict[str, Any] = {"name": "limits", "parameterNotFoundAction": "Deny"}

REFUSED: list[tuple[str, dict[str, Any], list[str]]] = [
    (
        "vap",
        {"spec.failurePolicy": "Maybe"},
        ['spec.failurePolicy: Unsupported value: "Maybe": supported values: "Fail", "Ignore"'],
    ),
    ("vap", {"spec.matchConstraints": GONE}, ["spec.matchConstraints: Required value"]),
    ("vap", {"spec.matchConstraints.resourceRules": []}, ["spec.matchConstraints.resourceRules: Required value"]),
    (
        "vap",
        {"spec.matchConstraints.matchPolicy": "Like"},
        ['spec.matchConstraints.matchPolicy: Unsupported value: "Like": supported values: "Equivalent", "Exact"'],
    ),
    (
        "vap",
        {"spec.matchConstraints.objectSelector": {"matchExpressions": [{"key": "a", "operator": "In"}]}},
        [
            "spec.matchConstraints.objectSelector.matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'"
        ],
    ),
    (
        "vap",
        {f"{_RULE}.operations": ["PATCH"]},
        [f'{_RULE}.operations[0]: Unsupported value: "PATCH": supported values: "*", "CONNECT", "CREATE", "DELETE", "UPDATE"'],
    ),
    (
        "vap",
        {f"{_RULE}.resourceNames": ["a/b", "c", "c"]},
        [
            f"{_RULE}.resourceNames[0]: Invalid value: \"a/b\": may not contain '/'",
            f'{_RULE}.resourceNames[2]: Duplicate value: "c"',
        ],
    ),
    (
        "vap",
        {f"{_RULE}.resources": ["pods/*", "pods/status"]},
        [f"{_RULE}.resources[1]: Invalid value: \"pods/status\": if 'pods/*' is present, must not specify pods/status"],
    ),
    (
        "vap",
        {f"{_RULE}.resources": ["*/status", "pods/status"]},
        [f"{_RULE}.resources[1]: Invalid value: \"pods/status\": if '*/status' is present, must not specify pods/status"],
    ),
    (
        "vap",
        {f"{_RULE}.resources": ["*", "pods"]},
        [
            f'{_RULE}.resources: Invalid value: ["*","pods"]: if \'*\' is present, must not specify other resources without subresources'
        ],
    ),
    ("vap", {"spec.paramKind": {}}, ["spec.paramKind.apiVersion: Required value", "spec.paramKind.kind: Required value"]),
    (
        "vap",
        {"spec.paramKind": {"apiVersion": "a/b/c", "kind": "A"}},
        ['spec.paramKind.apiVersion: Invalid value: "a/b/c": unexpected GroupVersion string: a/b/c'],
    ),
    (
        "vap",
        {"spec.paramKind": {"apiVersion": "a.example/", "kind": "A"}},
        ['spec.paramKind.apiVersion: Invalid value: "a.example/": version must be specified'],
    ),
    (
        "vap",
        {"spec.validations": []},
        [f"spec.validations: Required value: {_EITHER}", f"spec.auditAnnotations: Required value: {_EITHER}"],
    ),
    (
        "vap",
        {"spec.validations[0].expression": " "},
        ["spec.validations[0].expression: Required value: expression is not specified"],
    ),
    (
        "vap",
        {"spec.validations[0].message": " "},
        ['spec.validations[0].message: Invalid value: " ": must be non-empty if specified'],
    ),
    (
        "vap",
        {"spec.validations[0].message": "a\nb"},
        ['spec.validations[0].message: Invalid value: "a\\nb": must not contain line breaks'],
    ),
    (
        "vap",
        {"spec.validations[0].messageExpression": " "},
        ['spec.validations[0].messageExpression: Invalid value: " ": must be non-empty if specified'],
    ),
    (
        "vap",
        {"spec.validations[0].reason": "Unauthorized"},
        [
            'spec.validations[0].reason: Unsupported value: "Unauthorized": supported values: "Forbidden", "Invalid", "RequestEntityTooLarge"'
        ],
    ),
    (
        "vap",
        {"spec.variables": [{"name": "a-b", "expression": "1"}, {"name": "in", "expression": "1"}, {"name": " "}]},
        [
            'spec.variables[0].name: Invalid value: "a-b": must be a valid CEL identifier',
            'spec.variables[1].name: Invalid value: "in": must be a valid CEL identifier',
            "spec.variables[2].name: Required value: name is not specified",
            "spec.variables[2].expression: Required value: expression is not specified",
        ],
    ),
    (
        "vap",
        {"spec.matchConditions": [{"name": "a", "expression": "true"}, {"name": "a", "expression": " "}]},
        [
            "spec.matchConditions[1].expression: Required value",
            'spec.matchConditions[1].name: Duplicate value: "a"',
        ],
    ),
    (
        "vap",
        {"spec.auditAnnotations": [{"key": "k", "valueExpression": "'a'"}, {"key": "k", "valueExpression": ""}]},
        [
            "spec.auditAnnotations[1].valueExpression: Required value: valueExpression is not specified",
            'spec.auditAnnotations[1].key: Duplicate value: "k"',
        ],
    ),
    (
        "vap",
        {"spec.auditAnnotations": [{"key": "k", "valueExpression": "'" + "a" * 5119 + "'"}]},
        ["spec.auditAnnotations[0].valueExpression: Required value: must not exceed 5120 bytes in length"],
    ),
    ("map", {"spec.reinvocationPolicy": GONE}, ["spec.reinvocationPolicy: Required value"]),
    ("map", {"spec.mutations": []}, ["spec.mutations: Required value: mutations must contain at least one item"]),
    (
        "map",
        {f"{_RULE}.operations": ["DELETE"]},
        [
            'spec.matchConstraints.resourceRules.operations: Unsupported value: "DELETE": supported values: "*", "CONNECT", "CREATE", "UPDATE"'
        ],
    ),
    ("map", {"spec.mutations[0].patchType": ""}, ["spec.mutations[0].patchType: Required value"]),
    (
        "map",
        {"spec.mutations[0].patchType": "Merge"},
        ['spec.mutations[0].patchType: Unsupported value: "Merge": supported values: "ApplyConfiguration", "JSONPatch"'],
    ),
    (
        "map",
        {"spec.mutations[0].patchType": "ApplyConfiguration"},
        [
            "spec.mutations[0].applyConfiguration: Required value: must be specified when patchType is ApplyConfiguration",
            'spec.mutations[0].jsonPatch: Invalid value: "{jsonPatch}": must not be specified when patchType is ApplyConfiguration',
        ],
    ),
    ("map", {"spec.mutations[0].jsonPatch.expression": " "}, ["spec.mutations[0].jsonPatch.expression: Required value"]),
    ("vapb", {"spec.policyName": ""}, ["spec.policyName: Required value"]),
    (
        "vapb",
        {"spec.validationActions": []},
        ["spec.validationActions: Required value: at least one validation action is required"],
    ),
    (
        "vapb",
        {"spec.validationActions": ["Deny", "Shout", "Deny"]},
        [
            'spec.validationActions[1]: Unsupported value: "Shout": supported values: "Audit", "Deny", "Warn"',
            'spec.validationActions[2]: Duplicate value: "Deny"',
        ],
    ),
    (
        "vapb",
        {"spec.validationActions": ["Warn", "Deny"]},
        [
            'spec.validationActions: Invalid value: ["Warn","Deny"]: must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)'
        ],
    ),
    (
        "vapb",
        {"spec.paramRef": {"parameterNotFoundAction": "Allow"}},
        ["spec.paramRef: Required value: one of name or selector must be specified"],
    ),
    (
        "vapb",
        {"spec.paramRef": {**_PARAM, "selector": {}}},
        [
            "spec.paramRef.name: Forbidden: name and selector are mutually exclusive",
            "spec.paramRef.selector: Forbidden: name and selector are mutually exclusive",
        ],
    ),
    ("vapb", {"spec.paramRef": {"name": "limits"}}, ["spec.paramRef.parameterNotFoundAction: Required value"]),
    (
        "mapb",
        {"spec.paramRef": {**_PARAM, "parameterNotFoundAction": "Ask"}},
        ['spec.paramRef.parameterNotFoundAction: Unsupported value: "Ask": supported values: "Deny", "Allow"'],
    ),
    (
        "mapb",
        {
            "spec.matchResources": {
                "matchPolicy": "Exact",
                "namespaceSelector": {},
                "objectSelector": {},
                "resourceRules": [{"operations": ["DELETE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}],
            }
        },
        [
            'spec.matchResources.resourceRules.operations: Unsupported value: "DELETE": supported values: "*", "CONNECT", "CREATE", "UPDATE"'
        ],
    ),
]


@pytest.mark.parametrize("name", GOOD)
def test_a_good_one_is_taken(name: str) -> None:
    assert refusals(GOOD[name]) == []


@pytest.mark.parametrize(("name", "edits", "words"), REFUSED, ids=[f"{name}:{next(iter(edits))}" for name, edits, _ in REFUSED])
def test_what_is_refused(name: str, edits: dict[str, Any], words: list[str]) -> None:
    assert refusals(edited(GOOD[name], edits)) == words


def test_twenty_audit_annotations() -> None:
    many = [{"key": f"k{i}", "valueExpression": "'a'"} for i in range(21)]
    assert refusals(edited(GOOD["vap"], {"spec.auditAnnotations": many[:20]})) == []
    assert refusals(edited(GOOD["vap"], {"spec.auditAnnotations": many}))[0].endswith(
        "must not have more than 20 auditAnnotations"
    )


def test_an_annotation_key_has_the_name_of_its_policy_before_it() -> None:
    policy = edited(GOOD["vap"], {"spec.auditAnnotations": [{"key": "a b", "valueExpression": "'a'"}]})
    assert refusals(policy)[0].startswith(
        'spec.auditAnnotations[0].key: Invalid value: "p.example.com/a b": name part must consist of'
    )


def test_match_conditions_that_nobody_touched() -> None:
    old = edited(GOOD["vap"], {"spec.matchConditions": [{"name": "a", "expression": " "}], "metadata.resourceVersion": "1"})
    assert changes_refused(edited(old, {"spec.failurePolicy": "Ignore"}), old) == []
    assert changes_refused(edited(old, {"spec.matchConditions[0].name": "b"}), old) == [
        "spec.matchConditions[0].expression: Required value"
    ]


def test_the_status() -> None:
    old = edited(GOOD["vap"], {"metadata.resourceVersion": "1"})
    condition = {"type": "Ready", "status": "True", "reason": "a b", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    warnings = [{"fieldRef": "spec.validations[0].expression", "warning": "x"}, {"fieldRef": " ", "warning": ""}]
    new = edited(
        old, {"status.typeChecking.expressionWarnings": warnings, "status.conditions": [condition, {**condition, "reason": ""}]}
    )
    said = changes_refused(new, old, "status")
    assert [line.split(": ")[0] for line in said] == [
        "status.typeChecking.expressionWarnings[1].warning",
        "status.typeChecking.expressionWarnings[1].fieldRef",
        "status.conditions[0].reason",
        "status.conditions[1].type",
        "status.conditions[1].reason",
    ]
