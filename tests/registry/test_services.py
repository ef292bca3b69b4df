"""Services: addresses and node ports are taken once, kept, and given back."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgekube.api.errors import StatusError
from edgekube.api.kinds import SERVICE, SERVICECIDR
from edgekube.api.objects import Object
from edgekube.registry.local import LocalVerbs
from tests.registry.cluster import ADMIN, open_registry, service

HEADLESS = {"clusterIP": "None"}


async def refused(verbs: LocalVerbs, **spec: object) -> list[tuple[str, str]]:
    with pytest.raises(StatusError) as error:
        await verbs.create(SERVICE, "default", service("wrong", **spec))
    assert (error.value.reason, error.value.code) == ("Invalid", 422)
    return [(cause.field, cause.message) for cause in error.value.causes]


async def test_an_address_is_given(verbs: LocalVerbs) -> None:
    made = await verbs.create(SERVICE, "default", service("web"))
    spec = made["spec"]
    assert spec["clusterIP"].startswith("10.43.")
    assert spec["clusterIPs"] == [spec["clusterIP"]]
    assert (spec["ipFamilies"], spec["ipFamilyPolicy"]) == (["IPv4"], "SingleStack")
    assert made["status"] == {"loadBalancer": {}}
    assert "nodePort" not in spec["ports"][0]


async def test_the_kubernetes_service_has_the_first_address(verbs: LocalVerbs) -> None:
    assert (await verbs.get(SERVICE, "default", "kubernetes"))["spec"]["clusterIP"] == "10.43.0.1"


async def test_headless_and_external_services_have_none(verbs: LocalVerbs) -> None:
    headless = await verbs.create(SERVICE, "default", service("h", **HEADLESS))
    assert (headless["spec"]["clusterIP"], headless["spec"]["clusterIPs"]) == ("None", ["None"])
    external = await verbs.create(
        SERVICE, "default", {"metadata": {"name": "e"}, "spec": {"type": "ExternalName", "externalName": "example.com"}}
    )
    assert "clusterIP" not in external["spec"]


async def test_requests_are_honoured_once(verbs: LocalVerbs) -> None:
    made = await verbs.create(SERVICE, "default", service("a", clusterIP="10.43.7.7"))
    assert made["spec"]["clusterIP"] == "10.43.7.7"
    assert await refused(verbs, clusterIP="10.43.7.7") == [
        ("spec.clusterIPs", 'Invalid value: ["10.43.7.7"]: failed to allocate IP 10.43.7.7: provided IP is already allocated')
    ]
    assert (await refused(verbs, clusterIP="192.0.2.1"))[0][0] == "spec.clusterIPs"
    await verbs.delete(SERVICE, "default", "a")
    assert (await verbs.create(SERVICE, "default", service("b", clusterIP="10.43.7.7")))["spec"]["clusterIP"] == "10.43.7.7"


async def test_node_ports(verbs: LocalVerbs) -> None:
    made = await verbs.create(SERVICE, "default", service("a", type="NodePort", ports=[{"port": 80, "nodePort": 30080}]))
    assert made["spec"]["ports"][0]["nodePort"] == 30080
    assert await refused(verbs, type="NodePort", ports=[{"port": 80, "nodePort": 30080}]) == [
        ("spec.ports[0].nodePort", "Invalid value: 30080: provided port is already allocated")
    ]
    field, message = (await refused(verbs, type="NodePort", ports=[{"port": 80, "nodePort": 80}]))[0]
    assert field == "spec.ports[0].nodePort"
    assert message.endswith("provided port is not in the valid range. The range of valid ports is 30000-32767")
    both = [{"name": "u", "port": 53, "protocol": "UDP"}, {"name": "t", "port": 53, "protocol": "TCP"}]
    dns = await verbs.create(SERVICE, "default", service("dns", type="NodePort", ports=both))
    assert len({port["nodePort"] for port in dns["spec"]["ports"]}) == 1


async def test_a_refused_service_leaves_nothing_taken(verbs: LocalVerbs) -> None:
    ports = [{"name": "a", "port": 1, "nodePort": 30001}, {"name": "b", "port": 2, "nodePort": 1}]
    await refused(verbs, type="NodePort", clusterIP="10.43.9.9", ports=ports)
    kept = service("kept", type="NodePort", clusterIP="10.43.9.9", ports=ports[:1])
    assert (await verbs.create(SERVICE, "default", kept))["spec"]["clusterIP"] == "10.43.9.9"


async def test_what_was_given_stays_through_updates(verbs: LocalVerbs) -> None:
    made = await verbs.create(SERVICE, "default", service("web", type="NodePort"))
    port = made["spec"]["ports"][0]["nodePort"]
    again = service("web", type="NodePort")
    again["metadata"]["namespace"] = "default"
    updated = await verbs.update(SERVICE, again)
    assert updated["spec"]["clusterIP"] == made["spec"]["clusterIP"]
    assert updated["spec"]["ports"][0]["nodePort"] == port


async def test_a_change_of_type_gives_back_what_is_not_needed(verbs: LocalVerbs) -> None:
    made = await verbs.create(SERVICE, "default", service("web", type="NodePort", ports=[{"port": 80, "nodePort": 30080}]))
    inside = await verbs.patch(SERVICE, "default", "web", {"spec": {"type": "ClusterIP"}})
    assert "nodePort" not in inside["spec"]["ports"][0]
    assert inside["spec"]["clusterIP"] == made["spec"]["clusterIP"]
    other = service("other", type="NodePort", ports=[{"port": 80, "nodePort": 30080}])
    assert (await verbs.create(SERVICE, "default", other))["spec"]["ports"][0]["nodePort"] == 30080
    name = {"spec": {"type": "ExternalName", "externalName": "example.com"}}
    outside = await verbs.patch(SERVICE, "default", "web", name)
    assert "clusterIP" not in outside["spec"]
    taken = await verbs.create(SERVICE, "default", service("third", clusterIP=made["spec"]["clusterIP"]))
    assert taken["spec"]["clusterIP"] == made["spec"]["clusterIP"]


async def test_a_restart_remembers(tmp_path: Path) -> None:
    async with open_registry(tmp_path / "state.db") as registry:
        made = service("web", type="NodePort", clusterIP="10.43.5.5", ports=[{"port": 80, "nodePort": 30080}])
        await LocalVerbs(registry, ADMIN).create(SERVICE, "default", made)
    async with open_registry(tmp_path / "state.db") as registry:
        verbs = LocalVerbs(registry, ADMIN)
        assert await refused(verbs, clusterIP="10.43.5.5")
        assert await refused(verbs, type="NodePort", ports=[{"port": 80, "nodePort": 30080}])


async def test_a_small_range_is_used_to_the_end(tmp_path: Path) -> None:
    async with open_registry(tmp_path / "state.db", service_cidr="10.43.0.0/29", node_ports=(30000, 30001)) as registry:
        verbs = LocalVerbs(registry, ADMIN)
        given = {(await verbs.create(SERVICE, "default", service(f"s{i}")))["spec"]["clusterIP"] for i in range(5)}
        assert given == {f"10.43.0.{i}" for i in range(2, 7)}
        assert (await refused(verbs))[0][1] == "failed to allocate a serviceIP: range is full"


def service_cidr(name: str, *cidrs: str) -> Object:
    return {"metadata": {"name": name}, "spec": {"cidrs": list(cidrs)}}


async def test_a_further_service_cidr_gives_addresses_while_it_is_there(tmp_path: Path) -> None:
    async with open_registry(tmp_path / "state.db", service_cidr="10.43.0.0/29") as registry:
        verbs = LocalVerbs(registry, ADMIN)
        await refused(verbs, clusterIP="203.0.113.10")
        await verbs.create(SERVICECIDR, "", service_cidr("more", "203.0.113.0/28", "2001:db8::/112"))
        await verbs.create(SERVICECIDR, "", service_cidr("again", "203.0.113.0/29"))
        asked = await verbs.create(SERVICE, "default", service("asked", clusterIP="203.0.113.10"))
        assert asked["spec"]["clusterIPs"] == ["203.0.113.10"]
        assert await refused(verbs, clusterIP="203.0.113.10") == [
            (
                "spec.clusterIPs",
                'Invalid value: ["203.0.113.10"]: failed to allocate IP 203.0.113.10: provided IP is already allocated',
            )
        ]
        given = [(await verbs.create(SERVICE, "default", service(f"s{i}")))["spec"]["clusterIP"] for i in range(6)]
        assert set(given[:5]) == {f"10.43.0.{i}" for i in range(2, 7)}
        assert given[5].startswith("203.0.113."), "when its own is full"
    async with open_registry(tmp_path / "state.db", service_cidr="10.43.0.0/29") as registry:
        verbs = LocalVerbs(registry, ADMIN)
        assert "already allocated" in (await refused(verbs, clusterIP="203.0.113.10"))[0][1], "after a restart too"
        await verbs.delete(SERVICECIDR, "", "more")
        assert "the provided network does not match" in (await refused(verbs, clusterIP="203.0.113.9"))[0][1]
        kept = await verbs.patch(SERVICE, "default", "asked", {"metadata": {"labels": {"a": "b"}}})
        assert kept["spec"]["clusterIP"] == "203.0.113.10"
        await verbs.delete(SERVICE, "default", "asked")
        await verbs.create(SERVICECIDR, "", service_cidr("more", "203.0.113.0/28"))
        assert (await verbs.create(SERVICE, "default", service("new", clusterIP="203.0.113.10")))["spec"]["clusterIP"]
