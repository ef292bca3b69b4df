"""HorizontalPodAutoscalers and PodDisruptionBudgets.

Enters: defaulted objects; the old one on update.
Leaves: causes appended to ``out``.
Holds: v1 and v2 of an autoscaler are checked alike where they overlap.
Source: autoscaling/validation, policy/validation.
Next: api.validation.
"""

from __future__ import annotations

from typing import Final

from edgekube.api import names
from edgekube.api.objects import Object
from edgekube.api.validation import causes, inner
from edgekube.api.validation.fields import (
    Out,
    check,
    check_int_or_percent,
    check_names,
    check_nonnegative,
    check_percent_at_most_100,
    dns_label,
    items,
    number,
    part,
    text,
)
from edgekube.api.validation.metadata import check_label_selector
from edgekube.api.validation.resources import amount, check_container_name

_SOURCES: Final = {
    "ContainerResource": "containerResource",
    "External": "external",
    "Object": "object",
    "Pods": "pods",
    "Resource": "resource",
}
_TARGETS: Final = ("AverageValue", "Utilization", "Value")
_SELECTS: Final = ("Disabled", "Max", "Min")
_WINDOW_SECONDS_MAX: Final = 3600
_PERIOD_SECONDS_MAX: Final = 1800


def check_autoscaler(out: Out, autoscaler: Object) -> None:
    spec = part(autoscaler, "spec")
    _check_spec(out, spec, replicas_min=1)
    _check_target_version(out, part(spec, "scaleTargetRef"))


def check_autoscaler_update(out: Out, new: Object, old: Object) -> None:
    _check_spec(out, part(new, "spec"), replicas_min=0 if part(old, "spec").get("minReplicas") == 0 else 1)
    target, before = (part(part(one, "spec"), "scaleTargetRef") for one in (new, old))
    if any(text(target, key) != text(before, key) for key in ("apiVersion", "kind")):
        _check_target_version(out, target)


def _check_target_version(out: Out, target: Object) -> None:
    """Nothing of the core group can be scaled, but for one kind."""
    version, path = text(target, "apiVersion"), "spec.scaleTargetRef.apiVersion"
    if version.count("/") > 1:
        out.append(causes.invalid(path, version, f"unexpected GroupVersion string: {version}"))
    elif not version.rpartition("/")[0] and text(target, "kind") != "ReplicationController":
        out.append(causes.invalid(path, version, "apiVersion must specify API group"))


def _check_spec(out: Out, spec: Object, replicas_min: int) -> None:
    low, high = spec.get("minReplicas"), number(spec, "maxReplicas")
    if low is not None and low < replicas_min:
        detail = f"must be greater than or equal to {replicas_min}"
        out.append(causes.invalid("spec.minReplicas", low, detail))
    if high == 0:
        out.append(causes.required("spec.maxReplicas", "must be set and greater than 0"))
    elif high < 0:
        out.append(causes.invalid("spec.maxReplicas", high, "must be greater than or equal to 1"))
    if low is not None and high < low:
        out.append(causes.invalid("spec.maxReplicas", high, "must be greater than or equal to `minReplicas`"))
    _check_reference(out, part(spec, "scaleTargetRef"), "spec.scaleTargetRef")
    percent = spec.get("targetCPUUtilizationPercentage")
    if percent is not None and percent < 1:
        out.append(causes.invalid("spec.targetCPUUtilizationPercentage", percent, "must be greater than 0"))
    metrics = items(spec, "metrics")
    for i, metric in enumerate(metrics):
        _check_metric(out, metric, f"spec.metrics[{i}]")
    if low == 0 and not any(metric.get("type") in ("Object", "External") for metric in metrics):
        detail = "must specify at least one Object or External metric to support scaling to zero replicas"
        out.append(causes.forbidden("spec.metrics", detail))
    behavior = part(spec, "behavior")
    for key in ("scaleUp", "scaleDown"):
        if behavior.get(key) is not None:
            _check_rules(out, behavior[key], f"spec.behavior.{key}")


def _check_reference(out: Out, reference: Object, field: str) -> None:
    check_names(out, names.path_segment, reference, "kind", field)
    check_names(out, names.path_segment, reference, "name", field)


def _check_metric(out: Out, metric: Object, field: str) -> None:
    kind = text(metric, "type")
    if not kind:
        out.append(causes.required(f"{field}.type", "must specify a metric source type"))
    if kind not in _SOURCES:
        out.append(causes.not_supported(f"{field}.type", kind, tuple(_SOURCES)))
    given = [key for key in ("object", "external", "pods", "resource", "containerResource") if metric.get(key) is not None]
    if given:
        _check_source(out, given[0], metric[given[0]], f"{field}.{given[0]}")
    expected = _SOURCES.get(kind, "")
    if expected and expected not in given:
        out.append(causes.required(f"{field}.{expected}", "must populate information for the given metric source"))
    if len(given) > 1:
        for key in given:
            if key != expected:
                out.append(causes.forbidden(f"{field}.{key}", "must populate the given metric source only"))


