"""Traffic policies, addresses from outside and both families, in a kernel: who is sent where, and under which source address."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from tests.network.cluster import endpoint, piece, port, service
from tests.network.rig import FAR, FAR6, NODE_IP, NODE_IP6, OUTSIDE_IP, OUTSIDE_IP6, PODS, PODS6, Rig, names, running

pytestmark = pytest.mark.root

NEAR_END = endpoint(PODS["a"], nodeName="n1")
FAR_END = endpoint(FAR, nodeName="n2")
EXTERNAL, BALANCED = "198.51.100.7", "198.51.100.8"
node_port = partial(service, "web", "10.43.0.9", port(80, nodePort=30080), type="NodePort")


def balanced(*ports: dict[str, Any], **spec: Any) -> dict[str, Any]:
    made = service("web", "10.43.0.9", *(ports or [port(80)]), type="LoadBalancer", **spec)
    made["status"] = {"loadBalancer": {"ingress": [{"ip": BALANCED}]}}
    return made


async def test_outsiders_sent_to_another_node_come_under_this_nodes_address_and_others_under_their_own(rig: Rig) -> None:
    async with running(rig) as it:
        await it.put(piece("web", [FAR_END], port(8080)), node_port(externalIPs=[EXTERNAL]))
        assert rig.ask("out", NODE_IP, 30080) == [f"far {NODE_IP}"]
        assert rig.ask("out", EXTERNAL, 80) == [f"far {NODE_IP}"]
        assert rig.ask("a", "10.43.0.9", 80) == [f"far {PODS['a']}"], "pods keep theirs: the answer comes back this way anyhow"
        assert rig.ask("a", NODE_IP, 30080) == [f"far {PODS['a']}"]
        assert rig.ask("node", "10.43.0.9", 80) == [f"far {NODE_IP}"]
        await it.put(piece("web", [NEAR_END], port(8080)))
        assert rig.ask("out", EXTERNAL, 80) == [f"a {OUTSIDE_IP}"]


async def test_a_node_that_holds_an_external_address_itself_does_not_speak_under_it(rig: Rig) -> None:
    """The answer would go to whichever node the LAN sends that address to."""
    rig.inside("node", ["ip", "address", "add", f"{EXTERNAL}/32", "dev", "lo"])
    try:
        async with running(rig) as it:
            await it.put(piece("web", [FAR_END], port(8080)), node_port(externalIPs=[EXTERNAL]))
            assert rig.ask("node", EXTERNAL, 80) == [f"far {NODE_IP}"]
            assert rig.ask("out", EXTERNAL, 80) == [f"far {NODE_IP}"]
    finally:
        rig.inside("node", ["ip", "address", "delete", f"{EXTERNAL}/32", "dev", "lo"])


async def test_an_endpoint_that_is_no_pod_is_reached_from_everywhere(rig: Rig) -> None:
    """As the API server behind the kubernetes Service, on another node's own address."""
    rig.serve("other", "host", "192.0.2.2", 6444)
    async with running(rig) as it:
        await it.put(piece("web", [endpoint("192.0.2.2", nodeName="n2")], port(6444)), node_port())
        for where in ("node", "a"):
            assert rig.ask(where, "10.43.0.9", 80) == [f"host {NODE_IP}"]
        assert rig.ask("out", NODE_IP, 30080) == [f"host {NODE_IP}"]


async def test_a_local_external_policy_keeps_outsiders_here_and_lets_insiders_reach_all(rig: Rig) -> None:
    async with running(rig) as it:
        local = node_port(externalTrafficPolicy="Local", externalIPs=[EXTERNAL])
        await it.put(piece("web", [NEAR_END, FAR_END], port(8080)), local)
        for address, number in ((NODE_IP, 30080), (EXTERNAL, 80)):
            assert set(rig.ask("out", address, number, count=20)) == {f"a {OUTSIDE_IP}"}
            assert set(names(rig.ask("b", address, number, count=40))) == {"a", "far"}
            assert set(names(rig.ask("node", address, number, count=40))) == {"a", "far"}
        assert set(names(rig.ask("b", "10.43.0.9", 80, count=40))) == {"a", "far"}


