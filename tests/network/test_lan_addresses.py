"""Who answers on the LAN for an address: the same answer on every node, and real answers to real neighbours."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from edgekube import limits
from edgekube.api.address_pools import parse_pool
from edgekube.api.balancing import SEGMENTS
from edgekube.api.objects import Object
from edgekube.network import arp, ndp
from edgekube.network.lan_addresses import holders, segments_of
from edgekube.network.lan_announcer import LanAnnouncer, Wiring, wiring
from edgekube.network.lan_speaker import LanSpeaker
from tests.lab.booting import fresh_prefix
from tests.lab.guest import Guest, guest
from tests.lab.inside import call_in
from tests.lab.lan import Lan
from tests.network.cluster import endpoint, piece

POOL = parse_pool("192.0.2.200-192.0.2.220, 2001:db8::200/120")
ADDRESS, ADDRESS6 = "192.0.2.200", "2001:db8::201"


# --- who holds what


def node(name: str, segments: str = "192.0.2.0/24,2001:db8::/64", ready: bool = True) -> Object:
    status = {"conditions": [{"type": "Ready", "status": "True" if ready else "Unknown"}]}
    return {"metadata": {"name": name, "annotations": {SEGMENTS: segments}}, "status": status}


def balanced(name: str, *addresses: str, **spec: Any) -> Object:
    ingress = [{"ip": address} for address in addresses]
    return {
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {"type": "LoadBalancer", **spec},
        "status": {"loadBalancer": {"ingress": ingress}},
    }


def held(services: list[Object], nodes: list[Object], *slices: Object) -> dict[str, str]:
    return holders(POOL, services, nodes, lambda service: slices)


names = st.sets(st.sampled_from([f"pi-{number}" for number in range(8)]), min_size=1)


@given(names, st.sampled_from([f"pi-{number}" for number in range(8)]))
def test_a_node_that_goes_moves_only_its_own_addresses(present: set[str], leaving: str) -> None:
    services = [balanced("web", *POOL.addresses(4))]
    before = held(services, [node(name) for name in sorted(present)])
    assert set(before) == set(POOL.addresses(4)) and set(before.values()) <= present
    assert before == held(services, [node(name) for name in sorted(present, reverse=True)]), "order must not matter"
    after = held(services, [node(name, ready=name != leaving) for name in present])
    assert leaving not in after.values()
    assert all(after.get(address) == name for address, name in before.items() if name != leaving)


def test_addresses_are_spread() -> None:
    found = held([balanced("web", *POOL.addresses(4))], [node("pi-1"), node("pi-2"), node("pi-3")])
    assert set(found.values()) == {"pi-1", "pi-2", "pi-3"}


def test_only_nodes_on_the_segment_can_answer() -> None:
    nodes = [node("far", "198.51.100.0/24"), node("near", "192.0.2.0/24, nonsense"), node("silent", "")]
    assert held([balanced("web", ADDRESS, ADDRESS6)], nodes) == {ADDRESS: "near"}
    assert [str(network) for network in segments_of(nodes[1])] == ["192.0.2.0/24"]


def test_local_traffic_needs_an_endpoint() -> None:
    nodes = [node("pi-1"), node("pi-2")]
    local = balanced("web", ADDRESS, externalTrafficPolicy="Local")
    assert held([local], nodes) == {}
    for name in ("pi-1", "pi-2"):
        assert held([local], nodes, piece("web", [endpoint("10.42.0.2", nodeName=name)])) == {ADDRESS: name}


def test_addresses_of_others_are_not_ours() -> None:
    others = [
        balanced("a", ADDRESS, loadBalancerClass="example.com/other"),
        balanced("b", "198.51.100.9"),
        balanced("c", ADDRESS, type="ClusterIP"),
    ]
    assert held(others, [node("pi-1", "0.0.0.0/0")]) == {}


# --- packets


def test_arp_reads_what_it_writes() -> None:
    asker = arp.Arp(arp.REQUEST, bytes.fromhex("02aa00000001"), "192.0.2.9", ADDRESS)
    frame = arp.answer(bytes.fromhex("02bb00000002"), ADDRESS, asker)
    assert frame.hex() == "02aa0000000102bb000000020806000108000604000202bb00000002c00002c802aa00000001c0000209"
    assert arp.parse(frame) == arp.Arp(arp.REPLY, bytes.fromhex("02bb00000002"), ADDRESS, "192.0.2.9")
    assert arp.parse(arp.announcement(b"\x02\xbb\0\0\0\2", ADDRESS)) == arp.Arp(
        arp.REQUEST, b"\x02\xbb\0\0\0\2", ADDRESS, ADDRESS
    )


def test_neighbour_discovery_reads_what_it_writes() -> None:
    message = ndp.advertisement(b"\x02\xbb\0\0\0\2", ADDRESS6, answers=True)
    assert ndp.advertised(message) == (ADDRESS6, b"\x02\xbb\0\0\0\2") and message[4] == 0x60
    assert ndp.group_of("2001:db8::12:3456") == "ff02::1:ff12:3456"
    assert ndp.solicited(message) is None


@given(st.binary(max_size=80))
def test_no_packet_breaks_them(data: bytes) -> None:
    for parse in (arp.parse, ndp.solicited, ndp.advertised):
        found = parse(data)
        assert found is None or len(data) >= 24


# --- real neighbours


@pytest.fixture
def lan() -> Iterator[tuple[Lan, Guest, Guest, Guest]]:
    """A client and two nodes on a switch; all have IPv6, too."""
    with contextlib.ExitStack() as stack:
        lan = stack.enter_context(Lan(fresh_prefix()))
        guests = [stack.enter_context(guest(lan, name, f"192.0.2.{n}")) for n, name in enumerate(("client", "n1", "n2"), 1)]
        for number, each in enumerate(guests, 1):
            each.run(["ip", "address", "add", f"2001:db8::{number}/64", "dev", "eth0", "nodad"])
        yield lan, guests[0], guests[1], guests[2]


def wired(node: Guest) -> Wiring:
    return wiring(json.loads(node.run(["ip", "-j", "address"])))


def mac_of(node: Guest) -> str:
    return wired(node).interfaces["eth0"].mac.hex(":")


async def eventually(true: Callable[[], bool]) -> None:
    """For what nobody can be told of."""
    while not true():  # noqa: ASYNC110
        await trio.sleep(0.02)


def ask_for(client: Guest, address: str) -> None:
    """A datagram whose way the client's kernel has to ask for."""

    def send() -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as udp:
            udp.sendto(b"?", (address, 9))

    call_in(client.namespace, send)


