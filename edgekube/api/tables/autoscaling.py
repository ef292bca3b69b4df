"""Tables of the group autoscaling, v2 and v1.

Enters: objects and the time.
Leaves: cells.
Next: tables.
"""

from __future__ import annotations

from typing import Any, Final

from edgekube.api.objects import Object
from edgekube.api.tables.columns import AGE, NAME, Column, Table, age, listed, name, part, section, text, whole

#: MetricSpec.type -> the field that carries it.
_SOURCES: Final = {
    "External": "external",
    "Pods": "pods",
    "Object": "object",
    "Resource": "resource",
    "ContainerResource": "containerResource",
}
_METRICS_SHOWN_MAX: Final = 2


def _percent(value: Any, unset: str) -> str:
    return unset if value is None else f"{value}%"


def _metric(spec: Object, status: Object) -> str:
    source = _SOURCES.get(spec.get("type") or "")
    if source is None:
        return "<unknown type>"
    wanted, current = section(spec, source, "target"), section(status, source, "current")
    if source in ("resource", "containerResource"):
        label = f"{part(spec, source, 'name') or ''}: "
        if wanted.get("averageValue") is None:
            shown = _percent(current.get("averageUtilization"), "<unknown>")
            return f"{label}{shown}/{_percent(wanted.get('averageUtilization'), '<auto>')}"
        return f"{label}{current.get('averageValue') or '<unknown>'}/{wanted['averageValue']}"
    if source == "pods":
        return f"{current.get('averageValue') or '<unknown>'}/{wanted.get('averageValue') or '0'}"
    if wanted.get("averageValue") is not None:
        return f"{current.get('averageValue') or '<unknown>'}/{wanted['averageValue']} (avg)"
    return f"{current.get('value') or '<unknown>'}/{wanted.get('value') or '0'}"


def _metrics(autoscaler: Object) -> str:
    spec, status = section(autoscaler, "spec"), section(autoscaler, "status")
    if spec.get("targetCPUUtilizationPercentage") is not None:  # autoscaling/v1 knows this one metric
        current = _percent(status.get("currentCPUUtilizationPercentage"), "<unknown>")
        return f"cpu: {current}/{spec['targetCPUUtilizationPercentage']}%"
    wanted, current_metrics = listed(spec, "metrics"), listed(status, "currentMetrics")
    if not wanted:
        return "<none>"
    shown = [_metric(metric, current_metrics[i] if i < len(current_metrics) else {}) for i, metric in enumerate(wanted)]
    text_ = ", ".join(shown[:_METRICS_SHOWN_MAX])
    return f"{text_} + {len(shown) - _METRICS_SHOWN_MAX} more..." if len(shown) > _METRICS_SHOWN_MAX else text_


def _autoscaler(autoscaler: Object, now: float) -> list[Any]:
    spec = section(autoscaler, "spec")
    target = section(spec, "scaleTargetRef")
    minimum = spec.get("minReplicas")
    return [
        name(autoscaler),
        f"{target.get('kind') or ''}/{target.get('name') or ''}",
        _metrics(autoscaler),
        "<unset>" if minimum is None else str(minimum),
        spec.get("maxReplicas") or 0,
        part(autoscaler, "status", "currentReplicas") or 0,
        age(autoscaler, now),
    ]


def _scale(scale: Object, now: float) -> list[Any]:
    return [name(scale), part(scale, "spec", "replicas") or 0, part(scale, "status", "replicas") or 0, age(scale, now)]


TABLES: Final[dict[str, Table]] = {
    "HorizontalPodAutoscaler": Table(
        (
            NAME,
            text("Reference", "What is scaled."),
            text("Targets", "Metrics: current value and target."),
            text("MinPods", "Fewest pods."),
            text("MaxPods", "Most pods."),
            text("Replicas", "Pods now."),
            AGE,
        ),
        _autoscaler,
    ),
    "Scale": Table(
        (
            Column("Name", "string", NAME.description),
            whole("Desired", "Pods wanted."),
            whole("Available", "Pods that exist."),
            AGE,
        ),
        _scale,
    ),
}
