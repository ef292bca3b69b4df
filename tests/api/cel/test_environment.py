"""What an environment promises: values, types, costs, and reports in cel-go's form."""

from __future__ import annotations

import pytest

from edgekube.api import cel

SCHEMA = {
    "type": "object",
    "properties": {
        "replicas": {"type": "integer"},
        "names": {"type": "array", "maxItems": 10, "items": {"type": "string", "maxLength": 20}},
        "foo-bar": {"type": "string"},
        "namespace": {"type": "string"},
        "since": {"type": "string", "format": "date-time"},
    },
}


def environment() -> cel.Environment:
    return cel.Environment({"self": cel.type_of_schema(SCHEMA), "any": cel.DYN, "x": cel.INT})


def test_a_rule_is_compiled_once_and_answers_for_each_object() -> None:
    program = environment().compile("self.replicas <= 10 && self.names.all(n, n.startsWith('a'))", cel.BOOL)
    assert program.type == cel.BOOL
    assert program.variables == {"self"}
    assert program.evaluate({"self": {"replicas": 3, "names": ["ab", "ac"]}}) is True
    assert program.evaluate({"self": {"replicas": 3, "names": ["b"]}}) is False


def test_names_that_cel_cannot_write_are_reached_by_their_escapes() -> None:
    program = environment().compile("self.foo__dash__bar + self.__namespace__")
    assert program.evaluate({"self": {"foo-bar": "a", "namespace": "b"}}) == "ab"


def test_a_time_of_the_schema_is_a_timestamp() -> None:
    program = environment().compile("self.since.getFullYear()")
    assert program.evaluate({"self": {"since": "2026-01-02T03:04:05Z"}}) == 2026


def test_an_error_of_one_side_is_taken_in_when_the_other_decides() -> None:
    compiled = environment().compile
    assert compiled("1 / 0 == 1 || true").evaluate({}) is True
    assert compiled("false && 1 / 0 == 1").evaluate({}) is False
    with pytest.raises(cel.EvaluationError, match="division by zero"):
        compiled("1 / 0 == 1 || false").evaluate({})


def test_a_budget_is_shared_and_ends() -> None:
    program, budget = environment().compile("[1, 2, 3].all(i, i < x)"), cel.Budget(30)
    program.evaluate({"x": 9}, budget)
    assert budget.remaining < 30
    with pytest.raises(cel.CostExceeded) as caught:
        for _ in range(10):
            program.evaluate({"x": 9}, budget)
    assert caught.value.scope == "budget"


@pytest.mark.parametrize(
    ("text", "report"),
    [
        ("self.foo", "ERROR: <input>:1:5: undefined field 'foo'\n | self.foo\n | ....^"),
        (
            "1 + 'a'",
            "ERROR: <input>:1:3: found no matching overload for '_+_' applied to '(int, string)'\n | 1 + 'a'\n | ..^",
        ),
        ("nobody", "ERROR: <input>:1:1: undeclared reference to 'nobody' (in container '')\n | nobody\n | ^"),
    ],
)
def test_what_is_wrong_is_shown_in_its_line(text: str, report: str) -> None:
    with pytest.raises(cel.CompileError) as caught:
        environment().compile(text)
    assert str(caught.value) == report