async def test_a_local_policy_drops_where_others_have_endpoints_and_refuses_where_nobody_has(rig: Rig) -> None:
    async with running(rig) as it:
        local = node_port(externalTrafficPolicy="Local", internalTrafficPolicy="Local", externalIPs=[EXTERNAL])
        await it.put(piece("web", [FAR_END], port(8080)), local)
        for where, address, number in (("out", NODE_IP, 30080), ("out", EXTERNAL, 80), ("a", "10.43.0.9", 80)):
            assert rig.ask(where, address, number, patience_seconds=1) == ["TimeoutError"], address
        assert names(rig.ask("b", EXTERNAL, 80)) == {"far": 1}
        await it.put(piece("web", [], port(8080)))
        for where, address, number in (
            ("out", NODE_IP, 30080),
            ("out", EXTERNAL, 80),
            ("a", "10.43.0.9", 80),
            ("node", EXTERNAL, 80),
        ):
            assert rig.ask(where, address, number) == ["ConnectionRefusedError"], address


async def test_an_internal_local_policy_stays_on_the_node(rig: Rig) -> None:
    async with running(rig) as it:
        await it.put(
            piece("web", [NEAR_END, FAR_END], port(8080)), service("web", "10.43.0.9", port(80), internalTrafficPolicy="Local")
        )
        for where in ("b", "node"):
            assert set(names(rig.ask(where, "10.43.0.9", 80, count=20))) == {"a"}


async def test_terminating_endpoints_serve_until_a_ready_one_comes_for_each_policy_by_itself(rig: Rig) -> None:
    leaving = {**NEAR_END, "conditions": {"ready": False, "serving": True, "terminating": True}}
    async with running(rig) as it:
        await it.put(piece("web", [leaving, FAR_END], port(8080)), node_port(externalTrafficPolicy="Local"))
        assert set(names(rig.ask("out", NODE_IP, 30080, count=10))) == {"a"}, "the last one here, though it is leaving"
        assert set(names(rig.ask("b", "10.43.0.9", 80, count=10))) == {"far"}
        await it.put(piece("web", [leaving], port(8080)))
        assert set(names(rig.ask("b", "10.43.0.9", 80, count=10))) == {"a"}


async def test_only_source_ranges_reach_a_balancers_address(rig: Rig) -> None:
    async with running(rig) as it:
        pieces = piece("web", [NEAR_END], port(8080))
        await it.put(pieces, balanced(port(80, nodePort=30080), loadBalancerSourceRanges=["203.0.113.0/24", "10.42.0.0/24"]))
        assert rig.ask("out", BALANCED, 80, patience_seconds=1) == ["TimeoutError"]
        assert names(rig.ask("b", BALANCED, 80)) == {"a": 1}
        assert names(rig.ask("out", NODE_IP, 30080)) == {"a": 1}, "ranges are the balancer's affair only"
        await it.put(balanced(loadBalancerSourceRanges=["203.0.113.0/24", f"{OUTSIDE_IP}/32"]))
        assert rig.ask("out", BALANCED, 80) == [f"a {OUTSIDE_IP}"]


