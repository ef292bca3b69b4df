"""A DaemonSet keeps one pod on each node that fits, and rolls from template to template within its bounds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekube.api import podstate
from edgekube.api.calls import Call, Create, Record
from edgekube.api.controller import Key
from edgekube.api.errors import StatusError
from edgekube.api.kinds import CONTROLLERREVISION, DAEMONSET, NODE, POD, Kind
from edgekube.api.objects import Object, labels_of, name_of
from edgekube.api.revisions import matches, snapshot
from edgekube.controllers.daemonset import controller as daemonset
from edgekube.controllers.daemonset.making import target_node, tolerations
from edgekube.reconcile.table import ViewChange
from tests.controllers.world import World, kubelet

HASH = "controller-revision-hash"


def daemon(**spec: object) -> Object:
    return {
        "metadata": {"name": "logs", "namespace": "default"},
        "spec": {
            "selector": {"matchLabels": {"app": "logs"}},
            "template": {"metadata": {"labels": {"app": "logs"}}, "spec": {"containers": [{"name": "c", "image": "v1"}]}},
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}},
            "revisionHistoryLimit": 10,
            **spec,
        },
    }


class Cluster:
    """A world with nodes, a scheduler and kubelets, and one controller for its whole life."""

    def __init__(self, nodes: int = 3, **spec: object) -> None:
        self.world = World()
        self.controller = daemonset.controller()
        for number in range(nodes):
            self.node(f"n{number}")
        self.world.put(DAEMONSET, daemon(**spec))

    def node(self, name: str, labels: dict[str, str] | None = None, taints: list[Object] | None = None) -> None:
        self.world.put(NODE, {"metadata": {"name": name, "labels": labels or {}}, "spec": {"taints": taints or []}})

    @property
    def daemon(self) -> Object:
        found = self.world.get(DAEMONSET, "default", "logs")
        assert found is not None
        return found

    def change(self, **spec: object) -> None:
        found = self.daemon
        found["spec"].update(spec)
        self.world.put(DAEMONSET, found)

    def set_image(self, image: str) -> None:
        found = self.daemon
        found["spec"]["template"]["spec"]["containers"][0]["image"] = image
        self.world.put(DAEMONSET, found)

    def step(self) -> list[Call]:
        return self.world.step(self.controller, "default", "logs")

    def pods(self) -> list[Object]:
        return list(self.world.list(POD))

    def images(self) -> Counter[str]:
        return Counter(pod["spec"]["containers"][0]["image"] for pod in self.pods())

    def kubelets(self, ready: Callable[[Object], bool] = lambda _: True) -> None:
        for pod in self.pods():
            if pod["metadata"].get("deletionTimestamp") or podstate.is_ready(pod) != ready(pod):
                pod["spec"].setdefault("nodeName", target_node(pod))
                kubelet(self.world, pod, ready=ready(pod))

    def settle(self, check: Callable[[], None] = lambda: None, turns: int = 60) -> None:
        for _ in range(turns):
            before = self.world._revision
            self.step()
            check()
            self.kubelets()
            check()
            if self.world._revision == before:
                return
            self.world.now += 1
        raise AssertionError("it does not settle")

    def revisions(self) -> dict[int, str]:
        return {
            each["revision"]: each["data"]["spec"]["template"]["spec"]["containers"][0]["image"]
            for each in self.world.list(CONTROLLERREVISION)
        }


def test_each_node_gets_a_pod_that_the_scheduler_binds_there() -> None:
    cluster = Cluster()
    cluster.step()
    (revision,) = cluster.world.list(CONTROLLERREVISION)
    digest = labels_of(revision)[HASH]
    assert name_of(revision) == f"logs-{digest}"
    assert revision["data"]["spec"]["template"]["$patch"] == "replace"
    assert revision["revision"] == 1
    pods = cluster.pods()
    assert sorted(str(target_node(pod)) for pod in pods) == ["n0", "n1", "n2"]
    for pod in pods:
        assert "nodeName" not in pod["spec"]
        assert labels_of(pod) == {"app": "logs", HASH: digest}
        assert {(each["key"].rpartition("/")[2], each["effect"]) for each in pod["spec"]["tolerations"]} == {
            ("not-ready", "NoExecute"), ("unreachable", "NoExecute"), ("disk-pressure", "NoSchedule"),
            ("memory-pressure", "NoSchedule"), ("pid-pressure", "NoSchedule"), ("unschedulable", "NoSchedule"),
        }  # fmt: skip
    cluster.settle()
    assert cluster.daemon["status"] == {
        "currentNumberScheduled": 3,
        "numberMisscheduled": 0,
        "desiredNumberScheduled": 3,
        "numberReady": 3,
        "observedGeneration": 1,
        "updatedNumberScheduled": 3,
        "numberAvailable": 3,
    }
    assert [each.partition(":")[0] for each in cluster.world.events] == ["SuccessfulCreate"] * 3
    assert cluster.step() == [], "a plan that was carried out leaves nothing to do"


def test_the_templates_tolerations_stay_and_lose_their_time_limit() -> None:
    own = {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5}
    other = {"key": "dedicated", "value": "x"}
    found = tolerations({"tolerations": [other, own], "hostNetwork": True})
    assert found[:2] == [other, {key: value for key, value in own.items() if key != "tolerationSeconds"}]
    assert {"key": "node.kubernetes.io/network-unavailable", "operator": "Exists", "effect": "NoSchedule"} in found


def test_nodes_are_chosen_by_labels_taints_and_name() -> None:
    cluster = Cluster(0)
    cluster.node("tainted", taints=[{"key": "dedicated", "effect": "NoSchedule"}])
    cluster.node("cordoned", taints=[{"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}])
    cluster.node("plain")
    cluster.settle()
    assert sorted(pod["spec"]["nodeName"] for pod in cluster.pods()) == ["cordoned", "plain"]
    cluster.node("plain", taints=[{"key": "dedicated", "effect": "NoSchedule"}])
    cluster.settle()
    assert sorted(pod["spec"]["nodeName"] for pod in cluster.pods()) == ["cordoned", "plain"], "who is there may stay"
    assert cluster.daemon["status"]["numberMisscheduled"] == 1
    cluster.node("plain", taints=[{"key": "dedicated", "effect": "NoExecute"}])
    cluster.settle()
    assert [pod["spec"]["nodeName"] for pod in cluster.pods()] == ["cordoned"]
    spec = daemon()["spec"]["template"]["spec"] | {"nodeSelector": {"zone": "a"}}
    cluster.change(template=daemon()["spec"]["template"] | {"spec": spec})
    cluster.settle()
    assert cluster.pods() == []
    cluster.node("new", labels={"zone": "a"})
    cluster.settle()
    assert [pod["spec"]["nodeName"] for pod in cluster.pods()] == ["new"]


def test_a_pod_that_was_never_bound_ends_with_its_node() -> None:
    cluster = Cluster(2)
    cluster.step()
    cluster.world.gone(NODE, "", "n0")
    cluster.step()
    assert [target_node(pod) for pod in cluster.pods()] == ["n1"]


def test_a_rolling_update_replaces_one_after_the_other() -> None:
    cluster = Cluster(3)
    cluster.settle()
    cluster.set_image("v2")

    def check() -> None:
        assert sum(map(podstate.is_ready, cluster.pods())) >= 2
        assert len(cluster.pods()) <= 3

    cluster.settle(check)
    assert cluster.images() == {"v2": 3}
    assert cluster.revisions() == {1: "v1", 2: "v2"}
    cluster.set_image("v1")
    cluster.settle(check)
    assert cluster.revisions() == {2: "v2", 3: "v1"}, "going back gives the old revision the highest number"
    assert cluster.daemon["status"]["updatedNumberScheduled"] == 3


def test_surge_runs_the_new_pod_before_the_old_one_goes() -> None:
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}
    cluster = Cluster(3, updateStrategy=strategy)
    cluster.settle()
    cluster.set_image("v2")

    def check() -> None:
        nodes = Counter(pod["spec"]["nodeName"] for pod in cluster.pods() if podstate.is_active(pod) and podstate.is_ready(pod))
        assert len(nodes) == 3, "each node has a ready pod all the time"
        assert len(cluster.pods()) <= 4 + 1  # one more while an old one is on its way out

    cluster.settle(check)
    assert cluster.images() == {"v2": 3}


def test_on_delete_waits_for_somebody_to_delete() -> None:
    cluster = Cluster(2, updateStrategy={"type": "OnDelete"})
    cluster.settle()
    cluster.set_image("v2")
    cluster.settle()
    assert cluster.images() == {"v1": 2}
    assert cluster.daemon["status"].get("updatedNumberScheduled") is None
    cluster.world.gone(POD, "default", name_of(cluster.pods()[0]))
    cluster.settle()
    assert cluster.images() == {"v1": 1, "v2": 1}
    assert cluster.daemon["status"]["updatedNumberScheduled"] == 1


def test_history_is_bounded_and_keeps_what_pods_are_of() -> None:
    cluster = Cluster(2, revisionHistoryLimit=1, updateStrategy={"type": "OnDelete"})
    cluster.settle()
    for number in range(2, 6):
        cluster.set_image(f"v{number}")
        cluster.settle()
    assert cluster.revisions() == {1: "v1", 5: "v5"}


def test_a_taken_name_counts_a_collision() -> None:
    cluster = Cluster(1)
    cluster.step()
    (revision,) = cluster.world.list(CONTROLLERREVISION)
    cluster.world.gone(CONTROLLERREVISION, "default", name_of(revision))
    other = {"metadata": {"name": name_of(revision), "namespace": "default"}, "data": {}, "revision": 7}
    cluster.world.put(CONTROLLERREVISION, other)
    cluster.step()
    assert cluster.daemon["status"]["collisionCount"] == 1
    cluster.settle()
    assert len(list(cluster.world.list(CONTROLLERREVISION))) == 2
    assert cluster.daemon["status"]["updatedNumberScheduled"] == 1


def test_two_revisions_of_one_template_become_one() -> None:
    cluster = Cluster(1)
    cluster.settle()
    (revision,) = cluster.world.list(CONTROLLERREVISION)
    twin: dict[str, Any] = {
        **revision, "revision": 2, "metadata": {**revision["metadata"], "name": "twin", "uid": "u", "labels": {"app": "logs"}},
    }  # fmt: skip
    cluster.world.put(CONTROLLERREVISION, twin)
    cluster.settle()
    assert [name_of(each) for each in cluster.world.list(CONTROLLERREVISION)] == ["twin"]
    assert [labels_of(pod)[HASH] for pod in cluster.pods()] == ["twin"]


def test_failed_pods_are_replaced_with_growing_pauses() -> None:
    cluster = Cluster(1)
    cluster.settle()
    pauses = []
    for _ in range(4):
        (pod,) = cluster.pods()
        pod["status"] = {"phase": "Failed"}
        cluster.world.put(POD, pod)
        cluster.step()
        pauses.append(cluster.world.later)
        if cluster.world.later is not None:
            cluster.world.now += cluster.world.later
            cluster.step()
        assert cluster.pods() == [], "a failed pod is deleted"
        cluster.step()
    assert pauses == [None, 1.0, 2.0, 4.0]
    assert (
        f"FailedDaemonPod: Found failed daemon pod default/{name_of(pod)} on node n0, will try to kill it" in cluster.world.events
    )


def test_min_ready_seconds_delay_availability() -> None:
    cluster = Cluster(1, minReadySeconds=10)
    cluster.step()
    cluster.kubelets()
    cluster.step()
    assert cluster.daemon["status"]["numberReady"] == 1
    assert cluster.daemon["status"]["numberUnavailable"] == 1
    assert cluster.world.later == pytest.approx(10)
    cluster.world.now += 10
    cluster.step()
    assert cluster.daemon["status"]["numberAvailable"] == 1


def test_a_creation_that_fails_is_told_and_the_status_stays_true() -> None:
    cluster = Cluster(3)
    cluster.world.refuse = lambda call: (
        StatusError("Forbidden", "exceeded quota") if isinstance(call, Create) and call.kind is POD else None
    )
    cluster.step()
    assert cluster.world.events == ["FailedCreate: Error creating: exceeded quota"]
    assert cluster.daemon["status"]["desiredNumberScheduled"] == 3


def test_orphans_are_adopted_and_strangers_released() -> None:
    cluster = Cluster(1)
    cluster.settle()
    (pod,) = cluster.pods()
    del pod["metadata"]["ownerReferences"]
    cluster.world.put(POD, pod)
    cluster.settle()
    assert cluster.pods()[0]["metadata"]["ownerReferences"][0]["name"] == "logs"
    pod = cluster.pods()[0]
    pod["metadata"]["labels"]["app"] = "other"
    cluster.world.put(POD, pod)
    cluster.settle()
    assert sorted(len(each["metadata"].get("ownerReferences") or []) for each in cluster.pods()) == [0, 1]


def test_an_empty_selector_selects_nothing() -> None:
    cluster = Cluster(1, selector={})
    (call,) = cluster.step()
    assert isinstance(call, Record)
    assert call.reason == "SelectingAll"


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 6),
    st.sampled_from([(1, 0), (2, 0), ("50%", 0), (0, 1), (0, "50%"), (0, 3)]),
    st.lists(st.tuples(st.sampled_from(["image", "node", "taint", "kill", "fail"]), st.integers(0, 5)), max_size=6),
    st.randoms(use_true_random=False),
)
def test_no_node_ever_runs_more_than_its_share(nodes: int, bounds: Any, changes: list[tuple[str, int]], random: Any) -> None:
    """Whatever happens meanwhile, and whichever call is the last one before a crash: never two active pods on a node but for
    surge, and in the end one on each node, of the latest template."""
    unavailable, surge = bounds
    rolling = {"maxUnavailable": unavailable, "maxSurge": surge}
    cluster = Cluster(nodes, updateStrategy={"type": "RollingUpdate", "rollingUpdate": rolling})

    def check() -> None:
        active = Counter(target_node(pod) for pod in cluster.pods() if podstate.is_active(pod))
        assert max(active.values(), default=0) <= (2 if surge else 1)

    latest = "v1"
    for turn in range(12):
        if turn < len(changes):
            what, which = changes[turn]
            pods = cluster.pods()
            if what == "image":
                latest = f"v{which}"
                cluster.set_image(latest)
            elif what == "node":
                cluster.node(f"n{nodes + which}")
            elif what == "taint":
                cluster.node(f"n{which % nodes}", taints=[{"key": "x", "effect": random.choice(["NoSchedule", "NoExecute"])}])
            elif what == "kill" and pods:
                cluster.world.gone(POD, "default", name_of(pods[which % len(pods)]))
            elif what == "fail" and pods:
                failed = pods[which % len(pods)]
                failed["status"] = {"phase": "Failed"}
                cluster.world.put(POD, failed)
        calls = cluster.world.plan(cluster.controller, "default", "logs")
        cluster.world.carry_out(calls[: random.randint(0, len(calls))])
        check()
        cluster.kubelets(lambda _: random.random() < 0.7)
        check()
        cluster.world.now += 1
    for node in list(cluster.world.list(NODE)):
        cluster.node(name_of(node))
    cluster.world.now += 10_000
    cluster.settle(check, turns=200)
    assert cluster.images() == {latest: len(list(cluster.world.list(NODE)))}


def test_a_revision_is_written_as_go_programs_write_it() -> None:
    """kubectl and Kubernetes' own suite compare it byte by byte with what they make of the DaemonSet."""
    found = daemon()
    found["spec"]["template"]["spec"]["volumes"] = [{"name": "v", "emptyDir": {}, "hostPath": None}]
    assert orjson.dumps(snapshot(found)).decode() == (
        '{"spec":{"template":{"$patch":"replace","metadata":{"labels":{"app":"logs"}},'
        '"spec":{"containers":[{"image":"v1","name":"c","resources":{}}],"volumes":[{"emptyDir":{},"name":"v"}]}}}}'
    )
    kept = {"data": orjson.loads(orjson.dumps(snapshot(found)))}
    del kept["data"]["spec"]["template"]["spec"]["containers"][0]["resources"]
    assert matches(found, kept)


