"""The service proxy in a kernel: a node, its pods and an outside machine, each a network namespace; real connections."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from typing import Any

import pytest
import trio

from edgekube import limits
from edgekube.api.kinds import ENDPOINTSLICE, SERVICE, SERVICECIDR
from tests.network.cluster import endpoint, piece, port, service
from tests.network.rig import NODE_IP, NODE_IP6, OUTSIDE_IP, PODS, PODS6, Rig, Running, all_pods, names, running

pytestmark = pytest.mark.root


async def test_a_cluster_address_reaches_every_endpoint_from_host_and_pod(rig: Rig) -> None:
    async with running(rig) as it:
        await it.put(piece("web", all_pods(), port(8080)), service("web", "10.43.0.9", port(80)))
        for where in ("node", "a"):
            assert set(names(rig.ask(where, "10.43.0.9", 80, count=60))) == {"a", "b", "c"}


async def test_a_pod_reaches_itself_through_its_service(rig: Rig) -> None:
    async with running(rig) as it:
        await it.put(piece("web", [endpoint(PODS["a"])], port(8080)), service("web", "10.43.0.9", port(80)))
        (answer,) = rig.ask("a", "10.43.0.9", 80)
        assert answer.split()[0] == "a"


async def test_pods_see_each_others_addresses(rig: Rig) -> None:
    async with running(rig) as it:
        await it.put(piece("web", [endpoint(PODS["b"])], port(8080)), service("web", "10.43.0.9", port(80)))
        assert rig.ask("a", "10.43.0.9", 80) == [f"b {PODS['a']}"]


async def test_without_endpoints_a_connection_is_refused_at_once_and_works_again_with_one(rig: Rig) -> None:
    async with running(rig) as it:
        await it.put(piece("web", [endpoint(PODS["b"])], port(8080)), service("web", "10.43.0.9", port(80), port(53, "u", "UDP")))
        await it.put(piece("web", [], port(8080)))
        for where in ("a", "node"):
            assert rig.ask(where, "10.43.0.9", 80) == ["ConnectionRefusedError"]
            refused = "PermissionError" if where == "node" else "ConnectionRefusedError"  # the kernel tells senders of its own so
            assert rig.ask(where, "10.43.0.9", 53, protocol="udp") == [refused], where
        assert rig.ask("a", "10.43.77.77", 80) == ["ConnectionRefusedError"], "an address that no Service has"
        it.cluster.put(SERVICECIDR, {"metadata": {"name": "more"}, "spec": {"cidrs": ["10.44.0.0/24"]}})
        it.cluster.put(SERVICECIDR, {"metadata": {"name": "most"}, "spec": {"cidrs": ["10.44.0.0/23", "10.43.0.0/24"]}})
        await it.put(service("web", "10.44.0.9", port(80)))
        assert rig.ask("a", "10.44.1.77", 80) == ["ConnectionRefusedError"], "nor in a further range"
        it.cluster.remove(SERVICECIDR, "", "most")
        await it.put(service("web", "10.43.0.9", port(80), port(53, "u", "UDP")))
        assert rig.ask("a", "10.44.0.77", 80) == ["ConnectionRefusedError"]
        await it.put(piece("web", [endpoint(PODS["b"])], port(8080)))
        assert names(rig.ask("a", "10.43.0.9", 80)) == {"b": 1}


async def test_a_node_port_is_open_to_the_outside_and_keeps_the_clients_address(rig: Rig) -> None:
    async with running(rig) as it:
        await it.put(piece("web", all_pods(), port(8080)), service("web", "10.43.0.9", port(80, nodePort=30080), type="NodePort"))
        answers = rig.ask("out", NODE_IP, 30080, count=40)
        assert set(names(answers)) == {"a", "b", "c"} and {a.split()[1] for a in answers} == {OUTSIDE_IP}
        assert set(names(rig.ask("a", NODE_IP, 30080, count=40))) == {"a", "b", "c"}, "a pod uses the node port, itself included"


async def test_a_deleted_service_is_gone(rig: Rig) -> None:
    async with running(rig) as it:
        await it.put(piece("web", all_pods(), port(8080)), service("web", "10.43.0.9", port(80, nodePort=30080), type="NodePort"))
        await it.remove_service("web")
        assert rig.ask("a", "10.43.0.9", 80) == ["ConnectionRefusedError"]
        assert rig.ask("out", NODE_IP, 30080) == ["ConnectionRefusedError"]
        for container in ("services", "endpoints", "node_ports", "node_endpoints"):
            assert "elements" not in rig.inside("node", ["nft", "list", "map", "ip", "edgekube", container])


async def test_client_affinity_sticks_while_other_endpoints_come_and_go(rig: Rig) -> None:
    async with running(rig) as it:
        sticky = partial(service, "web", "10.43.0.9", port(80, nodePort=30080), type="NodePort", sessionAffinity="ClientIP")
        await it.put(piece("web", all_pods(), port(8080)), sticky())
        (first,) = names(rig.ask("out", NODE_IP, 30080, count=20))
        (inside,) = names(rig.ask("a", "10.43.0.9", 80, count=20))
        other = next(name for name in PODS if name not in (first, inside))
        await it.put(piece("web", [endpoint(PODS[name]) for name in PODS if name != other], port(8080)))
        assert set(names(rig.ask("out", NODE_IP, 30080, count=20))) == {first}
        assert set(names(rig.ask("a", "10.43.0.9", 80, count=20))) == {inside}
        await it.put(piece("web", [endpoint(PODS[other])], port(8080)))
        assert set(names(rig.ask("out", NODE_IP, 30080, count=5))) == {other}, "its endpoint is gone: another one serves"


async def test_udp_moves_on_when_its_endpoint_is_replaced(rig: Rig) -> None:
    async with running(rig) as it:
        flows: list[list[str]] = []
        await it.put(
            piece("dns", [endpoint(PODS["b"])], port(8080, "d", "UDP")), service("dns", "10.43.0.53", port(53, "d", "UDP"))
        )
        flows.append(rig.ask("a", "10.43.0.53", 53, protocol="udp", source=4000))
        await it.put(piece("dns", [endpoint(PODS["c"])], port(8080, "d", "UDP")))
        flows.append(rig.ask("a", "10.43.0.53", 53, protocol="udp", source=4000))
        assert [names(flow) for flow in flows] == [{"b": 1}, {"c": 1}]


async def test_more_endpoints_than_chains_make_a_larger_table(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PROXY_TARGETS_FIRST", 1)
    async with running(rig) as it:
        await it.put(piece("one", [endpoint(PODS["a"])], port(8080)), service("one", "10.43.0.8", port(80)))
        await it.put(piece("web", all_pods(), port(8080)), service("web", "10.43.0.9", port(80)))
        assert set(names(rig.ask("node", "10.43.0.9", 80, count=60))) == {"a", "b", "c"}
        assert names(rig.ask("node", "10.43.0.8", 80)) == {"a": 1}


async def test_host_ports_lead_to_their_pod_until_it_ends(rig: Rig) -> None:
    pod = {
        "metadata": {"name": "a", "namespace": "shop"},
        "spec": {"nodeName": "n1", "containers": [{"name": "c", "ports": [{"hostPort": 9090, "containerPort": 8080}]}]},
        "status": {"phase": "Running", "podIP": PODS["a"]},
    }
    async with running(rig) as it:
        await it.put(pod)
        assert names(rig.ask("out", NODE_IP, 9090)) == {"a": 1} and names(rig.ask("b", NODE_IP, 9090)) == {"a": 1}
        await it.put({**pod, "status": {"phase": "Succeeded", "podIP": PODS["a"]}})
        assert rig.ask("out", NODE_IP, 9090) == ["ConnectionRefusedError"]


async def test_host_ports_of_one_number_on_several_addresses(rig: Rig) -> None:
    def pod(name: str, host_ip: str) -> dict[str, Any]:
        ports = [{"hostPort": 9091, "hostIP": host_ip, "containerPort": 8080}]
        return {
            "metadata": {"name": name, "namespace": "shop"},
            "spec": {"nodeName": "n1", "containers": [{"name": "c", "ports": ports}]},
            "status": {"phase": "Running", "podIP": PODS[name]},
        }

    async with running(rig) as it:
        await it.put(pod("a", "127.0.0.1"), pod("b", NODE_IP))
        assert names(rig.ask("node", "127.0.0.1", 9091)) == {"a": 1}, "from the loopback"
        assert names(rig.ask("node", "127.0.0.1", 9091, source_ip=NODE_IP)) == {"a": 1}, "to the loopback"
        assert names(rig.ask("node", NODE_IP, 9091)) == {"b": 1}
        assert names(rig.ask("out", NODE_IP, 9091)) == {"b": 1}
        # The links that carry this also take what a pod addresses to the loopback: the guard stands before everything else.
        assert 'iifname != "lo" ip daddr 127.0.0.0/8 drop' in rig.inside("node", ["nft", "list chain ip edgekube guard"])


_DNS = (("10.43.0.10", "32", NODE_IP, PODS["b"]), ("fd00:43::a", "128", NODE_IP6, PODS6["b"]))
#: Waits for one datagram. argv: address, port, seconds.
_LISTEN = """
import socket, sys
with socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM) as listener:
    listener.bind((sys.argv[1], int(sys.argv[2])))
    listener.settimeout(float(sys.argv[3]))
    print("up", flush=True)
    try:
        print(listener.recv(100).decode())
    except TimeoutError:
        print("nothing")
