"""The status of a new object, as every client reads it back: the numbers that are never left out."""

from __future__ import annotations

import pytest

from edgekube.api.kinds import KINDS
from edgekube.api.objects import Object
from tests.server.running import Api
from tests.server.samples import sample_of

FIRST: list[tuple[str, str, Object]] = [
    ("v1", "Namespace", {"phase": "Active"}),
    ("v1", "PersistentVolumeClaim", {"phase": "Pending"}),
    ("v1", "Pod", {"phase": "Pending", "qosClass": "BestEffort"}),
    ("v1", "ReplicationController", {"replicas": 0}),
    ("v1", "ResourceQuota", {}),
    ("v1", "Service", {"loadBalancer": {}}),
    ("apps/v1", "Deployment", {}),
    ("apps/v1", "ReplicaSet", {"replicas": 0}),
    ("apps/v1", "StatefulSet", {"replicas": 0, "availableReplicas": 0}),
    (
        "apps/v1",
        "DaemonSet",
        {"currentNumberScheduled": 0, "desiredNumberScheduled": 0, "numberMisscheduled": 0, "numberReady": 0},
    ),
    ("batch/v1", "CronJob", {}),
    ("batch/v1", "Job", {}),
    ("networking.k8s.io/v1", "Ingress", {"loadBalancer": {}}),
    ("policy/v1", "PodDisruptionBudget", {"currentHealthy": 0, "desiredHealthy": 0, "disruptionsAllowed": 0, "expectedPods": 0}),
    ("autoscaling/v1", "HorizontalPodAutoscaler", {"currentReplicas": 0, "desiredReplicas": 0}),
    ("storage.k8s.io/v1", "VolumeAttachment", {"attached": False}),
]


@pytest.mark.parametrize(("api_version", "name", "status"), FIRST, ids=[name for _, name, _ in FIRST])
async def test_a_new_object(api: Api, api_version: str, name: str, status: Object) -> None:
    kind = KINDS.by_kind(api_version, name)
    assert kind is not None
    made = await api.ask("POST", kind.path("default" if kind.namespaced else ""), sample_of(kind).made(kind))
    assert made.json["status"] == status
