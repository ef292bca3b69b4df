"""Where a pod may run: node selectors, affinity, tolerations, taints, topology spread.

Enters: the parts of a PodSpec that the scheduler reads, and node taints.
Leaves: causes appended to ``out``.
Source: core/validation validateAffinity, ValidateTolerations, validateTopologySpreadConstraints, ValidateNodeSelector.
Next: api.validation.podspec, api.validation.core (nodes, volumes).
"""

from __future__ import annotations

from typing import Final

from edgekube.api import names
from edgekube.api.objects import Object
from edgekube.api.validation import causes, inner
from edgekube.api.validation.fields import Out, check, dns_label, dns_subdomain, items, number, part, repeated, text, texts
from edgekube.api.validation.metadata import check_label_key, check_label_selector, check_label_value, check_operator

_EFFECTS: Final = ("NoSchedule", "PreferNoSchedule", "NoExecute")
_REQUIRED: Final = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED: Final = "preferredDuringSchedulingIgnoredDuringExecution"


def check_tolerations(out: Out, tolerations: list[Object], field: str) -> None:
    for i, toleration in enumerate(tolerations):
        path = f"{field}[{i}]"
        key, operator = text(toleration, "key"), text(toleration, "operator")
        value, effect = text(toleration, "value"), text(toleration, "effect")
        if key:
            check_label_key(out, key, f"{path}.key")
        elif operator != "Exists":
            detail = 'operator must be Exists when `key` is empty, which means "match all values and all keys"'
            out.append(causes.invalid(f"{path}.operator", operator, detail))
        if toleration.get("tolerationSeconds") is not None and effect != "NoExecute":
            detail = "effect must be 'NoExecute' when `tolerationSeconds` is set"
            out.append(causes.invalid(f"{path}.effect", effect, detail))
        if operator in ("", "Equal"):
            messages = names.label_value(value)
            if messages:
                out.append(causes.invalid(f"{path}.operator", value, ";".join(messages)))
        elif operator == "Exists":
            if value:
                detail = "value must be empty when `operator` is 'Exists'"
                out.append(causes.invalid(f"{path}.operator", value, detail))
        else:
            out.append(causes.not_supported(f"{path}.operator", operator, ("Equal", "Exists")))
        if effect and effect not in _EFFECTS:
            out.append(causes.not_supported(f"{path}.effect", effect, _EFFECTS))


def check_taints(out: Out, taints: list[Object], field: str) -> None:
    seen: set[tuple[str, str]] = set()
    for i, taint in enumerate(taints):
        path, key, effect = f"{field}[{i}]", text(taint, "key"), text(taint, "effect")
        check_label_key(out, key, f"{path}.key")
        messages = names.label_value(text(taint, "value"))
        if messages:
            out.append(causes.invalid(f"{path}.value", text(taint, "value"), ";".join(messages)))
        if not effect:
            out.append(causes.required(f"{path}.effect"))
        elif effect not in _EFFECTS:
            out.append(causes.not_supported(f"{path}.effect", effect, _EFFECTS))
        if (key, effect) in seen:
            out.append(causes.duplicate(path, inner.inner(taint, inner.TAINT), "taints must be unique by key and effect pair"))
        seen.add((key, effect))


# --- nodes -----------------------------------------------------------------------------------------------------------


def _check_requirement(out: Out, requirement: Object, field: str, *, check_values: bool) -> None:
    operator, values = text(requirement, "operator"), texts(requirement, "values")
    if operator not in ("Gt", "Lt"):
        check_operator(out, operator, values, field)
    elif len(values) != 1:
        detail = "must be specified single value when `operator` is 'Lt' or 'Gt'"
        out.append(causes.required(f"{field}.values", detail))
    check_label_key(out, text(requirement, "key"), f"{field}.key")
    if check_values:
        for i, value in enumerate(values):
            check_label_value(out, value, f"{field}.values[{i}]")


def _check_field_requirement(out: Out, requirement: Object, field: str) -> None:
    operator, values, key = text(requirement, "operator"), texts(requirement, "values"), text(requirement, "key")
    if operator not in ("In", "NotIn"):
        out.append(causes.invalid(f"{field}.operator", operator, "not a valid selector operator"))
    elif len(values) != 1:
        detail = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector"
        out.append(causes.required(f"{field}.values", detail))
    if key != "metadata.name":
        out.append(causes.invalid(f"{field}.key", key, "not a valid field selector key"))
    else:
        for i, value in enumerate(values):
            check(out, dns_subdomain(value), f"{field}.values[{i}]", value)


def _check_term(out: Out, term: Object, field: str, *, check_values: bool) -> None:
    for i, requirement in enumerate(items(term, "matchExpressions")):
        _check_requirement(out, requirement, f"{field}.matchExpressions[{i}]", check_values=check_values)
    for i, requirement in enumerate(items(term, "matchFields")):
        _check_field_requirement(out, requirement, f"{field}.matchFields[{i}]")


def check_node_selector(out: Out, selector: Object, field: str) -> None:
    terms = items(selector, "nodeSelectorTerms")
    if not terms:
        out.append(causes.required(f"{field}.nodeSelectorTerms", "must have at least one node selector term"))
    for i, term in enumerate(terms):
        _check_term(out, term, f"{field}.nodeSelectorTerms[{i}]", check_values=True)


# --- affinity --------------------------------------------------------------------------------------------------------


