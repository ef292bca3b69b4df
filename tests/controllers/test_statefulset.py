"""A StatefulSet gives pods names, storage and an order, and keeps to them whatever happens."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekube import limits
from edgekube.api import podstate
from edgekube.api.calls import Call, Create
from edgekube.api.errors import StatusError
from edgekube.api.kinds import CONTROLLERREVISION, PERSISTENTVOLUMECLAIM, POD, STATEFULSET
from edgekube.api.objects import Object, labels_of, name_of, owners_of, uid_of
from edgekube.controllers.statefulset.controller import STATEFULSET_CONTROLLER
from tests.controllers.world import World, kubelet

HASH = "controller-revision-hash"


def stateful(**spec: object) -> Object:
    return {
        "metadata": {"name": "db", "namespace": "default"},
        "spec": {
            "replicas": 3,
            "serviceName": "db",
            "selector": {"matchLabels": {"app": "db"}},
            "template": {"metadata": {"labels": {"app": "db"}}, "spec": {"containers": [{"name": "c", "image": "v1"}]}},
            "podManagementPolicy": "OrderedReady",
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
            "revisionHistoryLimit": 10,
            **spec,
        },
    }


CLAIMS = [{"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"]}, "status": {"phase": "Pending"}}]


class Cluster:
    def __init__(self, **spec: object) -> None:
        self.world = World()
        self.world.put(STATEFULSET, stateful(**spec))

    @property
    def set(self) -> Object:
        found = self.world.get(STATEFULSET, "default", "db")
        assert found is not None
        return found

    @property
    def status(self) -> Object:
        found: Object = self.set["status"]
        return found

    def change(self, **spec: object) -> None:
        found = self.set
        found["spec"].update(spec)
        self.world.put(STATEFULSET, found)

    def set_image(self, image: str) -> None:
        found = self.set
        found["spec"]["template"]["spec"]["containers"][0]["image"] = image
        self.world.put(STATEFULSET, found)

    def step(self) -> list[Call]:
        return self.world.step(STATEFULSET_CONTROLLER, "default", "db")

    def pod(self, ordinal: int) -> Object | None:
        return self.world.get(POD, "default", f"db-{ordinal}")

    def pods(self) -> list[Object]:
        return sorted(self.world.list(POD), key=lambda pod: int(name_of(pod).rpartition("-")[2]))

    def names(self) -> list[str]:
        return [name_of(pod) for pod in self.pods()]

    def images(self) -> list[str]:
        return [pod["spec"]["containers"][0]["image"] for pod in self.pods()]

    def claims(self) -> dict[str, list[str]]:
        """The kinds of each claim's owners."""
        return {name_of(each): [owner["kind"] for owner in owners_of(each)] for each in self.world.list(PERSISTENTVOLUMECLAIM)}

    def kubelets(self, ready: Callable[[Object], bool] = lambda _: True) -> None:
        for pod in self.pods():
            if pod["metadata"].get("deletionTimestamp") or podstate.is_ready(pod) != ready(pod):
                kubelet(self.world, pod, ready=ready(pod))

    def settle(self, check: Callable[[], None] = lambda: None, turns: int = 80) -> None:
        for _ in range(turns):
            before = self.world._revision
            self.step()
            check()
            self.kubelets()
            if self.world._revision == before:
                return
            self.world.now += 1
        raise AssertionError("it does not settle")

    def revisions(self) -> dict[int, str]:
        return {
            each["revision"]: each["data"]["spec"]["template"]["spec"]["containers"][0]["image"]
            for each in self.world.list(CONTROLLERREVISION)
        }


def test_pods_come_one_after_the_other_each_with_its_own_name() -> None:
    cluster = Cluster()
    cluster.step()
    assert cluster.names() == ["db-0"]
    cluster.step()
    assert cluster.names() == ["db-0"], "it waits for db-0 to be ready"
    cluster.kubelets()
    cluster.step()
    assert cluster.names() == ["db-0", "db-1"]
    cluster.settle()
    (revision,) = cluster.world.list(CONTROLLERREVISION)
    name = name_of(revision)
    assert labels_of(revision) == {"app": "db", "controller.kubernetes.io/hash": name.removeprefix("db-")}
    pod = cluster.pods()[2]
    assert labels_of(pod) == {
        "app": "db",
        "statefulset.kubernetes.io/pod-name": "db-2",
        "apps.kubernetes.io/pod-index": "2",
        HASH: name,
    }
    assert (pod["spec"]["hostname"], pod["spec"]["subdomain"]) == ("db-2", "db")
    assert cluster.status == {
        "observedGeneration": 1,
        "replicas": 3,
        "readyReplicas": 3,
        "currentReplicas": 3,
        "updatedReplicas": 3,
        "currentRevision": name,
        "updateRevision": name,
        "collisionCount": 0,
        "availableReplicas": 3,
    }
    assert cluster.world.events[0] == "SuccessfulCreate: Create Pod db-0 in StatefulSet db successful"
    assert cluster.step() == [], "a plan that was carried out leaves nothing to do"


