"""What admission policies use: the authorizer, lazy variables, match conditions' variables."""

from __future__ import annotations

from functools import partial

import pytest

from edgekube.api import cel


def test_the_authorizer_asks_what_the_expression_built() -> None:
    asked: list[cel.Question] = []

    def ask(question: cel.Question) -> cel.Answer:
        asked.append(question)
        return cel.Answer(question.verb == "create", "because", "")

    environment = cel.Environment({"authorizer": cel.AUTHORIZER})
    text = (
        "authorizer.group('apps').resource('deployments').subresource('scale').namespace('ns').name('n')"
        ".fieldSelector('a=b').labelSelector('c=d').check('create').allowed()"
    )
    assert environment.compile(text, cel.BOOL).evaluate({"authorizer": cel.Authorizer(ask)}) is True
    assert asked == [cel.Question("create", "", "apps", "deployments", "scale", "ns", "n", "a=b", "c=d")]
    text = "authorizer.serviceAccount('default', 'sa').path('/healthz').check('get').reason()"
    assert environment.compile(text).evaluate({"authorizer": cel.Authorizer(ask)}) == "because"
    assert asked[-1] == cel.Question("get", "/healthz", user="system:serviceaccount:default:sa")
    with pytest.raises(cel.EvaluationError, match="Invalid service account name"):
        environment.compile("authorizer.serviceAccount('default', '_')").evaluate({"authorizer": cel.Authorizer(ask)})


def test_an_expression_has_two_authorization_checks() -> None:
    environment = cel.Environment({"authorizer": cel.AUTHORIZER})
    check = "authorizer.path('/a').check('get').allowed()"
    given = {"authorizer": cel.Authorizer(lambda question: cel.Answer(True))}
    assert environment.compile(f"{check} && {check}").evaluate(given) is True
    with pytest.raises(cel.CostExceeded) as caught:
        environment.compile(f"{check} && {check} && {check}").evaluate(given)
    assert caught.value.scope == "call"


def test_a_variable_is_computed_when_it_is_first_read_and_once() -> None:
    calls = []

    def make(name: str) -> int:
        calls.append(name)
        return 5

    fields = cel.LazyFields({name: partial(make, name) for name in ("foo", "bar")})
    environment = cel.Environment({"variables": cel.object_type("kubernetes.variables", {"foo": cel.INT, "bar": cel.INT})})
    assert environment.compile("variables.foo + variables.foo").evaluate({"variables": fields}) == 10
    assert calls == ["foo"]
    with pytest.raises(cel.CompileError, match="undefined field 'baz'"):
        environment.compile("variables.baz")


def test_a_wrong_result_type_is_said() -> None:
    with pytest.raises(cel.WrongResult) as caught:
        cel.Environment({}).compile("'a'", cel.BOOL)
    assert (caught.value.wanted, str(caught.value.found)) == ("bool", "string")
