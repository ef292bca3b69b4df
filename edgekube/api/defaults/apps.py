"""Defaults of the apps group.

Enters: an object of apps/v1.
Leaves: the same, with every field that Kubernetes fills set.
Holds: a selector is never made up: apps/v1 requires it.
Source: apps/v1 SetDefaults_*; the required fields of the statuses.
Next: api.defaults.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from edgekube.api.defaults.fill import Scalars, fill_empty, fill_missing, items, part
from edgekube.api.defaults.podspec import default_claim_spec, default_template
from edgekube.api.objects import Object

#: What stands for spec.templateGeneration of older versions.
TEMPLATE_GENERATION: Final = "deprecated.daemonset.template.generation"
_RETAIN: Final[Scalars] = {"whenDeleted": "Retain", "whenScaled": "Retain"}
_DAEMON_STATUS: Final[Scalars] = {
    "currentNumberScheduled": 0,
    "numberMisscheduled": 0,
    "desiredNumberScheduled": 0,
    "numberReady": 0,
}


def _rolling_update(spec: Object, key: str, defaults: Scalars) -> None:
    strategy = part(spec, key)
    fill_empty(strategy, {"type": "RollingUpdate"})
    if strategy["type"] == "RollingUpdate":
        fill_missing(part(strategy, "rollingUpdate"), defaults)


def default_deployment(deployment: Object) -> None:
    spec = part(deployment, "spec")
    fill_missing(spec, {"replicas": 1, "revisionHistoryLimit": 10, "progressDeadlineSeconds": 600})
    _rolling_update(spec, "strategy", {"maxUnavailable": "25%", "maxSurge": "25%"})
    part(spec, "template")
    default_template(spec)
    part(deployment, "status")


def default_replica_set(replica_set: Object) -> None:
    spec = part(replica_set, "spec")
    fill_missing(spec, {"replicas": 1})
    part(spec, "template")
    default_template(spec)
    fill_missing(part(replica_set, "status"), {"replicas": 0})


def default_daemon_set(daemon_set: Object) -> None:
    spec = part(daemon_set, "spec")
    fill_missing(spec, {"revisionHistoryLimit": 10})
    _rolling_update(spec, "updateStrategy", {"maxUnavailable": 1, "maxSurge": 0})
    part(spec, "template")
    default_template(spec)
    # A field of older versions, which the registry counts up.
    fill_missing(part(part(daemon_set, "metadata"), "annotations"), {TEMPLATE_GENERATION: "0"})
    fill_missing(part(daemon_set, "status"), _DAEMON_STATUS)


def default_stateful_set(stateful_set: Object) -> None:
    spec = part(stateful_set, "spec")
    fill_missing(spec, {"replicas": 1, "revisionHistoryLimit": 10})
    fill_empty(spec, {"podManagementPolicy": "OrderedReady"})
    strategy = part(spec, "updateStrategy")
    if not strategy.get("type"):
        strategy["type"] = "RollingUpdate"
        part(strategy, "rollingUpdate")
    if strategy["type"] == "RollingUpdate" and isinstance(strategy.get("rollingUpdate"), dict):
        fill_missing(strategy["rollingUpdate"], {"partition": 0})
    fill_empty(part(spec, "persistentVolumeClaimRetentionPolicy"), _RETAIN)
    for claim in items(spec, "volumeClaimTemplates"):
        claim.setdefault("apiVersion", "v1")
        claim.setdefault("kind", "PersistentVolumeClaim")
        default_claim_spec(part(claim, "spec"))
        fill_empty(part(claim, "status"), {"phase": "Pending"})
    part(spec, "template")
    default_template(spec)
    fill_missing(part(stateful_set, "status"), {"replicas": 0, "availableReplicas": 0})


DEFAULTERS: Final[dict[str, Callable[[Object], None]]] = {
    "DaemonSet": default_daemon_set,
    "Deployment": default_deployment,
    "ReplicaSet": default_replica_set,
    "StatefulSet": default_stateful_set,
}