def test_parallel_makes_and_deletes_all_at_once() -> None:
    cluster = Cluster(podManagementPolicy="Parallel")
    cluster.step()
    assert cluster.names() == ["db-0", "db-1", "db-2"]
    cluster.kubelets()
    cluster.change(replicas=0)
    cluster.step()
    assert all(pod["metadata"].get("deletionTimestamp") for pod in cluster.pods())


@pytest.mark.parametrize("policy", ["OrderedReady", "Parallel"])
def test_a_number_beyond_all_machines_costs_no_more_than_a_burst(policy: str) -> None:
    cluster = Cluster(replicas=2**24, podManagementPolicy=policy)
    tracemalloc.start()
    try:
        cluster.step()
        assert tracemalloc.get_traced_memory()[1] < 32 * 1024 * 1024
    finally:
        tracemalloc.stop()
    assert len(cluster.pods()) == (1 if policy == "OrderedReady" else limits.BURST_REPLICAS)


def test_parallel_goes_on_after_a_burst(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "BURST_REPLICAS", 3)
    cluster = Cluster(replicas=8, podManagementPolicy="Parallel")
    cluster.step()
    assert cluster.names() == ["db-0", "db-1", "db-2"]
    cluster.settle()
    assert cluster.status["replicas"] == cluster.status["currentReplicas"] == 8
    for ordinal in range(6):
        cluster.world.gone(POD, "default", f"db-{ordinal}")
    cluster.step()
    assert cluster.names() == ["db-0", "db-1", "db-2", "db-6", "db-7"]
    assert cluster.status["replicas"] == 2, "those at places beyond a burst count as well"
    cluster.set_image("v2")
    cluster.settle()
    assert cluster.images() == ["v2"] * 8


def test_scaling_down_takes_the_highest_and_waits_for_it() -> None:
    cluster = Cluster()
    cluster.settle()
    cluster.change(replicas=1)
    cluster.step()
    assert [bool(pod["metadata"].get("deletionTimestamp")) for pod in cluster.pods()] == [False, False, True]
    cluster.step()
    assert not cluster.pods()[1]["metadata"].get("deletionTimestamp")
    cluster.settle()
    assert cluster.names() == ["db-0"]


def test_scaling_down_halts_while_one_that_stays_is_not_ready() -> None:
    cluster = Cluster()
    cluster.settle()
    cluster.kubelets(lambda pod: name_of(pod) != "db-0")
    cluster.change(replicas=1)
    cluster.step()
    assert not any(pod["metadata"].get("deletionTimestamp") for pod in cluster.pods())
    cluster.settle()
    assert cluster.names() == ["db-0"]


def test_a_pod_that_ended_comes_back_under_its_name() -> None:
    cluster = Cluster()
    cluster.settle()
    for phase in ("Failed", "Succeeded"):
        pod = cluster.pod(1)
        assert pod is not None
        pod["status"] = {"phase": phase}
        cluster.world.put(POD, pod)
        cluster.settle()
        after = cluster.pod(1)
        assert after is not None
        assert uid_of(after) != uid_of(pod)


def test_ordinals_may_start_elsewhere() -> None:
    cluster = Cluster(ordinals={"start": 5}, replicas=2)
    cluster.settle()
    assert cluster.names() == ["db-5", "db-6"]
    cluster.change(ordinals={"start": 6})
    cluster.settle()
    assert cluster.names() == ["db-6", "db-7"]


