"""What stands behind a Service, in slices and in the older form."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekube import limits
from edgekube.api.calls import Create, Update
from edgekube.api.kinds import ENDPOINTS, ENDPOINTSLICE, NODE, POD, SERVICE
from edgekube.api.objects import Object, annotations_of, labels_of, name_of
from edgekube.controllers.endpoints import topology
from edgekube.controllers.endpoints.endpointslices import ENDPOINTSLICE_CONTROLLER
from edgekube.controllers.endpoints.legacy import ENDPOINTS_CONTROLLER
from edgekube.controllers.endpoints.mirroring import MIRRORING_CONTROLLER
from tests.controllers.world import World

HTTP = {"name": "http", "port": 80, "targetPort": "web", "protocol": "TCP"}


def service(**spec: Any) -> Object:
    body = {"selector": {"app": "web"}, "clusterIP": "10.43.0.7", "ipFamilies": ["IPv4"], "ports": [HTTP], **spec}
    return {"metadata": {"name": "web", "namespace": "default", "labels": {"tier": "front"}}, "spec": body}


def pod(name: str, ip: str, *, ready: bool = True, port: int = 8080, phase: str = "Running", **spec: Any) -> Object:
    condition = {"type": "Ready", "status": str(ready), "lastTransitionTime": "2027-01-15T08:00:01Z"}
    container = {"name": "c", "ports": [{"name": "web", "containerPort": port}]}
    return {
        "metadata": {"name": name, "namespace": "default", "labels": {"app": "web"}, "uid": f"uid-{name}"},
        "spec": {"nodeName": "n1", "containers": [container], **spec},
        "status": {"phase": phase, "podIP": ip, "podIPs": [{"ip": ip}], "conditions": [condition]},
    }


def slices(world: World) -> list[Object]:
    return list(world.list(ENDPOINTSLICE, "default"))


def test_a_slice_shows_ready_waiting_and_ending_pods() -> None:
    world = World()
    world.put(NODE, {"metadata": {"name": "n1", "labels": {"topology.kubernetes.io/zone": "shed"}}})
    world.put(SERVICE, service())
    world.put(POD, pod("a", "10.42.0.2"))
    world.put(POD, pod("b", "10.42.0.3", ready=False))
    ending = pod("c", "10.42.0.4")
    ending["metadata"] |= {"deletionTimestamp": "2027-01-15T08:00:00Z", "deletionGracePeriodSeconds": 30}
    world.put(POD, ending)
    world.put(POD, pod("d", "10.42.0.5", phase="Succeeded"))
    world.put(POD, pod("e", ""))
    world.step(ENDPOINTSLICE_CONTROLLER, "default", "web")
    (found,) = slices(world)
    assert name_of(found).startswith("web-")
    assert labels_of(found) == {
        "tier": "front",
        "kubernetes.io/service-name": "web",
        "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
    }
    assert annotations_of(found) == {"endpoints.kubernetes.io/last-change-trigger-time": "2027-01-15T08:00:01Z"}
    assert found["addressType"] == "IPv4"
    assert found["ports"] == [{"name": "http", "port": 8080, "protocol": "TCP"}]
    shown = {each["addresses"][0]: tuple(each["conditions"].values()) for each in found["endpoints"]}
    assert shown == {
        "10.42.0.2": (True, True, False),
        "10.42.0.3": (False, False, False),
        "10.42.0.4": (False, True, True),
    }
    assert found["endpoints"][0]["targetRef"] == {"kind": "Pod", "namespace": "default", "name": "a", "uid": "uid-a"}
    assert found["endpoints"][0]["nodeName"] == "n1"
    assert found["endpoints"][0]["zone"] == "shed"
    assert world.step(ENDPOINTSLICE_CONTROLLER, "default", "web") == []


def zoned(world: World, *nodes: tuple[str, str, str]) -> None:
    for name, zone, cpu in nodes:
        conditions = [{"type": "Ready", "status": "True"}]
        metadata = {"name": name, "labels": {"topology.kubernetes.io/zone": zone}}
        world.put(NODE, {"metadata": metadata, "status": {"allocatable": {"cpu": cpu}, "conditions": conditions}})


def test_hints_follow_the_cpu_of_the_zones() -> None:
    world = World()
    zoned(world, ("n1", "a", "4"), ("n2", "b", "2"), ("n3", "b", "2"))
    auto = service(trafficDistribution="PreferSameNode")
    auto["metadata"]["annotations"] = {"service.kubernetes.io/topology-mode": "Auto"}
    world.put(SERVICE, auto)
    for number in range(4):
        world.put(POD, pod(f"p{number}", f"10.42.0.{number}", nodeName="n1" if number < 3 else "n2"))
    world.step(ENDPOINTSLICE_CONTROLLER, "default", "web")

    def hinted() -> list[str]:
        (found,) = slices(world)
        return [each["hints"]["forZones"][0]["name"] if "hints" in each else "" for each in found["endpoints"]]

    assert sorted(hinted()) == ["a", "a", "b", "b"], "as much for each zone as it has of the CPU"
    assert world.events == ["TopologyAwareHintsEnabled: Topology Aware Hints has been enabled, addressType: IPv4"]
    assert world.step(ENDPOINTSLICE_CONTROLLER, "default", "web") == []
    zoned(world, ("n1", "", "4"))
    world.events.clear()
    world.step(ENDPOINTSLICE_CONTROLLER, "default", "web")
    assert hinted() == [""] * 4
    assert world.events == [
        "TopologyAwareHintsDisabled: Insufficient Node information: allocatable CPU or zone not specified on one or more nodes, "
        "addressType: IPv4"
    ]


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=40), st.lists(st.integers(1, 8), min_size=2, max_size=3))
def test_no_zone_is_overloaded_by_more_than_a_fifth(zones: list[str], cpu: list[int]) -> None:
    wanted = {zone: amount / sum(cpu) for zone, amount in zip("abc", cpu, strict=False)}
    try:
        found = topology.allot(zones, wanted)
    except topology.NotPossible as error:
        assert str(error).endswith(f"({len(zones)} endpoints, {len(wanted)} zones)")
        return
    if set(zones) <= set(wanted):
        for zone, share in wanted.items():
            assert found.count(zone) >= int(share * len(zones) / 1.2), "what a zone is given bears its part"


def test_a_service_without_pods_has_one_empty_slice() -> None:
    world = World()
    world.put(SERVICE, service())
    world.step(ENDPOINTSLICE_CONTROLLER, "default", "web")
    assert [each["endpoints"] for each in slices(world)] == [[]]
    world.put(POD, pod("a", "10.42.0.2"))
    name = name_of(slices(world)[0])
    world.step(ENDPOINTSLICE_CONTROLLER, "default", "web")
    assert [(name_of(each), len(each["endpoints"])) for each in slices(world)] == [(name, 1)], "the empty one is filled"
    world.gone(POD, "default", "a")
    world.step(ENDPOINTSLICE_CONTROLLER, "default", "web")
    assert [(name_of(each), each["endpoints"]) for each in slices(world)] == [(name, [])]
    assert world.step(ENDPOINTSLICE_CONTROLLER, "default", "web") == []


def test_what_a_node_says_of_its_pods_does_not_stop_the_others() -> None:
    """An address that no slice may hold would have the whole slice refused, at every attempt."""
    world = World()
    world.put(SERVICE, service(ipFamilies=["IPv4", "IPv6"]))
    for name, address in (
        ("a", "127.0.0.1"),
        ("b", "0.0.0.0"),
        ("c", "224.0.0.251"),
        ("d", "::1"),
        ("e", "nonsense"),
        ("f", "::ffff:127.0.0.1"),
    ):
        world.put(POD, pod(name, address))
    world.put(POD, pod("good", "10.42.0.2"))
    world.step(ENDPOINTSLICE_CONTROLLER, "default", "web")
    world.step(ENDPOINTS_CONTROLLER, "default", "web")
    assert [each["addresses"] for piece in slices(world) for each in piece["endpoints"]] == [["10.42.0.2"]]
    (subset,) = (world.get(ENDPOINTS, "default", "web") or {})["subsets"]
    assert [each["ip"] for each in subset["addresses"]] == ["10.42.0.2"]


def test_a_pod_that_a_node_made_itself_stands_behind_no_service() -> None:
    """A stolen board may make mirror pods, with any label, in any namespace: it would get every Service's clients."""
    world = World()
    world.put(SERVICE, service())
    mirror = pod("mine", "10.42.0.3")
    mirror["metadata"]["annotations"] = {"kubernetes.io/config.mirror": "x"}
    world.put(POD, mirror)
    world.put(POD, pod("good", "10.42.0.2"))
    world.step(ENDPOINTSLICE_CONTROLLER, "default", "web")
    assert [each["addresses"] for piece in slices(world) for each in piece["endpoints"]] == [["10.42.0.2"]]


