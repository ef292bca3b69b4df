"""Placing pods: what fits, what is better, and what is said when nothing fits."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekube.api import quantities
from edgekube.api.objects import Object
from edgekube.api.pod_requests import pod_requests
from edgekube.api.selectors.labels import label_selector_of
from edgekube.scheduler.cluster import Cluster, Kin
from edgekube.scheduler.facts import node_facts, pod_facts
from edgekube.scheduler.place import Placed, Unplaced, place
from edgekube.scheduler.pods import pending_pod, wants_node
from edgekube.scheduler.profiles import Profile, default_filters
from tests.scheduler.worlds import cluster_of, container, node, pod, where


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
    web = {"app": "web"}
    cluster = cluster_of(
        node("n1"),
        node("n2"),
        *(pod(f"w{i}", on="n1", owner="web", labels=web) for i in range(3)),
        pod("big", container("1", "1Gi"), on="n2"),
    )
    cluster.surroundings.owners["web"] = label_selector_of({"matchLabels": web})
    assert where(cluster, pod("w3", owner="web", labels=web)) == "n2", "spread weighs more than load"
    assert where(cluster, pod("x", container("1", "1Gi"), owner="other")) == "n1"
    del cluster.surroundings.owners["web"]
    cluster.surroundings.services["default"] = {"web": web}
    assert where(cluster, pod("w3", labels=web)) == "n2", "a service makes a family as well"


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


def kins(cluster: Cluster) -> list[Kin]:
    return [kin for families in cluster.kin.values() for kin in families.values()]


SIZES = st.integers(0, 1500)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(100, 3000), st.integers(1, 5)), min_size=1, max_size=4), st.lists(SIZES, max_size=25))
def test_nothing_is_ever_overcommitted(nodes: list[tuple[int, int]], pods: list[int]) -> None:
    profile = Profile()
    cluster = cluster_of(*(node(f"n{i}", cpu=f"{cpu}m", pods=count) for i, (cpu, count) in enumerate(nodes)))
    for number, cpu in enumerate(pods):
        wanted = pending_pod(pod(f"p{number}", container(f"{cpu}m")))
        answer = place(wanted, cluster, profile)
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
            assert sum(kin.on.get(state.facts.name, 0) for kin in kins(cluster)) == len(state.pods)
    assert sum(len(state.pods) for state in cluster.nodes.values()) <= 6


def test_quantities_of_any_form_are_understood() -> None:
    cluster = cluster_of(node("n", cpu="0.5", memory="1e9"))
    assert where(cluster, pod("a", container("500m", "1G"))) == "n"
    assert "Insufficient memory" in where(cluster, pod("a", container("500m", "1Gi")))
    assert quantities.to_milli("0.5") == 500


def test_unplaced_says_so() -> None:
    assert place(pending_pod(pod("a")), Cluster(), Profile()) == Unplaced("no nodes available to schedule pods")


def test_the_guide_to_adding_a_rule_is_right() -> None:
    page = (Path(__file__).parents[2] / "docs/scheduler.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", page.partition("## Adding a rule")[2], re.DOTALL)
    made: dict[str, Any] = {}
    exec(code, made)
    profile = Profile(filters=(*default_filters(), made["ROOF_FILTER"]))
    cluster = cluster_of(node("a"), node("b"), node("c"))
    wanting = pod("w", labels={"example.com/needs-roof": ""})
    assert where(cluster, pod("p"), profile) == "a"
    assert where(cluster, wanting, profile) == "0/3 nodes are available: 3 node(s) had no roof."
    cluster.set_node(node_facts(node("c", labels={"example.com/roof": ""})))
    assert where(cluster, wanting, profile) == "c"