def test_a_rolling_update_goes_from_the_highest_down() -> None:
    cluster = Cluster()
    cluster.settle()
    cluster.set_image("v2")
    seen = []

    def check() -> None:
        seen.append(tuple(cluster.images()))
        assert sum(map(podstate.is_ready, cluster.pods())) >= 2

    cluster.settle(check)
    order = [images for images in dict.fromkeys(seen) if len(images) == 3]
    assert order == [("v1", "v1", "v1"), ("v1", "v1", "v2"), ("v1", "v2", "v2"), ("v2", "v2", "v2")]
    assert cluster.status["currentRevision"] == cluster.status["updateRevision"]
    assert cluster.revisions() == {1: "v1", 2: "v2"}
    cluster.set_image("v1")
    cluster.settle()
    assert cluster.revisions() == {2: "v2", 3: "v1"}, "going back gives the old revision the highest number"


def test_a_partition_keeps_the_lower_ordinals_as_they_were() -> None:
    cluster = Cluster(updateStrategy={"type": "RollingUpdate", "rollingUpdate": {"partition": 2}})
    cluster.settle()
    cluster.set_image("v2")
    cluster.settle()
    assert cluster.images() == ["v1", "v1", "v2"]
    cluster.world.gone(POD, "default", "db-0")
    cluster.settle()
    assert cluster.images() == ["v1", "v1", "v2"], "below the partition a pod comes back as it was"
    assert cluster.status["currentReplicas"] == 2
    assert cluster.status["updatedReplicas"] == 1
    assert cluster.status["currentRevision"] != cluster.status["updateRevision"]
    cluster.change(updateStrategy={"type": "RollingUpdate", "rollingUpdate": {"partition": 0}})
    cluster.settle()
    assert cluster.images() == ["v2", "v2", "v2"]


def test_on_delete_waits_for_somebody_to_delete() -> None:
    cluster = Cluster(updateStrategy={"type": "OnDelete"})
    cluster.settle()
    cluster.set_image("v2")
    cluster.settle()
    assert cluster.images() == ["v1", "v1", "v1"]
    cluster.world.gone(POD, "default", "db-1")
    cluster.settle()
    assert cluster.images() == ["v1", "v2", "v1"]
    assert cluster.status["currentRevision"] != cluster.status["updateRevision"]


def test_max_unavailable_updates_several_at_once() -> None:
    rolling = {"partition": 0, "maxUnavailable": 2}
    cluster = Cluster(
        replicas=4, podManagementPolicy="Parallel", updateStrategy={"type": "RollingUpdate", "rollingUpdate": rolling}
    )
    cluster.settle()
    cluster.set_image("v2")
    cluster.step()
    assert [bool(pod["metadata"].get("deletionTimestamp")) for pod in cluster.pods()] == [False, False, True, True]
    cluster.settle(lambda: None)
    assert cluster.images() == ["v2"] * 4


def test_an_update_waits_for_a_broken_pod() -> None:
    cluster = Cluster()
    cluster.settle()
    cluster.set_image("broken")
    for _ in range(10):
        cluster.step()
        cluster.kubelets(lambda pod: pod["spec"]["containers"][0]["image"] != "broken")
    assert cluster.images() == ["v1", "v1", "broken"]
    cluster.set_image("v3")
    for _ in range(10):
        cluster.step()
        cluster.kubelets(lambda pod: pod["spec"]["containers"][0]["image"] != "broken")
    assert cluster.images() == ["v1", "v1", "broken"], "as upstream: somebody has to delete the broken pod"
    cluster.world.gone(POD, "default", "db-2")
    cluster.settle()
    assert cluster.images() == ["v3", "v3", "v3"]


def test_min_ready_seconds_hold_up_the_next() -> None:
    cluster = Cluster(minReadySeconds=10)
    cluster.step()
    cluster.kubelets()
    cluster.step()
    assert cluster.names() == ["db-0"]
    assert (cluster.status["readyReplicas"], cluster.status["availableReplicas"]) == (1, 0)
    assert cluster.world.later == pytest.approx(10)
    cluster.world.now += 10
    cluster.step()
    assert cluster.names() == ["db-0", "db-1"]


def test_history_keeps_what_pods_are_of() -> None:
    cluster = Cluster(revisionHistoryLimit=1, updateStrategy={"type": "OnDelete"})
    cluster.settle()
    for number in range(2, 6):
        cluster.set_image(f"v{number}")
        cluster.settle()
    assert cluster.revisions() == {1: "v1", 4: "v4", 5: "v5"}


