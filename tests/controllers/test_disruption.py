"""A disruption budget says how many pods may go, and never gives back what an eviction has taken."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekube.admission import disruption as eviction
from edgekube.api import times
from edgekube.api.calls import Call, Update
from edgekube.api.controller import Key
from edgekube.api.errors import StatusError
from edgekube.api.kinds import DEPLOYMENT, POD, PODDISRUPTIONBUDGET, REPLICASET, STATEFULSET, Kind
from edgekube.api.objects import Object, name_of, uid_of
from edgekube.controllers.disruption.budgets import DISRUPTION_CONTROLLER, plan, unseen_controllers
from edgekube.controllers.disruption.expected import CannotTell
from edgekube.controllers.disruption.stale import STALE_DISRUPTION_CONTROLLER
from tests.controllers.world import World


def owner_of(kind: str, api_version: str, name: str, uid: str) -> Object:
    return {"apiVersion": api_version, "kind": kind, "name": name, "uid": uid, "controller": True}


class Cluster:
    def __init__(self, **spec: object) -> None:
        self.world = World()
        metadata = {"name": "budget", "namespace": "default"}
        self.world.put(PODDISRUPTIONBUDGET, {"metadata": metadata, "spec": {"selector": {"matchLabels": {"app": "web"}}, **spec}})

    def owned(self, kind: Kind, name: str, replicas: int, parent: Object | None = None) -> Object:
        metadata: Object = {"name": name, "namespace": "default"}
        if parent is not None:
            metadata["ownerReferences"] = [owner_of("Deployment", "apps/v1", name_of(parent), uid_of(parent))]
        return self.world.put(kind, {"metadata": metadata, "spec": {"replicas": replicas}})

    def pods(self, count: int, owner: Object | None, ready: int | None = None, kind: str = "ReplicaSet") -> None:
        for number in range(count):
            metadata: Object = {"name": f"{name_of(owner or {})}-{number}", "namespace": "default", "labels": {"app": "web"}}
            if owner is not None:
                metadata["ownerReferences"] = [owner_of(kind, "apps/v1", name_of(owner), uid_of(owner))]
            status = "True" if ready is None or number < ready else "False"
            self.world.put(
                POD, {"metadata": metadata, "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": status}]}}
            )

    def step(self) -> list[Call]:
        return self.world.step(DISRUPTION_CONTROLLER, "default", "budget")

    @property
    def budget(self) -> Object:
        found = self.world.get(PODDISRUPTIONBUDGET, "default", "budget")
        assert found is not None
        return found

    def numbers(self) -> tuple[int, int, int, int]:
        """allowed, healthy, desired, expected."""
        status = self.budget["status"]
        return status["disruptionsAllowed"], status["currentHealthy"], status["desiredHealthy"], status["expectedPods"]

    def condition(self) -> tuple[str, str, str]:
        (condition,) = self.budget["status"]["conditions"]
        return condition["status"], condition["reason"], condition["message"]


@pytest.mark.parametrize(
    ("spec", "ready", "numbers"),
    [
        ({"minAvailable": 2}, 3, (1, 3, 2, 3)),
        ({"minAvailable": 2}, 1, (0, 1, 2, 3)),
        ({"minAvailable": "50%"}, 3, (0, 3, 3, 5)),
        ({"minAvailable": "0%"}, 3, (3, 3, 0, 5)),
        ({"maxUnavailable": 1}, 3, (0, 3, 4, 5)),
        ({"maxUnavailable": 3}, 3, (1, 3, 2, 5)),
        ({"maxUnavailable": "30%"}, 3, (0, 3, 3, 5)),
        ({"maxUnavailable": 9}, 3, (3, 3, 0, 5)),
    ],
)
def test_shares_are_of_what_the_controllers_want(spec: dict[str, Any], ready: int, numbers: tuple[int, int, int, int]) -> None:
    cluster = Cluster(**spec)
    deployment = cluster.owned(DEPLOYMENT, "web", 5)
    cluster.pods(3, cluster.owned(REPLICASET, "web-1", 3, parent=deployment), ready=ready)
    cluster.step()
    assert cluster.numbers() == numbers
    assert cluster.condition() == (("True", "SufficientPods", "") if numbers[0] else ("False", "InsufficientPods", ""))
    assert cluster.budget["status"]["observedGeneration"] == 1
    assert cluster.step() == [], "a plan that was carried out leaves nothing to do"


def test_several_controllers_add_up() -> None:
    cluster = Cluster(maxUnavailable=1)
    cluster.pods(2, cluster.owned(REPLICASET, "a", 2))
    cluster.pods(3, cluster.owned(STATEFULSET, "b", 4), kind="StatefulSet")
    cluster.step()
    assert cluster.numbers() == (0, 5, 5, 6)


def test_without_pods_nothing_is_allowed() -> None:
    cluster = Cluster(minAvailable=0)
    cluster.step()
    assert cluster.numbers() == (0, 0, 0, 0)
    assert cluster.world.events == ["NoPods: No matching pods found"]


def test_pods_without_controller_are_not_counted_and_told() -> None:
    cluster = Cluster(minAvailable="50%")
    cluster.pods(2, None)
    cluster.step()
    assert cluster.numbers() == (0, 2, 0, 0)
    (event,) = cluster.world.events
    assert event.startswith(
        "UnmanagedPods: Pods selected by this PodDisruptionBudget (selector: &LabelSelector{MatchLabels:map[string]string"
        "{app: web,},MatchExpressions:[]LabelSelectorRequirement{},}) were found to be unmanaged."
    )


@pytest.mark.parametrize(
    ("kind", "api_version", "message"),
    [
        ("Thing", "example.com/v1", "Thing gone was not asked for its scale"),
        ("ReplicaSet", "apps/v1", 'found no controllers for pod "x"'),
    ],
)
def test_what_cannot_be_computed_allows_nothing(kind: str, api_version: str, message: str) -> None:
    cluster = Cluster(maxUnavailable=1)
    metadata: Object = {"name": "x", "namespace": "default", "labels": {"app": "web"}}
    metadata["ownerReferences"] = [owner_of(kind, api_version, "gone", "u")]
    cluster.world.put(POD, {"metadata": metadata, "status": {}})
    cluster.step()
    assert cluster.numbers()[0] == 0
    assert cluster.condition() == ("False", "SyncFailed", message)
    assert cluster.world.events == [
        f"CalculateExpectedPodCountFailed: Failed to calculate the number of expected pods: {message}"
    ]


@pytest.mark.parametrize(
    ("scale", "numbers", "condition"),
    [
        (5, (1, 4, 3, 5), ("True", "SufficientPods", "")),
        (None, (0, 0, 0, 0), ("False", "SyncFailed", 'found no controllers for pod "boat-0"')),
        (CannotTell("why"), (0, 0, 0, 0), ("False", "SyncFailed", "why")),
    ],
)
def test_a_custom_kind_that_has_a_scale_counts_as_any_other(
    scale: int | CannotTell | None, numbers: tuple[int, int, int, int], condition: tuple[str, str, str]
) -> None:
    cluster = Cluster(minAvailable="50%")
    cluster.pods(4, {"metadata": {"name": "boat", "uid": "b"}}, kind="Boat")
    assert unseen_controllers(cluster.world, Key("default", "budget")).keys() == {"b"}
    cluster.world.carry_out(plan({"b": scale}, cluster.world, Key("default", "budget"), cluster.world.moment()))
    assert (cluster.numbers(), cluster.condition()) == (numbers, condition)


def test_a_budget_in_numbers_asks_nobody() -> None:
    cluster = Cluster(minAvailable=2)
    cluster.pods(3, {"metadata": {"name": "boat", "uid": "b"}}, kind="Boat")
    assert unseen_controllers(cluster.world, Key("default", "budget")) == {}


def test_an_eviction_is_remembered_until_its_deletion_is_seen() -> None:
    cluster = Cluster(maxUnavailable=1)
    cluster.pods(3, cluster.owned(REPLICASET, "web", 3))
    cluster.step()
    budget = cluster.budget
    eviction.decrement(budget, "web-0", times.rfc3339(cluster.world.now))
    cluster.world.put(PODDISRUPTIONBUDGET, budget)
    cluster.step()
    assert cluster.numbers() == (0, 2, 2, 3), "the pod still looks healthy, and does not count any more"
    assert list(cluster.budget["status"]["disruptedPods"]) == ["web-0"]
    assert cluster.world.later == pytest.approx(121)
    cluster.world.now += 121
    cluster.step()
    assert cluster.numbers() == (1, 3, 2, 3)
    assert "disruptedPods" not in cluster.budget["status"]
    assert cluster.world.events == ["NotDeleted: Pod was expected by PDB default/default to be deleted but it wasn't"]


def test_the_status_is_written_on_the_revision_it_was_computed_from() -> None:
    cluster = Cluster(maxUnavailable=1)
    cluster.pods(1, cluster.owned(REPLICASET, "web", 1))
    (call,) = cluster.world.plan(DISRUPTION_CONTROLLER, "default", "budget")
    assert isinstance(call, Update)
    assert call.object["metadata"]["resourceVersion"] == cluster.budget["metadata"]["resourceVersion"]


@given(st.lists(st.tuples(st.sampled_from(["plan", "evict", "delete", "ready", "unready"]), st.integers(0, 4)), max_size=30))
def test_evictions_never_go_below_what_must_be_healthy(steps: list[tuple[str, int]]) -> None:
    """Whenever the controller looks, and whenever the kubelet deletes: evictions alone leave desiredHealthy ready pods."""
    cluster = Cluster(minAvailable=3)
    cluster.pods(5, cluster.owned(REPLICASET, "web", 5))
    broken: set[str] = set()
    going: set[str] = set()
    for what, which in steps:
        name = f"web-{which}"
        pod = cluster.world.get(POD, "default", name)
        if what == "plan":
            cluster.step()
        elif pod is None:
            continue
        elif what == "evict" and name not in going and name not in broken and "status" in cluster.budget:
            budget = cluster.budget
            try:
                eviction.decrement(budget, name, times.rfc3339(cluster.world.now))
            except StatusError:
                continue
            cluster.world.put(PODDISRUPTIONBUDGET, budget)
            going.add(name)
            assert len({"web-0", "web-1", "web-2", "web-3", "web-4"} - going) >= 3
        elif what == "delete" and name in going:
            cluster.world.gone(POD, "default", name)


def test_two_budgets_of_one_pod_are_told() -> None:
    cluster = Cluster(minAvailable=1)
    other: Object = {"metadata": {"name": "other", "namespace": "default"}, "spec": {"selector": {}, "minAvailable": 1}}
    cluster.world.put(PODDISRUPTIONBUDGET, other)
    cluster.pods(1, cluster.owned(REPLICASET, "web", 1))
    cluster.step()
    assert cluster.world.events == [
        'MultiplePodDisruptionBudgets: Pod "default"/"web-0" matches multiple PodDisruptionBudgets.  Chose "budget" arbitrarily.'
    ]


def test_a_disruption_that_did_not_come_is_taken_back() -> None:
    world = World()
    since = times.rfc3339(world.now)
    condition = {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI", "lastTransitionTime": since}
    pod: Object = {"metadata": {"name": "web", "namespace": "default"}, "status": {"phase": "Running", "conditions": [condition]}}
    world.put(POD, pod)
    world.step(STALE_DISRUPTION_CONTROLLER, "default", "web")
    assert world.later == pytest.approx(120)
    world.now += 120
    world.step(STALE_DISRUPTION_CONTROLLER, "default", "web")
    found = world.get(POD, "default", "web")
    assert found is not None
    assert found["status"]["conditions"][0]["status"] == "False"
    condition["reason"] = "TerminationByKubelet"
    world.put(POD, pod)
    assert world.plan(STALE_DISRUPTION_CONTROLLER, "default", "web") == []
