"""How often policies act and how long they take, in the names that dashboards ask kube-apiserver for.

Enters: what a policy said with one binding, and how long that took.
Leaves: families of registry.metrics; none before the first.
Holds: what a validation admits without a fault is not counted, as upstream does not; the time is a whole policy's with one param.
Bound: the names of policies are labels: who may write policies may make series, within the bound of metrics.
Source: kubernetes.io, "Kubernetes Metrics Reference" (apiserver_validating_admission_policy_* and ..._mutating_...).
Next: metrics.
"""

from __future__ import annotations

from typing import Final

from edgekube.registry.state import Registry

DENY: Final = "deny"
WARN: Final = "warn"
AUDIT: Final = "audit"
ALLOW: Final = "allow"
_SECONDS: Final = (0.0000005, 0.001, 0.01, 0.1, 1.0)


def _error_type(fault: str) -> str:
    if not fault:
        return "no_error"
    if fault.startswith("compilation"):
        return "compile_error"
    return "out_of_budget" if fault.startswith("validation failed due to running out of cost budget") else "invalid_error"


def count_validation(registry: Registry, policy: str, binding: str, message: str, action: str, seconds: float) -> None:
    labels = policy, binding, _error_type(message), action
    names = "policy", "policy_binding", "error_type", "enforcement_action"
    registry.metrics.counter(
        "apiserver_validating_admission_policy_check_total",
        "What validating policies made of requests, by policy, binding, kind of error and what was done about it.",
        *names,
    ).add(labels)
    registry.metrics.histogram(
        "apiserver_validating_admission_policy_check_duration_seconds",
        "Seconds that such a validating policy took, by policy, binding, kind of error and what was done about it.",
        *names,
        buckets=_SECONDS,
    ).observe(labels, seconds)


def count_mutation(registry: Registry, policy: str, binding: str, fault: str, seconds: float) -> None:
    """``fault`` "": the mutation was made."""
    labels = policy, binding, _error_type(fault)
    names = "policy", "policy_binding", "error_type"
    registry.metrics.counter(
        "apiserver_mutating_admission_policy_check_total", "Mutations of policies, by policy, binding and kind of error.", *names
    ).add(labels)
    registry.metrics.histogram(
        "apiserver_mutating_admission_policy_check_duration_seconds",
        "Seconds that a mutation took, by policy, binding and kind of error.",
        *names,
        buckets=_SECONDS,
    ).observe(labels, seconds)
