"""Making room: whom, where, and never anybody who matters more."""

from __future__ import annotations

from itertools import combinations
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from edgekube.api.objects import Object
from edgekube.api.selectors.labels import label_selector_of
from edgekube.scheduler.cluster import Cluster
from edgekube.scheduler.facts import pod_facts
from edgekube.scheduler.place import Placed, Unplaced, place, refusal_of
from edgekube.scheduler.pods import PendingPod, pending_pod
from edgekube.scheduler.preemption import NoPreemption, Preemption, importance, preempt
from edgekube.scheduler.profiles import Profile
from edgekube.scheduler.surroundings import Budget
from tests.scheduler.worlds import cluster_of, container, node, pod


def sized(name: str, cpu: int, priority: int = 0, on: str = "", started: str = "", **more: Any) -> Object:
    status = {"startTime": started} if started else {}
    return pod(name, container(f"{cpu}m"), on=on, priority=priority, status=status, **more)


def room_for(cluster: Cluster, wanted: Object) -> Preemption | NoPreemption:
    pending, profile = pending_pod(wanted), Profile()
    before = snapshot(cluster)
    answer = place(pending, cluster, profile)
    assert isinstance(answer, Unplaced)
    found = preempt(pending, answer, cluster, profile)
    assert snapshot(cluster) == before, "it was all in thought"
    return found


def snapshot(cluster: Cluster) -> object:
    nodes = {name: (dict(state.used), set(state.pods)) for name, state in cluster.nodes.items()}
    kin = {
        (namespace, labels): (dict(each.on), dict(each.staying))
        for namespace, families in cluster.kin.items()
        for labels, each in families.items()
    }
    return nodes, kin, {each.uid for each in cluster.pods() if cluster.is_assumed(each.uid)}


def names(found: Preemption | NoPreemption) -> tuple[str, list[str]]:
    assert isinstance(found, Preemption), found
    return found.node, [each.name for each in found.victims]


def test_the_fewest_and_least_important_go() -> None:
    cluster = cluster_of(
        node("n1", cpu="1"), node("n2", cpu="1"),
        sized("big", 900, 5, "n1"), sized("small", 100, 1, "n1"),
        sized("mid-a", 500, 1, "n2"), sized("mid-b", 500, 2, "n2"),
    )  # fmt: skip
    assert names(room_for(cluster, sized("new", 400, 10))) == ("n2", ["mid-a"])
    assert names(room_for(cluster, sized("new", 100, 2))) == ("n1", ["small"])


def test_nobody_of_equal_or_higher_priority_goes() -> None:
    cluster = cluster_of(node("n1", cpu="1"), node("n2", cpu="100m"), sized("there", 1000, 10, "n1"))
    found = room_for(cluster, sized("new", 500, 10))
    assert found == NoPreemption(
        "preemption: 0/2 nodes are available: 1 No preemption victims found for incoming pod, "
        "1 Preemption is not helpful for scheduling.",
        forget_nomination=True,
    )


def test_a_pod_that_does_not_preempt() -> None:
    cluster = cluster_of(node("n1", cpu="1"), sized("there", 1000, 0, "n1"))
    found = room_for(cluster, sized("new", 500, 10, preemptionPolicy="Never"))
    assert found == NoPreemption("preemption: not eligible due to preemptionPolicy=Never.", forget_nomination=False)