"""


def _answered_to(rig: Rig, pod: str, address: str, dns: str, patience_seconds: float) -> str:
    """What a pod hears when somebody on the LAN asks in its name."""
    line = [*rig.enter(pod), sys.executable, "-S", "-c", _LISTEN, address, "4444", str(patience_seconds)]
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as listener:
        assert listener.stdout is not None and listener.stdout.readline() == "up\n"
        asked = rig.ask("out", dns, 5300, protocol="udp", source=4444, source_ip=address, patience_seconds=0.2)
        assert asked == ["TimeoutError"]
        return listener.stdout.readline().strip().partition(" ")[0]


async def test_the_nodes_own_dns_address_is_for_its_pods_and_itself(rig: Rig) -> None:
    rig.inside("node", ["nft", "flush", "ruleset"])
    for dns, bits, node_ip, stolen in _DNS:
        rig.inside("node", ["ip", "address", "replace", f"{dns}/{bits}", "dev", "lo"])
        for stranger in ("out", "other"):
            rig.inside(stranger, ["ip", "route", "replace", f"{dns}/{bits}", "via", node_ip])
        rig.inside("out", ["ip", "address", "replace", f"{stolen}/{bits}", "dev", "lo"])
        rig.serve("node", "dns", dns, 5300)
        # Without the table they are answered: what follows is the table's doing.
        for protocol in ("tcp", "udp"):
            assert names(rig.ask("out", dns, 5300, protocol=protocol)) == {"dns": 1}
        assert _answered_to(rig, "b", stolen, dns, 30) == "dns"
    try:
        async with running(rig):
            for dns, _, _, stolen in _DNS:
                for protocol in ("tcp", "udp"):
                    for own in (*PODS, "node"):
                        assert names(rig.ask(own, dns, 5300, protocol=protocol)) == {"dns": 1}, own
                    for stranger in ("out", "other", "far"):
                        asked = rig.ask(stranger, dns, 5300, protocol=protocol, patience_seconds=0.3)
                        assert asked == ["TimeoutError"], stranger
                assert _answered_to(rig, "b", stolen, dns, 0.5) == "nothing"
    finally:
        for dns, bits, node_ip, stolen in _DNS:
            rig.inside("node", ["ip", "address", "delete", f"{dns}/{bits}", "dev", "lo"])
            for stranger in ("out", "other"):
                rig.inside(stranger, ["ip", "route", "delete", f"{dns}/{bits}", "via", node_ip])
            rig.inside("out", ["ip", "address", "delete", f"{stolen}/{bits}", "dev", "lo"])


async def test_pods_leave_the_cluster_under_the_nodes_address(rig: Rig) -> None:
    rig.serve("out", "world", OUTSIDE_IP, 7000)
    async with running(rig):
        assert rig.ask("a", OUTSIDE_IP, 7000) == [f"world {NODE_IP}"]


async def test_a_table_that_somebody_deletes_comes_back_by_itself(rig: Rig) -> None:
    """Reloading Debian's nftables.service flushes the whole ruleset."""
    async with running(rig) as it:
        await it.put(piece("web", [endpoint(PODS["b"])], port(8080)), service("web", "10.43.0.9", port(80)))
        applied = it.proxy.applied
        rig.inside("node", ["nft", "flush", "ruleset"])
        for _ in range(3000):
            if it.proxy.applied > applied:
                break
            await trio.sleep(0.01)
        assert names(rig.ask("a", "10.43.0.9", 80)) == {"b": 1}


