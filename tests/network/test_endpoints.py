"""Which endpoints serve a port, by the documented rules."""

from typing import Any

import pytest

from edgekube.network.endpoints import Place, Target, health_check, service_ports
from tests.network.cluster import endpoint, piece, port, service

N1 = Place("n1", "z1")
READY = endpoint("10.42.0.2", nodeName="n1")
ELSEWHERE = endpoint("10.42.1.2", nodeName="n2")
LEAVING = {"addresses": ["10.42.0.3"], "conditions": {"ready": False, "serving": True, "terminating": True}, "nodeName": "n1"}
BROKEN = {"addresses": ["10.42.0.4"], "conditions": {"ready": False, "serving": False}, "nodeName": "n1"}


def internal(endpoints: list[dict[str, Any]], **spec: Any) -> list[str]:
    svc = service("web", "10.43.0.9", port(80), **spec)
    (only,) = service_ports(svc, [piece("web", endpoints, port(8080))], N1)
    return [target.address for target in (only.local_targets if only.internal_local else only.cluster_targets)]


def test_ready_endpoints_serve_and_others_do_not() -> None:
    assert internal([READY, LEAVING, BROKEN, ELSEWHERE]) == ["10.42.0.2", "10.42.1.2"]


def test_when_none_is_ready_those_still_serving_do() -> None:
    assert internal([LEAVING, BROKEN]) == ["10.42.0.3"]


def test_an_endpoint_without_conditions_is_ready() -> None:
    assert internal([{"addresses": ["10.42.0.9"]}]) == ["10.42.0.9"]


def test_a_local_policy_leaves_this_nodes_endpoints() -> None:
    assert internal([READY, ELSEWHERE], internalTrafficPolicy="Local") == ["10.42.0.2"]


def test_the_external_policy_is_separate() -> None:
    svc = service("web", "10.43.0.9", port(80, nodePort=30080), type="NodePort", externalTrafficPolicy="Local")
    (only,) = service_ports(svc, [piece("web", [READY, ELSEWHERE], port(8080))], N1)
    assert not only.internal_local and len(only.cluster_targets) == 2
    assert only.external_local and only.local_targets == (Target("10.42.0.2", 8080),)


def test_ports_are_matched_by_name_and_protocol() -> None:
    svc = service("web", "10.43.0.9", port(80, "http"), port(53, "dns", "UDP"))
    slices = [piece("web", [READY], port(8080, "http"), port(5353, "dns", "UDP"))]
    assert [(p.protocol, p.cluster_targets[0].port) for p in service_ports(svc, slices, N1)] == [("tcp", 8080), ("udp", 5353)]


@pytest.mark.parametrize(
    "spec",
    [{"clusterIP": "None"}, {"type": "ExternalName", "clusterIP": ""}, {"clusterIP": ""}],
    ids=["headless", "name", "none"],
)
def test_some_services_have_no_rules(spec: dict[str, str]) -> None:
    svc = service("web", "10.43.0.9", port(80))
    svc["spec"].update(spec)
    assert service_ports(svc, [piece("web", [READY], port(8080))], N1) == []


def test_load_balancer_and_external_addresses_are_served() -> None:
    svc = service("web", "10.43.0.9", port(80), externalIPs=["192.0.2.50"], type="LoadBalancer")
    svc["status"] = {"loadBalancer": {"ingress": [{"ip": "192.0.2.60"}, {"ip": "192.0.2.61", "ipMode": "Proxy"}]}}
    (only,) = service_ports(svc, [], N1)
    assert only.external_addresses == ("192.0.2.50", "192.0.2.60")


def test_affinity_has_the_documented_default() -> None:
    (only,) = service_ports(service("web", "10.43.0.9", port(80), sessionAffinity="ClientIP"), [], N1)
    assert only.affinity_seconds == 10800


def hinted(address: str, node: str, zone: str, **hints: str) -> dict[str, Any]:
    given = {kind: [{"name": name}] for kind, name in hints.items()}
    return endpoint(address, nodeName=node, zone=zone, hints=given)


