"""May a pod be evicted? Its disruption budget says so.

Enters: a pod, a PodDisruptionBudget as stored, the time.
Leaves: the budget with one disruption less, the pod with its condition; the StatusError that refuses, with upstream's causes.
Holds: pure. Only a budget that its controller has seen in this generation gives anything (source: k8s.io/kubernetes
pkg/registry/core/pod/storage/eviction.go; k8s.io/component-helpers apps/poddisruptionbudget).
Next: registry.subresources.eviction.
"""

from __future__ import annotations

from typing import Final

from edgekube.api import errors, podstate
from edgekube.api.errors import Cause, StatusError
from edgekube.api.objects import Object, metadata_of, name_of

#: More names than this wait for their deletion to be seen: something is wrong with the budget's controller.
_DISRUPTED_PODS_MAX: Final = 2000
_RETRY_AFTER_SECONDS: Final = 10
_VIOLATES: Final = "Cannot evict pod as it would violate the pod's disruption budget."
_ALLOWED: Final = "DisruptionAllowed"
_TARGET: Final = {
    "type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI", "message": "Eviction API: evicting",
}  # fmt: skip


def goes_freely(pod: Object) -> bool:
    """Finished, not yet running, or on its way out: no budget counts it."""
    return is_over(pod) or podstate.phase_of(pod) == "Pending"


def is_over(pod: Object) -> bool:
    return bool(metadata_of(pod).get("deletionTimestamp")) or podstate.phase_of(pod) in ("Succeeded", "Failed")


def mark(pod: Object, now: str) -> bool:
    """Whether the condition is new, or was another."""
    status = pod.setdefault("status", {})
    conditions = list(status.get("conditions") or [])
    place = next((i for i, one in enumerate(conditions) if one.get("type") == _TARGET["type"]), None)
    before = conditions[place] if place is not None else {}
    if all(before.get(key) == value for key, value in _TARGET.items()):
        return False
    changed_at = before.get("lastTransitionTime") if before.get("status") == "True" else None
    made = {**_TARGET, "lastProbeTime": None, "lastTransitionTime": changed_at or now}
    status["conditions"] = [*conditions, made] if place is None else [*conditions[:place], made, *conditions[place + 1 :]]
    return True


def unhealthy_may_go(budget: Object, pod: Object) -> bool:
    """A pod that is not ready is none of those that the budget counts on."""
    if podstate.is_ready(pod):
        return False
    if (budget.get("spec") or {}).get("unhealthyPodEvictionPolicy") == "AlwaysAllow":
        return True
    status = budget.get("status") or {}
    desired = status.get("desiredHealthy") or 0
    return desired > 0 and (status.get("currentHealthy") or 0) >= desired


def still_processed(name: str) -> StatusError:
    return _refusal(f"The disruption budget {name} is still being processed by the server.", _RETRY_AFTER_SECONDS)


def busy(name: str) -> StatusError:
    why = f'Timeout: couldn\'t update PodDisruptionBudget "{name}" due to conflicts'
    return StatusError("Timeout", why, retry_after_seconds=_RETRY_AFTER_SECONDS)


def _refusal(message: str, retry_after_seconds: int = 0) -> StatusError:
    cause = Cause("DisruptionBudget", message)
    return StatusError("TooManyRequests", _VIOLATES, causes=[cause], retry_after_seconds=retry_after_seconds)


def decrement(budget: Object, pod_name: str, now: str) -> None:
    """Take one disruption out of the budget, or refuse."""
    status = budget.setdefault("status", {})
    name = name_of(budget)
    if (status.get("observedGeneration") or 0) < (metadata_of(budget).get("generation") or 0):
        raise still_processed(name)
    allowed = status.get("disruptionsAllowed") or 0
    if allowed < 0:
        raise errors.forbidden("policy", "poddisruptionbudget", name, "pdb disruptions allowed is negative")
    disrupted = status.get("disruptedPods") or {}
    if len(disrupted) > _DISRUPTED_PODS_MAX:
        why = "DisruptedPods map too big - too many evictions not confirmed by PDB controller"
        raise errors.forbidden("policy", "poddisruptionbudget", name, why)
    if allowed == 0:
        raise _refusal(_why_none(name, status))
    status["disruptionsAllowed"] = allowed - 1
    status["disruptedPods"] = {**disrupted, pod_name: now}
    if allowed == 1:
        _set_insufficient(status, now)


def _why_none(name: str, status: Object) -> str:
    budget = f"The disruption budget {name}"
    found: Object = next((one for one in status.get("conditions") or [] if one.get("type") == _ALLOWED), {})
    told = found.get("message") if found.get("status") == "False" else ""
    if told and found.get("reason") == "SyncFailed":
        return f"{budget} does not allow evicting pods currently because it failed sync: {told}"
    current, desired = status.get("currentHealthy") or 0, status.get("desiredHealthy") or 0
    if current <= desired:
        return f"{budget} needs {desired} healthy pods and has {current} currently"
    if told:
        return f"{budget} does not allow evicting pods currently ({found.get('reason')}): {told}"
    return f"{budget} does not allow evicting pods currently"


def _set_insufficient(status: Object, now: str) -> None:
    conditions = list(status.get("conditions") or [])
    before = next((one for one in conditions if one.get("type") == _ALLOWED), None)
    changed_at = now if before is None or before.get("status") != "False" else before.get("lastTransitionTime")
    made: Object = {
        "type": _ALLOWED,
        "status": "False",
        "observedGeneration": status.get("observedGeneration") or 0,
        "lastTransitionTime": changed_at,
        "reason": "InsufficientPods",
        "message": "",
    }
    status["conditions"] = [made if one is before else one for one in conditions] if before is not None else [*conditions, made]