def test_a_taken_revision_name_counts_a_collision() -> None:
    cluster = Cluster(replicas=0)
    cluster.settle()
    (revision,) = cluster.world.list(CONTROLLERREVISION)
    cluster.world.gone(CONTROLLERREVISION, "default", name_of(revision))
    other = {"metadata": {"name": name_of(revision), "namespace": "default"}, "data": {}, "revision": 7}
    cluster.world.put(CONTROLLERREVISION, other)
    cluster.settle()
    assert cluster.status["collisionCount"] == 1
    assert len(list(cluster.world.list(CONTROLLERREVISION))) == 2


# Storage.


def test_each_pod_has_claims_of_its_own_that_outlive_it() -> None:
    cluster = Cluster(volumeClaimTemplates=CLAIMS, replicas=2)
    cluster.settle()
    assert cluster.claims() == {"data-db-0": [], "data-db-1": []}
    claim = cluster.world.get(PERSISTENTVOLUMECLAIM, "default", "data-db-1")
    assert claim is not None
    assert labels_of(claim) == {"app": "db"}
    assert claim["spec"] == {"accessModes": ["ReadWriteOnce"]}
    pod = cluster.pod(1)
    assert pod is not None
    assert pod["spec"]["volumes"] == [{"name": "data", "persistentVolumeClaim": {"claimName": "data-db-1"}}]
    assert "SuccessfulCreate: Create Claim data-db-0 Pod db-0 in StatefulSet db success" in cluster.world.events
    cluster.change(replicas=0)
    cluster.settle()
    assert sorted(cluster.claims()) == ["data-db-0", "data-db-1"]


@pytest.mark.parametrize(
    ("deleted", "scaled", "at_work", "scaled_away"),
    [
        ("Retain", "Retain", [], []),
        ("Delete", "Retain", ["StatefulSet"], ["StatefulSet"]),
        ("Retain", "Delete", [], ["Pod"]),
        ("Delete", "Delete", ["StatefulSet"], ["Pod"]),
    ],
)
def test_the_retention_policy_decides_who_owns_a_claim(
    deleted: str, scaled: str, at_work: list[str], scaled_away: list[str]
) -> None:
    policy = {"whenDeleted": deleted, "whenScaled": scaled}
    cluster = Cluster(volumeClaimTemplates=CLAIMS, replicas=2, persistentVolumeClaimRetentionPolicy=policy)
    cluster.settle()
    assert cluster.claims()["data-db-1"] == at_work
    cluster.change(replicas=1)
    cluster.step()
    assert cluster.claims() == {"data-db-0": at_work, "data-db-1": scaled_away}
    retain = {"whenDeleted": "Retain", "whenScaled": "Retain"}
    cluster.change(persistentVolumeClaimRetentionPolicy=retain)
    cluster.settle()
    assert cluster.claims()["data-db-0"] == [], "a changed policy is carried out on what is there"


def test_a_claim_that_goes_with_the_pod_before_is_waited_for() -> None:
    policy = {"whenDeleted": "Retain", "whenScaled": "Delete"}
    cluster = Cluster(volumeClaimTemplates=CLAIMS, replicas=2, persistentVolumeClaimRetentionPolicy=policy)
    cluster.settle()
    cluster.change(replicas=1)
    cluster.settle()
    cluster.change(replicas=2)
    cluster.settle()
    assert cluster.names() == ["db-0"], "data-db-1 is about to be collected"
    cluster.world.gone(PERSISTENTVOLUMECLAIM, "default", "data-db-1")
    cluster.settle()
    assert cluster.names() == ["db-0", "db-1"]
    assert cluster.claims()["data-db-1"] == []


def test_another_controllers_claim_is_left_to_it() -> None:
    policy = {"whenDeleted": "Delete", "whenScaled": "Retain"}
    cluster = Cluster(volumeClaimTemplates=CLAIMS, replicas=1, persistentVolumeClaimRetentionPolicy=policy)
    owner = {"apiVersion": "v1", "kind": "Thing", "name": "x", "uid": "x", "controller": True}
    claim: Object = {"metadata": {"name": "data-db-0", "namespace": "default", "ownerReferences": [owner]}, "spec": {}}
    cluster.world.put(PERSISTENTVOLUMECLAIM, claim)
    cluster.settle()
    assert cluster.claims() == {"data-db-0": ["Thing"]}


