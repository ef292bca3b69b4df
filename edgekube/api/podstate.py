"""What a pod's status says, in the words that controllers share.

Enters: decoded pods.
Leaves: yes or no, counts and times.
Holds: the same definitions as k8s.io/kubernetes/pkg/api/v1/pod and the documented pod lifecycle; no clock.
Next: controllers, scheduler.
"""

from __future__ import annotations

from edgekube import limits
from edgekube.api import times
from edgekube.api.objects import Object, is_deleting, labels_of, owners_of, uid_of


def belonging(pod: Object) -> tuple[object, ...]:
    """Which pod it is, whose it is or may become, and whether it stays."""
    return uid_of(pod), labels_of(pod), owners_of(pod), is_deleting(pod)


def phase_of(pod: Object) -> str:
    return str((pod.get("status") or {}).get("phase") or "")


def condition_of(obj: Object, type_: str) -> Object | None:
    """status.conditions[type], of any kind of object."""
    conditions: list[Object] = (obj.get("status") or {}).get("conditions") or []
    return next((condition for condition in conditions if condition.get("type") == type_), None)


def is_ready(pod: Object) -> bool:
    condition = condition_of(pod, "Ready")
    return condition is not None and condition.get("status") == "True"


def ready_since(pod: Object) -> float | None:
    """Epoch seconds since which the pod is Ready; None while it is not, 0.0 when it does not say."""
    condition = condition_of(pod, "Ready")
    if condition is None or condition.get("status") != "True":
        return None
    when = condition.get("lastTransitionTime")
    return times.parse(when) if when else 0.0


def is_available(pod: Object, min_ready_seconds: int, wall_seconds: float) -> bool:
    """Ready for at least minReadySeconds."""
    return available_in(pod, min_ready_seconds, wall_seconds) == 0.0


def available_in(pod: Object, min_ready_seconds: int, wall_seconds: float) -> float | None:
    """Seconds until a ready pod is available; 0.0 when it is, None while it is not ready."""
    since = ready_since(pod)
    if since is None:
        return None
    return wait_seconds(since, min_ready_seconds, wall_seconds)


def wait_seconds(ready_since: float, min_ready_seconds: int, wall_seconds: float) -> float:
    """Until a pod that is ready since then is available."""
    if not min_ready_seconds or ready_since > wall_seconds + limits.CLOCK_SKEW_SECONDS:
        return 0.0  # ready since before the clock was set back
    return max(0.0, ready_since + min_ready_seconds - wall_seconds)


def is_finished(pod: Object) -> bool:
    """Succeeded or Failed: its containers will not run again."""
    return phase_of(pod) in ("Succeeded", "Failed")


def is_active(pod: Object) -> bool:
    """Counts as a replica: neither finished nor on its way out."""
    return not is_finished(pod) and not is_deleting(pod)


def node_of(pod: Object) -> str:
    return str((pod.get("spec") or {}).get("nodeName") or "")
