"""Placing pods: what fits, what is better, and what is said when nothing fits."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekube.api import quantities
from edgekube.api.objects import Object
from edgekube.scheduler.cluster import Cluster
from edgekube.scheduler.facts import node_facts, pending_pod, pod_facts, wants_node
from edgekube.scheduler.pending import Pending
from edgekube.scheduler.place import Placed, Unplaced, place
from edgekube.scheduler.resources import pod_requests


def node(name: str, cpu: str = "4", memory: str = "8Gi", pods: int = 110, **parts: Any) -> Object:
    found: Object = {
        "metadata": {"name": name, "uid": f"uid-{name}", "labels": {"kubernetes.io/hostname": name, **parts.pop("labels", {})}},
        "spec": parts.pop("spec", {}),
        "status": {"allocatable": {"cpu": cpu, "memory": memory, "pods": str(pods)}, **parts},
    }
    return found


def container(cpu: str = "", memory: str = "", **more: Any) -> Object:
    requests = {name: value for name, value in (("cpu", cpu), ("memory", memory)) if value}
    return {"name": more.pop("name", "c"), "image": "app", "resources": {"requests": requests}, **more}


def pod(name: str, *containers: Object, on: str = "", owner: str = "", **spec: Any) -> Object:
    metadata: Object = {"name": name, "namespace": "default", "uid": f"uid-{name}", "labels": {"pod": name}}
    if owner:
        metadata["ownerReferences"] = [{"uid": owner, "controller": True}]
    body: Object = {"containers": list(containers) or [container()], **spec}
    if on:
        body["nodeName"] = on
    return {"metadata": metadata, "spec": body, "status": {}}


def cluster_of(*objects: Object) -> Cluster:
    cluster = Cluster()
    for each in objects:
        if "containers" in each["spec"]:
            cluster.set_pod(pod_facts(each))
        else:
            cluster.set_node(node_facts(each))
    return cluster


def where(cluster: Cluster, what: Object) -> str:
    answer = place(pending_pod(what), list(cluster.nodes.values()))
    return answer.node if isinstance(answer, Placed) else answer.message


def test_without_nodes_there_is_nothing_to_choose() -> None:
    assert where(Cluster(), pod("a")) == "no nodes available to schedule pods"


def test_each_reason_is_counted() -> None:
    taint = {"key": "dedicated", "value": "db", "effect": "NoSchedule"}
    cluster = cluster_of(
        node("small", cpu="500m", memory="100Mi"),
        node("full", pods=1),
        pod("resident", on="full"),
        node("cordoned", spec={"unschedulable": True}),
        node("tainted", spec={"taints": [taint]}),
        node("elsewhere", labels={"zone": "b"}),
    )
    message = where(
        cluster, pod("a", container("1", "1Gi"), nodeSelector={"zone": "a"}, tolerations=[{"key": "x", "operator": "Exists"}])
    )
    assert message == (
        "0/5 nodes are available: 1 node(s) had untolerated taint(s), 1 node(s) were unschedulable, "
        "3 node(s) didn't match Pod's node affinity/selector."
    )
    assert where(cluster, pod("a", container("5", "1Gi"))) == (
        "0/5 nodes are available: 1 Insufficient memory, 1 Too many pods, 1 node(s) had untolerated taint(s), "
        "1 node(s) were unschedulable, 3 Insufficient cpu."
    )


def test_a_toleration_opens_a_tainted_node() -> None:
    cluster = cluster_of(node("n", spec={"taints": [{"key": "dedicated", "value": "db", "effect": "NoExecute"}]}))
    assert where(cluster, pod("a", tolerations=[{"key": "dedicated", "value": "db"}])) == "n"
    assert where(cluster, pod("a", tolerations=[{"operator": "Exists"}])) == "n"
    assert "untolerated" in where(cluster, pod("a", tolerations=[{"key": "dedicated", "value": "web"}]))
    assert "untolerated" in where(cluster, pod("a", tolerations=[{"key": "dedicated", "value": "db", "effect": "NoSchedule"}]))


@pytest.mark.parametrize(
    ("expression", "fits"),
    [
        ({"key": "zone", "operator": "In", "values": ["a", "b"]}, True),
        ({"key": "zone", "operator": "NotIn", "values": ["a"]}, False),
        ({"key": "rack", "operator": "NotIn", "values": ["a"]}, True),
        ({"key": "zone", "operator": "Exists"}, True),
        ({"key": "zone", "operator": "DoesNotExist"}, False),
        ({"key": "cores", "operator": "Gt", "values": ["3"]}, True),
        ({"key": "cores", "operator": "Lt", "values": ["4"]}, False),
        ({"key": "zone", "operator": "Gt", "values": ["3"]}, False),
    ],
)
def test_required_affinity(expression: Object, fits: bool) -> None:
    cluster = cluster_of(node("n", labels={"zone": "a", "cores": "4"}))
    terms = [{"matchExpressions": [expression]}]
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}
    assert (where(cluster, pod("a", affinity=affinity)) == "n") is fits


def test_required_affinity_by_field_and_empty_term() -> None:
    cluster = cluster_of(node("n1"), node("n2"))

    def affinity(*terms: Object) -> Object:
        return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": list(terms)}}}

    by_name = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n2"]}]}
    assert where(cluster, pod("a", affinity=affinity(by_name))) == "n2"
    assert "affinity/selector" in where(cluster, pod("a", affinity=affinity({})))
    assert where(cluster, pod("a", affinity=affinity({}, by_name))) == "n2", "terms are alternatives"


def test_host_ports_clash_on_overlapping_addresses() -> None:
    def with_port(name: str, on: str = "", **port: Any) -> Object:
        return pod(name, container(ports=[{"containerPort": 80, "hostPort": 80, **port}]), on=on)

    cluster = cluster_of(node("n"), with_port("there", on="n", hostIP="127.0.0.1"))
    assert where(cluster, with_port("a", hostIP="127.0.0.2")) == "n"
    assert where(cluster, with_port("a", protocol="UDP")) == "n"
    assert "free ports" in where(cluster, with_port("a"))
    assert "free ports" in where(cluster, with_port("a", hostIP="127.0.0.1"))


def test_replicas_spread_and_prefer_the_emptier_node() -> None:
    cluster = cluster_of(node("n1"), node("n2"), pod("w1", on="n1", owner="web"), pod("big", container("1", "1Gi"), on="n2"))
    assert where(cluster, pod("w2", owner="web")) == "n2", "spread weighs more than load"
    assert where(cluster, pod("x", container("1", "1Gi"), owner="other")) == "n1"


def test_preferences_decide_between_nodes_that_fit() -> None:
    avoid = {"key": "flaky", "effect": "PreferNoSchedule"}
    cluster = cluster_of(node("n1", spec={"taints": [avoid]}), node("n2"), node("n3", labels={"disk": "ssd"}))
    assert where(cluster, pod("a")) == "n2"
    term = {"weight": 10, "preference": {"matchExpressions": [{"key": "disk", "operator": "In", "values": ["ssd"]}]}}
    affinity = {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [term]}}
    assert where(cluster, pod("a", affinity=affinity)) == "n3"


def test_an_image_that_is_there_attracts() -> None:
    image = {"names": ["docker.io/library/app:latest", "app:latest"], "sizeBytes": 900 * 1024 * 1024}
    assert where(cluster_of(node("n1"), node("n2", images=[image])), pod("a")) == "n2"


def test_init_containers_sidecars_and_overhead_count() -> None:
    asked = pod(
        "a",
        container("100m", "100Mi"),
        container("200m", "100Mi"),
        initContainers=[
            container("50m", name="proxy", restartPolicy="Always"),
            container("1", "50Mi", name="migrate"),
        ],
        overhead={"cpu": "10m"},
    )
    assert pod_requests(asked) == {"cpu": 1060, "memory": 200 * 1024 * 1024}
    whole = pod("a", container("100m", "100Mi"), resources={"requests": {"cpu": "2"}})
    assert pod_requests(whole) == {"cpu": 2000, "memory": 100 * 1024 * 1024}


def test_who_is_ours_to_place() -> None:
    assert wants_node(pod("a"))
    assert wants_node(pod("a", schedulerName="default-scheduler"))
    assert not wants_node(pod("a", schedulerName="other"))
    assert not wants_node(pod("a", schedulingGates=[{"name": "wait"}]))
    assert not wants_node(pod("a", on="n"))
    deleting = pod("a")
    deleting["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert not wants_node(deleting)


SIZES = st.integers(0, 1500)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(100, 3000), st.integers(1, 5)), min_size=1, max_size=4), st.lists(SIZES, max_size=25))
def test_nothing_is_ever_overcommitted(nodes: list[tuple[int, int]], pods: list[int]) -> None:
    cluster = cluster_of(*(node(f"n{i}", cpu=f"{cpu}m", pods=count) for i, (cpu, count) in enumerate(nodes)))
    for number, cpu in enumerate(pods):
        wanted = pending_pod(pod(f"p{number}", container(f"{cpu}m")))
        answer = place(wanted, list(cluster.nodes.values()))
        if isinstance(answer, Placed):
            cluster.assume(wanted.facts, answer.node)
        else:
            assert all(
                len(state.pods) >= state.facts.allocatable["pods"]
                or cpu > state.facts.allocatable["cpu"] - state.used.get("cpu", 0)
                for state in cluster.nodes.values()
            ), "it refused although there was room"
    for state in cluster.nodes.values():
        used = sum(each.requests.get("cpu", 0) for each in state.pods.values())
        assert used == state.used.get("cpu", 0) <= state.facts.allocatable["cpu"]
        assert len(state.pods) <= state.facts.allocatable["pods"]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["place", "remove", "move", "node", "gone"]), st.integers(0, 5), st.integers(0, 2)), max_size=40
    )
)
def test_the_books_always_balance(happenings: list[tuple[str, int, int]]) -> None:
    cluster = Cluster()
    for what, number, target in happenings:
        if what == "node":
            cluster.set_node(node_facts(node(f"n{target}")))
        elif what == "gone":
            cluster.remove_node(f"n{target}")
        elif what == "remove":
            cluster.remove_pod(f"uid-p{number}")
        else:
            cluster.set_pod(pod_facts(pod(f"p{number}", container(f"{number}00m"), on=f"n{target}", owner=str(number % 2))))
        for state in cluster.nodes.values():
            assert state.used.get("cpu", 0) == sum(each.requests.get("cpu", 0) for each in state.pods.values())
            assert sum(state.families.values()) == len(state.pods)
    assert sum(len(state.pods) for state in cluster.nodes.values()) <= 6


def test_quantities_of_any_form_are_understood() -> None:
    cluster = cluster_of(node("n", cpu="0.5", memory="1e9"))
    assert where(cluster, pod("a", container("500m", "1G"))) == "n"
    assert "Insufficient memory" in where(cluster, pod("a", container("500m", "1Gi")))
    assert quantities.to_milli("0.5") == 500


def test_the_queue_hands_out_by_priority_then_age() -> None:
    pending = Pending()
    for name, priority, created in (("late", 0, "12"), ("early", 0, "11"), ("urgent", 100, "13")):
        asked = pod(name, priority=priority)
        asked["metadata"]["creationTimestamp"] = f"2026-01-01T{created}:00:00Z"
        pending.add(pending_pod(asked))
    order = [taken.facts.name for taken in iter(lambda: pending.take(0.0), None)]
    assert order == ["urgent", "early", "late"]


def test_an_unplaced_pod_waits_for_a_change_and_its_pause() -> None:
    pending = Pending()
    wanted = pending_pod(pod("a"))
    pending.add(wanted)
    assert pending.take(0.0) is wanted
    pending.park(wanted, 0.0)
    pending.add(pending_pod(pod("a")))
    assert pending.take(100.0) is None, "its own status is no reason to try again"
    assert pending.next_at() == 300.0
    pending.something_changed()
    assert pending.next_at() == 0.1
    assert pending.take(0.05) is None
    again = pending.take(1.0)
    assert again is not None
    pending.park(again, 1.0)
    pending.something_changed()
    assert pending.next_at() == 1.2, "the pause doubles"
    changed = pod("a", nodeSelector={"disk": "ssd"})
    pending.add(pending_pod(changed))
    assert pending.take(1.0) is not None, "a changed pod is tried at once"
    pending.remove("uid-a")
    assert len(pending) == 0


def test_unplaced_says_so() -> None:
    assert place(pending_pod(pod("a")), []) == Unplaced("no nodes available to schedule pods")
