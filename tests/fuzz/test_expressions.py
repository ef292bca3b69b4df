"""CEL and patterns that clients store: a refusal or an answer, in bounded time."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekube.api.objects import Object
from tests.fuzz.effort import effort
from tests.fuzz.serving import Fuzzed
from tests.server.custom import DEFINITIONS, definition, version

POLICIES = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies"
TOKENS = st.sampled_from(
    [
        "self",
        "oldSelf",
        "object",
        "params",
        "request",
        ".a",
        ".size()",
        "[0]",
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        "+",
        "-",
        "==",
        "&&",
        "||",
        "!",
        "?",
        ":",
        "1",
        "1u",
        "1.5",
        "'a'",
        '"',
        "'",
        "b'\\xff'",
        "r'\\'",
        "true",
        "null",
        "in",
        "has(self.a)",
        ".all(x, x > 0)",
        ".map(x, x)",
        ".exists_one(x, ",
        "x",
        "duration('1h')",
        "timestamp('x')",
        "quantity('1Gi')",
        ".matches('(a+)+$')",
        "9223372036854775808",
        "0x",
        "1e999",
        "\0",
        "é",
        "//",
        "\n",
        "type(",
        ",",
    ]
)
EXPRESSIONS = st.lists(TOKENS, max_size=9).map("".join) | st.text(max_size=25)
SCHEMAS = st.sampled_from(
    [
        {"type": "string"},
        {"type": "integer"},
        {"type": "array", "items": {"type": "string"}},
        {"type": "array", "maxItems": 5, "items": {"type": "integer"}},
        {"type": "object", "properties": {"a": {"type": "string", "maxLength": 9}}},
        {"x-kubernetes-int-or-string": True},
    ]
)


def ruled(schema: Object, rule: str, **more: Any) -> Object:
    properties = {"spec": {**schema, "x-kubernetes-validations": [{"rule": rule, **more}]}}
    return definition("Ruled", version(schema={"type": "object", "properties": properties}))


def policy(expression: str, **more: Any) -> Object:
    rules = [{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}]
    validations = [{"expression": expression, "messageExpression": expression}]
    spec = {"matchConstraints": {"resourceRules": rules}, "validations": validations, **more}
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": "p"},
        "spec": spec,
    }


@effort(120)
@given(EXPRESSIONS, SCHEMAS)
def test_rules_in_definitions(server: Fuzzed, rule: str, schema: Object) -> None:
    answer = server.ask("POST", DEFINITIONS, ruled(schema, rule, messageExpression=rule), query={"dryRun": "All"})
    assert answer.status in (201, 422), answer.text


@effort(100)
@given(EXPRESSIONS)
def test_expressions_of_policies(server: Fuzzed, expression: str) -> None:
    conditions = [{"name": "a", "expression": expression}]
    variables = [{"name": "v", "expression": expression}]
    more = {
        "matchConditions": conditions,
        "variables": variables,
        "auditAnnotations": [{"key": "k", "valueExpression": expression}],
    }
    answer = server.ask("POST", POLICIES, policy(expression, **more), query={"dryRun": "All"})
    assert answer.status in (201, 422), answer.text


HUGE = {
    "parentheses": "(" * 5000 + "1" + ")" * 5000 + " == 1",
    "nots": "!" * 20_000 + "true",
    "minuses": "-" * 20_000 + "1 == 1",
    "lists": "[" * 5000 + "]" * 5000 + " == []",
    "selects": "self" + ".a" * 20_000 + " == 1",
    "conjunction": " && ".join(["true"] * 20_000),
    "sum": "+".join(["1"] * 30_000) + " == 1",
    "conditions": "true ? true : " * 5000 + "true",
    "one long string": "'" + "a" * 1_000_000 + "' == 'a'",
    "loops in loops": "self" + ".all(a, self" * 12 + " == self" + ")" * 12,
    "maps in maps": "[1,2,3,4,5,6,7,8,9,10]" + ".map(a, [1,2,3,4,5,6,7,8,9,10]" * 9 + ")" * 9 + ".size() > 0",
    "names": " == ".join(f"a{number}" for number in range(5000)),
    "quotes": "'" * 50_001,
    "operators": "== " * 50_000,
}


@pytest.mark.parametrize("what", HUGE)
def test_expressions_that_were_made_to_hurt(server: Fuzzed, what: str) -> None:
    began = time.perf_counter()
    rule = HUGE[what]
    schema = {"type": "array", "items": {"type": "string"}}
    answer = server.ask("POST", DEFINITIONS, ruled(schema, rule), query={"dryRun": "All"})
    assert answer.status in (201, 422), answer.text[:1000]
    answer = server.ask("POST", POLICIES, policy(rule), query={"dryRun": "All"})
    assert answer.status in (201, 422), answer.text[:1000]
    assert time.perf_counter() - began < 20


PATTERNS = ["(a+)+$", "(a|aa)+$", "(a|a?)+$", "^(([a-z])+.)+[A-Z]([a-z])+$", "(.*a){12}", "((a{1,9}){1,9}){1,9}"]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_patterns_of_schemas_take_no_more_than_their_text(server: Fuzzed, pattern: str) -> None:
    properties = {"spec": {"type": "string", "pattern": pattern}}
    kind = f"Matched{PATTERNS.index(pattern)}"
    made = definition(kind, version(schema={"type": "object", "properties": properties}))
    answer = server.ask("POST", DEFINITIONS, made)
    if answer.status == 201:  # more repetitions than Go's expressions may have are refused
        began = time.perf_counter()
        text = "a" * 30_000 + "!"
        body = {"apiVersion": "stable.example.com/v1", "kind": kind, "metadata": {"name": "m"}, "spec": text}
        answer = server.ask(
            "POST", f"/apis/stable.example.com/v1/namespaces/default/{kind.lower()}s", body, query={"dryRun": "All"}
        )
        assert answer.status in (201, 422), answer.text[:1000]
        assert time.perf_counter() - began < 10
    else:
        assert answer.status == 422, answer.text