def test_a_claim_on_its_way_out_holds_up_its_pod() -> None:
    cluster = Cluster(volumeClaimTemplates=CLAIMS, replicas=1)
    metadata = {"name": "data-db-0", "namespace": "default", "deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["x"]}
    cluster.world.put(PERSISTENTVOLUMECLAIM, {"metadata": metadata, "spec": {}})
    cluster.step()
    assert cluster.names() == []
    assert cluster.world.events == [
        "FailedCreate: Create Pod db-0 in StatefulSet db failed error: pvc data-db-0 is being deleted"
    ]


# Bad luck.


def test_a_refused_pod_is_told_and_the_status_stays_true() -> None:
    cluster = Cluster()
    cluster.world.refuse = lambda call: (
        StatusError("Forbidden", "exceeded quota") if isinstance(call, Create) and call.kind is POD else None
    )
    cluster.step()
    assert cluster.world.events == ["FailedCreate: Create Pod db-0 in StatefulSet db failed error: exceeded quota"]
    assert cluster.status["replicas"] == 0
    assert cluster.status["observedGeneration"] == 1


def test_a_stranger_with_the_name_is_waited_for() -> None:
    cluster = Cluster(replicas=1)
    cluster.world.put(POD, {"metadata": {"name": "db-0", "namespace": "default"}, "spec": {}, "status": {"phase": "Running"}})
    cluster.step()
    assert labels_of(cluster.pods()[0]) == {}
    cluster.world.gone(POD, "default", "db-0")
    cluster.settle()
    assert labels_of(cluster.pods()[0])["app"] == "db"


def test_a_lost_identity_is_given_back() -> None:
    cluster = Cluster(replicas=1)
    cluster.settle()
    pod = cluster.pods()[0]
    del pod["metadata"]["labels"]["statefulset.kubernetes.io/pod-name"]
    cluster.world.put(POD, pod)
    cluster.settle()
    assert labels_of(cluster.pods()[0])["statefulset.kubernetes.io/pod-name"] == "db-0"


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 4),
    st.integers(0, 2),
    st.lists(st.tuples(st.sampled_from(["image", "scale", "kill", "fail", "partition"]), st.integers(0, 5)), max_size=6),
    st.randoms(use_true_random=False),
)
def test_order_is_kept(replicas: int, start: int, changes: list[tuple[str, int]], random: Any) -> None:
    """Whatever happens meanwhile, and whichever call is the last one before a crash: a pod is made only when all before it are
    ready, deleted only when it is the highest that is to go, and in the end all are there at the latest template."""
    cluster = Cluster(replicas=replicas, ordinals={"start": start}, volumeClaimTemplates=CLAIMS)
    latest = "v1"
    for turn in range(14):
        if turn < len(changes):
            what, which = changes[turn]
            pods = cluster.pods()
            if what == "image":
                latest = f"v{which}"
                cluster.set_image(latest)
            elif what == "scale":
                replicas = which
                cluster.change(replicas=which)
            elif what == "partition":
                cluster.change(updateStrategy={"type": "RollingUpdate", "rollingUpdate": {"partition": which}})
            elif what == "kill" and pods:
                cluster.world.gone(POD, "default", name_of(pods[which % len(pods)]))
            elif what == "fail" and pods:
                failed = pods[which % len(pods)]
                failed["status"] = {"phase": "Failed"}
                cluster.world.put(POD, failed)
        ready = {name_of(pod) for pod in cluster.pods() if podstate.is_ready(pod) and podstate.is_active(pod)}
        calls = cluster.world.plan(STATEFULSET_CONTROLLER, "default", "db")
        made = [name_of(call.object) for call in calls if isinstance(call, Create) and call.kind is POD]
        assert len(made) <= 1
        for name in made:
            ordinal = int(name.removeprefix("db-"))
            assert {f"db-{each}" for each in range(start, ordinal)} <= ready
        cluster.world.carry_out(calls[: random.randint(0, len(calls))])
        cluster.kubelets(lambda _: random.random() < 0.8)
        cluster.world.now += 1
    cluster.change(updateStrategy={"type": "RollingUpdate", "rollingUpdate": {"partition": 0}})
    cluster.settle(turns=200)
    assert cluster.names() == [f"db-{each}" for each in range(start, start + replicas)]
    assert set(cluster.images()) <= {latest}
    assert cluster.status["replicas"] == replicas