def test_a_named_port_may_differ_from_pod_to_pod() -> None:
    world = World()
    world.put(SERVICE, service())
    world.put(POD, pod("old", "10.42.0.2", port=8080))
    world.put(POD, pod("new", "10.42.0.3", port=9090))
    world.step(ENDPOINTSLICE_CONTROLLER, "default", "web")
    assert {each["ports"][0]["port"]: each["endpoints"][0]["addresses"] for each in slices(world)} == {
        8080: ["10.42.0.2"],
        9090: ["10.42.0.3"],
    }
    world.gone(POD, "default", "old")
    world.step(ENDPOINTSLICE_CONTROLLER, "default", "web")
    assert [each["ports"][0]["port"] for each in slices(world)] == [9090]


def test_a_headless_service_names_its_pods() -> None:
    world = World()
    world.put(SERVICE, service(clusterIP="None", ports=[], publishNotReadyAddresses=True))
    world.put(POD, pod("db-0", "10.42.0.2", ready=False, hostname="db-0", subdomain="web"))
    world.put(POD, pod("db-1", "10.42.0.3", hostname="db-1", subdomain="other"))
    world.step(ENDPOINTSLICE_CONTROLLER, "default", "web")
    (found,) = slices(world)
    assert labels_of(found)["service.kubernetes.io/headless"] == ""
    assert [(each.get("hostname"), each["conditions"]["ready"]) for each in found["endpoints"]] == [("db-0", True), (None, True)]
    world.step(ENDPOINTS_CONTROLLER, "default", "web")
    endpoints = world.get(ENDPOINTS, "default", "web") or {}
    assert [(each["ip"], each.get("hostname")) for each in endpoints["subsets"][0]["addresses"]] == [
        ("10.42.0.2", "db-0"),
        ("10.42.0.3", None),
    ]
    assert "ports" not in endpoints["subsets"][0]