def test_hints_keep_traffic_in_the_zone_or_on_the_node() -> None:
    near, same_zone, far = "10.42.0.2", "10.42.1.2", "10.42.2.2"
    zones = [
        hinted(near, "n1", "z1", forZones="z1"),
        hinted(same_zone, "n2", "z1", forZones="z1"),
        hinted(far, "n3", "z2", forZones="z2"),
    ]
    assert internal(zones) == [near, same_zone]
    nodes = [hinted(near, "n1", "z1", forZones="z1", forNodes="n1"), hinted(same_zone, "n2", "z1", forZones="z1", forNodes="n2")]
    assert internal(nodes) == [near]


def test_hints_are_left_alone_unless_all_have_one_and_one_is_for_us() -> None:
    ours = hinted("10.42.0.2", "n1", "z1", forZones="z1")
    assert internal([ours, endpoint("10.42.1.2", nodeName="n2")]) == ["10.42.0.2", "10.42.1.2"], "one without a hint"
    others = [hinted("10.42.1.2", "n2", "z2", forZones="z2"), hinted("10.42.2.2", "n3", "z3", forZones="z3")]
    assert len(internal(others)) == 2, "none for this zone"
    assert len(internal([hinted("10.42.1.2", "n2", "z1", forZones="z1", forNodes="n2"), ours])) == 2, (
        "the node's hints fall back to the zone's"
    )


def test_what_is_left_to_another_proxy_is_not_served() -> None:
    svc = service("web", "10.43.0.9", port(80))
    svc["metadata"]["labels"] = {"service.kubernetes.io/service-proxy-name": "other"}
    assert service_ports(svc, [], N1) == []
    headless = piece("web", [READY], port(8080))
    headless["metadata"]["labels"]["service.kubernetes.io/headless"] = ""
    (only,) = service_ports(service("web", "10.43.0.9", port(80)), [headless], N1)
    assert not only.served


def test_only_the_balancers_addresses_are_limited_to_ranges() -> None:
    ranges = ["192.0.2.0/25", "192.0.2.128/25", "2001:db8::/32"]
    svc = service("web", "10.43.0.9", port(80), type="LoadBalancer", externalIPs=["192.0.2.50"], loadBalancerSourceRanges=ranges)
    svc["status"] = {"loadBalancer": {"ingress": [{"ip": "192.0.2.60"}]}}
    (only,) = service_ports(svc, [], N1)
    assert (only.limited_addresses, only.source_ranges) == (("192.0.2.60",), ("192.0.2.0/24",)), "neighbours are one range"


def test_a_health_check_counts_ready_endpoints_of_this_node_once() -> None:
    svc = service("web", "10.43.0.9", port(80), type="LoadBalancer", externalTrafficPolicy="Local", healthCheckNodePort=31000)
    both = endpoint("10.42.0.2", nodeName="n1", targetRef={"uid": "u1"})
    slices = [
        piece("web", [both, ELSEWHERE, LEAVING], port(8080)),
        piece("web", [{**both, "addresses": ["fd00:42::2"]}], port(8080), suffix="six"),
    ]
    check = health_check(svc, slices, N1)
    assert check is not None and (check.port, check.local_endpoints) == (31000, 1)
    assert health_check(service("web", "10.43.0.9", port(80)), slices, N1) is None


def test_addresses_are_written_one_way_and_what_is_none_is_left_out() -> None:
    svc = service("web", "FD00:43::0009", port(80), externalIPs=["2001:DB8:0::7", "2001:db8::7", "fe80::1%eth0", "nonsense"])
    ends = [endpoint("FD00:42:0::2"), endpoint("::ffff:10.42.0.2")]
    (only,) = service_ports(svc, [{**piece("web", ends, port(8080)), "addressType": "IPv6"}], N1, "IPv6")
    assert only.internal_addresses == ("fd00:43::9",) and only.external_addresses == ("2001:db8::7",)
    assert only.cluster_targets == (Target("fd00:42::2", 8080),)