def _check_source(out: Out, kind: str, source: Object, field: str) -> None:
    target = part(source, "target")
    path = f"{field}.target"
    if kind in ("resource", "containerResource"):
        name = text(source, "name")
        if not name:
            out.append(causes.required(f"{field}.name", "must specify a resource name"))
        if kind == "containerResource":
            if name:
                check_container_name(out, name, f"{field}.name")
            container = text(source, "container")
            if not container:
                out.append(causes.required(f"{field}.container", "must specify a container"))
            else:
                check(out, dns_label(container), f"{field}.container", container)
    else:
        if kind == "object":
            _check_reference(out, part(source, "describedObject"), f"{field}.describedObject")
        identifier = part(source, "metric")
        if not text(identifier, "name"):
            out.append(causes.required(f"{field}.metric.name", "must specify a metric name"))
        else:
            check_names(out, names.path_segment, identifier, "name", f"{field}.metric")
        check_label_selector(out, identifier.get("selector"), f"{field}.metric.selector")
    _check_target(out, target, path)
    value, average, utilization = (target.get(key) for key in ("value", "averageValue", "averageUtilization"))
    if kind in ("resource", "containerResource"):
        if utilization is None and average is None:
            detail = "must set either a target raw value or a target utilization"
            out.append(causes.required(f"{path}.averageUtilization", detail))
        if utilization is not None and average is not None:
            detail = "may not set both a target raw value and a target utilization"
            out.append(causes.forbidden(f"{path}.averageValue", detail))
    elif kind == "pods":
        if average is None:
            out.append(causes.required(f"{path}.averageValue", "must specify a positive target averageValue"))
    elif value is None and average is None:
        what = "a target value or averageValue" if kind == "object" else "a target value for metric or a per-pod target"
        out.append(causes.required(f"{path}.averageValue", f"must set either {what}"))
    elif kind == "external" and value is not None and average is not None:
        detail = "may not set both a target value for metric and a per-pod target"
        out.append(causes.forbidden(f"{path}.value", detail))


def _check_target(out: Out, target: Object, field: str) -> None:
    kind = text(target, "type")
    if not kind:
        out.append(causes.required(f"{field}.type", "must specify a metric target type"))
    if kind not in _TARGETS:
        out.append(causes.invalid(f"{field}.type", kind, "must be either Utilization, Value, or AverageValue"))
    for key in ("value", "averageValue"):
        quantity = amount(target[key]) if target.get(key) is not None else None
        if quantity is not None and quantity <= 0:
            out.append(causes.invalid(f"{field}.{key}", str(target[key]), "must be positive"))
    utilization = target.get("averageUtilization")
    if utilization is not None and utilization < 1:
        out.append(causes.invalid(f"{field}.averageUtilization", utilization, "must be greater than 0"))


def _check_rules(out: Out, rules: Object, field: str) -> None:
    window = rules.get("stabilizationWindowSeconds")
    if window is not None and window < 0:
        detail = "must be greater than or equal to zero"
        out.append(causes.invalid(f"{field}.stabilizationWindowSeconds", window, detail))
    if window is not None and window > _WINDOW_SECONDS_MAX:
        detail = f"must be less than or equal to {_WINDOW_SECONDS_MAX}"
        out.append(causes.invalid(f"{field}.stabilizationWindowSeconds", window, detail))
    select = rules.get("selectPolicy")
    if select is not None and select not in _SELECTS:
        out.append(causes.not_supported(f"{field}.selectPolicy", select, _SELECTS))
    tolerance = amount(rules["tolerance"]) if rules.get("tolerance") is not None else None
    if tolerance is not None and tolerance < 0:
        out.append(causes.invalid(f"{field}.tolerance", str(rules["tolerance"]), "must be greater or equal to zero"))
    policies = items(rules, "policies")
    if not policies:
        out.append(causes.required(f"{field}.policies", "must specify at least one Policy"))
    for i, policy in enumerate(policies):
        path = f"{field}.policies[{i}]"
        if policy.get("type") not in ("Percent", "Pods"):
            out.append(causes.not_supported(f"{path}.type", text(policy, "type"), ("Percent", "Pods")))
        for key in ("value", "periodSeconds"):
            if number(policy, key) <= 0:
                out.append(causes.invalid(f"{path}.{key}", number(policy, key), "must be greater than zero"))
        if number(policy, "periodSeconds") > _PERIOD_SECONDS_MAX:
            detail = f"must be less than or equal to {_PERIOD_SECONDS_MAX}"
            out.append(causes.invalid(f"{path}.periodSeconds", number(policy, "periodSeconds"), detail))


def check_autoscaler_status(out: Out, new: Object, old: Object) -> None:
    for key in ("currentReplicas", "desiredReplicas"):
        check_nonnegative(out, part(new, "status"), key, "status")


# --- PodDisruptionBudget -------------------------------------------------------------------------------------------------------


def check_budget(out: Out, budget: Object) -> None:
    spec = part(budget, "spec")
    available, unavailable = spec.get("minAvailable"), spec.get("maxUnavailable")
    if available is not None and unavailable is not None:
        shown = inner.inner({**spec, "selector": inner.label_selector(spec.get("selector"))}, inner.BUDGET)
        out.append(causes.invalid("spec", shown, "minAvailable and maxUnavailable cannot be both set"))
    for key, value in (("minAvailable", available), ("maxUnavailable", unavailable)):
        if value is not None:
            check_int_or_percent(out, value, f"spec.{key}")
            check_percent_at_most_100(out, value, f"spec.{key}")
    check_label_selector(out, spec.get("selector"), "spec.selector")
    policy = spec.get("unhealthyPodEvictionPolicy")
    if policy is not None and policy not in ("AlwaysAllow", "IfHealthyBudget"):
        supported = ("AlwaysAllow", "IfHealthyBudget")
        out.append(causes.not_supported("spec.unhealthyPodEvictionPolicy", policy, supported))


def check_budget_status(out: Out, new: Object, old: Object) -> None:
    for key in ("disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"):
        check_nonnegative(out, part(new, "status"), key, "status")