async def test_the_table_is_made_anew_when_nft_refuses_a_script(rig: Rig) -> None:
    async with running(rig) as it:
        await it.put(piece("web", [endpoint(PODS["b"])], port(8080)), service("web", "10.43.0.9", port(80)))
        rig.inside("node", ["nft", "flush chain ip edgekube service; flush map ip edgekube services"])  # somebody meddled
        await it.put(piece("web", [], port(8080)))
        await it.put(piece("web", [endpoint(PODS["c"])], port(8080)))
        assert names(rig.ask("a", "10.43.0.9", 80)) == {"c": 1}


async def test_a_service_that_nft_refuses_takes_nobody_else_with_it(rig: Rig) -> None:
    """The API would not take such a timeout; an older version's database may have worse."""
    wrong = service("bad", "10.43.0.8", port(80), sessionAffinity="ClientIP")
    wrong["spec"]["sessionAffinityConfig"] = {"clientIP": {"timeoutSeconds": 2**62}}
    async with running(rig) as it:
        await it.put(piece("bad", all_pods(), port(8080)), wrong)
        await it.put(piece("web", [endpoint(PODS["b"])], port(8080)), service("web", "10.43.0.9", port(80)))
        assert names(rig.ask("a", "10.43.0.9", 80)) == {"b": 1}
        assert rig.ask("a", "10.43.0.8", 80) == ["ConnectionRefusedError"]
        wrong["spec"]["sessionAffinityConfig"] = {"clientIP": {"timeoutSeconds": 10}}
        await it.put(wrong)
        assert sum(names(rig.ask("a", "10.43.0.8", 80, count=3)).values()) == 3


