"""A Service through its changes: what was allocated stays while it is needed, and no longer."""

from __future__ import annotations

from typing import Any

from tests.registry.cluster import service
from tests.server.running import Answer, Api

SERVICES = "/api/v1/namespaces/default/services"
MERGE = {"content_type": "application/merge-patch+json"}


async def made(api: Api, name: str = "web", **spec: Any) -> Any:
    answered = await api.ask("POST", SERVICES, service(name, **spec))
    assert answered.status == 201, answered.text
    return answered.json


async def changed(api: Api, spec: Any, name: str = "web") -> Any:
    answered = await api.ask("PATCH", f"{SERVICES}/{name}", {"spec": spec}, **MERGE)
    assert answered.status == 200, answered.text
    return answered.json["spec"]


async def can_be_had(api: Api, **spec: Any) -> bool:
    return (await api.ask("POST", f"{SERVICES}?dryRun=All", service("probe", **spec))).status == 201


async def put_without(api: Api, obj: Any, *fields: str) -> Answer:
    spec = {key: value for key, value in obj["spec"].items() if key not in fields}
    spec["ports"] = [{key: value for key, value in port.items() if key not in fields} for port in spec["ports"]]
    metadata = {key: value for key, value in obj["metadata"].items() if key != "resourceVersion"}
    return await api.ask("PUT", f"{SERVICES}/{obj['metadata']['name']}", {**obj, "metadata": metadata, "spec": spec})


async def test_a_put_that_leaves_allocated_fields_out_keeps_them(api: Api) -> None:
    created = await made(api, type="NodePort")
    kept = await put_without(api, created, "clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "nodePort")
    assert kept.status == 200, kept.text
    assert kept.json["spec"] == created["spec"]
    assert kept.json["metadata"]["resourceVersion"] == created["metadata"]["resourceVersion"]


async def test_an_address_does_not_change(api: Api) -> None:
    await made(api)
    refused = await api.ask(
        "PATCH", f"{SERVICES}/web", {"spec": {"clusterIP": "10.43.7.7", "clusterIPs": ["10.43.7.7"]}}, **MERGE
    )
    assert refused.status == 422
    assert {cause["message"].split(": ")[-1] for cause in refused.json["details"]["causes"]} >= {"may not change once set"}
    assert await can_be_had(api, clusterIP="10.43.7.7"), "what was refused is free again"


async def test_types_come_and_go(api: Api) -> None:
    address = (await made(api))["spec"]["clusterIP"]
    spec = await changed(api, {"type": "NodePort"})
    port = spec["ports"][0]["nodePort"]
    assert spec["clusterIP"] == address
    assert 30000 <= port <= 32767
    assert not await can_be_had(api, type="NodePort", ports=[{"port": 1, "nodePort": port}])
    spec = await changed(api, {"type": "ClusterIP"})
    assert "nodePort" not in spec["ports"][0]
    assert "externalTrafficPolicy" not in spec
    assert await can_be_had(api, type="NodePort", ports=[{"port": 1, "nodePort": port}])
    spec = await changed(api, {"type": "ExternalName", "externalName": "example.com"})
    assert not {"clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"} & set(spec)
    assert await can_be_had(api, clusterIP=address)
    spec = await changed(api, {"type": "ClusterIP", "externalName": None, "clusterIP": address})
    assert spec["clusterIPs"] == [address]
    assert not await can_be_had(api, clusterIP=address)


async def test_a_health_check_port_comes_with_local_traffic(api: Api) -> None:
    spec = (await made(api, type="LoadBalancer", externalTrafficPolicy="Local"))["spec"]
    port = spec["healthCheckNodePort"]
    assert port not in (0, spec["ports"][0]["nodePort"])
    assert not await can_be_had(api, type="NodePort", ports=[{"port": 1, "nodePort": port}])
    refused = await api.ask("PATCH", f"{SERVICES}/web", {"spec": {"healthCheckNodePort": 31999}}, **MERGE)
    assert (refused.status, refused.json["details"]["causes"][0]["field"]) == (422, "spec.healthCheckNodePort")
    spec = await changed(api, {"externalTrafficPolicy": "Cluster"})
    assert "healthCheckNodePort" not in spec
    assert await can_be_had(api, type="NodePort", ports=[{"port": 1, "nodePort": port}])


async def test_a_balanced_service_without_node_ports(api: Api) -> None:
    spec = (await made(api, type="LoadBalancer", allocateLoadBalancerNodePorts=False))["spec"]
    assert "nodePort" not in spec["ports"][0]
    spec = await changed(api, {"allocateLoadBalancerNodePorts": True})
    assert spec["ports"][0]["nodePort"]


async def test_a_deleted_service_gives_everything_back(api: Api) -> None:
    spec = (await made(api, type="NodePort"))["spec"]
    await api.ask("DELETE", f"{SERVICES}/web")
    ports = [{"port": 1, "nodePort": spec["ports"][0]["nodePort"]}]
    assert await can_be_had(api, type="NodePort", clusterIP=spec["clusterIP"], ports=ports)


async def test_a_refused_service_takes_nothing(api: Api) -> None:
    refused = await api.ask("POST", SERVICES, service("web", type="NodePort", ports=[{"port": 99999, "nodePort": 30007}]))
    assert refused.status == 422
    assert await can_be_had(api, type="NodePort", ports=[{"port": 1, "nodePort": 30007}])


async def test_requests_that_cannot_be_met(api: Api) -> None:
    await made(api, "taken", clusterIP="10.43.0.77")
    for spec, words in (
        ({"clusterIP": "10.43.0.77"}, "failed to allocate IP 10.43.0.77: provided IP is already allocated"),
        ({"clusterIP": "192.0.2.1"}, "failed to allocate IP 192.0.2.1: the provided network does not match the current range"),
        ({"clusterIP": "10.43.0.300"}, "must be a valid IP address"),
        ({"type": "NodePort", "ports": [{"port": 1, "nodePort": 80}]}, "provided port is not in the valid range"),
    ):
        refused = await api.ask("POST", SERVICES, service("web", **spec))
        assert refused.status == 422, spec
        assert words in refused.json["message"], spec
    assert await can_be_had(api, clusterIP="None")