async def test_both_families_of_a_service_lead_to_the_pods_of_their_own(rig: Rig) -> None:
    web = service("web", "10.43.0.9,fd00:43::9", port(80, nodePort=30080), type="NodePort", externalIPs=["2001:db8:5::7"])
    async with running(rig) as it:
        six = piece("web", [endpoint(PODS6["b"], nodeName="n1")], port(8080), suffix="six")
        await it.put(piece("web", [NEAR_END], port(8080)), six, web)
        assert rig.ask("c", "10.43.0.9", 80) == [f"a {PODS['c']}"]
        assert rig.ask("c", "fd00:43::9", 80) == [f"b {PODS6['c']}"]
        assert rig.ask("b", "fd00:43::9", 80)[0].startswith("b "), "itself"
        assert rig.ask("out", NODE_IP6, 30080) == [f"b {OUTSIDE_IP6}"]
        assert rig.ask("out", "2001:db8:5::7", 80) == [f"b {OUTSIDE_IP6}"]
        await it.put(piece("web", [endpoint(FAR6, nodeName="n2")], port(8080), suffix="six"))
        assert rig.ask("out", "2001:db8:5::7", 80) == [f"far {NODE_IP6}"]
        assert rig.ask("c", "fd00:43::9", 80, protocol="udp") == ["ConnectionRefusedError"]
        await it.put({**piece("web", [], port(8080), suffix="six"), "addressType": "IPv6"})
        for where, address, number in (("c", "fd00:43::9", 80), ("out", "2001:db8:5::7", 80), ("out", NODE_IP6, 30080)):
            assert rig.ask(where, address, number) == ["ConnectionRefusedError"], address
        assert names(rig.ask("c", "10.43.0.9", 80)) == {"a": 1}


async def test_pods_leave_the_cluster_under_the_nodes_address_in_both_families(rig: Rig) -> None:
    rig.serve("out", "world", "::", 7001)
    async with running(rig):
        assert rig.ask("a", OUTSIDE_IP6, 7001) == [f"world {NODE_IP6}"]
        assert rig.ask("a", OUTSIDE_IP, 7001) == [f"world {NODE_IP}"]


async def test_what_a_service_gives_up_passes_to_who_waited_for_it(rig: Rig) -> None:
    """Two Services may claim one external address; it is the first one's while that one wants it."""
    async with running(rig) as it:
        await it.put(
            piece("one", [endpoint(PODS["a"])], port(8080)), service("one", "10.43.0.8", port(80), externalIPs=[EXTERNAL])
        )
        await it.put(
            piece("two", [endpoint(PODS["b"])], port(8080)), service("two", "10.43.0.9", port(80), externalIPs=[EXTERNAL])
        )
        assert set(names(rig.ask("out", EXTERNAL, 80, count=5))) == {"a"}
        await it.remove_service("one")
        assert set(names(rig.ask("out", EXTERNAL, 80, count=5))) == {"b"}


async def test_udp_over_ipv6_moves_on_when_its_endpoint_is_replaced(rig: Rig) -> None:
    async with running(rig) as it:
        dns = service("dns", "fd00:43::53", port(53, "d", "UDP"))
        await it.put(piece("dns", [endpoint(PODS6["b"])], port(8080, "d", "UDP")), dns)
        assert names(rig.ask("a", "fd00:43::53", 53, protocol="udp", source=4002)) == {"b": 1}
        await it.put(piece("dns", [endpoint(PODS6["c"])], port(8080, "d", "UDP")))
        assert names(rig.ask("a", "fd00:43::53", 53, protocol="udp", source=4002)) == {"c": 1}


async def test_host_ports_are_open_in_both_families_but_for_the_ipv6_loopback(rig: Rig) -> None:
    pod = {
        "metadata": {"name": "a", "namespace": "shop"},
        "spec": {"nodeName": "n1", "containers": [{"name": "c", "ports": [{"hostPort": 9093, "containerPort": 8080}]}]},
        "status": {"phase": "Running", "podIP": PODS["a"], "podIPs": [{"ip": PODS["a"]}, {"ip": PODS6["a"]}]},
    }
    async with running(rig) as it:
        await it.put(pod)
        for address in (NODE_IP, NODE_IP6):
            assert names(rig.ask("out", address, 9093)) == names(rig.ask("b", address, 9093)) == {"a": 1}
        assert names(rig.ask("node", "127.0.0.1", 9093)) == {"a": 1}
        assert rig.ask("node", "::1", 9093) == ["ConnectionRefusedError"], "localhost is tried this way first"
