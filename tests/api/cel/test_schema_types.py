"""Types from schemas: what upstream's own code says of some 140 rules over one schema, its estimates of their cost included."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgekube.api import cel, schemas
from tests.api.cel.test_upstream import shown

TABLE = json.loads(Path(__file__).with_name("schema.json").read_text())
SELF = cel.type_of_schema(TABLE["schema"], name="selfType.1")


def test_upstream_says_the_same_of_rules_over_a_schema() -> None:
    environment, values = cel.Environment({"self": SELF}), {"self": TABLE["self"]}
    assert len(TABLE["cases"]) > 130
    for case in TABLE["cases"]:
        text = case["expr"]
        if "compile" in case:
            with pytest.raises(cel.CompileError) as wrong:
                environment.compile(text)
            assert str(wrong.value) == case["compile"], text
            continue
        program = environment.compile(text)
        assert list(program.estimate()) == case["estimate"], text
        if "error" in case:
            with pytest.raises(cel.EvaluationError) as failed:
                program.evaluate(values)
            assert str(failed.value) == case["error"], text
            continue
        value, cost = program.evaluate_costing(values)
        assert shown(value) == case["value"], text
        assert cost == case["cost"], text


def test_the_root_of_a_resource_has_its_name_even_where_the_schema_is_silent() -> None:
    root = cel.type_of_schema({"type": "object", "properties": {"spec": {"type": "object"}}}, is_root=True)
    program = cel.Environment({"self": root}).compile("self.metadata.name.startsWith('a') && self.kind == 'K'", cel.BOOL)
    assert program.evaluate({"self": {"kind": "K", "metadata": {"name": "ab"}}}) is True


def test_a_built_in_kind_is_checked_by_its_schema() -> None:
    pod = cel.type_of_node(schemas.definition("io.k8s.api.core.v1.Pod"))
    environment = cel.Environment({"object": pod})
    program = environment.compile("object.spec.containers.all(c, has(c.resources.limits) && 'cpu' in c.resources.limits)")
    containers = [{"resources": {"limits": {"cpu": "1"}}}]
    assert program.evaluate({"object": {"spec": {"containers": containers}}}) is True
    with pytest.raises(cel.CompileError, match="undefined field 'replicas'"):
        environment.compile("object.spec.replicas > 1")


def test_an_old_self_may_be_absent() -> None:
    environment = cel.Environment({"self": SELF, "oldSelf": cel.optional_of(SELF)})
    program = environment.compile("!oldSelf.hasValue() || oldSelf.value().replicas <= self.replicas", cel.BOOL)
    new = {"replicas": 2}
    assert program.evaluate({"self": new, "oldSelf": cel.NONE}) is True
    assert program.evaluate({"self": new, "oldSelf": cel.Optional(True, {"replicas": 3})}) is False