def test_a_revision_that_somebody_makes_wakes_nobody_and_one_that_is_lost_does() -> None:
    controller = daemonset.controller()
    reference = {"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "logs", "uid": "u", "controller": True}
    revision: Object = {"metadata": {"name": "r", "namespace": "default", "ownerReferences": [reference]}}

    def woken(old: Object | None, new: Object | None) -> set[Key]:
        change = Changed(CONTROLLERREVISION, Key("default", "r"), old, new)
        return {key for kind, keys in controller.watches if kind is CONTROLLERREVISION for key in keys(change, World())}

    assert woken(None, revision) == set()
    assert woken(revision, {**revision, "revision": 2}) == set()
    assert woken(revision, None) == {Key("default", "logs")}


@dataclass
class Changed:
    kind: Kind
    key: Key
    old: Object | None
    new: Object | None


def test_what_the_containers_of_a_pod_do_wakes_nobody() -> None:
    cluster = Cluster(nodes=1)
    cluster.step()
    (pod,) = cluster.pods()

    def woken(status: Object, **spec: object) -> set[str]:
        after = {**pod, "spec": {**pod["spec"], **spec}, "status": {**pod["status"], **status}}
        change = ViewChange(POD, Key("default", name_of(pod)), orjson.dumps(pod), orjson.dumps(after))
        keys = (keys_for(change, cluster.world) for kind, keys_for in cluster.controller.watches if kind is POD)
        return {key.name for found in keys for key in found}

    assert woken({"containerStatuses": [{"name": "c", "restartCount": 2}], "podIP": "10.42.0.9"}) == set()
    assert woken({"phase": "Failed"}) == {"logs"}
    assert woken({}, nodeName="n0") == {"logs"}
    assert woken({"conditions": [{"type": "Ready", "status": "True"}]}) == {"logs"}
