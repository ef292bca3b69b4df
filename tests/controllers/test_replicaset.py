"""A ReplicaSet keeps its number, takes what matches, and lets go of what does not."""

from __future__ import annotations

from collections import Counter

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekube.api.calls import Call, Create
from edgekube.api.controller import Controller, Key
from edgekube.api.errors import StatusError, forbidden
from edgekube.api.kinds import POD, PODDISRUPTIONBUDGET, REPLICASET, REPLICATIONCONTROLLER, Kind
from edgekube.api.objects import Object, controller_of, name_of
from edgekube.api.pod_facts import pod_facts_of
from edgekube.api.pod_ranking import ranked_for_deletion
from edgekube.controllers.disruption.budgets import DISRUPTION_CONTROLLER
from edgekube.controllers.replicaset import REPLICASET_CONTROLLER, REPLICATION_CONTROLLER
from edgekube.reconcile.table import ViewChange
from tests.controllers.world import World, kubelet

BOTH = pytest.mark.parametrize(
    ("kind", "controller"), [(REPLICASET, REPLICASET_CONTROLLER), (REPLICATIONCONTROLLER, REPLICATION_CONTROLLER)]
)


def owner(kind: Kind, replicas: int, **spec: object) -> Object:
    selector: Object = {"app": "web"} if kind is REPLICATIONCONTROLLER else {"matchLabels": {"app": "web"}}
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    return {
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"replicas": replicas, "selector": selector, "template": template, **spec},
    }


def pod(name: str, labels: dict[str, str], **status: object) -> Object:
    return {
        "metadata": {"name": name, "namespace": "default", "labels": labels},
        "spec": {},
        "status": {"phase": "Running", **status},
    }


def refuse_creations(call: Call) -> StatusError | None:
    return forbidden("", "pods", "web-", "exceeded quota: tight") if isinstance(call, Create) else None


@BOTH
def test_three_are_asked_for_and_three_are_made(kind: Kind, controller: Controller) -> None:
    world = World()
    world.put(kind, owner(kind, 3))
    world.step(controller, "default", "web")
    pods = list(world.list(POD))
    assert len(pods) == 3
    assert all((controller_of(each) or {}).get("kind") == kind.kind for each in pods)
    assert world.events == [f"SuccessfulCreate: Created pod: {name_of(each)}" for each in pods]
    world.step(controller, "default", "web")
    status = (world.get(kind, "default", "web") or {})["status"]
    assert (status["replicas"], status["fullyLabeledReplicas"], status.get("readyReplicas")) == (3, 3, None)
    for each in pods:
        kubelet(world, each)
    world.step(controller, "default", "web")
    status = (world.get(kind, "default", "web") or {})["status"]
    assert (status["readyReplicas"], status["availableReplicas"], status["observedGeneration"]) == (3, 3, 1)
    assert world.step(controller, "default", "web") == [], "nothing is left to do"


@BOTH
def test_a_matching_orphan_is_adopted_and_a_relabelled_child_released(kind: Kind, controller: Controller) -> None:
    world = World()
    world.put(kind, owner(kind, 1))
    world.put(POD, pod("stray", {"app": "web"}))
    world.put(POD, pod("other", {"app": "db"}))
    world.step(controller, "default", "web")
    stray = world.get(POD, "default", "stray") or {}
    assert controller_of(stray) is not None
    assert len(list(world.list(POD))) == 2, "the orphan counts, nothing is made"
    stray["metadata"]["labels"] = {"app": "debug"}
    world.put(POD, stray)
    world.step(controller, "default", "web")
    assert controller_of(world.get(POD, "default", "stray") or {}) is None
    assert len(list(world.list(POD))) == 3, "a new one takes its place"


@BOTH
def test_a_quota_shows_in_the_status_and_goes_away(kind: Kind, controller: Controller) -> None:
    world = World()
    world.put(kind, owner(kind, 2))
    world.refuse = refuse_creations
    world.step(controller, "default", "web")
    conditions = (world.get(kind, "default", "web") or {})["status"]["conditions"]
    assert [(each["type"], each["status"], each["reason"]) for each in conditions] == [("ReplicaFailure", "True", "FailedCreate")]
    assert "exceeded quota: tight" in conditions[0]["message"]
    assert world.events == ['FailedCreate: Error creating: pods "web-" is forbidden: exceeded quota: tight']
    world.refuse = lambda _: None
    world.step(controller, "default", "web")
    assert "conditions" not in (world.get(kind, "default", "web") or {})["status"]


def test_a_pod_is_available_only_after_min_ready_seconds() -> None:
    world = World()
    world.put(REPLICASET, owner(REPLICASET, 1, minReadySeconds=10))
    world.step(REPLICASET_CONTROLLER, "default", "web")
    kubelet(world, next(world.list(POD)))
    world.now += 4
    world.step(REPLICASET_CONTROLLER, "default", "web")
    assert world.later == 6
    assert "availableReplicas" not in (world.get(REPLICASET, "default", "web") or {})["status"]
    world.now += 6
    world.step(REPLICASET_CONTROLLER, "default", "web")
    assert (world.get(REPLICASET, "default", "web") or {})["status"]["availableReplicas"] == 1