def test_endpoints_group_ready_and_not_ready_by_ports() -> None:
    world = World()
    world.put(SERVICE, service())
    world.put(POD, pod("b", "10.42.0.3"))
    world.put(POD, pod("a", "10.42.0.2"))
    world.put(POD, pod("c", "10.42.0.4", ready=False))
    world.step(ENDPOINTS_CONTROLLER, "default", "web")
    endpoints = world.get(ENDPOINTS, "default", "web") or {}
    (subset,) = endpoints["subsets"]
    assert [each["ip"] for each in subset["addresses"]] == ["10.42.0.2", "10.42.0.3"]
    assert [each["ip"] for each in subset["notReadyAddresses"]] == ["10.42.0.4"]
    assert subset["ports"] == [{"name": "http", "port": 8080, "protocol": "TCP"}]
    assert world.step(ENDPOINTS_CONTROLLER, "default", "web") == []
    world.gone(SERVICE, "default", "web")
    world.step(ENDPOINTS_CONTROLLER, "default", "web")
    assert world.get(ENDPOINTS, "default", "web") is None


def test_hand_written_endpoints_are_left_alone_and_mirrored() -> None:
    world = World()
    by_hand = {
        "metadata": {"name": "web", "namespace": "default", "labels": {"made": "by-hand"}},
        "subsets": [{"addresses": [{"ip": "192.0.2.9"}, {"ip": "2001:db8::9"}], "ports": [{"port": 9376}]}],
    }
    world.put(ENDPOINTS, by_hand)
    assert world.step(ENDPOINTS_CONTROLLER, "default", "web") == [], "their Service may come later"
    assert world.step(MIRRORING_CONTROLLER, "default", "web") == []
    world.put(SERVICE, service(selector=None))
    world.step(MIRRORING_CONTROLLER, "default", "web")
    assert {each["addressType"]: each["endpoints"][0]["addresses"] for each in slices(world)} == {
        "IPv4": ["192.0.2.9"],
        "IPv6": ["2001:db8::9"],
    }
    assert slices(world)[0]["ports"] == [{"name": "", "port": 9376, "protocol": "TCP"}]
    assert world.step(MIRRORING_CONTROLLER, "default", "web") == []
    found = world.get(ENDPOINTS, "default", "web") or {}
    found["subsets"] = [{"addresses": [{"ip": f"192.0.{number // 250}.{number % 250}"} for number in range(1003)]}]
    world.put(ENDPOINTS, found)
    world.step(MIRRORING_CONTROLLER, "default", "web")
    assert world.events == [
        "TooManyAddressesToMirror: A max of 1000 addresses can be mirrored to EndpointSlices per Endpoints subset. "
        "3 addresses were skipped"
    ]
    found["metadata"]["labels"]["endpointslice.kubernetes.io/skip-mirror"] = "true"
    world.put(ENDPOINTS, found)
    world.step(MIRRORING_CONTROLLER, "default", "web")
    assert slices(world) == []


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sets(st.integers(0, 30)), min_size=1, max_size=6))
def test_slices_always_show_the_pods_and_change_as_little_as_they_can(states: list[set[int]]) -> None:
    size, limits.ENDPOINTS_PER_SLICE_MAX = limits.ENDPOINTS_PER_SLICE_MAX, 5
    try:
        world = World()
        world.put(SERVICE, service())
        there: set[int] = set()
        for wanted in states:
            for number in there - wanted:
                world.gone(POD, "default", f"p{number}")
            for number in wanted - there:
                world.put(POD, pod(f"p{number}", f"10.42.1.{number}"))
            untouched = {
                name_of(each)
                for each in slices(world)
                if each["endpoints"]
                and all(int(endpoint["targetRef"]["name"][1:]) in wanted for endpoint in each["endpoints"])
                and len(each["endpoints"]) == 5
            }
            calls = world.step(ENDPOINTSLICE_CONTROLLER, "default", "web")
            changed = {name_of(call.object) for call in calls if isinstance(call, Update)}
            assert not untouched & changed, "a full slice whose endpoints all stay is not written"
            shown = [endpoint["targetRef"]["name"] for each in slices(world) for endpoint in each["endpoints"]]
            assert sorted(shown) == sorted(f"p{number}" for number in wanted)
            assert all(len(each["endpoints"]) <= 5 for each in slices(world))
            assert len(slices(world)) >= 1
            assert wanted == there or not wanted - there or any(isinstance(call, Create | Update) for call in calls)
            assert world.step(ENDPOINTSLICE_CONTROLLER, "default", "web") == []
            there = wanted
    finally:
        limits.ENDPOINTS_PER_SLICE_MAX = size


