"""A Deployment's status: counts, Available, Progressing, ReplicaFailure.

Enters: a Deployment and its ReplicaSets.
Leaves: the status it should have, and when to look again for the progress deadline.
Holds: reasons and messages are upstream's; rollout status in kubectl and Helm's --wait read them.
Source: k8s.io/kubernetes pkg/controller/deployment progress.go, sync.go.
Next: plan.
"""

from __future__ import annotations

from collections.abc import Sequence

from edgekube.api import times
from edgekube.api.objects import Object, name_of, spec_of, status_of
from edgekube.api.podstate import condition_of
from edgekube.api.statuses import with_condition, without_condition
from edgekube.controllers.deployment.facts import max_unavailable, progress_deadline_seconds, replicas_of, total_replicas


def counts(deployment: Object, new: Object | None, old: Sequence[Object]) -> Object:
    """Everything but the conditions."""
    everything = [*old, *([new] if new is not None else [])]

    def total(field: str) -> int:
        return sum(int(status_of(each).get(field) or 0) for each in everything)

    available = total("availableReplicas")
    return {
        "observedGeneration": (deployment.get("metadata") or {}).get("generation") or None,
        "replicas": total("replicas") or None,
        "updatedReplicas": int(status_of(new or {}).get("replicas") or 0) or None,
        "readyReplicas": total("readyReplicas") or None,
        "availableReplicas": available or None,
        "unavailableReplicas": max(0, total_replicas(everything) - available) or None,
        "terminatingReplicas": total("terminatingReplicas"),
        "collisionCount": status_of(deployment).get("collisionCount"),
    }


def with_available(deployment: Object, status: Object, conditions: list[Object], wall_seconds: float) -> list[Object]:
    enough = int(status.get("availableReplicas") or 0) >= replicas_of(deployment) - max_unavailable(deployment)
    if enough:
        found = ("True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
    else:
        found = ("False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.")
    return with_condition(conditions, "Available", *found, wall_seconds)


def with_pause(deployment: Object, conditions: list[Object], wall_seconds: float) -> list[Object]:
    """Pausing stops the clock of the progress deadline, resuming starts it anew."""
    if progress_deadline_seconds(deployment) is None:
        return conditions
    progressing = next((each for each in conditions if each.get("type") == "Progressing"), {})
    if progressing.get("reason") == "ProgressDeadlineExceeded":
        return conditions
    paused, said_so = bool(spec_of(deployment).get("paused")), progressing.get("reason") == "DeploymentPaused"
    if paused and not said_so:
        return with_progress(conditions, "Unknown", "DeploymentPaused", "Deployment is paused", wall_seconds)
    if not paused and said_so:
        return with_progress(conditions, "Unknown", "DeploymentResumed", "Deployment is resumed", wall_seconds)
    return conditions


def with_progress(
    conditions: list[Object], status: str, reason: str, message: str, wall_seconds: float, *, renew: bool = False
) -> list[Object]:
    """As with_condition() for Progressing, which also has lastUpdateTime; ``renew`` moves that in any case."""
    before = next((each for each in conditions if each.get("type") == "Progressing"), None)
    if before is not None and not renew and before.get("status") == status and before.get("reason") == reason:
        return conditions
    now = times.rfc3339(wall_seconds)
    condition = {
        "type": "Progressing",
        "status": status,
        "lastUpdateTime": now,
        "lastTransitionTime": now,
        "reason": reason,
        "message": message,
    }
    if before is not None and before.get("status") == status:
        condition["lastTransitionTime"] = before.get("lastTransitionTime") or now
    return [*without_condition(conditions, "Progressing"), condition]


def is_complete(deployment: Object, status: Object) -> bool:
    wanted = replicas_of(deployment)
    return (
        int(status.get("updatedReplicas") or 0) == wanted
        and int(status.get("replicas") or 0) == wanted
        and int(status.get("availableReplicas") or 0) == wanted
        and int(status.get("observedGeneration") or 0) >= int((deployment.get("metadata") or {}).get("generation") or 0)
    )


def with_rollout(
    deployment: Object, new: Object | None, status: Object, conditions: list[Object], wall_seconds: float
) -> tuple[list[Object], float | None]:
    """The conditions with what the rollout did, and the seconds until the progress deadline."""
    deadline = progress_deadline_seconds(deployment)
    if deadline is None:
        return without_condition(conditions, "Progressing"), None
    about = f'ReplicaSet "{name_of(new)}"' if new is not None else f'Deployment "{name_of(deployment)}"'
    current = next((each for each in conditions if each.get("type") == "Progressing"), None)
    settled = (
        current is not None
        and current.get("reason") == "NewReplicaSetAvailable"
        and int(status.get("replicas") or 0) == int(status.get("updatedReplicas") or 0)
    )
    if settled:
        return conditions, None
    if is_complete(deployment, status):
        message = f"{about} has successfully progressed."
        return with_progress(conditions, "True", "NewReplicaSetAvailable", message, wall_seconds), None
    if _moved(status_of(deployment), status):
        message = f"{about} is progressing."
        return with_progress(conditions, "True", "ReplicaSetUpdated", message, wall_seconds, renew=True), float(deadline)
    if current is None or current.get("reason") in ("NewReplicaSetAvailable", "ProgressDeadlineExceeded", "DeploymentPaused"):
        return conditions, None
    since = times.parse(current.get("lastUpdateTime") or current.get("lastTransitionTime") or times.rfc3339(wall_seconds))
    left = since + deadline - wall_seconds
    if left > 0:
        return conditions, left
    message = f"{about} has timed out progressing."
    return with_progress(conditions, "False", "ProgressDeadlineExceeded", message, wall_seconds), None


def _moved(before: Object, after: Object) -> bool:
    """More updated, ready or available pods, or fewer old ones (DeploymentProgressing)."""

    def old_pods(status: Object) -> int:
        return int(status.get("replicas") or 0) - int(status.get("updatedReplicas") or 0)

    grew = any(
        int(after.get(field) or 0) > int(before.get(field) or 0)
        for field in ("updatedReplicas", "readyReplicas", "availableReplicas")
    )
    return grew or old_pods(after) < old_pods(before)


def with_replica_failure(new: Object | None, old: Sequence[Object], conditions: list[Object]) -> list[Object]:
    """The new ReplicaSet's failure to make pods, else an old one's."""
    for replicaset in ([new] if new is not None else []) + list(old):
        failure = condition_of(replicaset, "ReplicaFailure")
        if failure is not None and failure.get("status") == "True":
            found = {**failure, "lastUpdateTime": failure.get("lastTransitionTime")}
            return [*without_condition(conditions, "ReplicaFailure"), found]
    return without_condition(conditions, "ReplicaFailure")