async def test_sticky_clients_are_known_over_a_restart_and_by_every_address(rig: Rig) -> None:
    sticky = service("web", "10.43.0.9", port(80, nodePort=30080), type="NodePort", sessionAffinity="ClientIP")
    async with running(rig) as it:
        await it.put(piece("web", all_pods(), port(8080)), sticky)
        (first,) = names(rig.ask("out", NODE_IP, 30080, count=5))
        (inside,) = names(rig.ask("a", "10.43.0.9", 80, count=5))
        assert set(names(rig.ask("a", NODE_IP, 30080, count=5))) == {inside}, "as by the cluster address"
    # A start finds its Services in the view before the first table.
    filled = Running(rig)
    filled.cluster.put(ENDPOINTSLICE, piece("web", all_pods(), port(8080)))
    filled.cluster.put(SERVICE, sticky)
    async with trio.open_nursery() as nursery:
        await nursery.start(filled.proxy.run)
        assert set(names(rig.ask("out", NODE_IP, 30080, count=20))) == {first}
        assert set(names(rig.ask("a", "10.43.0.9", 80, count=20))) == {inside}
        nursery.cancel_scope.cancel()


async def test_udp_flows_that_were_let_through_before_the_service_came_are_led_to_it(rig: Rig) -> None:
    """As a DNS client that always asks from one port: its flow would be translated never."""
    async with running(rig) as it:
        assert rig.ask("a", "198.51.100.9", 53, protocol="udp", source=4001, patience_seconds=0.3) == ["TimeoutError"]
        dns = service("dns", "10.43.0.53", port(53, "d", "UDP"), externalIPs=["198.51.100.9"])
        await it.put(piece("dns", [endpoint(PODS["b"])], port(8080, "d", "UDP")), dns)
        assert names(rig.ask("a", "198.51.100.9", 53, protocol="udp", source=4001)) == {"b": 1}


