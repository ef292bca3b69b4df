"""Answers that are remembered are the answers that would be given now."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from edgekube.api.objects import Object
from edgekube.scheduler.cluster import Cluster
from edgekube.scheduler.facts import node_facts
from edgekube.scheduler.place import Placed, place, refusal_of
from edgekube.scheduler.plugin import LocalScore, scaled
from edgekube.scheduler.pods import PendingPod, pending_pod
from edgekube.scheduler.profiles import Profile
from tests.scheduler.worlds import cluster_of, container, node, pod

WEB, BIG = {"app": "web"}, {"app": "big"}
KINDS: list[Object] = [
    {"labels": WEB, "containers": [container("100m", "64Mi")]},
    {"labels": BIG, "containers": [container("1500m", "1Gi")], "nodeSelector": {"disk": "ssd"}},
    {"labels": WEB, "containers": [container("100m", ports=[{"hostPort": 80}])]},
    {
        "labels": WEB,
        "topologySpreadConstraints": [
            {
                "topologyKey": "zone",
                "maxSkew": 1,
                "whenUnsatisfiable": "DoNotSchedule",
                "labelSelector": {"matchLabels": WEB},
            }
        ],
    },
]
HAPPENINGS = st.lists(
    st.tuples(st.sampled_from(["place", "place", "end", "node", "gone", "cordon"]), st.integers(0, 3), st.integers(0, 3)),
    max_size=25,
)


def naive(pod: PendingPod, cluster: Cluster) -> str:
    """Each rule asked about each node, all sums written down."""
    profile = Profile()
    fitting = [node for node in cluster.nodes.values() if refusal_of(pod, node, cluster, profile) is None]
    totals = dict.fromkeys((node.facts.name for node in fitting), 0)
    for score in profile.scores:
        values: Sequence[int] | None
        if isinstance(score, LocalScore):
            measure = score.prepare(pod, cluster)
            values = None if measure is None else scaled([measure(node) for node in fitting], score.scale)
        else:
            values = score.rank(pod, cluster, fitting)
        for each, value in zip(fitting, values or [0] * len(fitting), strict=True):
            totals[each.facts.name] += score.weight * value
    return min(totals, key=lambda name: (-totals[name], len(cluster.nodes[name].pods), name))


def some_node(number: int, cordoned: bool = False) -> Object:
    labels = {"zone": "ab"[number % 2], **({"disk": "ssd"} if number < 2 else {})}
    image = {"names": ["app:latest"], "sizeBytes": 300 * 1024 * 1024}
    return node(f"n{number}", cpu="2", labels=labels, spec={"unschedulable": cordoned}, images=[image] if number == 3 else [])


@settings(max_examples=60, deadline=None)
@given(HAPPENINGS)
def test_remembering_changes_nothing(happenings: list[tuple[str, int, int]]) -> None:
    cluster, profile = cluster_of(some_node(0), some_node(1)), Profile()
    for serial, (what, number, kind) in enumerate(happenings):
        if what == "node":
            cluster.set_node(node_facts(some_node(number)))
        elif what == "cordon":
            cluster.set_node(node_facts(some_node(number, cordoned=True)))
        elif what == "gone":
            cluster.remove_node(f"n{number}")
        elif what == "end":
            here = sorted(each.uid for each in cluster.pods())
            if here:
                cluster.remove_pod(here[number % len(here)])
        else:
            wanted = pending_pod(pod(f"p{serial}", **KINDS[kind]))
            answer = place(wanted, cluster, profile)
            assert answer == place(wanted, cluster, Profile()), "a profile that remembers nothing says the same"
            if isinstance(answer, Placed):
                assert refusal_of(wanted, cluster.nodes[answer.node], cluster, profile) is None, "it fits by each of the rules"
                assert answer.node == naive(wanted, cluster)
                cluster.assume(wanted.facts, answer.node)
