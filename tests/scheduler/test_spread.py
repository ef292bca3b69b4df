"""Topology spread: examples, and a brute-force reading of the documentation beside the real thing."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekube.api.objects import Object
from edgekube.scheduler.place import wide_checks
from edgekube.scheduler.plugins.spread import spread_score
from edgekube.scheduler.pods import pending_pod
from edgekube.scheduler.profiles import Profile
from tests.scheduler.worlds import cluster_of, node, pod, where

ZONE = "zone"
HOST = "kubernetes.io/hostname"
WEB = {"app": "web"}


def evenly(key: str = ZONE, skew: int = 1, when: str = "DoNotSchedule", **more: Any) -> Object:
    return {
        "topologyKey": key,
        "maxSkew": skew,
        "whenUnsatisfiable": when,
        "labelSelector": {"matchLabels": WEB},
        **more,
    }


def web(name: str, on: str = "", **more: Any) -> Object:
    return pod(name, on=on, labels={**WEB, **more.pop("labels", {})}, **more)


def zones() -> list[Object]:
    return [node("a1", labels={ZONE: "a"}), node("a2", labels={ZONE: "a"}), node("b1", labels={ZONE: "b"})]


def test_the_emptier_zone_is_the_only_one() -> None:
    cluster = cluster_of(*zones(), web("w0", "a1"))
    assert where(cluster, web("w1", topologySpreadConstraints=[evenly()])) == "b1"
    cluster = cluster_of(*zones(), web("w0", "a1"), node("bare"))
    assert where(cluster, web("w1", nodeSelector={ZONE: "a"}, topologySpreadConstraints=[evenly()])) == "a2"
    ignoring = evenly(nodeAffinityPolicy="Ignore")
    assert where(cluster, web("w1", nodeSelector={ZONE: "a"}, topologySpreadConstraints=[ignoring])) == (
        "0/4 nodes are available: 2 node(s) didn't match Pod's node affinity/selector, "
        "2 node(s) didn't match pod topology spread constraints."
    )
    assert where(cluster, web("w1", topologySpreadConstraints=[evenly("rack")])) == (
        "0/4 nodes are available: 4 node(s) didn't match pod topology spread constraints (missing required label)."
    )


def test_too_few_domains_count_as_an_empty_one() -> None:
    cluster = cluster_of(*zones(), web("w0", "a1"), web("w1", "b1"))
    assert where(cluster, web("w2", topologySpreadConstraints=[evenly(minDomains=2)])) == "a2"
    assert "topology spread" in where(cluster, web("w2", topologySpreadConstraints=[evenly(minDomains=3)]))


def test_tainted_nodes_are_domains_unless_taints_are_honoured() -> None:
    barred = {"taints": [{"key": "k", "effect": "NoSchedule"}]}
    cluster = cluster_of(node("a1", labels={ZONE: "a"}), node("b1", labels={ZONE: "b"}, spec=barred), web("w0", "a1"))
    assert "topology spread" in where(cluster, web("w1", topologySpreadConstraints=[evenly()]))
    assert where(cluster, web("w1", topologySpreadConstraints=[evenly(nodeTaintsPolicy="Honor")])) == "a1"


def test_match_label_keys_count_one_revision() -> None:
    cluster = cluster_of(*zones(), web("w0", "a1", labels={"rev": "1"}))
    keyed = evenly(matchLabelKeys=["rev", "nothing"])
    assert where(cluster, web("w1", labels={"rev": "2"}, nodeSelector={HOST: "a2"}, topologySpreadConstraints=[keyed])) == "a2"
    assert where(cluster, web("w1", labels={"rev": "1"}, topologySpreadConstraints=[keyed])) == "b1"


def test_who_leaves_is_not_counted() -> None:
    leaving = web("w0", "a1")
    leaving["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    cluster = cluster_of(*zones(), leaving, web("w1", "b1"))
    assert where(cluster, web("w2", topologySpreadConstraints=[evenly()])) in ("a1", "a2")


def test_schedule_anyway_prefers() -> None:
    cluster = cluster_of(*zones(), web("w0", "b1"), web("w1", "a1"), web("w2", "a1"))
    assert where(cluster, web("w3", topologySpreadConstraints=[evenly(when="ScheduleAnyway")])) == "b1"
    cluster = cluster_of(*zones(), web("w0", "a2"))
    assert where(cluster, web("w3", topologySpreadConstraints=[evenly(HOST, when="ScheduleAnyway")])) in ("a1", "b1")


#: Worked out by hand from upstream's formula: round(pods * ln(nodes + 2)), then 100 * (most + least - mine) / most.
@pytest.mark.parametrize(
    ("pods", "scores"),
    [([0, 0], [100, 100]), ([1, 0], [0, 100]), ([2, 1, 0, 3], [20, 60, 100, 0]), ([4, 3, 2, 1], [28, 57, 71, 100])],
)
def test_scores_by_hand(pods: list[int], scores: list[int]) -> None:
    names = [f"n{i}" for i in range(len(pods))]
    residents = [web(f"{name}-{i}", name) for name, count in zip(names, pods, strict=True) for i in range(count)]
    cluster = cluster_of(*map(node, names), *residents)
    newcomer = pending_pod(web("new", topologySpreadConstraints=[evenly(HOST, when="ScheduleAnyway")]))
    assert spread_score(2).rank(newcomer, cluster, [cluster.nodes[name] for name in names]) == scores


# --- a brute-force oracle --------------------------------------------------------------------------------------------

CONSTRAINTS = st.fixed_dictionaries(
    {
        "topologyKey": st.sampled_from([ZONE, HOST]),
        "maxSkew": st.integers(1, 2),
        "whenUnsatisfiable": st.just("DoNotSchedule"),
        "labelSelector": st.sampled_from([{"matchLabels": WEB}, {"matchLabels": {"app": "db"}}]),
    },
    optional={
        "minDomains": st.integers(1, 4),
        "nodeAffinityPolicy": st.sampled_from(["Honor", "Ignore"]),
        "nodeTaintsPolicy": st.sampled_from(["Honor", "Ignore"]),
    },
)


def oracle(wanted: list[Object], newcomer: Object, at: Object, nodes: dict[str, Object], residents: list[Object]) -> bool:
    """kubernetes.io: skew = matching pods in the domain (with the newcomer) - the smallest number in any eligible domain."""
    selector = newcomer["spec"].get("nodeSelector") or {}
    for each in wanted:
        key, labels = each["topologyKey"], at["metadata"]["labels"]
        if key not in labels:
            return False
        eligible = [
            other
            for other in nodes.values()
            if all(one["topologyKey"] in other["metadata"]["labels"] for one in wanted)
            and (
                each.get("nodeAffinityPolicy") == "Ignore"
                or all(other["metadata"]["labels"].get(name) == value for name, value in selector.items())
            )
            and (each.get("nodeTaintsPolicy") != "Honor" or not other["spec"].get("taints"))
        ]
        matching = [
            resident
            for resident in residents
            if resident["metadata"]["labels"]["app"] == each["labelSelector"]["matchLabels"]["app"]
        ]
        counts: dict[str, int] = {}
        for other in eligible:
            mine = [resident for resident in matching if resident["spec"]["nodeName"] == other["metadata"]["name"]]
            value = other["metadata"]["labels"][key]
            counts[value] = counts.get(value, 0) + len(mine)
        least = min(counts.values(), default=0) if len(counts) >= each.get("minDomains", 1) else 0
        own = newcomer["metadata"]["labels"]["app"] == each["labelSelector"]["matchLabels"]["app"]
        if counts.get(labels[key], 0) + own - least > each["maxSkew"]:
            return False
    return True


@settings(max_examples=100, deadline=None)
@given(
    st.lists(CONSTRAINTS, min_size=1, max_size=2),
    st.lists(st.tuples(st.integers(0, 4), st.sampled_from(["web", "db"])), max_size=8),
    st.sampled_from([{}, {ZONE: "a"}, {"disk": "ssd"}]),
)
def test_as_the_documentation_read_by_brute_force(
    wanted: list[Object], residents: list[tuple[int, str]], selector: dict[str, str]
) -> None:
    tainted = {"taints": [{"key": "k", "effect": "NoSchedule"}]}
    nodes = {
        "n0": node("n0", labels={ZONE: "a", "disk": "ssd"}),
        "n1": node("n1", labels={ZONE: "a"}),
        "n2": node("n2", labels={ZONE: "b", "disk": "ssd"}),
        "n3": node("n3", labels={ZONE: "c"}, spec=tainted),
        "n4": node("n4"),
    }
    bound = [pod(f"p{i}", on=f"n{at}", labels={"app": app}) for i, (at, app) in enumerate(residents)]
    newcomer = pod("new", labels=WEB, topologySpreadConstraints=wanted, nodeSelector=selector)
    cluster = cluster_of(*nodes.values(), *bound)
    checks, _ = wide_checks(pending_pod(newcomer), cluster, Profile())
    may = {name for name, state in cluster.nodes.items() if all(check(state) is None for check in checks)}
    assert may == {name for name, each in nodes.items() if oracle(wanted, newcomer, each, nodes, bound)}
