"""Which endpoints serve a port, by the documented rules."""

from typing import Any

import pytest

from edgekube.network.endpoints import Target, service_ports
from tests.network.cluster import endpoint, piece, port, service

READY = endpoint("10.42.0.2", nodeName="n1")
ELSEWHERE = endpoint("10.42.1.2", nodeName="n2")
LEAVING = {"addresses": ["10.42.0.3"], "conditions": {"ready": False, "serving": True, "terminating": True}, "nodeName": "n1"}
BROKEN = {"addresses": ["10.42.0.4"], "conditions": {"ready": False, "serving": False}, "nodeName": "n1"}


def internal(endpoints: list[dict[str, Any]], **spec: Any) -> list[str]:
    svc = service("web", "10.43.0.9", port(80), **spec)
    (only,) = service_ports(svc, [piece("web", endpoints, port(8080))], "n1")
    return [target.address for target in only.internal_targets]


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
    (only,) = service_ports(svc, [piece("web", [READY, ELSEWHERE], port(8080))], "n1")
    assert len(only.internal_targets) == 2 and only.external_targets == (Target("10.42.0.2", 8080),)


def test_ports_are_matched_by_name_and_protocol() -> None:
    svc = service("web", "10.43.0.9", port(80, "http"), port(53, "dns", "UDP"))
    slices = [piece("web", [READY], port(8080, "http"), port(5353, "dns", "UDP"))]
    assert [(p.protocol, p.internal_targets[0].port) for p in service_ports(svc, slices, "n1")] == [("tcp", 8080), ("udp", 5353)]


@pytest.mark.parametrize(
    "spec",
    [{"clusterIP": "None"}, {"type": "ExternalName", "clusterIP": ""}, {"clusterIP": ""}],
    ids=["headless", "name", "none"],
)
def test_some_services_have_no_rules(spec: dict[str, str]) -> None:
    svc = service("web", "10.43.0.9", port(80))
    svc["spec"].update(spec)
    assert service_ports(svc, [piece("web", [READY], port(8080))], "n1") == []


def test_load_balancer_and_external_addresses_are_served() -> None:
    svc = service("web", "10.43.0.9", port(80), externalIPs=["192.0.2.50"])
    svc["status"] = {"loadBalancer": {"ingress": [{"ip": "192.0.2.60"}, {"ip": "192.0.2.61", "ipMode": "Proxy"}]}}
    (only,) = service_ports(svc, [], "n1")
    assert only.external_addresses == ("192.0.2.50", "192.0.2.60")


def test_affinity_has_the_documented_default() -> None:
    (only,) = service_ports(service("web", "10.43.0.9", port(80), sessionAffinity="ClientIP"), [], "n1")
    assert only.affinity_seconds == 10800
