"""ResourceQuotas and LimitRanges.

Enters: defaulted objects; the old one on update.
Leaves: causes appended to ``out``.
Source: core/validation ValidateResourceQuota, ValidateLimitRange.
Next: api.validation.
"""

from __future__ import annotations

from typing import Final

from edgekube.api.objects import Object
from edgekube.api.validation import causes, inner
from edgekube.api.validation.fields import Out, check, items, part, qualified_name, text, texts
from edgekube.api.validation.resources import (
    amount,
    check_any_name,
    check_container_name,
    check_quantity,
    check_quota_name,
    is_quota_name,
    may_overcommit,
)

_SCOPES: Final = (
    "BestEffort", "CrossNamespacePodAffinity", "NotBestEffort", "NotTerminating", "PriorityClass", "Terminating",
    "VolumeAttributesClass",
)  # fmt: skip
_CONFLICTS: Final = ({"BestEffort", "NotBestEffort"}, {"Terminating", "NotTerminating"})
_POD_COUNTERS: Final = frozenset(
    {
        "pods", "cpu", "memory", "ephemeral-storage", "requests.cpu", "requests.memory", "requests.ephemeral-storage",
        "limits.cpu", "limits.memory", "limits.ephemeral-storage",
    }
)  # fmt: skip
_CLAIM_COUNTERS: Final = frozenset({"persistentvolumeclaims", "requests.storage"})
_LIMIT_TYPES: Final = ("Pod", "Container", "PersistentVolumeClaim")
_EXISTS_SCOPES: Final = ("BestEffort", "NotBestEffort", "Terminating", "NotTerminating", "CrossNamespacePodAffinity")


def _fits(scope: str, resource: str) -> bool:
    if scope == "BestEffort":
        return resource == "pods"
    if scope == "VolumeAttributesClass":
        return resource in _CLAIM_COUNTERS
    return scope not in _SCOPES or resource in _POD_COUNTERS


def check_quota(out: Out, quota: Object) -> None:
    _check_spec(out, part(quota, "spec"))
    _check_status(out, part(quota, "status"))


def _check_spec(out: Out, spec: Object) -> None:
    hard = part(spec, "hard")
    for name, quantity in hard.items():
        check_quota_name(out, name, f"spec.hard[{name}]")
        check_quantity(out, name, quantity, f"spec.hard[{name}]")
    scopes = texts(spec, "scopes")
    for scope in scopes:
        if scope not in _SCOPES:
            out.append(causes.invalid("spec.scopes", scopes, "unsupported scope"))
        for name in sorted(hard):
            if is_quota_name(name) and not _fits(scope, name):
                out.append(causes.invalid("spec.scopes", scopes, "unsupported scope applied to resource"))
    if any(pair <= set(scopes) for pair in _CONFLICTS):
        out.append(causes.invalid("spec.scopes", scopes, "conflicting scopes"))
    selector = spec.get("scopeSelector")
    if selector is not None:
        _check_scope_selector(out, selector, hard)


def _check_scope_selector(out: Out, selector: Object, hard: Object) -> None:
    path, seen = "spec.scopeSelector.matchExpressions", set()
    for requirement in items(selector, "matchExpressions"):
        scope, operator, values = text(requirement, "scopeName"), text(requirement, "operator"), texts(requirement, "values")
        if scope not in _SCOPES:
            out.append(causes.invalid(f"{path}.scopeName", scope, "unsupported scope"))
        for name in sorted(hard):
            if is_quota_name(name) and not _fits(scope, name):
                shown = inner.inner(selector, inner.SCOPE_SELECTOR)
                out.append(causes.invalid(path, shown, "unsupported scope applied to resource"))
        if scope in _EXISTS_SCOPES and operator != "Exists":
            detail = (
                "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, "
                "ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity"
            )
            out.append(causes.invalid(f"{path}.operator", operator, detail))
        if operator in ("In", "NotIn"):
            if not values:
                detail = "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector"
                out.append(causes.required(f"{path}.values", detail))
        elif operator in ("Exists", "DoesNotExist"):
            if values:
                detail = "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector"
                out.append(causes.invalid(f"{path}.values", values, detail))
        else:
            out.append(causes.invalid(f"{path}.operator", operator, "not a valid selector operator"))
        seen.add(scope)
    if any(pair <= seen for pair in _CONFLICTS):
        out.append(causes.invalid(path, sorted(seen), "conflicting scopes"))


