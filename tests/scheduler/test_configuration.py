"""Profiles as people write them."""

from __future__ import annotations

from typing import Any

import pytest

from edgekube.api.objects import Object
from edgekube.scheduler.arguments import ConfigurationError
from edgekube.scheduler.configuration import profiles_of
from edgekube.scheduler.plugins import edge
from edgekube.scheduler.profiles import Profile
from tests.scheduler.worlds import cluster_of, container, node, pod, where


def document(*profiles: Object, **more: Any) -> Object:
    head = {"apiVersion": "kubescheduler.config.k8s.io/v1", "kind": "KubeSchedulerConfiguration"}
    return {**head, "profiles": list(profiles), **more}


def only(profile: Object) -> Profile:
    (found,) = profiles_of(document(profile))
    return found


def weights(profile: Profile) -> dict[str, int]:
    return {each.name: each.weight for each in profile.scores}


def scored_by(name: str, **more: Any) -> Profile:
    return only({"plugins": {"score": {"disabled": [{"name": "*"}], "enabled": [{"name": name}]}}, **more})


def test_nothing_said_is_the_default_profile() -> None:
    (found,) = profiles_of(document())
    default = Profile()
    assert found.name == default.name == "default-scheduler"
    assert [each.name for each in found.filters] == [each.name for each in default.filters]
    assert weights(found) == weights(default)


def test_profiles_have_names_of_their_own() -> None:
    found = profiles_of(document({"schedulerName": "a"}, {"schedulerName": "b"}))
    assert [each.name for each in found] == ["a", "b"]
    with pytest.raises(ConfigurationError, match=r"profiles\[1\].schedulerName: Required value"):
        profiles_of(document({"schedulerName": "a"}, {}))
    with pytest.raises(ConfigurationError, match='Duplicate value: "a"'):
        profiles_of(document({"schedulerName": "a"}, {"schedulerName": "a"}))


def test_plugins_are_left_out_and_weighed() -> None:
    found = only(
        {
            "plugins": {
                "multiPoint": {"disabled": [{"name": "InterPodAffinity"}, {"name": "DefaultPreemption"}]},
                "score": {"disabled": [{"name": "ImageLocality"}], "enabled": [{"name": "NodeAffinity", "weight": 9}]},
                "filter": {"disabled": [{"name": "NodePorts"}]},
            }
        }
    )
    assert not found.preempts
    assert {"InterPodAffinity", "NodePorts"}.isdisjoint(each.name for each in found.filters)
    assert weights(found) == {
        "TaintToleration": 3, "NodeAffinity": 9, "NodeResourcesFit": 1, "PodTopologySpread": 2,
        "NodeResourcesBalancedAllocation": 1,
    }  # fmt: skip


def test_an_affinity_that_the_profile_adds() -> None:
    term = {"matchExpressions": [{"key": "pool", "operator": "In", "values": ["batch"]}]}
    added = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}
    profile = only({"pluginConfig": [{"name": "NodeAffinity", "args": {"addedAffinity": added}}]})
    cluster = cluster_of(node("n1"), node("n2", labels={"pool": "batch"}))
    assert where(cluster, pod("a"), profile) == "n2"
    assert where(cluster_of(node("n1")), pod("a"), profile) == (
        "0/1 nodes are available: 1 node(s) didn't match scheduler-enforced node affinity."
    )


def test_packing_instead_of_spreading() -> None:
    def fit(strategy: Object) -> list[Object]:
        return [{"name": "NodeResourcesFit", "args": {"scoringStrategy": strategy}}]

    cluster = cluster_of(node("n1"), node("n2"), pod("there", container("1", "1Gi"), on="n1"))
    asked = pod("a", container("1", "1Gi"))
    assert where(cluster, asked, scored_by("NodeResourcesFit")) == "n2"
    assert where(cluster, asked, scored_by("NodeResourcesFit", pluginConfig=fit({"type": "MostAllocated"}))) == "n1"
    shape = {"shape": [{"utilization": 0, "score": 0}, {"utilization": 100, "score": 10}]}
    ratio = {"type": "RequestedToCapacityRatio", "resources": [{"name": "cpu", "weight": 3}], "requestedToCapacityRatio": shape}
    assert where(cluster, asked, scored_by("NodeResourcesFit", pluginConfig=fit(ratio))) == "n1"


def test_resources_that_somebody_else_looks_after() -> None:
    asked = pod("a", container("1", limits={}, resources={"requests": {"example.com/foo": "1", "cpu": "1"}}))
    cluster = cluster_of(node("n1"))
    assert where(cluster, asked) == "0/1 nodes are available: 1 Insufficient example.com/foo."
    for args in ({"ignoredResources": ["example.com/foo"]}, {"ignoredResourceGroups": ["example.com"]}):
        assert where(cluster, asked, only({"pluginConfig": [{"name": "NodeResourcesFit", "args": args}]})) == "n1"


