"""Which objects a quota counts: its scopes and scope selectors.

Enters: a quota; a pod or a claim.
Leaves: yes or no for each requirement.
Holds: pure; a quota counts what fulfils all its requirements; a kind without scopes fulfils none.
Source: kubernetes.io/docs/concepts/policy/resource-quotas (scopes); k8s.io/kubernetes pkg/quota/v1/evaluator/core.
Next: admission.quota.meters.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from edgekube.admission.pod_resources import amounts_of
from edgekube.api import quantities
from edgekube.api.objects import Object


def requirements_of(quota: Object) -> list[Object]:
    """``scopes`` and ``scopeSelector`` as one list of requirements."""
    spec = quota.get("spec") or {}
    scopes: list[Object] = [{"scopeName": scope, "operator": "Exists"} for scope in spec.get("scopes") or ()]
    return [*scopes, *((spec.get("scopeSelector") or {}).get("matchExpressions") or ())]


def pod_fulfils(requirement: Object, pod: Object) -> bool:
    spec = pod.get("spec") or {}
    match requirement.get("scopeName"):
        case "Terminating":
            return is_terminating(pod)
        case "NotTerminating":
            return not is_terminating(pod)
        case "BestEffort":
            return _is_best_effort(pod)
        case "NotBestEffort":
            return not _is_best_effort(pod)
        case "PriorityClass":
            name = spec.get("priorityClassName")
            return _selected(requirement, {name} if name else ())
        case "CrossNamespacePodAffinity":
            return any(term.get("namespaces") or term.get("namespaceSelector") is not None for term in _affinity_terms(spec))
    return False


def claim_fulfils(requirement: Object, claim: Object) -> bool:
    """Of a claim whose volume is being modified, the old, the new and the target class count."""
    if requirement.get("scopeName") != "VolumeAttributesClass":
        return False
    status = claim.get("status") or {}
    names = (
        (claim.get("spec") or {}).get("volumeAttributesClassName"),
        status.get("currentVolumeAttributesClassName"),
        (status.get("modifyVolumeStatus") or {}).get("targetVolumeAttributesClassName"),
    )
    return _selected(requirement, {str(name) for name in names if name})


def _selected(requirement: Object, names: Collection[str]) -> bool:
    """As a label selector on one key that has one of ``names`` for its value."""
    values = requirement.get("values") or ()
    match requirement.get("operator"):
        case "Exists":
            return bool(names)
        case "DoesNotExist":
            return not names
        case "In":
            return any(name in values for name in names)
        case "NotIn":
            return not names or any(name not in values for name in names)
    return False


def is_terminating(pod: Object) -> bool:
    """It has a deadline: it will end by itself."""
    deadline = (pod.get("spec") or {}).get("activeDeadlineSeconds")
    return deadline is not None and deadline >= 0


def _is_best_effort(pod: Object) -> bool:
    """No container, nor the pod itself, asks for any CPU or memory."""
    spec = pod.get("spec") or {}
    parts = [spec] if (spec.get("resources") or {}) else [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]
    return not any(
        name in ("cpu", "memory") and not quantities.is_zero(amount)
        for part in parts
        for key in ("requests", "limits")
        for name, amount in amounts_of(part, key).items()
    )


def _affinity_terms(spec: Object) -> Iterator[Object]:
    affinity = spec.get("affinity") or {}
    for key in ("podAffinity", "podAntiAffinity"):
        rules = affinity.get(key) or {}
        yield from rules.get("requiredDuringSchedulingIgnoredDuringExecution") or ()
        for weighted in rules.get("preferredDuringSchedulingIgnoredDuringExecution") or ():
            yield weighted.get("podAffinityTerm") or {}