def _check_status(out: Out, status: Object) -> None:
    for key in ("hard", "used"):
        for name, quantity in part(status, key).items():
            check_quota_name(out, name, f"status.{key}[{name}]")
            check_quantity(out, name, quantity, f"status.{key}[{name}]")


def check_quota_update(out: Out, new: Object, old: Object) -> None:
    spec = part(new, "spec")
    _check_spec(out, spec)
    if set(texts(spec, "scopes")) != set(texts(part(old, "spec"), "scopes")):
        out.append(causes.invalid("spec.scopes", texts(spec, "scopes"), causes.IMMUTABLE))


def check_quota_status(out: Out, new: Object, old: Object) -> None:
    _check_status(out, part(new, "status"))


# --- LimitRange ------------------------------------------------------------------------------------------------------------


def check_limit_range(out: Out, limit_range: Object) -> None:
    seen: set[str] = set()
    for i, limit in enumerate(items(part(limit_range, "spec"), "limits")):
        path, kind = f"spec.limits[{i}]", text(limit, "type")
        messages = qualified_name(kind)
        check(out, messages, f"{path}.type", kind)
        if not messages and "/" not in kind and kind not in _LIMIT_TYPES:
            out.append(causes.invalid(f"{path}.type", kind, "must be a standard limit type or fully qualified"))
        if kind in seen:
            out.append(causes.duplicate(f"{path}.type", kind))
        seen.add(kind)
        check_name = check_container_name if kind in ("Pod", "Container") else check_any_name
        for key in ("max", "min", "default", "defaultRequest", "maxLimitRequestRatio"):
            values = part(limit, key)
            if kind == "Pod" and key in ("default", "defaultRequest"):
                if values:
                    out.append(causes.forbidden(f"{path}.{key}", "may not be specified when `type` is 'Pod'"))
                continue
            for name in values:
                check_name(out, name, f"{path}.{key}[{name}]")
        if kind == "PersistentVolumeClaim" and not ("storage" in part(limit, "min") or "storage" in part(limit, "max")):
            detail = "either minimum or maximum storage value is required, but neither was provided"
            out.append(causes.required(f"{path}.limits", detail))
        _check_order(out, limit, path)


#: (smaller, larger, whose field is named, whose value is shown, words)
_ORDER: Final = (
    ("min", "max", "min", "min", "min value {0} is greater than max value {1}"),
    ("min", "defaultRequest", "defaultRequest", "defaultRequest", "min value {0} is greater than default request value {1}"),
    ("defaultRequest", "max", "defaultRequest", "defaultRequest", "default request value {0} is greater than max value {1}"),
    (
        "defaultRequest", "default", "defaultRequest", "defaultRequest",
        "default request value {0} is greater than default limit value {1}",
    ),
    ("min", "default", "default", "min", "min value {0} is greater than default value {1}"),
    ("default", "max", "default", "max", "default value {0} is greater than max value {1}"),
)  # fmt: skip


def _check_order(out: Out, limit: Object, field: str) -> None:
    lists = {key: part(limit, key) for key in ("min", "max", "default", "defaultRequest", "maxLimitRequestRatio")}
    for name in sorted({name for values in lists.values() for name in values}):
        value = {key: values.get(name) for key, values in lists.items()}
        number = {key: amount(one) if one is not None else None for key, one in value.items()}
        for smaller, larger, named, shown, words in _ORDER:
            low, high = number[smaller], number[larger]
            if low is not None and high is not None and low > high:
                detail = words.format(value[smaller], value[larger])
                out.append(causes.invalid(f"{field}.{named}[{name}]", str(value[shown]), detail))
        ratio, low, high = number["maxLimitRequestRatio"], number["min"], number["max"]
        path = f"{field}.maxLimitRequestRatio[{name}]"
        if ratio is not None and ratio < 1:
            out.append(
                causes.invalid(path, str(value["maxLimitRequestRatio"]), f"ratio {value['maxLimitRequestRatio']} is less than 1")
            )
        if ratio is not None and low and high is not None and ratio > high / low:
            detail = f"ratio {value['maxLimitRequestRatio']} is greater than max/min = {float(high / low):f}"
            out.append(causes.invalid(path, str(value["maxLimitRequestRatio"]), detail))
        default, request = number["default"], number["defaultRequest"]
        if not may_overcommit(name) and default is not None and request is not None and default != request:
            detail = f"default value {value['default']} must equal to defaultRequest value {value['defaultRequest']} in {name}"
            out.append(causes.invalid(f"{field}.defaultRequest[{name}]", str(value["defaultRequest"]), detail))