def test_constraints_for_pods_without() -> None:
    constraint = {"topologyKey": "zone", "maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule"}
    args = {"defaultingType": "List", "defaultConstraints": [constraint]}
    profile = only({"pluginConfig": [{"name": "PodTopologySpread", "args": args}]})
    web = {"app": "web"}
    cluster = cluster_of(
        node("n1", labels={"zone": "a"}), node("n2", labels={"zone": "b"}, pods=0), pod("w0", on="n1", labels=web)
    )
    cluster.surroundings.services["default"] = {"web": web}
    assert where(cluster, pod("w1", labels=web)) == "n1"
    assert "topology spread" in where(cluster, pod("w1", labels=web), profile)


@pytest.mark.parametrize(
    ("profile", "message"),
    [
        ({"plugins": {"score": {"enabled": [{"name": "Magic"}]}}}, 'there is no plugin "Magic"; there are'),
        ({"plugins": {"permit": {}}}, "profiles[0].plugins.permit: unknown here"),
        ({"percentageOfNodesToScore": 50}, "profiles[0].percentageOfNodesToScore: unknown here"),
        ({"plugins": {"score": {"enabled": [{"name": "NodeAffinity", "weight": 101}]}}}, "not in valid range [0, 100]"),
        ({"pluginConfig": [{"name": "VolumeBinding", "args": {}}]}, '"VolumeBinding" takes no arguments here'),
        (
            {"pluginConfig": [{"name": "InterPodAffinity", "args": {"hardPodAffinityWeight": -1}}]},
            "profiles[0].pluginConfig[0].args.hardPodAffinityWeight: Invalid value: -1: not in valid range [0, 100]",
        ),
        (
            {"pluginConfig": [{"name": "NodeResourcesFit", "args": {"scoringStrategy": {"type": "RequestedToCapacityRatio"}}}]},
            "requestedToCapacityRatio: must be specified when type is RequestedToCapacityRatio",
        ),
        (
            {"pluginConfig": [{"name": "PodTopologySpread", "args": {"defaultConstraints": [{"maxSkew": 1}]}}]},
            "when .defaultConstraints are not empty",
        ),
        (
            {"pluginConfig": [{"name": "PodTopologySpread", "args": {"defaultingType": "List", "defaultConstraints": [{}]}}]},
            "defaultConstraints[0].maxSkew: Invalid value: 0",
        ),
        ("no mapping", "profiles[0]: give a mapping"),
    ],
)
def test_what_would_do_nothing_is_refused(profile: Any, message: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        profiles_of(document(profile))
    assert message in str(error.value)


@pytest.mark.parametrize("bad", [None, [], {}, {"kind": "KubeSchedulerConfiguration"}, document(extenders=[])])
def test_other_documents_are_refused(bad: Any) -> None:
    with pytest.raises(ConfigurationError):
        profiles_of(bad)


# --- what boards ask besides


@pytest.mark.parametrize(
    ("name", "better", "worse"),
    [
        (edge.TEMPERATURE, {"edgekube.io/cpu-temperature-celsius": "45.5"}, {"edgekube.io/cpu-temperature-celsius": "79"}),
        (edge.POWER, {"edgekube.io/power": "mains"}, {"edgekube.io/power": "battery"}),
        (edge.LINK, {"edgekube.io/link": "ethernet"}, {"edgekube.io/link": "wifi"}),
        (edge.LINK, {"edgekube.io/link": "300"}, {"edgekube.io/link": "8.5"}),
    ],
)
def test_better_boards_are_preferred(name: str, better: dict[str, str], worse: dict[str, str]) -> None:
    profile = scored_by(name)
    by_label = cluster_of(node("n1", labels=worse), node("n2", labels=better))
    by_annotation = cluster_of(node("n1", annotations=worse), node("n2", annotations=better))
    for cluster in (by_label, by_annotation):
        assert where(cluster, pod("a"), profile) == "n2"
        assert where(cluster, pod("a")) == "n1", "only where a profile asks for it"
    assert where(cluster_of(node("n1", labels=worse), node("n2")), pod("a"), profile) == "n2", "who says nothing is in the middle"
    assert where(cluster_of(node("n1"), node("n2", labels=better)), pod("a"), profile) == "n2"


@pytest.mark.parametrize("text", ["", "warm", "nan", "inf", "-1e999"])
def test_nonsense_is_in_the_middle(text: str) -> None:
    assert edge.temperature(text) == edge.power(text) == edge.link(text) == 50


def test_scores_stay_in_bounds() -> None:
    for celsius in range(-40, 140):
        assert 0 <= edge.temperature(str(celsius)) <= 100
    for megabits in (0, 0.1, 1, 54, 1000, 10_000):
        assert 0 <= edge.link(str(megabits)) <= 100
