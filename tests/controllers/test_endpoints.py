"""What stands behind a Service, in slices and in the older form."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from edgekube import limits
from edgekube.api.calls import Create, Update
from edgekube.api.kinds import ENDPOINTS, ENDPOINTSLICE, NODE, POD, SERVICE
from edgekube.api.objects import Object, annotations_of, labels_of, name_of
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
