"""Does an object keep the rules of its kind?

Enters: the rules of a schema, an object that fits it, and on update the object that was there.
Leaves: causes; warnings for what was wrong before and did not change.
Holds: a rule that looks at oldSelf is asked only where there is an old value, unless it says that it does without; items of lists
are found again by their keys alone. Nothing is changed.
Bound: limits.CEL_BUDGET_COST_MAX for all rules of an object, limits.CEL_CALL_COST_MAX for one.
Source: apiextensions-apiserver pkg/apiserver/schema/cel (validation.go).
Next: registry.custom.objects.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import orjson

from edgekube import limits
from edgekube.api.custom.checking import NOWHERE, same
from edgekube.api.custom.rule_programs import CompiledRule, compile_rules
from edgekube.api.custom.structural import each, part
from edgekube.api.errors import Cause
from edgekube.api.objects import Object
from edgekube.api.validation import causes

_OUT_OF_BUDGET: Final = "validation failed due to running out of cost budget, no further validation rules will be run"


class RuleTree:
    """The places of a schema that have rules, or lead to some."""

    __slots__ = ("additional", "items", "list_keys", "properties", "rules", "type")

    def __init__(
        self, schema: Object, rules: list[CompiledRule], below: tuple[dict[str, RuleTree], RuleTree | None, RuleTree | None]
    ) -> None:
        self.type: str = schema.get("type") or ""
        self.rules = rules
        self.properties, self.additional, self.items = below
        is_map = schema.get("x-kubernetes-list-type") == "map"
        self.list_keys: tuple[str, ...] = tuple(schema.get("x-kubernetes-list-map-keys") or ()) if is_map else ()


def rule_tree(schema: Object, *, is_root: bool = True) -> RuleTree | None:
    """None: no rules here or below."""
    properties: dict[str, RuleTree] = {}
    for key, value in part(schema, "properties").items():
        found = rule_tree(value, is_root=False) if isinstance(value, dict) else None
        if found is not None:
            properties[key] = found
    additional, items = schema.get("additionalProperties"), schema.get("items")
    values = rule_tree(additional, is_root=False) if isinstance(additional, dict) else None
    elements = rule_tree(items, is_root=False) if isinstance(items, dict) else None
    has_rules = bool(each(schema, "x-kubernetes-validations"))
    if not (has_rules or properties or values or elements):
        return None
    rules = compile_rules(_without_texts(schema), is_root=is_root) if has_rules else []
    return RuleTree(schema, rules, (properties, values, elements))


def _without_texts(schema: Any) -> Any:
    """Types hold the schema that they were made of: its descriptions need not be held with them."""
    if isinstance(schema, dict):
        return {key: _without_texts(value) for key, value in schema.items() if key != "description" or isinstance(value, dict)}
    return [_without_texts(item) for item in schema] if isinstance(schema, list) else schema


class _Standing(NamedTuple):
    """The value here and the one that it was, where it can be found again; and the nearest such pair above."""

    here: tuple[Any, Any] | None
    above: tuple[Any, Any] | None

    def unchanged(self) -> bool:
        pair = self.here or self.above
        return pair is not None and same(*pair)


_NEW: Final = _Standing(None, None)


class _Exhausted(Exception):
    """No further rule is asked."""


class Heavy(Exception):
    """The rules cost more than what may be computed while everybody waits: ask again, elsewhere."""


class _Findings:
    def __init__(self, budget: Any, *, at_once: bool) -> None:
        self.at_once = at_once
        self.causes: list[Cause] = []
        self.warnings: list[str] = []
        self.budget = budget


def check(tree: RuleTree, obj: Object, old: Object | None = None, *, at_once: bool = False) -> tuple[list[Cause], list[str]]:
    """Causes and warnings. ``at_once``: Heavy instead of more than limits.CEL_AT_ONCE_COST_MAX."""
    from edgekube.api import cel

    found = _Findings(cel.Budget(limits.CEL_AT_ONCE_COST_MAX if at_once else limits.CEL_BUDGET_COST_MAX), at_once=at_once)
    standing = _Standing((obj, old), None) if old is not None else _NEW
    try:
        _check(tree, obj, old, "", standing, found)
    except _Exhausted:
        pass
    return found.causes, found.warnings


def _check(tree: RuleTree, value: Any, old: Any, path: str, standing: _Standing, found: _Findings) -> None:
    if value is None:
        return
    if tree.rules:
        _ask_all(tree, value, old, path, standing, found)
    if type(value) is dict:
        before = old if type(old) is dict else {}
        for key, item in value.items():
            below = tree.properties.get(key)
            if below is not None:
                where = f"{path}.{key}" if path else key
            elif tree.additional is not None:
                below, where = tree.additional, f"{path}[{key}]"
            else:
                continue
            _check(below, item, before.get(key), where, _stepped(standing, key, item, before, not path), found)
    elif type(value) is list and tree.items is not None:
        earlier = _by_key(tree, old) if tree.list_keys and type(old) is list else {}
        for index, item in enumerate(value):
            was = earlier.get(_key(tree, item)) if earlier and type(item) is dict else None
            pair = (item, was) if was is not None and standing.here is not None else None
            _check(tree.items, item, was, f"{path}[{index}]", _below(standing, pair), found)


def _stepped(standing: _Standing, key: str, item: Any, before: Object, is_root: bool) -> _Standing:
    if is_root and key in ("apiVersion", "kind"):
        return _NEW
    pair = (item, before[key]) if standing.here is not None and key in before else None
    return _below(standing, pair)


def _below(standing: _Standing, pair: tuple[Any, Any] | None) -> _Standing:
    return standing if standing.here is None else _Standing(pair, standing.here)


def _key(tree: RuleTree, item: Object) -> bytes:
    return orjson.dumps([item.get(key) for key in tree.list_keys])


def _by_key(tree: RuleTree, items: list[Any]) -> dict[bytes, Any]:
    return {_key(tree, item): item for item in items if type(item) is dict}


def _ask_all(tree: RuleTree, value: Any, old: Any, path: str, standing: _Standing, found: _Findings) -> None:
    if found.budget.remaining <= 0:
        if found.at_once:
            raise Heavy
        found.causes.append(_of_type(tree, path, _OUT_OF_BUDGET))
        raise _Exhausted
    for compiled in tree.rules:
        _ask(tree, compiled, value, old, path, standing, found)


def _ask(tree: RuleTree, compiled: CompiledRule, value: Any, old: Any, path: str, standing: _Standing, found: _Findings) -> None:
    from edgekube.api import cel

    rule = compiled.rule
    if compiled.fault:
        found.causes.append(_of_type(tree, path, f"rule compile error: {compiled.fault}"))
        return
    if compiled.program is None or (compiled.uses_old_self and old is None and not compiled.optional):
        return
    values = {"self": value}
    if compiled.optional:
        values["oldSelf"] = cel.NONE if old is None else cel.Optional(True, old)
    elif old is not None:
        values["oldSelf"] = old
    try:
        if compiled.program.evaluate(values, found.budget) is True:
            return
    except cel.CostExceeded as error:
        if found.at_once:
            raise Heavy from None
        detail = _OUT_OF_BUDGET
        if error.scope == "call":
            shown = _shown(rule)
            detail = f"'{error}': no further validation rules will be run due to call cost exceeds limit for rule: {shown}"
        found.causes.append(_of_type(tree, path, detail))
        raise _Exhausted from None
    except cel.EvaluationError as error:
        detail = f"{error} evaluating rule: {_shown(rule)}"
        if str(error).startswith("no such overload"):
            detail = (
                f"'{error}': call arguments did not match a supported operator, function or macro signature for rule: "
                f"{_shown(rule)}"
            )
        found.causes.append(_of_type(tree, path, detail))
        return
    where = path
    if compiled.path:
        where = f"{path}.{compiled.path}" if path else compiled.path
    cause = _broken(tree, rule, value, where or NOWHERE, _detail(compiled, values, found, tree, where))
    if not compiled.uses_old_self and standing.unchanged():
        found.warnings.append(f"{cause.field}: {cause.message}")
    else:
        found.causes.append(cause)


def _detail(compiled: CompiledRule, values: Object, found: _Findings, tree: RuleTree, where: str) -> str:
    """Why it is refused: what messageExpression says, or else message, or else the rule itself."""
    from edgekube.api import cel

    rule = compiled.rule
    if compiled.message_program is not None:
        try:
            text = str(compiled.message_program.evaluate(values, found.budget)).strip()
            if text and "\n" not in text and len(text.encode()) <= limits.CEL_MESSAGE_BYTES_MAX:
                return text
        except cel.CostExceeded as error:
            if found.at_once:
                raise Heavy from None
            detail = "messageExpression evaluation failed due to running out of cost budget"
            if error.scope == "call":
                expression = causes.quoted(rule.get("messageExpression") or "")
                detail = (
                    f"no further validation rules will be run due to call cost exceeds limit for messageExpression: {expression}"
                )
            else:
                detail += ", no further validation rules will be run"
            found.causes.append(_of_type(tree, where, detail))
            raise _Exhausted from None
        except cel.EvaluationError:
            pass
    return str(rule["message"]).strip() if rule.get("message") else f"failed rule: {_shown(rule)}"


def _shown(rule: Object) -> str:
    return str(rule.get("message") or rule.get("rule") or "").strip()


def _of_type(tree: RuleTree, path: str, detail: str) -> Cause:
    return causes.invalid(path or NOWHERE, tree.type, detail)


def _broken(tree: RuleTree, rule: Object, value: Any, where: str, detail: str) -> Cause:
    is_whole = tree.type in ("object", "array")
    match rule.get("reason"):
        case "FieldValueRequired":
            return causes.required(where, detail)
        case "FieldValueForbidden":
            return causes.forbidden(where, detail)
        case "FieldValueDuplicate":
            whole = Cause(causes.DUPLICATE, f"Duplicate value: {detail}", where)
            return whole if is_whole else causes.duplicate(where, value, detail)
    return causes.invalid_whole(where, detail) if is_whole else causes.invalid(where, value, detail)
