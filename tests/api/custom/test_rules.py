"""Rules in CEL: what may be one, and who keeps them."""

from __future__ import annotations

from typing import Any

import pytest

from edgekube.api.custom.keeping import Heavy, check, rule_tree
from edgekube.api.custom.rules import check_rules
from edgekube.api.objects import Object

INTEGER = {"type": "integer"}


def _schema(*rules: Object, **properties: Any) -> Object:
    fields = properties or {"low": INTEGER, "high": INTEGER}
    spec = {"type": "object", "properties": fields, "x-kubernetes-validations": list(rules)}
    return {"type": "object", "properties": {"spec": spec}}


def _faults(schema: Object) -> list[str]:
    return [f"{cause.field}: {cause.message}" for cause in check_rules(schema, "schema")]


def _broken(schema: Object, spec: Any, old: Any = None) -> list[str]:
    tree = rule_tree(schema)
    assert tree is not None
    broken, _ = check(tree, {"spec": spec}, None if old is None else {"spec": old})
    return [f"{cause.field}: {cause.message}" for cause in broken]


def test_a_schema_without_rules_has_no_tree() -> None:
    assert rule_tree({"type": "object", "properties": {"spec": {"type": "object"}}}) is None
    assert _faults({"type": "object"}) == []


def test_a_rule_that_does_not_compile_is_shown() -> None:
    (found,) = _faults(_schema({"rule": "self.missing > 1"}))
    assert found.startswith(
        'schema.properties[spec].x-kubernetes-validations[0].rule: Invalid value: {"Rule":"self.missing \\u003e 1","Message":"",'
        '"MessageExpression":"","Reason":null,"FieldPath":"","OptionalOldSelf":null}: compilation failed: ERROR: <input>:1:5: '
        "undefined field 'missing'"
    )
    (found,) = _faults(_schema({"rule": "self.low"}))
    assert found.endswith("cel expression must evaluate to a bool")
    (found,) = _faults(_schema({"rule": "true", "messageExpression": "1"}))
    assert "messageExpression: Invalid value:" in found
    assert found.endswith("messageExpression must evaluate to a string")


def test_a_rule_costs_no_more_than_it_may() -> None:
    names = {"type": "array", "items": {"type": "string"}}
    found = _faults(_schema({"rule": "self.names.all(a, self.names.all(b, a == b))"}, names=names))
    assert any("estimated rule cost exceeds budget by factor of more than 100x (try simplifying" in text for text in found)
    assert any("for entire OpenAPIv3 schema exceeds budget" in text for text in found)
    bounded = {**names, "maxItems": 5, "items": {"type": "string", "maxLength": 10}}
    assert _faults(_schema({"rule": "self.names.all(a, self.names.all(b, a == b))"}, names=bounded)) == []


def test_old_values_are_asked_for_only_where_they_can_be_found() -> None:
    items = {"type": "object", "properties": {"k": INTEGER}, "x-kubernetes-validations": [{"rule": "self.k == oldSelf.k"}]}
    listed = {"type": "array", "maxItems": 3, "items": items}
    found = _faults(_schema(items=listed))
    assert [text.rpartition(": ")[2] for text in found] == [
        "oldSelf cannot be used on the uncorrelatable portion of the schema within schema.properties[spec].properties[items]"
    ]
    keyed = {**listed, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"]}
    assert _faults(_schema(items=keyed)) == []
    found = _faults(_schema({"rule": "true", "optionalOldSelf": True}))
    assert [text.rpartition(": ")[2] for text in found] == ["may not be set if oldSelf is not used in rule"]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({"rule": "self.low <= self.high"}, "spec: Invalid value: failed rule: self.low <= self.high"),
        ({"rule": "self.low <= self.high", "message": "low first"}, "spec: Invalid value: low first"),
        (
            {"rule": "self.low <= self.high", "messageExpression": "'low is ' + string(self.low)", "fieldPath": ".low"},
            "spec.low: Invalid value: low is 3",
        ),
        (
            {"rule": "self.low <= self.high", "reason": "FieldValueForbidden"},
            "spec: Forbidden: failed rule: self.low <= self.high",
        ),
        (
            {"rule": "self.low <= self.high", "reason": "FieldValueRequired"},
            "spec: Required value: failed rule: self.low <= self.high",
        ),
        (
            {"rule": "self.low / 0 == 1"},
            'spec: Invalid value: "object": division by zero evaluating rule: self.low / 0 == 1',
        ),
    ],
    ids=["rule", "message", "expression", "forbidden", "required", "error"],
)
def test_a_broken_rule_is_told_of(rule: Object, expected: str) -> None:
    assert _broken(_schema(rule), {"low": 3, "high": 2}) == [expected]


def test_transitions_need_an_old_value() -> None:
    schema = _schema({"rule": "self.low >= oldSelf.low", "message": "never down"})
    assert _broken(schema, {"low": 1}) == []
    assert _broken(schema, {"low": 1}, {"low": 2}) == ["spec: Invalid value: never down"]
    optional = _schema({"rule": "oldSelf.hasValue() || self.low == 0", "optionalOldSelf": True, "message": "begins at 0"})
    assert _broken(optional, {"low": 1}) == ["spec: Invalid value: begins at 0"]
    assert _broken(optional, {"low": 1}, {"low": 0}) == []


def test_what_was_broken_before_and_did_not_change_is_warned_of() -> None:
    tree = rule_tree(_schema({"rule": "self.low <= self.high", "message": "low first"}))
    assert tree is not None
    spec = {"low": 3, "high": 2}
    broken, warnings = check(tree, {"spec": spec}, {"spec": dict(spec)})
    assert (broken, warnings) == ([], ["spec: Invalid value: low first"])


def test_items_of_a_list_map_are_found_by_their_keys() -> None:
    items = {
        "type": "object",
        "properties": {"name": {"type": "string"}, "n": INTEGER},
        "x-kubernetes-validations": [{"rule": "self.n >= oldSelf.n", "message": "never down"}],
    }
    listed = {"type": "array", "items": items, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}
    schema = _schema(all=listed)
    old = {"all": [{"name": "a", "n": 5}, {"name": "b", "n": 1}]}
    new = {"all": [{"name": "c", "n": 0}, {"name": "b", "n": 2}, {"name": "a", "n": 4}]}
    assert _broken(schema, new, old) == ["spec.all[2]: Invalid value: never down"]


def test_rules_end_with_their_budget() -> None:
    numbers = {"type": "array", "items": INTEGER}
    schema = _schema({"rule": "self.all.all(x, self.all.all(y, x == y || x != y))"}, all=numbers)
    (found,) = _broken(schema, {"all": list(range(3000))})
    assert "no further validation rules will be run due to call cost exceeds limit" in found


def test_what_costs_much_is_not_computed_at_once() -> None:
    numbers = {"type": "array", "items": INTEGER}
    tree = rule_tree(_schema({"rule": "self.all.all(x, self.all.exists(y, x == y))"}, all=numbers))
    assert tree is not None
    spec = {"all": list(range(500))}
    with pytest.raises(Heavy):
        check(tree, {"spec": spec}, at_once=True)
    assert check(tree, {"spec": spec}) == ([], [])
    assert check(tree, {"spec": {"all": [1, 2]}}, at_once=True) == ([], [])
