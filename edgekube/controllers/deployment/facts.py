"""What a Deployment and its ReplicaSets say: numbers, annotations, templates.

Enters: decoded Deployments and ReplicaSets.
Leaves: plain values.
Holds: nothing is changed; a missing field reads as upstream's default.
Next: rollout, status.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from edgekube.api import intstr, times
from edgekube.api.objects import Object, annotations_of, name_of, spec_of, status_of
from edgekube.api.short_hash import short_hash

REVISION: Final = "deployment.kubernetes.io/revision"
REVISION_HISTORY: Final = "deployment.kubernetes.io/revision-history"
DESIRED: Final = "deployment.kubernetes.io/desired-replicas"
MAXIMUM: Final = "deployment.kubernetes.io/max-replicas"
HASH_LABEL: Final = "pod-template-hash"
#: Annotations of the Deployment that its ReplicaSets do not get.
NOT_COPIED: Final = frozenset(
    {
        "kubectl.kubernetes.io/last-applied-configuration",
        REVISION,
        REVISION_HISTORY,
        DESIRED,
        MAXIMUM,
        "deprecated.deployment.rollback.to",
    }
)
#: "No limit" and "no deadline", as upstream writes them.
_INT32_MAX: Final = 2**31 - 1


def replicas_of(obj: Object) -> int:
    replicas = spec_of(obj).get("replicas")
    return 1 if replicas is None else int(replicas)


def available_of(obj: Object) -> int:
    return int(status_of(obj).get("availableReplicas") or 0)


def total_replicas(replicasets: Iterable[Object]) -> int:
    return sum(map(replicas_of, replicasets))


def created(obj: Object) -> tuple[float, str]:
    """A sort key: oldest first, then by name."""
    when = (obj.get("metadata") or {}).get("creationTimestamp")
    return (times.parse(when) if when else 0.0, name_of(obj))


def revision_number(replicaset: Object) -> int:
    try:
        return int(annotations_of(replicaset).get(REVISION) or 0)
    except ValueError:
        return 0


def annotated_count(replicaset: Object, annotation: str) -> int | None:
    try:
        return int(annotations_of(replicaset)[annotation])
    except (KeyError, ValueError):
        return None


def is_rolling(deployment: Object) -> bool:
    return str((spec_of(deployment).get("strategy") or {}).get("type") or "RollingUpdate") == "RollingUpdate"


def max_surge(deployment: Object) -> int:
    """Pods above the wanted number; none for Recreate."""
    return _fenceposts(deployment)[0] if is_rolling(deployment) else 0


def max_unavailable(deployment: Object) -> int:
    """Pods that may be missing; 0 for Recreate, as in upstream's MaxUnavailable."""
    if not is_rolling(deployment) or replicas_of(deployment) == 0:
        return 0
    return min(_fenceposts(deployment)[1], replicas_of(deployment))


def _fenceposts(deployment: Object) -> tuple[int, int]:
    """Both numbers; not both zero, for then nothing could ever move."""
    rolling = (spec_of(deployment).get("strategy") or {}).get("rollingUpdate") or {}
    wanted = replicas_of(deployment)
    surge = intstr.resolve(_or_quarter(rolling.get("maxSurge")), wanted, round_up=True)
    unavailable = intstr.resolve(_or_quarter(rolling.get("maxUnavailable")), wanted, round_up=False)
    if surge == 0 and unavailable == 0:
        unavailable = 1
    return surge, unavailable


def _or_quarter(value: int | str | None) -> int | str:
    return "25%" if value is None else value


def progress_deadline_seconds(deployment: Object) -> int | None:
    seconds = spec_of(deployment).get("progressDeadlineSeconds")
    return None if seconds is None or int(seconds) == _INT32_MAX else int(seconds)


def history_limit(deployment: Object) -> int | None:
    limit = spec_of(deployment).get("revisionHistoryLimit")
    return None if limit is None or int(limit) == _INT32_MAX else int(limit)


def template_of(obj: Object) -> Object:
    return spec_of(obj).get("template") or {}


def same_template(deployment: Object, replicaset: Object) -> bool:
    """Equal but for the pod-template-hash label."""
    return _comparable(template_of(deployment)) == _comparable(template_of(replicaset))


def _comparable(template: Object) -> Object:
    metadata = dict(template.get("metadata") or {})
    labels = {key: value for key, value in (metadata.get("labels") or {}).items() if key != HASH_LABEL}
    metadata.pop("creationTimestamp", None)
    metadata["labels"] = labels
    return {"metadata": {key: value for key, value in metadata.items() if value}, "spec": template.get("spec") or {}}


def template_hash(template: Object, collision_count: int | None) -> str:
    """What tells the ReplicaSets of one Deployment apart."""
    return short_hash(_comparable(template), collision_count)


def new_and_old(deployment: Object, replicasets: Iterable[Object]) -> tuple[Object | None, list[Object]]:
    """The ReplicaSet of the current template (the oldest, should there be several) and all others."""
    ordered = sorted(replicasets, key=created)
    new = next((each for each in ordered if same_template(deployment, each)), None)
    return new, [each for each in ordered if each is not new]
