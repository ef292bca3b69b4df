"""Defaults of the autoscaling and policy groups.

Enters: a HorizontalPodAutoscaler (v1 or v2), a PodDisruptionBudget.
Leaves: the same, with every field that Kubernetes fills set.
Holds: without metrics an autoscaler aims at 80% of the requested CPU.
Source: autoscaling/v1 and v2 SetDefaults_HorizontalPodAutoscaler; the required fields of the statuses.
Next: api.defaults.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from edgekube.api.defaults.fill import Scalars, fill_missing, part
from edgekube.api.objects import Object, annotations_of

#: Where v1 keeps the metrics that it has no field for.
METRICS: Final = "autoscaling.alpha.kubernetes.io/metrics"
_CPU_PERCENT: Final = 80
_PERIOD_SECONDS: Final = 15
_BUDGET_STATUS: Final[Scalars] = {"disruptionsAllowed": 0, "currentHealthy": 0, "desiredHealthy": 0, "expectedPods": 0}


def default_autoscaler_v1(autoscaler: Object) -> None:
    spec = part(autoscaler, "spec")
    fill_missing(spec, {"minReplicas": 1})
    if METRICS not in annotations_of(autoscaler):
        fill_missing(spec, {"targetCPUUtilizationPercentage": _CPU_PERCENT})
    fill_missing(part(autoscaler, "status"), {"currentReplicas": 0, "desiredReplicas": 0})


def default_autoscaler_v2(autoscaler: Object) -> None:
    spec = part(autoscaler, "spec")
    fill_missing(spec, {"minReplicas": 1})
    if not spec.get("metrics"):
        target = {"type": "Utilization", "averageUtilization": _CPU_PERCENT}
        spec["metrics"] = [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]
    behavior = spec.get("behavior")
    if isinstance(behavior, dict):
        up = part(behavior, "scaleUp")
        fill_missing(up, {"stabilizationWindowSeconds": 0})
        _fill_rules(up, [("Pods", 4), ("Percent", 100)])
        # No window downwards: the controller's own setting (five minutes) holds.
        _fill_rules(part(behavior, "scaleDown"), [("Percent", 100)])
    fill_missing(part(autoscaler, "status"), {"desiredReplicas": 0})


def _fill_rules(rules: Object, policies: list[tuple[str, int]]) -> None:
    fill_missing(rules, {"selectPolicy": "Max"})
    if rules.get("policies") is None:
        made: list[dict[str, Any]] = [{"type": kind, "value": n, "periodSeconds": _PERIOD_SECONDS} for kind, n in policies]
        rules["policies"] = made


def default_disruption_budget(budget: Object) -> None:
    part(budget, "spec")
    fill_missing(part(budget, "status"), _BUDGET_STATUS)


V1_DEFAULTERS: Final[dict[str, Callable[[Object], None]]] = {"HorizontalPodAutoscaler": default_autoscaler_v1}
V2_DEFAULTERS: Final[dict[str, Callable[[Object], None]]] = {"HorizontalPodAutoscaler": default_autoscaler_v2}
POLICY_DEFAULTERS: Final[dict[str, Callable[[Object], None]]] = {"PodDisruptionBudget": default_disruption_budget}