async def until_seen_at(client: Guest, address: str, mac: str) -> None:
    """The client's neighbour table, after it has asked again and again."""
    with trio.fail_after(60):
        while True:
            await trio.to_thread.run_sync(ask_for, client, address)
            with trio.move_on_after(1):
                await until_heard_at(client, address, mac)
                return


async def until_heard_at(client: Guest, address: str, mac: str) -> None:
    """The client's neighbour table, without a question of its own."""
    with trio.fail_after(60):
        while True:
            table = json.loads(client.run(["ip", "-j", "neighbour", "show", address]) or "[]")
            if any(entry.get("lladdr") == mac for entry in table):
                return
            await trio.sleep(0.05)


@asynccontextmanager
async def announcer(node: Guest, *, mine: bool = True) -> AsyncIterator[LanAnnouncer]:
    async def still_mine(address: str) -> bool:
        await trio.lowlevel.checkpoint()
        return mine

    made = LanAnnouncer(still_mine, lambda *arguments: call_in(node.namespace, lambda: LanSpeaker(*arguments)))
    async with trio.open_nursery() as nursery:
        await nursery.start(made.run)
        yield made
        nursery.cancel_scope.cancel()


@pytest.mark.root
async def test_neighbours_find_the_node_and_follow_it(lan: tuple[Lan, Guest, Guest, Guest]) -> None:
    _, client, one, two = lan
    async with announcer(one) as first, announcer(two) as second:
        first.hold({ADDRESS, ADDRESS6, "198.51.100.7"}, wired(one))
        assert first.answering() == {ADDRESS, ADDRESS6}, "an address of no segment is nobody's to answer for"
        for address in (ADDRESS, ADDRESS6):
            await until_seen_at(client, address, mac_of(one))
        first.hold(set(), wired(one))
        second.hold({ADDRESS, ADDRESS6}, wired(two))
        # Told, not asked: clients send to the new place at once.
        for address in (ADDRESS, ADDRESS6):
            await until_heard_at(client, address, mac_of(two))
            await until_seen_at(client, address, mac_of(two))


@pytest.mark.root
async def test_who_cannot_ask_the_api_yields_and_who_can_defends(lan: tuple[Lan, Guest, Guest, Guest]) -> None:
    """As after a silent partition: the first was never told that the second holds the address now."""
    _, client, one, two = lan
    async with announcer(one, mine=False) as first, announcer(two) as second:
        first.hold({ADDRESS}, wired(one))
        await until_seen_at(client, ADDRESS, mac_of(one))
        second.hold({ADDRESS}, wired(two))
        with trio.fail_after(60):
            await eventually(lambda: not first.answering())
        await until_seen_at(client, ADDRESS, mac_of(two))
        assert second.answering() == {ADDRESS}
        first.take_back()
        assert first.answering() == {ADDRESS}, "once the API was heard, it says who holds what"


async def test_a_claim_is_judged_once_in_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody who claims the address with every packet must not make us ask the API as often."""
    asked: list[str] = []

    async def still_mine(address: str) -> bool:
        asked.append(address)
        await trio.lowlevel.checkpoint()
        return True

    made = LanAnnouncer(still_mine)
    async with trio.open_nursery() as nursery:
        await nursery.start(made.run)
        for number in range(1000):
            made._conflict(ADDRESS, number.to_bytes(6, "big"))
        await trio.testing.wait_all_tasks_blocked()
        assert asked == [ADDRESS] and len(made._judged_at) == 1
        monkeypatch.setattr(limits, "LAN_DEFEND_SECONDS", 0.0)
        made._conflict(ADDRESS, b"\x02\0\0\0\0\1")
        await trio.testing.wait_all_tasks_blocked()
        assert asked == [ADDRESS] * 2
        nursery.cancel_scope.cancel()
