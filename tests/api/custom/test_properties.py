"""What holds for any schema and any object."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from edgekube.api.custom import checking, defaulting, keeping, lists, pruning
from edgekube.api.custom.merging import node_of
from edgekube.api.custom.schema import compile_schema
from edgekube.api.custom.structural import check_structural
from edgekube.api.custom.versions import priority
from edgekube.api.objects import Object

NAMES = st.sampled_from(["a", "b", "c", "metadata", "kind"])
SCALARS = st.none() | st.booleans() | st.integers(-5, 5) | st.sampled_from(["", "x", "2020-01-01"]) | st.just(1.5)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=12
)


def _schemas() -> st.SearchStrategy[Object]:
    scalar = st.fixed_dictionaries(
        {"type": st.sampled_from(["string", "integer", "number", "boolean"])},
        optional={
            "nullable": st.booleans(),
            "format": st.sampled_from(["date", "int32", "nothing"]),
            "maximum": st.integers(0, 3),
            "enum": st.lists(SCALARS, min_size=1, max_size=2),
            "maxLength": st.integers(0, 2),
        },
    )
    special = st.sampled_from([{"x-kubernetes-int-or-string": True}, {"x-kubernetes-preserve-unknown-fields": True}])

    def deeper(inner: st.SearchStrategy[Object]) -> st.SearchStrategy[Object]:
        fields = st.fixed_dictionaries(
            {"type": st.just("object"), "properties": st.dictionaries(st.sampled_from("abc"), inner, max_size=3)},
            optional={"required": st.lists(st.sampled_from("abc"), max_size=2), "maxProperties": st.integers(0, 3),
                      "x-kubernetes-preserve-unknown-fields": st.just(True)},
        )  # fmt: skip
        maps = st.fixed_dictionaries({"type": st.just("object"), "additionalProperties": inner})
        arrays = st.fixed_dictionaries({"type": st.just("array"), "items": inner}, optional={"maxItems": st.integers(0, 3)})
        return fields | maps | arrays

    below = st.recursive(scalar | special, deeper, max_leaves=8)
    return st.dictionaries(st.sampled_from("abc"), below, max_size=3).map(lambda found: {"type": "object", "properties": found})


def _copy(value: Any) -> Any:
    return json.loads(json.dumps(value))


@settings(max_examples=150, deadline=None)
@given(_schemas(), st.dictionaries(NAMES, VALUES, max_size=4))
def test_pruning_and_defaulting_come_to_rest(raw: Object, obj: Object) -> None:
    schema = compile_schema(raw)
    pruning.prune(obj, schema)
    once = _copy(obj)
    assert pruning.prune(obj, schema) == []
    assert obj == once
    defaulting.fill(obj, schema)
    filled = _copy(obj)
    defaulting.fill(obj, schema)
    assert obj == filled


@settings(max_examples=150, deadline=None)
@given(_schemas(), st.dictionaries(NAMES, VALUES, max_size=4))
def test_judging_changes_nothing_and_never_fails(raw: Object, obj: Object) -> None:
    schema, before = compile_schema(raw), _copy(obj)
    causes = [*checking.check(schema, obj), *lists.check_lists(schema, obj)]
    assert obj == before
    assert all(cause.field and cause.message for cause in causes)
    assert checking.check(schema, obj, _copy(obj)) == [
        cause for cause in checking.check(schema, obj) if cause.field in ("kind", "apiVersion")
    ]
    assert keeping.rule_tree(raw) is None


@settings(max_examples=100, deadline=None)
@given(_schemas())
def test_a_structural_schema_has_a_shape_to_merge_by(raw: Object) -> None:
    assert check_structural(raw, "schema") == []
    node = node_of(compile_schema(raw))
    assert node.properties is not None
    assert {"apiVersion", "kind", "metadata"} <= set(node.properties)


@given(
    st.lists(
        st.sampled_from(["v1", "v2", "v10", "v1beta1", "v1beta2", "v2alpha1", "v11alpha2", "foo1", "bar", "v1x"]), max_size=8
    )
)
def test_versions_have_an_order(names: list[str]) -> None:
    wanted = ["v10", "v2", "v1", "v1beta2", "v1beta1", "v11alpha2", "v2alpha1", "bar", "foo1", "v1x"]
    assert sorted(names, key=priority) == sorted(names, key=wanted.index)