def test_it_waits_while_its_victims_end() -> None:
    there = sized("there", 1000, 0, "n1")
    there["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    there["status"]["conditions"] = [{"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler"}]
    cluster = cluster_of(node("n1", cpu="1"), node("n2", cpu="1"), there, sized("other", 1000, 1, "n2"))
    waiting = sized("new", 500, 10)
    waiting["status"]["nominatedNodeName"] = "n1"
    assert room_for(cluster, waiting) == NoPreemption(
        "preemption: not eligible due to a terminating pod on the nominated node.", forget_nomination=False
    )
    cluster.set_node(cluster.nodes["n1"].facts)
    cluster.nodes["n1"].facts.unschedulable = True
    cluster.touched("n1")
    assert names(room_for(cluster, waiting)) == ("n2", ["other"]), "that node has become impossible"


def test_budgets_are_kept_where_there_is_a_choice() -> None:
    cluster = cluster_of(
        node("n1", cpu="1"),
        sized("guarded", 500, 0, "n1", labels={"app": "db"}),
        sized("free", 500, 1, "n1"),
        node("n2", cpu="1"),
        sized("guarded-2", 1000, 0, "n2", labels={"app": "db"}),
    )
    cluster.surroundings.budgets["b"] = Budget("default", label_selector_of({"matchLabels": {"app": "db"}}), 0)
    assert names(room_for(cluster, sized("new", 500, 10))) == ("n1", ["free"]), "although it is more important than the guarded"
    assert names(room_for(cluster, sized("new", 900, 10)))[0] in ("n1", "n2"), "but not at any price"
    cluster.surroundings.budgets["b"] = Budget(
        "default", label_selector_of({"matchLabels": {"app": "db"}}), 0, frozenset({"guarded-2"})
    )
    assert names(room_for(cluster, sized("new", 900, 10))) == ("n2", ["guarded-2"]), "it is on its way out already"


def test_of_equals_the_one_that_has_run_for_the_shortest_time_goes() -> None:
    cluster = cluster_of(
        node("n1", cpu="1"), sized("old", 1000, 0, "n1", "2026-01-01T00:00:00Z"),
        node("n2", cpu="1"), sized("young", 1000, 0, "n2", "2026-02-01T00:00:00Z"),
    )  # fmt: skip
    assert names(room_for(cluster, sized("new", 500, 10))) == ("n2", ["young"])


def test_room_made_for_one_is_not_taken_by_another() -> None:
    cluster = cluster_of(node("n1", cpu="1"))
    first, second = pending_pod(sized("first", 800, 10)), pending_pod(sized("second", 800, 10))
    cluster.nominate(first.facts, "n1")
    answer = place(second, cluster, Profile())
    assert isinstance(answer, Unplaced) and "Insufficient cpu" in answer.message
    assert place(pending_pod(sized("more", 800, 11)), cluster, Profile()) == Placed("n1"), "a more important one may"
    assert place(first, cluster, Profile()) == Placed("n1")
    assert cluster.forget_nomination("uid-first") == "n1"
    assert place(second, cluster, Profile()) == Placed("n1")


def test_anti_affinity_and_host_ports_are_reasons_to_preempt() -> None:
    port = container(ports=[{"hostPort": 80}])
    cluster = cluster_of(node("n1"), pod("there", port, on="n1"))
    assert names(room_for(cluster, pod("new", port, priority=1))) == ("n1", ["there"])
    term = {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "x"}}}
    away = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
    cluster = cluster_of(node("n1"), pod("x", on="n1", labels={"app": "x"}), pod("y", on="n1", labels={"app": "y"}))
    assert names(room_for(cluster, pod("new", affinity=away, priority=1))) == ("n1", ["x"])


# --- properties ------------------------------------------------------------------------------------------------------

RESIDENTS = st.lists(st.tuples(st.integers(0, 2), st.integers(1, 8), st.integers(0, 3), st.booleans()), min_size=1, max_size=10)


def _fits_without(cluster: Cluster, wanted: PendingPod, name: str, gone: set[str]) -> bool:
    """The oracle: another cluster, in which those pods never were."""
    other = Cluster()
    for state in cluster.nodes.values():
        other.set_node(state.facts)
    for each in cluster.pods():
        if each.uid not in gone:
            other.set_pod(each)
    return refusal_of(wanted, other.nodes[name], other, Profile()) is None


@settings(max_examples=120, deadline=None)
@given(RESIDENTS, st.integers(1, 10), st.integers(0, 4), st.integers(0, 1))
def test_victims_are_lesser_and_all_needed(
    residents: list[tuple[int, int, int, bool]], cpu: int, priority: int, allowed: int
) -> None:
    cluster = cluster_of(*(node(f"n{i}", cpu="1") for i in range(3)))
    for i, (at, size, theirs, guarded) in enumerate(residents):
        state = cluster.nodes[f"n{at}"]
        facts = pod_facts(sized(f"p{i}", size * 100, theirs, f"n{at}", labels={"app": "db"} if guarded else {}))
        if state.used.get("cpu", 0) + size * 100 <= 1000:
            cluster.set_pod(facts)
    cluster.surroundings.budgets["b"] = Budget("default", label_selector_of({"matchLabels": {"app": "db"}}), allowed)
    wanted = pending_pod(sized("new", cpu * 100, priority))
    answer = place(wanted, cluster, Profile())
    possible = {
        name
        for name, state in cluster.nodes.items()
        if _fits_without(cluster, wanted, name, {each.uid for each in state.pods.values() if each.priority < priority})
    }
    if isinstance(answer, Placed):
        assert answer.node in possible
        return
    before = snapshot(cluster)
    found = preempt(wanted, answer, cluster, Profile())
    assert snapshot(cluster) == before
    assert found == preempt(wanted, answer, cluster, Profile()), "the same question has the same answer"
    if isinstance(found, NoPreemption):
        assert not possible
        return
    assert all(each.priority < priority and each.node == found.node for each in found.victims)
    gone = {each.uid for each in found.victims}
    assert _fits_without(cluster, wanted, found.node, gone)
    for fewer in combinations(gone, len(gone) - 1):
        assert not _fits_without(cluster, wanted, found.node, set(fewer)), "nobody goes in vain"
    assert list(found.victims) == sorted(found.victims, key=importance)