async def test_sctp_is_translated(rig: Rig) -> None:
    """The kernels of some boards have no SCTP sockets; packets of it are forwarded all the same."""
    web = service("web", "10.43.0.9", port(80, "s", "SCTP"))
    async with running(rig) as it:
        await it.put(piece("web", [endpoint(PODS["b"])], port(8080, "s", "SCTP")), web)
        assert rig.sctp_init("a", "10.43.0.9", 80, "b") == (PODS["a"], PODS["b"], 8080)


async def test_a_client_is_forgotten_when_its_time_is_over(rig: Rig) -> None:
    sticky = service("web", "10.43.0.9", port(80), sessionAffinity="ClientIP")
    sticky["spec"]["sessionAffinityConfig"] = {"clientIP": {"timeoutSeconds": 1}}
    async with running(rig) as it:
        await it.put(piece("web", all_pods(), port(8080)), sticky)
        assert len(names(rig.ask("a", "10.43.0.9", 80, count=10))) == 1
        known = await it.kernel.clients("ip edgekube")
        assert [address for clients in known.values() for address, _ in clients] in ([PODS["a"]], []), "nobody else"
        for _ in range(3000):
            if not any((await it.kernel.clients("ip edgekube")).values()):
                break
        assert not any((await it.kernel.clients("ip edgekube")).values())


async def test_a_service_of_many_ports(rig: Rig) -> None:
    numbers = range(1000, 1100)
    ports = [port(number, f"{protocol.lower()}{number}", protocol) for number in numbers for protocol in ("TCP", "UDP")]
    ends = [port(8080, each["name"], each["protocol"]) for each in ports]
    async with running(rig) as it:
        await it.put(piece("web", [endpoint(PODS["b"])], *ends), service("web", "10.43.0.9", *ports))
        for number in (numbers[0], numbers[-1]):
            assert (
                names(rig.ask("a", "10.43.0.9", number)) == names(rig.ask("a", "10.43.0.9", number, protocol="udp")) == {"b": 1}
            )


async def test_a_host_port_passes_to_the_pod_that_waited_for_it(rig: Rig) -> None:
    """As when a pod is replaced and the old one is not quite gone."""

    def pod(name: str, phase: str = "Running") -> dict[str, Any]:
        return {
            "metadata": {"name": name, "namespace": "shop"},
            "spec": {"nodeName": "n1", "containers": [{"name": "c", "ports": [{"hostPort": 9092, "containerPort": 8080}]}]},
            "status": {"phase": phase, "podIP": PODS[name], "podIPs": [{"ip": PODS[name]}]},
        }

    async with running(rig) as it:
        await it.put(pod("a"))
        await it.put(pod("b"))
        assert names(rig.ask("out", NODE_IP, 9092)) == {"a": 1}
        await it.put(pod("a", "Succeeded"))
        assert names(rig.ask("out", NODE_IP, 9092)) == {"b": 1}


async def test_a_node_that_gets_a_zone_uses_the_endpoints_of_it(rig: Rig) -> None:
    def near(name: str, zone: str) -> dict[str, Any]:
        return endpoint(PODS[name], zone=zone, hints={"forZones": [{"name": zone}]})

    async with running(rig) as it:
        await it.put(piece("web", [near("a", "east"), near("b", "west")], port(8080)), service("web", "10.43.0.9", port(80)))
        assert set(names(rig.ask("node", "10.43.0.9", 80, count=40))) == {"a", "b"}
        await it.put({"kind": "Node", "metadata": {"name": "n1", "labels": {"topology.kubernetes.io/zone": "west"}}})
        assert set(names(rig.ask("node", "10.43.0.9", 80, count=20))) == {"b"}