@pytest.mark.parametrize(
    ("distribution", "hints"),
    [
        (None, None),
        ("PreferClose", {"forZones": [{"name": "shed"}]}),
        ("PreferSameZone", {"forZones": [{"name": "shed"}]}),
        ("PreferSameNode", {"forZones": [{"name": "shed"}], "forNodes": [{"name": "n1"}]}),
    ],
)
def test_traffic_distribution_becomes_hints_of_ready_endpoints(distribution: str | None, hints: Object | None) -> None:
    world = World()
    world.put(NODE, {"metadata": {"name": "n1", "labels": {"topology.kubernetes.io/zone": "shed"}}})
    web = world.put(SERVICE, service(trafficDistribution=distribution))
    world.put(POD, pod("a", "10.42.0.2"))
    world.put(POD, pod("b", "10.42.0.3", ready=False))
    world.step(ENDPOINTSLICE_CONTROLLER, "default", "web")
    (found,) = slices(world)
    assert [each.get("hints") for each in found["endpoints"]] == [hints, None]
    world.put(SERVICE, {**web, "spec": {**web["spec"], "trafficDistribution": None}})
    world.step(ENDPOINTSLICE_CONTROLLER, "default", "web")
    assert [each.get("hints") for each in slices(world)[0]["endpoints"]] == [None, None], "hints go with the wish"


def test_a_pod_of_two_families_is_in_a_slice_of_each() -> None:
    world = World()
    world.put(SERVICE, service(ipFamilies=["IPv4", "IPv6"]))
    both = pod("a", "10.42.0.2")
    both["status"]["podIPs"] = [{"ip": "10.42.0.2"}, {"ip": "fd00:42::2"}]
    world.put(POD, both)
    world.step(ENDPOINTSLICE_CONTROLLER, "default", "web")
    shown = {each["addressType"]: each["endpoints"][0]["addresses"] for each in slices(world)}
    assert shown == {"IPv4": ["10.42.0.2"], "IPv6": ["fd00:42::2"]}
    web = world.get(SERVICE, "default", "web")
    assert web is not None
    world.put(SERVICE, {**web, "spec": {**web["spec"], "ipFamilies": ["IPv4"]}})
    world.step(ENDPOINTSLICE_CONTROLLER, "default", "web")
    assert [each["addressType"] for each in slices(world)] == ["IPv4"], "a family that the Service gave up leaves no slice behind"


def test_the_older_form_has_the_services_first_family() -> None:
    world = World()
    world.put(SERVICE, service(ipFamilies=["IPv6", "IPv4"]))
    both = pod("a", "10.42.0.2")
    both["status"]["podIPs"] = [{"ip": "10.42.0.2"}, {"ip": "fd00:42::2"}]
    world.put(POD, both)
    world.put(POD, pod("old", "10.42.0.3"))
    world.step(ENDPOINTS_CONTROLLER, "default", "web")
    (found,) = world.list(ENDPOINTS, "default")
    assert [each["ip"] for each in found["subsets"][0]["addresses"]] == ["fd00:42::2"]
