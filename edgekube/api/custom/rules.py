"""x-kubernetes-validations: are they rules at all, and are they cheap enough?

Enters: openAPIV3Schema as it was written, structural and otherwise valid.
Leaves: causes for rules that do not compile, cost too much, or look at an old value that cannot be found again.
Holds: CEL is loaded with the first rule; a schema without rules costs a walk.
Bound: limits.CUSTOM_RULES_MAX rules of a schema; limits.CEL_RULE_ESTIMATE_MAX for one, limits.CEL_CRD_ESTIMATE_MAX for all.
Source: apiextensions-apiserver pkg/apis/apiextensions/validation (cel_validation.go), apiserver/schema/cel (compilation.go).
Next: api.custom.rule_programs.
"""

from __future__ import annotations

from typing import Final

import orjson
from msgspec import Struct, field
from msgspec.structs import replace

from edgekube import limits
from edgekube.api.custom.rule_programs import CompiledRule, cardinality_max, compile_rules
from edgekube.api.custom.structural import each, part
from edgekube.api.errors import Cause
from edgekube.api.objects import Object
from edgekube.api.validation import causes
from edgekube.api.validation.fields import gathered

#: Of what all rules may cost together, whoever takes more than a hundredth is named; the first four.
_NAMED_MAX: Final = 4


class _Place(Struct, frozen=True):
    #: How often it can be in an object; None: nothing above says.
    count_max: int | None = 1
    #: The list whose items cannot be told from one another, on the way here.
    uncorrelatable: str = ""
    is_root: bool = False


class _Tally(Struct):
    out: list[Cause]
    total: int = 0
    rules: int = 0
    expensive: list[tuple[int, str]] = field(default_factory=list)

    def observe(self, path: str, cost: int) -> None:
        self.total += cost
        if cost >= limits.CEL_CRD_ESTIMATE_MAX // 100:
            self.expensive.append((cost, path))


def check_rules(schema: Object, path: str) -> list[Cause]:
    return gathered(lambda out: _check_all(schema, path, _Tally(out)))


def _check_all(schema: Object, path: str, tally: _Tally) -> None:
    _walk(schema, path, _Place(is_root=True), tally)
    if tally.total > limits.CEL_CRD_ESTIMATE_MAX:
        detail = "contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema"
        dearest = sorted(tally.expensive, key=lambda pair: -pair[0])[:_NAMED_MAX]
        tally.out.extend(causes.forbidden(where, detail) for _, where in dearest)
        name = "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema"
        tally.out.append(causes.forbidden(path, _exceeds(name, tally.total, limits.CEL_CRD_ESTIMATE_MAX)))


def _walk(schema: Object, path: str, place: _Place, tally: _Tally) -> None:
    below = replace(place, is_root=False, count_max=_count(schema, place.count_max))
    additional, items = schema.get("additionalProperties"), schema.get("items")
    if isinstance(additional, dict):
        _walk(additional, f"{path}.additionalProperties", below, tally)
    for key, value in part(schema, "properties").items():
        if isinstance(value, dict):
            _walk(value, f"{path}.properties[{key}]", below, tally)
    if isinstance(items, dict):
        inner = below
        if schema.get("x-kubernetes-list-type") != "map" and not below.uncorrelatable:
            inner = replace(below, uncorrelatable=path)
        _walk(items, f"{path}.items", inner, tally)
    if each(schema, "x-kubernetes-validations"):
        _check(schema, path, place, tally)


def _count(schema: Object, above: int | None) -> int | None:
    """How many of the schema's children there can be."""
    if above is None:
        return None
    most: int | None = 1
    if schema.get("type") == "array":
        most = schema.get("maxItems")
    elif schema.get("type") == "object" and schema.get("additionalProperties") is not None:
        most = schema.get("maxProperties")
    return None if most is None else above * max(most, 0)


def _check(schema: Object, path: str, place: _Place, tally: _Tally) -> None:
    rules = each(schema, "x-kubernetes-validations")
    before, tally.rules = tally.rules, tally.rules + len(rules)
    if tally.rules > limits.CUSTOM_RULES_MAX:
        if before <= limits.CUSTOM_RULES_MAX:  # told of once
            where = f"{path}.x-kubernetes-validations"
            tally.out.append(causes.too_many(where, tally.rules, limits.CUSTOM_RULES_MAX))
        return
    most = place.count_max if place.count_max is not None else cardinality_max(schema, is_root=place.is_root)
    for i, compiled in enumerate(compile_rules(schema, is_root=place.is_root)):
        _judge(compiled, f"{path}.x-kubernetes-validations[{i}]", most, place, tally)


def _judge(compiled: CompiledRule, path: str, count_max: int, place: _Place, tally: _Tally) -> None:
    out, rule = tally.out, compiled.rule
    cost = compiled.cost_max * count_max
    if cost > limits.CEL_RULE_ESTIMATE_MAX:
        detail = _exceeds("estimated rule cost", cost, limits.CEL_RULE_ESTIMATE_MAX)
        out.append(causes.forbidden(f"{path}.rule", detail))
    tally.observe(f"{path}.rule", cost)
    if compiled.fault:
        out.append(_invalid(f"{path}.rule", rule, compiled.fault))
    if compiled.message_fault:
        out.append(_invalid(f"{path}.messageExpression", rule, compiled.message_fault))
    elif compiled.message_program is not None:
        if compiled.message_cost_max > limits.CEL_RULE_ESTIMATE_MAX:
            detail = _exceeds("estimated messageExpression cost", compiled.message_cost_max, limits.CEL_RULE_ESTIMATE_MAX)
            out.append(causes.forbidden(f"{path}.messageExpression", detail))
        tally.observe(f"{path}.messageExpression", compiled.message_cost_max)
    if compiled.uses_old_self:
        if place.uncorrelatable:
            detail = f"oldSelf cannot be used on the uncorrelatable portion of the schema within {place.uncorrelatable}"
            out.append(causes.invalid(f"{path}.rule", rule.get("rule") or "", detail))
    elif rule.get("optionalOldSelf") is not None:
        detail = "may not be set if oldSelf is not used in rule"
        out.append(causes.invalid(f"{path}.optionalOldSelf", rule["optionalOldSelf"], detail))


def _invalid(path: str, rule: Object, detail: str) -> Cause:
    """The rule is shown with the names that upstream's own type has."""
    shown = {
        "Rule": rule.get("rule") or "",
        "Message": rule.get("message") or "",
        "MessageExpression": rule.get("messageExpression") or "",
        "Reason": rule.get("reason"),
        "FieldPath": rule.get("fieldPath") or "",
        "OptionalOldSelf": rule.get("optionalOldSelf"),
    }
    text = orjson.dumps(shown).decode()
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Cause(causes.INVALID, f"Invalid value: {text}: {detail}", path)


def _exceeds(name: str, cost: int, most: int) -> str:
    factor = cost / most
    shown = "more than 100x" if factor > 100 else f"{factor:f}x" if factor < 1.5 else f"{factor:.1f}x"
    return (
        f"{name} exceeds budget by factor of {shown} (try simplifying the rule, or adding maxItems, maxProperties, and maxLength "
        "where arrays, maps, and strings are declared)"
    )
