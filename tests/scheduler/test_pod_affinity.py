"""Pods near others or away from them: examples, and a brute-force reading of the documentation beside the real thing."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from edgekube.api.objects import Object
from edgekube.scheduler.cluster import Cluster
from edgekube.scheduler.place import Placed, place, wide_checks
from edgekube.scheduler.pods import pending_pod
from edgekube.scheduler.profiles import Profile
from tests.scheduler.worlds import cluster_of, node, pod, where

ZONE = "zone"
HOST = "kubernetes.io/hostname"


def term(key: str = ZONE, *, app: str | None = "db", **more: Any) -> Object:
    selector: Object = {} if app is None else {"matchLabels": {"app": app}}
    return {"topologyKey": key, "labelSelector": selector, **more}


def near(*terms: Object, kind: str = "podAffinity") -> Object:
    return {kind: {"requiredDuringSchedulingIgnoredDuringExecution": list(terms)}}


def away(*terms: Object) -> Object:
    return near(*terms, kind="podAntiAffinity")


def liking(weight: int, each: Object, kind: str = "podAffinity") -> Object:
    return {kind: {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": weight, "podAffinityTerm": each}]}}


def zones() -> list[Object]:
    return [node("a1", labels={ZONE: "a"}), node("a2", labels={ZONE: "a"}), node("b1", labels={ZONE: "b"}), node("none")]


def db(name: str, on: str, **more: Any) -> Object:
    return pod(name, on=on, labels={"app": "db"}, **more)


def test_a_pod_goes_where_those_are_that_it_wants_to_be_near() -> None:
    cluster = cluster_of(*zones(), db("d", "b1"))
    assert where(cluster, pod("web", affinity=near(term()))) == "b1"
    assert where(cluster, pod("web", affinity=near(term(app="cache")))) == (
        "0/4 nodes are available: 4 node(s) didn't match pod affinity rules."
    )


def test_the_first_of_a_series_may_start_where_the_label_is() -> None:
    cluster = cluster_of(*zones())
    assert where(cluster, pod("d0", labels={"app": "db"}, affinity=near(term()))) in ("a1", "a2", "b1")
    cluster = cluster_of(*zones(), db("d0", "b1"))
    assert where(cluster, pod("d1", labels={"app": "db"}, affinity=near(term()))) == "b1"


def test_a_pod_keeps_away_and_is_kept_away() -> None:
    cluster = cluster_of(*zones(), db("d", "a1", affinity=away(term(app="web"))))
    assert where(cluster, pod("w", labels={"app": "web"}, nodeSelector={ZONE: "a"})) == (
        "0/4 nodes are available: 2 node(s) didn't match Pod's node affinity/selector, "
        "2 node(s) didn't satisfy existing pods anti-affinity rules."
    )
    assert where(cluster, pod("w", nodeSelector={ZONE: "a"}, affinity=away(term()))) == (
        "0/4 nodes are available: 2 node(s) didn't match Pod's node affinity/selector, "
        "2 node(s) didn't match pod anti-affinity rules."
    )
    assert where(cluster, pod("w", nodeSelector={ZONE: "a"}, affinity=away(term(HOST)))) == "a2"


def test_terms_are_about_the_own_namespace_unless_they_say_so() -> None:
    cluster = cluster_of(*zones(), db("d", "b1", namespace="data"))
    cluster.surroundings.namespaces |= {"data": {"team": "x"}, "default": {}}
    for more, found in (
        ({}, False),
        ({"namespaces": ["data"]}, True),
        ({"namespaceSelector": {"matchLabels": {"team": "x"}}}, True),
        ({"namespaceSelector": {"matchLabels": {"team": "y"}}}, False),
        ({"namespaceSelector": {}}, True),
        ({"namespaceSelector": {"matchLabels": {"team": "y"}}, "namespaces": ["data"]}, True),
    ):
        assert (where(cluster, pod("w", affinity=near(term(**more)))) == "b1") is found, more


def test_preferences_of_both_sides_count() -> None:
    assert where(cluster_of(*zones(), db("d", "b1")), pod("w", affinity=liking(50, term()))) == "b1"
    cluster = cluster_of(*zones(), db("d", "b1", affinity=liking(50, term(app="web"))))
    assert where(cluster, pod("w", labels={"app": "web"})) == "b1", "it is liked"
    cluster = cluster_of(*zones(), db("d", "b1", affinity=near(term(app="web"))))
    assert where(cluster, pod("w", labels={"app": "web"})) == "b1", "it is needed"
    cluster = cluster_of(
        node("a1", labels={ZONE: "a"}),
        node("b1", labels={ZONE: "b"}),
        db("d", "a1", affinity=liking(50, term(app="web"), "podAntiAffinity")),
    )
    assert where(cluster, pod("w", labels={"app": "web"})) == "b1", "it is disliked"


# --- a brute-force oracle --------------------------------------------------------------------------------------------

LABELS = st.dictionaries(st.sampled_from(["app", "tier"]), st.sampled_from(["x", "y"]), max_size=2)
SELECTORS = st.one_of(
    st.builds(lambda labels: {"matchLabels": labels}, LABELS),
    st.just({"matchExpressions": [{"key": "app", "operator": "In", "values": ["x", "y"]}]}),
    st.just({"matchExpressions": [{"key": "tier", "operator": "DoesNotExist"}]}),
    st.none(),
)
TERMS = st.fixed_dictionaries(
    {"topologyKey": st.sampled_from([ZONE, HOST, "rack"])},
    optional={
        "labelSelector": SELECTORS,
        "namespaces": st.lists(st.sampled_from(["default", "other"]), max_size=2),
        "namespaceSelector": st.sampled_from([{}, {"matchLabels": {"team": "x"}}]),
    },
)
AFFINITY = st.fixed_dictionaries(
    {},
    optional={
        kind: st.fixed_dictionaries({"requiredDuringSchedulingIgnoredDuringExecution": st.lists(TERMS, min_size=1, max_size=2)})
        for kind in ("podAffinity", "podAntiAffinity")
    },
)
NAMESPACES = {"default": {"team": "x"}, "other": {}}
RESIDENTS = st.lists(st.tuples(st.integers(0, 3), LABELS, st.sampled_from(["default", "other"]), AFFINITY), max_size=6)


def _selects(selector: Object | None, labels: dict[str, str]) -> bool:
    if selector is None:
        return False
    if any(labels.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        return False
    for each in selector.get("matchExpressions") or ():
        if each["operator"] == "In" and labels.get(each["key"]) not in each["values"]:
            return False
        if each["operator"] == "DoesNotExist" and each["key"] in labels:
            return False
    return True


def _about(each: Object, holder: Object, other: Object) -> bool:
    namespace = other["metadata"]["namespace"]
    names, selector = each.get("namespaces") or [], each.get("namespaceSelector")
    if not names and selector is None:
        names = [holder["metadata"]["namespace"]]
    if namespace not in names and not _selects(selector, NAMESPACES[namespace]):
        return False
    return _selects(each.get("labelSelector"), other["metadata"]["labels"])


def _terms(each: Object, kind: str) -> list[Object]:
    part = (each["spec"].get("affinity") or {}).get(kind) or {}
    return part.get("requiredDuringSchedulingIgnoredDuringExecution") or []


def oracle(newcomer: Object, at: Object, nodes: dict[str, Object], residents: list[Object]) -> bool:
    """May the pod go to the node? Read off the documentation, one pod and one term at a time."""
    here = at["metadata"]["labels"]

    def together(resident: Object, key: str) -> bool:
        there = nodes[resident["spec"]["nodeName"]]["metadata"]["labels"]
        return key in here and key in there and here[key] == there[key]

    wanted = _terms(newcomer, "podAffinity")
    matching = [each for each in residents if all(_about(one, newcomer, each) for one in wanted)]
    for one in wanted:
        if one["topologyKey"] not in here:
            return False
    placed = [
        each
        for each in matching
        if any(one["topologyKey"] in nodes[each["spec"]["nodeName"]]["metadata"]["labels"] for one in wanted)
    ]
    alone = not placed and all(_about(one, newcomer, newcomer) for one in wanted)
    if not alone and any(not any(together(each, one["topologyKey"]) for each in matching) for one in wanted):
        return False
    for one in _terms(newcomer, "podAntiAffinity"):
        if any(_about(one, newcomer, each) and together(each, one["topologyKey"]) for each in residents):
            return False
    for each in residents:
        for one in _terms(each, "podAntiAffinity"):
            if _about(one, each, newcomer) and together(each, one["topologyKey"]):
                return False
    return True


def world() -> dict[str, Object]:
    return {
        "n0": node("n0", labels={ZONE: "a", "rack": "1"}),
        "n1": node("n1", labels={ZONE: "a"}),
        "n2": node("n2", labels={ZONE: "b", "rack": "1"}),
        "n3": node("n3"),
    }


@settings(max_examples=120, deadline=None)
@given(RESIDENTS, LABELS, AFFINITY)
def test_as_the_documentation_read_by_brute_force(
    residents: list[tuple[int, dict[str, str], str, Object]], labels: dict[str, str], affinity: Object
) -> None:
    nodes = world()
    bound = [
        pod(f"p{i}", on=f"n{at}", labels=theirs, namespace=namespace, affinity=wishes)
        for i, (at, theirs, namespace, wishes) in enumerate(residents)
    ]
    newcomer = pod("new", labels=labels, affinity=affinity)
    cluster = cluster_of(*nodes.values(), *bound)
    cluster.surroundings.namespaces |= NAMESPACES
    pending = pending_pod(newcomer)
    checks, refusal = wide_checks(pending, cluster, Profile())
    assert refusal is None
    may = {name for name, state in cluster.nodes.items() if all(check(state) is None for check in checks)}
    assert may == {name for name, each in nodes.items() if oracle(newcomer, each, nodes, bound)}
    answer = place(pending, cluster, Profile())
    assert (answer.node in may) if isinstance(answer, Placed) else not may


def test_what_left_is_forgotten() -> None:
    cluster: Cluster = cluster_of(*zones(), db("d", "a1", affinity=away(term(app="web"))))
    cluster.remove_pod("uid-d")
    assert not cluster.kin and not cluster.parties