def test_finished_pods_are_replaced_and_left_alone() -> None:
    world = World()
    world.put(REPLICASET, owner(REPLICASET, 1))
    world.step(REPLICASET_CONTROLLER, "default", "web")
    evicted = next(world.list(POD))
    evicted["status"] = {"phase": "Failed", "reason": "Evicted"}
    world.put(POD, evicted)
    world.step(REPLICASET_CONTROLLER, "default", "web")
    assert len(list(world.list(POD))) == 2


def test_the_least_useful_pods_go_first() -> None:
    def candidate(name: str, node: str, phase: str, ready: bool, cost: str = "0", restarts: int = 0) -> Object:
        found = pod(name, {}, phase=phase, containerStatuses=[{"restartCount": restarts}])
        found["metadata"] |= {
            "uid": name,
            "annotations": {"controller.kubernetes.io/pod-deletion-cost": cost},
            "creationTimestamp": "2026-01-01T00:00:00Z",
        }
        found["spec"]["nodeName"] = node
        since = "2026-01-01T00:00:10Z"
        found["status"]["conditions"] = [{"type": "Ready", "status": "True" if ready else "False", "lastTransitionTime": since}]
        return found

    pods = [
        candidate("steady", "n2", "Running", True),
        candidate("restarting", "n2", "Running", True, restarts=5),
        candidate("crowded", "n1", "Running", True),
        candidate("dear", "n1", "Running", True, cost="10"),
        candidate("cheap", "n1", "Running", True, cost="-10"),
        candidate("unready", "n1", "Running", False),
        candidate("pending", "n1", "Pending", False),
        candidate("unassigned", "", "Pending", False),
    ]
    order = ranked_for_deletion(map(pod_facts_of, pods), Counter({"n1": 5, "n2": 2}), 1_800_000_000.0)
    names = [each.name for each in order]
    assert names == ["unassigned", "pending", "unready", "cheap", "crowded", "restarting", "steady", "dear"]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["scale", "kill", "fail", "run", "stray", "relabel"]), st.integers(0, 6)), max_size=12))
def test_whatever_happens_it_converges(happenings: list[tuple[str, int]]) -> None:
    world = World()
    world.put(REPLICASET, owner(REPLICASET, 2))
    for what, number in happenings:
        world.now += 1
        pods = list(world.list(POD))
        chosen = pods[number % len(pods)] if pods else None
        if what == "scale":
            replicaset = world.get(REPLICASET, "default", "web") or {}
            replicaset["spec"]["replicas"] = number
            world.put(REPLICASET, replicaset)
        elif what == "stray":
            world.put(POD, pod(f"stray-{world.now}", {"app": "web"}))
        elif chosen is not None and what == "kill":
            world.gone(POD, "default", name_of(chosen))
        elif chosen is not None and what == "fail":
            world.put(POD, {**chosen, "status": {"phase": "Failed"}})
        elif chosen is not None and what == "run":
            kubelet(world, chosen)
        elif chosen is not None:
            chosen["metadata"]["labels"] = {"app": "else"}
            world.put(POD, chosen)
        world.step(REPLICASET_CONTROLLER, "default", "web")
    for _ in range(4):
        for each in list(world.list(POD)):
            if (each["status"].get("phase")) != "Failed":
                kubelet(world, each)
        world.step(REPLICASET_CONTROLLER, "default", "web")
    replicaset = world.get(REPLICASET, "default", "web") or {}
    mine = [each for each in world.owned_by(POD, replicaset["metadata"]["uid"]) if each["status"]["phase"] == "Running"]
    assert len(mine) == replicaset["spec"]["replicas"] == replicaset["status"]["replicas"]
    assert all(each["metadata"]["labels"] == {"app": "web"} for each in mine)
    assert world.step(REPLICASET_CONTROLLER, "default", "web") == []


def test_what_the_containers_of_a_pod_do_wakes_nobody() -> None:
    """Of a thousand pods that crash, each change would have all of them looked at."""
    world = World()
    metadata: Object = {"name": "budget", "namespace": "default"}
    world.put(PODDISRUPTIONBUDGET, {"metadata": metadata, "spec": {"selector": {"matchLabels": {"app": "web"}}}})
    before = pod("p", {"app": "web"}, containerStatuses=[{"name": "c", "restartCount": 1}])
    reference = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": "u", "controller": True}
    before["metadata"]["ownerReferences"] = [reference]

    def woken(after: Object) -> set[str]:
        change = ViewChange(POD, Key("default", "p"), orjson.dumps(before), orjson.dumps(after))
        watches = [*REPLICASET_CONTROLLER.watches, *DISRUPTION_CONTROLLER.watches]
        return {key.name for kind, keys_for in watches if kind is POD for key in keys_for(change, world)}

    crashed = {**before["status"], "containerStatuses": [{"name": "c", "restartCount": 2}]}
    assert woken({**before, "status": crashed}) == set()
    ready = {"conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2027-01-15T08:00:01Z"}]}
    assert woken({**before, "status": {**crashed, **ready}}) == {"web", "budget"}
    assert woken({**before, "metadata": {**before["metadata"], "labels": {}}}) == {"web", "budget"}
    assert woken({**before, "status": {"phase": "Failed"}}) == {"web"}