def _check_weight(out: Out, term: Object, field: str) -> None:
    weight = number(term, "weight")
    if not 1 <= weight <= 100:
        out.append(causes.invalid(f"{field}.weight", weight, "must be in the range 1-100"))


def _check_label_keys(out: Out, term: Object, key: str, field: str) -> None:
    keys = texts(term, key)
    if keys and not isinstance(term.get("labelSelector"), dict):
        out.append(causes.forbidden(f"{field}.{key}", "must not be specified when labelSelector is not set"))
        return
    for i, label in enumerate(keys):
        check_label_key(out, label, f"{field}.{key}[{i}]")


def _check_matching_keys(out: Out, term: Object, field: str) -> None:
    """By now the selector has a requirement of each key that the pod has a label of: one before that is the client's own."""
    _check_label_keys(out, term, "matchLabelKeys", field)
    _check_label_keys(out, term, "mismatchLabelKeys", field)
    keys, selector = texts(term, "matchLabelKeys"), part(term, "labelSelector")
    if not keys:
        return
    places = {key: i for i, key in enumerate(keys)}
    selected = set(part(selector, "matchLabels"))
    for expression in items(selector, "matchExpressions"):
        key = text(expression, "key")
        if key in selected and key in places:
            detail = "exists in both matchLabelKeys and labelSelector"
            out.append(causes.invalid(f"{field}[{places[key]}]", key, detail))
        selected.add(key)
    mismatched = texts(term, "mismatchLabelKeys")
    for i, key in enumerate(keys):
        if key in mismatched:
            detail = "exists in both matchLabelKeys and mismatchLabelKeys"
            out.append(causes.invalid(f"{field}.matchLabelKeys[{i}]", key, detail))


def _check_pod_term(out: Out, term: Object, field: str) -> None:
    check_label_selector(out, term.get("labelSelector"), f"{field}.labelSelector")
    check_label_selector(out, term.get("namespaceSelector"), f"{field}.namespaceSelector")
    for namespace in texts(term, "namespaces"):
        check(out, dns_label(namespace), f"{field}.namespace", namespace)
    _check_matching_keys(out, term, field)
    topology_key = text(term, "topologyKey")
    if not topology_key:
        out.append(causes.required(f"{field}.topologyKey", "can not be empty"))
    check_label_key(out, topology_key, f"{field}.topologyKey")


def check_affinity(out: Out, affinity: Object, field: str) -> None:
    if not affinity:
        return
    nodes = part(affinity, "nodeAffinity")
    if isinstance(nodes.get(_REQUIRED), dict):
        check_node_selector(out, nodes[_REQUIRED], f"{field}.nodeAffinity.{_REQUIRED}")
    for i, preference in enumerate(items(nodes, _PREFERRED)):
        path = f"{field}.nodeAffinity.{_PREFERRED}[{i}]"
        _check_weight(out, preference, path)
        _check_term(out, part(preference, "preference"), f"{path}.preference", check_values=False)
    for key in ("podAffinity", "podAntiAffinity"):
        pods = part(affinity, key)
        for i, term in enumerate(items(pods, _REQUIRED)):
            _check_pod_term(out, term, f"{field}.{key}.{_REQUIRED}[{i}]")
        for i, weighted in enumerate(items(pods, _PREFERRED)):
            path = f"{field}.{key}.{_PREFERRED}[{i}]"
            _check_weight(out, weighted, path)
            _check_pod_term(out, part(weighted, "podAffinityTerm"), f"{path}.podAffinityTerm")


# --- topology spread -------------------------------------------------------------------------------------------------


def check_topology_spread(out: Out, constraints: list[Object], field: str) -> None:
    pairs = [(text(one, "topologyKey"), text(one, "whenUnsatisfiable")) for one in constraints]
    # Upstream names the first of a pair, so the list is read from its end.
    again = {len(pairs) - 1 - i for i in repeated(reversed(pairs))}
    for i, constraint in enumerate(constraints):
        path, (topology_key, action) = f"{field}[{i}]", pairs[i]
        if number(constraint, "maxSkew") <= 0:
            out.append(causes.invalid(f"{path}.maxSkew", number(constraint, "maxSkew"), causes.NOT_POSITIVE))
        if not topology_key:
            out.append(causes.required(f"{path}.topologyKey", "can not be empty"))
        if action not in ("DoNotSchedule", "ScheduleAnyway"):
            out.append(causes.not_supported(f"{path}.whenUnsatisfiable", action, ("DoNotSchedule", "ScheduleAnyway")))
        if i in again:
            pair = f"{{{topology_key}, {action}}}"
            out.append(causes.duplicate(f"{path}.{{topologyKey, whenUnsatisfiable}}", pair))
        domains = constraint.get("minDomains")
        if isinstance(domains, int):
            if domains <= 0:
                out.append(causes.invalid(f"{path}.minDomains", domains, causes.NOT_POSITIVE))
            if action != "DoNotSchedule":
                detail = f"can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {action}"
                out.append(causes.invalid(f"{path}.minDomains", domains, detail))
        for key in ("nodeAffinityPolicy", "nodeTaintsPolicy"):
            policy = constraint.get(key)
            if policy is not None and policy not in ("Honor", "Ignore"):
                out.append(causes.not_supported(f"{path}.{key}", policy, ("Honor", "Ignore")))
        _check_matching_keys(out, constraint, path)
        check_label_selector(out, constraint.get("labelSelector"), f"{path}.labelSelector")
