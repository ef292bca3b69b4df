"""Addresses on the LAN: each belongs to one Service, stays with it, and a Service without one says why."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekube import limits
from edgekube.api.address_pools import AddressPool, parse_pool
from edgekube.api.balancing import CLASS
from edgekube.api.kinds import ENDPOINTSLICE, NODE, SERVICE
from edgekube.controllers import loadbalancer
from edgekube.controllers.loadbalancer import WANTED_ADDRESSES, Rules
from tests.controllers.world import World

POOL = "192.0.2.200-192.0.2.202, 2001:db8::200-2001:db8::202"


def balanced(world: World, name: str, *ports: int, annotations: dict[str, str] | None = None, **spec: Any) -> None:
    world.put(
        SERVICE,
        {
            "metadata": {"name": name, "namespace": "shop", "annotations": annotations or {}},
            "spec": {
                "type": "LoadBalancer",
                "ipFamilies": ["IPv4"],
                "ports": [{"port": port, "protocol": "TCP"} for port in ports or (80,)],
                **spec,
            },
            "status": {"loadBalancer": {}},
        },
    )
    world.now += 1


def node(world: World, name: str, *addresses: str, ready: bool = True, labels: dict[str, str] | None = None) -> None:
    conditions = [{"type": "Ready", "status": "True" if ready else "Unknown"}]
    listed = [{"type": "InternalIP", "address": address} for address in addresses]
    status = {"conditions": conditions, "addresses": listed}
    world.put(NODE, {"metadata": {"name": name, "labels": labels or {}}, "status": status})


def settle(world: World, pool: str = POOL) -> None:
    controller = loadbalancer.controller(Rules(parse_pool(pool), frozenset({22, 6443})))
    for _ in range(3):
        if not [call for call in world.step(controller, "", "") if type(call).__name__ == "Patch"]:
            return
    raise AssertionError("it does not settle")


def held(world: World, name: str) -> list[str]:
    service = world.get(SERVICE, "shop", name)
    assert service is not None
    return [entry["ip"] for entry in service["status"]["loadBalancer"].get("ingress") or []]


def test_each_gets_the_next_free_address_and_keeps_it() -> None:
    world = World()
    for name in ("a", "b", "c", "d"):
        balanced(world, name)
    settle(world)
    assert [held(world, name) for name in "abcd"] == [["192.0.2.200"], ["192.0.2.201"], ["192.0.2.202"], []]
    assert "IPAllocated: Assigned IP 192.0.2.200" in world.events
    assert any(event.startswith("AllocationFailed: the pool of load balancer addresses is used up") for event in world.events)
    world.gone(SERVICE, "shop", "b")
    settle(world)
    assert [held(world, name) for name in "acd"] == [["192.0.2.200"], ["192.0.2.202"], ["192.0.2.201"]]


def test_the_address_that_was_asked_for() -> None:
    world = World()
    balanced(world, "a", loadBalancerIP="192.0.2.202")
    balanced(world, "b", annotations={WANTED_ADDRESSES: "192.0.2.201, 2001:db8::201"})
    balanced(world, "c", annotations={WANTED_ADDRESSES: "192.0.2.202"})
    balanced(world, "d", annotations={WANTED_ADDRESSES: "198.51.100.1"})
    settle(world)
    assert held(world, "a") == ["192.0.2.202"] and held(world, "b") == ["192.0.2.201", "2001:db8::201"]
    assert held(world, "c") == [] == held(world, "d")
    assert "AllocationFailed: 192.0.2.202 belongs to another Service" in world.events
    assert "AllocationFailed: 198.51.100.1 is not in the pool of load balancer addresses" in world.events


def test_both_families_for_who_has_both() -> None:
    world = World()
    balanced(world, "a", ipFamilies=["IPv6", "IPv4"])
    settle(world)
    assert held(world, "a") == ["2001:db8::200", "192.0.2.200"]


def test_a_smaller_pool_moves_only_who_must() -> None:
    world = World()
    balanced(world, "a")
    balanced(world, "b")
    settle(world)
    settle(world, "192.0.2.201-192.0.2.210")
    assert held(world, "b") == ["192.0.2.201"] and held(world, "a") == ["192.0.2.202"]


def test_others_services_are_left_alone() -> None:
    world = World()
    balanced(world, "a", loadBalancerClass="example.com/other")
    balanced(world, "b", loadBalancerClass=CLASS)
    balanced(world, "c", type="NodePort")
    settle(world)
    assert held(world, "a") == [] == held(world, "c") and held(world, "b") == ["192.0.2.200"]


def test_without_a_pool_the_nodes_addresses_serve() -> None:
    world = World()
    node(world, "n1", "192.0.2.1", "2001:db8::1")
    node(world, "n2", "192.0.2.2")
    node(world, "n3", "192.0.2.3", ready=False)
    node(world, "n4", "192.0.2.4", labels={"node.kubernetes.io/exclude-from-external-load-balancers": ""})
    balanced(world, "a", 80, 443)
    balanced(world, "b", 443)
    balanced(world, "c", 22)
    balanced(world, "d", 81, ipFamilies=["IPv4", "IPv6"])
    settle(world, "")
    assert held(world, "a") == ["192.0.2.1", "192.0.2.2"]
    assert held(world, "d") == ["192.0.2.1", "192.0.2.2", "2001:db8::1"]
    assert held(world, "b") == [] == held(world, "c")
    assert "AllocationFailed: port 443/TCP of the nodes' addresses belongs to shop/a" in world.events
    assert any(event.startswith("AllocationFailed: port 22 of the nodes' addresses is the node's own") for event in world.events)
    node(world, "n3", "192.0.2.3")
    settle(world, "")
    assert held(world, "a") == ["192.0.2.1", "192.0.2.2", "192.0.2.3"]


def test_local_traffic_goes_to_nodes_with_an_endpoint() -> None:
    world = World()
    node(world, "n1", "192.0.2.1")
    node(world, "n2", "192.0.2.2")
    balanced(world, "a", externalTrafficPolicy="Local")
    settle(world, "")
    assert held(world, "a") == [] and "AllocationFailed: no Ready node has an address for it and an endpoint" in world.events
    endpoints = [{"addresses": ["10.42.1.5"], "nodeName": "n2", "conditions": {"ready": True}}]
    metadata = {"name": "a-x", "namespace": "shop", "labels": {"kubernetes.io/service-name": "a"}}
    world.put(ENDPOINTSLICE, {"metadata": metadata, "addressType": "IPv4", "endpoints": endpoints})
    settle(world, "")
    assert held(world, "a") == ["192.0.2.2"]


names = st.sampled_from([f"s{number}" for number in range(6)])
moves = st.one_of(st.tuples(st.just("add"), names), st.tuples(st.just("remove"), names), st.tuples(st.just("settle"), names))


@settings(max_examples=150, deadline=None)
@given(st.lists(moves, max_size=25))
def test_an_address_belongs_to_one_service_and_stays(history: list[tuple[str, str]]) -> None:
    world = World()
    before: dict[str, list[str]] = {}
    for move, name in [*history, ("settle", "")]:
        if move == "add" and world.get(SERVICE, "shop", name) is None:
            balanced(world, name)
        elif move == "remove":
            world.gone(SERVICE, "shop", name)
            before.pop(name, None)
        elif move == "settle":
            settle(world)
            now = {str(s["metadata"]["name"]): held(world, str(s["metadata"]["name"])) for s in world.list(SERVICE)}
            given_out = [address for addresses in now.values() for address in addresses]
            assert len(given_out) == len(set(given_out)) == min(3, len(now)), "each has one while there are any"
            assert all(now[each] == addresses for each, addresses in before.items() if addresses)
            before = now


@pytest.mark.parametrize(
    ("text", "first", "count"),
    [
        ("192.0.2.200-192.0.2.220", "192.0.2.200", 21),
        ("192.0.2.192/29", "192.0.2.193", 6),
        ("192.0.2.7/32, 192.0.2.8/31", "192.0.2.7", 3),
        ("", "", 0),
    ],
)
def test_a_pool_as_it_is_written(text: str, first: str, count: int) -> None:
    addresses = list(parse_pool(text).addresses(4))
    assert len(addresses) == count and (not count or addresses[0] == first)
    assert all(address in parse_pool(text) for address in addresses) and "not an address" not in AddressPool()


@pytest.mark.parametrize(
    "text", ["192.0.2.9-192.0.2.1", "192.0.2.1-2001:db8::1", "pool", "192.0.2.1/24", "192.0.2.0/28,192.0.2.4/32"]
)
def test_a_pool_that_is_none(text: str) -> None:
    with pytest.raises(ValueError, match=r"neither a range|overlap"):
        parse_pool(text)


def test_a_pool_has_an_end() -> None:
    with pytest.raises(ValueError, match=f"more than {limits.LOAD_BALANCER_POOL_ADDRESSES_MAX} addresses"):
        parse_pool("2001:db8::/64")
