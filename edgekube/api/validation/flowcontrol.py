"""FlowSchemas and PriorityLevelConfigurations: who is served before whom.

Enters: defaulted objects of flowcontrol.apiserver.k8s.io.
Leaves: causes appended to ``out``.
Holds: the levels and schemas that the server itself needs stay as they are.
Source: flowcontrol/validation; k8s.io/apiserver pkg/apis/flowcontrol/bootstrap (the mandatory ones).
Next: api.validation.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

from edgekube.api import names
from edgekube.api.objects import Object
from edgekube.api.validation import causes, inner
from edgekube.api.validation.fields import Out, check, dns_label, dns_subdomain, items, number, part, same, text, texts

_VERBS: Final = ("create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch")
_SUBJECTS: Final = {"Group": "group", "ServiceAccount": "serviceAccount", "User": "user"}
_METHODS: Final = ("ByNamespace", "ByUser")
_PRECEDENCE_MAX: Final = 10_000
_QUEUES_MAX: Final = 10_000_000
#: Of a request's hash, which is dealt out to queues.
_HASH_BITS_MAX: Final = 60
_EVERY: Final[Object] = {"verbs": ["*"]}
_ALL_RULES: Final[Object] = {
    "resourceRules": [{**_EVERY, "apiGroups": ["*"], "resources": ["*"], "clusterScope": True, "namespaces": ["*"]}],
    "nonResourceRules": [{**_EVERY, "nonResourceURLs": ["*"]}],
}


def _for_groups(*group_names: str) -> list[Object]:
    return [{**_ALL_RULES, "subjects": [{"kind": "Group", "group": {"name": name}} for name in group_names]}]


_FIXED_SCHEMAS: Final[dict[str, Object]] = {
    "exempt": {
        "priorityLevelConfiguration": {"name": "exempt"},
        "matchingPrecedence": 1,
        "rules": _for_groups("system:masters"),
    },
    "catch-all": {
        "priorityLevelConfiguration": {"name": "catch-all"},
        "matchingPrecedence": _PRECEDENCE_MAX,
        "distinguisherMethod": {"type": "ByUser"},
        "rules": _for_groups("system:unauthenticated", "system:authenticated"),
    },
}
_FIXED_LEVEL: Final[Object] = {
    "type": "Limited",
    "limited": {"nominalConcurrencyShares": 5, "lendablePercent": 0, "limitResponse": {"type": "Reject"}},
}


# --- FlowSchema --------------------------------------------------------------------------------------------------------------


def check_flow_schema(out: Out, flow_schema: Object) -> None:
    spec, own_name = part(flow_schema, "spec"), text(part(flow_schema, "metadata"), "name")
    precedence = number(spec, "matchingPrecedence")
    if precedence <= 0 or precedence > _PRECEDENCE_MAX:
        detail = "must be a positive value" if precedence <= 0 else f"must not be greater than {_PRECEDENCE_MAX}"
        out.append(causes.invalid("spec.matchingPrecedence", precedence, detail))
    if precedence == 1 and own_name != "exempt":
        detail = "only the schema named 'exempt' may have matchingPrecedence 1"
        out.append(causes.invalid("spec.matchingPrecedence", precedence, detail))
    method = spec.get("distinguisherMethod")
    if method is not None and text(method, "type") not in _METHODS:
        out.append(causes.not_supported("spec.distinguisherMethod.type", inner.inner(method, inner.DISTINGUISHER), _METHODS))
    level = text(part(spec, "priorityLevelConfiguration"), "name")
    if not level:
        out.append(causes.required("spec.priorityLevelConfiguration.name", "must reference a priority level"))
    else:
        check(out, dns_subdomain(level), "spec.priorityLevelConfiguration.name", level)
    for i, rule in enumerate(items(spec, "rules")):
        _check_rule(out, rule, f"spec.rules[{i}]")
    fixed = _FIXED_SCHEMAS.get(own_name)
    if fixed is not None and not same(spec, fixed):
        out.append(causes.invalid("spec", spec, f"spec of '{own_name}' must equal the fixed value"))
    _check_conditions(out, flow_schema)


def _check_rule(out: Out, rule: Object, field: str) -> None:
    subjects, resource_rules, other_rules = (items(rule, key) for key in ("subjects", "resourceRules", "nonResourceRules"))
    if not subjects:
        out.append(causes.required(f"{field}.subjects", "subjects must contain at least one value"))
    for i, subject in enumerate(subjects):
        _check_subject(out, subject, f"{field}.subjects[{i}]")
    if not resource_rules and not other_rules:
        out.append(causes.required(field, "at least one of resourceRules and nonResourceRules has to be non-empty"))
    for i, one in enumerate(resource_rules):
        _check_resource_rule(out, one, f"{field}.resourceRules[{i}]")
    for i, one in enumerate(other_rules):
        _check_other_rule(out, one, f"{field}.nonResourceRules[{i}]")


def _check_subject(out: Out, subject: Object, field: str) -> None:
    kind = text(subject, "kind")
    key = _SUBJECTS.get(kind)
    if key is None:
        out.append(causes.not_supported(f"{field}.kind", kind, tuple(_SUBJECTS)))
        return
    named = subject.get(key)
    if named is None:
        out.append(causes.required(f"{field}.{key}", f"{key} is required when subject kind is '{kind}'"))
    else:
        name = text(named, "name")
        if not name:
            out.append(causes.required(f"{field}.{key}.name"))
        elif kind == "ServiceAccount" and name != "*":
            check(out, dns_subdomain(name), f"{field}.{key}.name", name)
        if kind == "ServiceAccount":
            if not text(named, "namespace"):
                out.append(causes.required(f"{field}.{key}.namespace", "must specify namespace for service account"))
            else:
                check(out, dns_label(text(named, "namespace")), f"{field}.{key}.namespace", text(named, "namespace"))
    for other_kind, other in _SUBJECTS.items():
        if other != key and subject.get(other) is not None:
            detail = f"{other} is forbidden when subject kind is not '{other_kind}'"
            out.append(causes.forbidden(f"{field}.{other}", detail))


def _is_wild(out: Out, values: list[str], field: str, what: str) -> bool:
    """``*`` is among them; then it shall be alone."""
    if "*" not in values:
        return False
    if len(values) > 1:
        out.append(causes.invalid(field, values, f"if '*' is present, must not specify other {what}"))
    return True


def _check_verbs(out: Out, rule: Object, field: str) -> None:
    verbs = texts(rule, "verbs")
    if not verbs:
        out.append(causes.required(f"{field}.verbs", "verbs must contain at least one value"))
    elif not _is_wild(out, verbs, f"{field}.verbs", "verbs") and any(verb not in _VERBS for verb in verbs):
        out.append(causes.not_supported(f"{field}.verbs", verbs, _VERBS))


def _check_resource_rule(out: Out, rule: Object, field: str) -> None:
    _check_verbs(out, rule, field)
    for key, one, many in (("apiGroups", "api group", "api groups"), ("resources", "resource", "resources")):
        values = texts(rule, key)
        if not values:
            out.append(causes.required(f"{field}.{key}", f"resource rules must supply at least one {one}"))
        else:
            _is_wild(out, values, f"{field}.{key}", many)
    namespaces, path = texts(rule, "namespaces"), f"{field}.namespaces"
    if not namespaces and not rule.get("clusterScope"):
        detail = "resource rules that are not cluster scoped must supply at least one namespace"
        out.append(causes.required(path, detail))
    elif not _is_wild(out, namespaces, path, "namespaces"):
        for i, namespace in enumerate(namespaces):
            for message in dns_label(namespace):
                detail = f"each member of this list must be '*' or a DNS-1123 label; {message}"
                out.append(causes.invalid(f"{path}[{i}]", namespace, detail))


def _check_other_rule(out: Out, rule: Object, field: str) -> None:
    _check_verbs(out, rule, field)
    urls, path = texts(rule, "nonResourceURLs"), f"{field}.nonResourceURLs"
    if not urls:
        out.append(causes.required(path, "nonResourceURLs must contain at least one value"))
    elif not _is_wild(out, urls, path, "non-resource URLs"):
        for i, url in enumerate(urls):
            problem = _problem_of_url(url)
            if problem:
                out.append(causes.invalid(f"{path}[{i}]", url, problem))


_URL_PROBLEMS: Final[tuple[tuple[Callable[[str], Any], str], ...]] = (
    (lambda url: not url, "must not be empty"),
    (lambda url: not url.startswith("/"), "must start with slash"),
    (lambda url: " " in url, "must not contain white-space"),
    (lambda url: "//" in url, "must not contain double slash"),
    (lambda url: "*" in url.removesuffix("/*"), "wildcard can only do suffix matching"),
)


def _problem_of_url(url: str) -> str:
    return next((problem for is_so, problem in _URL_PROBLEMS if is_so(url)), "")


# --- PriorityLevelConfiguration ------------------------------------------------------------------------------------------------


def check_priority_level(out: Out, level: Object) -> None:
    spec, name = part(level, "spec"), text(part(level, "metadata"), "name")
    kind, limited, exempt = text(spec, "type"), spec.get("limited"), spec.get("exempt")
    if (name == "exempt") != (kind == "Exempt"):
        out.append(causes.invalid("spec.type", kind, "must be 'Exempt' if and only if `name` is 'exempt'"))
    if kind == "Exempt":
        if limited is not None:
            out.append(causes.forbidden("spec.limited", "must be nil if the type is not Limited"))
        _check_shares(out, part(spec, "exempt"), "spec.exempt")
    elif kind == "Limited":
        if exempt is not None:
            out.append(causes.forbidden("spec.exempt", "must be nil if the type is Limited"))
        if limited is None:
            out.append(causes.required("spec.limited", "must not be empty when type is Limited"))
        else:
            _check_limited(out, limited)
    else:
        out.append(causes.not_supported("spec.type", kind, ("Exempt", "Limited")))
    if name == "exempt" and not same({**spec, "exempt": None}, {"type": "Exempt"}):
        detail = f"spec of '{name}' except the 'spec.exempt' field must equal the fixed value"
        out.append(causes.invalid("spec", spec, detail))
    elif name == "catch-all" and not same(spec, _FIXED_LEVEL):
        out.append(causes.invalid("spec", spec, f"spec of '{name}' must equal the fixed value"))
    _check_conditions(out, level)


def _check_shares(out: Out, settings: Object, field: str) -> None:
    shares, lendable = settings.get("nominalConcurrencyShares"), settings.get("lendablePercent")
    if isinstance(shares, int) and shares < 0:
        out.append(causes.invalid(f"{field}.nominalConcurrencyShares", shares, "must be a non-negative integer"))
    if isinstance(lendable, int) and not 0 <= lendable <= 100:
        out.append(causes.invalid(f"{field}.lendablePercent", lendable, names.outside(0, 100)))


def _check_limited(out: Out, limited: Object) -> None:
    _check_shares(out, limited, "spec.limited")
    _check_response(out, part(limited, "limitResponse"))
    borrowing = limited.get("borrowingLimitPercent")
    if isinstance(borrowing, int) and borrowing < 0:
        detail = "if specified, must be a non-negative integer"
        out.append(causes.invalid("spec.limited.borrowingLimitPercent", borrowing, detail))


def _check_response(out: Out, response: Object) -> None:
    path = "spec.limited.limitResponse"
    kind, queuing = text(response, "type"), response.get("queuing")
    if kind not in ("Queue", "Reject"):
        out.append(causes.not_supported(f"{path}.type", kind, ("Queue", "Reject")))
    elif kind == "Reject":
        if queuing is not None:
            out.append(causes.forbidden(f"{path}.queuing", "must be nil if limited.limitResponse.type is not Limited"))
    elif queuing is None:
        out.append(causes.required(f"{path}.queuing", "must not be empty if limited.limitResponse.type is Limited"))
    else:
        _check_queuing(out, queuing, f"{path}.queuing")


def _check_queuing(out: Out, queuing: Object, field: str) -> None:
    length, queues, hand = (number(queuing, key) for key in ("queueLengthLimit", "queues", "handSize"))
    for key, value in (("queueLengthLimit", length), ("queues", queues), ("handSize", hand)):
        if value <= 0:
            out.append(causes.invalid(f"{field}.{key}", value, "must be positive"))
    if queues > _QUEUES_MAX:
        out.append(causes.invalid(f"{field}.queues", queues, f"must not be greater than {_QUEUES_MAX}"))
    if hand <= 0:
        return
    if hand > queues:
        out.append(causes.invalid(f"{field}.handSize", hand, f"should not be greater than queues ({queues})"))
    elif math.ceil(math.log2(queues) * hand) > _HASH_BITS_MAX:
        detail = f"required entropy bits of deckSize {queues} and handSize {hand} should not be greater than {_HASH_BITS_MAX}"
        out.append(causes.invalid(f"{field}.handSize", hand, detail))


def _check_conditions(out: Out, obj: Object) -> None:
    seen: set[str] = set()
    for i, condition in enumerate(items(part(obj, "status"), "conditions")):
        path, kind = f"status.conditions[{i}].type", text(condition, "type")
        if kind in seen:
            out.append(causes.duplicate(path, kind))
        seen.add(kind)
        if not kind:
            out.append(causes.required(path))


def check_status(out: Out, new: Object, old: Object) -> None:
    _check_conditions(out, new)
